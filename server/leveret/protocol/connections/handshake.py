"""The decisions of the handshake: what is offered, the login, the limits, the virtual host.

Functions without a state of their own: the order of the methods, and what a refusal does to the
socket, belong to the connection (AMQP 0-9-1, section 1.4).
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pamqp.base import Frame
from pamqp.commands import Connection as ConnectionMethods

from leveret.config import Amqp
from leveret.engine.access.accounts import IMPERSONATOR
from leveret.engine.access.limits import MAX_CHANNELS, MAX_CONNECTIONS, NO_LIMIT, limit
from leveret.engine.access.open_connections import OpenConnection
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import User, VirtualHostEntity
from leveret.engine.values.field_table import describe
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import FRAME_MIN_SIZE
from leveret.protocol.channels.peer import Peer
from leveret.protocol.channels.session import Session
from leveret.protocol.connections.passing_on import no_access, not_found
from leveret.protocol.wire.greeting import PROTOCOL_HEADER, foreign_protocol
from leveret.protocol.wire.methods import octets
from leveret.protocol.wire.sasl import MECHANISMS

CAPABILITIES: Final = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "consumer_priorities",
    "connection.blocked",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)
"""What the broker supports beyond the specification, as `capabilities` of connection.start."""


EXTERNAL: Final = "EXTERNAL"
"""The mechanism in which the certificate of the client says who it is (RFC 4422, appendix A)."""


def is_refused(header: bytes, session: Session) -> bool:
    """Whether the first octets are no protocol header that is accepted, nor the beginning of one:
    the peer is told the right one then."""
    foreign = foreign_protocol(header)
    if len(header) < len(PROTOCOL_HEADER) and not foreign:
        return False
    received = f"{foreign or 'no AMQP'}: {describe(header)}"
    session.logger.warning("wrong protocol", received=received)
    session.write(PROTOCOL_HEADER)
    return True


class Login(NamedTuple):
    """The result of a login."""

    user: str
    refusal: str
    """Why the login is refused, for the log; empty for one that succeeded."""


def start(broker: Broker, peer: Peer) -> Frame:
    """connection.start, the broker's first method."""
    mechanisms = list(MECHANISMS)
    if peer.vouched is not None:
        mechanisms = [EXTERNAL]
    elif peer.tls is not None and peer.tls.user:
        mechanisms.append(EXTERNAL)
    return ConnectionMethods.Start(
        version_major=0,
        version_minor=9,
        server_properties={
            "product": broker.product,
            "version": broker.version,
            "cluster_name": broker.cluster_name,
            "platform": "Python",
            "capabilities": dict.fromkeys(CAPABILITIES, True),
        },
        mechanisms=" ".join(mechanisms),
        locales="en_US",
    )


def log_in(broker: Broker, method: ConnectionMethods.StartOk, peer: Peer) -> Login:
    """Check the credentials of connection.start-ok, or with EXTERNAL the certificate. The user of a
    connection that is passed on has been checked by the broker that passes it on.

    :raises AmqpError: COMMAND_INVALID for an unknown mechanism, SYNTAX_ERROR for a response that
        does not follow it, INTERNAL_ERROR to a broker that vouches for a user unknown here.
    """
    tls, vouched = peer.tls, peer.vouched
    if vouched is not None:
        if broker.metadata.get(User, vouched.user) is None:
            raise AmqpError(ReplyCode.INTERNAL_ERROR, f"no user '{vouched.user}' is known here")
        return Login(vouched.user, "")
    if method.mechanism == EXTERNAL and tls is not None and tls.user:
        known = broker.metadata.get(User, tls.user) is not None
        return Login(tls.user, "" if known else "no user has the name in the certificate")
    mechanism = MECHANISMS.get(method.mechanism)
    if mechanism is None:
        raise AmqpError(
            ReplyCode.COMMAND_INVALID,
            f"unknown authentication mechanism '{method.mechanism}'",
        )
    user, password = mechanism(octets(method.response))
    accounts = broker.accounts
    authenticated = accounts.authenticate(user, password)
    if not peer.from_loopback and accounts.loopback_only(user):
        return Login(user, "user may log in from loopback only")
    return Login(user, "" if authenticated else "wrong user or password")


def take_user(broker: Broker, session: Session, user: str) -> None:
    """Have a session be that of a user who has logged in."""
    session.user = user
    session.user_id = None if broker.accounts.has_tag(user, IMPERSONATOR) else user


def tune(amqp: Amqp) -> Frame:
    """connection.tune: the upper limits that the client may choose within."""
    return ConnectionMethods.Tune(
        channel_max=amqp.channel_max, frame_max=amqp.frame_max, heartbeat=amqp.heartbeat
    )


def check_tuning(method: ConnectionMethods.TuneOk, amqp: Amqp) -> None:
    """Check that connection.tune-ok stays within what connection.tune offered.

    :raises AmqpError: NOT_ALLOWED.
    """
    if 0 < method.frame_max < FRAME_MIN_SIZE:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"negotiated frame_max = {method.frame_max} is lower than the minimum allowed value "
            f"({FRAME_MIN_SIZE})",
        )
    _check_upper_limit("frame_max", method.frame_max, amqp.frame_max)
    _check_upper_limit("channel_max", method.channel_max, amqp.channel_max)


def _check_upper_limit(name: str, value: int, most: int) -> None:
    no_limit = " (no limit)" if value == 0 else ""
    if value > most or value == 0:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"negotiated {name} = {value}{no_limit} is higher than the maximum allowed value "
            f"({most})",
        )


def choose_vhost(broker: Broker, name: str, user: str, logger: Any) -> VirtualHost:
    """The virtual host of connection.open.

    :param logger: the connection's, which is told what there is instead of an unknown one.
    :raises AmqpError: NOT_ALLOWED if there is none of that name, if as many connections are open as
        may be, or if the user has no access to it.
    """
    vhost = broker.vhosts.get(name)
    if vhost is None:
        logger.debug("unknown virtual host", vhost=name, there_are=list(broker.vhosts))
        raise not_found(name)
    # RabbitMQ's order.
    _check_connection_limits(broker, name, user)
    if not broker.rights.has_access(user, name):
        raise no_access(name, user)
    return vhost


def enter(
    broker: Broker, session: Session, vhost: VirtualHost, close: Callable[[str], None]
) -> OpenConnection:
    """Have a session use a virtual host that was chosen for it, and count its connection as open.

    :param close: closes the connection with CONNECTION_FORCED, for a reason that it is told.
    """
    user, peer = session.user, session.peer
    session.enter(vhost, broker.rights.acquire(user, vhost.name, peer.client_id))
    now = int(broker.clock.wall_time())
    opened = OpenConnection(user, vhost.name, peer.address, peer.name, now, close)
    broker.connections.add(opened)
    session.logger.info("connection opened", user=user, vhost=vhost.name, name=peer.name)
    return opened


def leave(broker: Broker, session: Session, opened: OpenConnection | None) -> None:
    """Count a connection as open no more; its rights are no longer kept for it."""
    if opened is not None:
        broker.connections.remove(opened)
        session.vhost.closed_traffic.add(session.traffic)
        broker.rights.release(session.rights)


def _check_connection_limits(broker: Broker, vhost: str, user: str) -> None:
    """Check the limits of the broker, the virtual host and the user for one more connection.

    :raises AmqpError: NOT_ALLOWED.
    """
    connections = broker.connections
    most = broker.config.amqp.max_connections
    if len(connections) >= most:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"connection refused: node connection limit ({most}) is reached",
        )
    in_vhost = limit(broker.metadata.get(VirtualHostEntity, vhost), MAX_CONNECTIONS)
    if connections.count_in_vhost(vhost) >= in_vhost:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"access to vhost '{vhost}' refused for user '{user}': "
            f"connection limit ({in_vhost}) is reached",
        )
    of_user = limit(broker.metadata.get(User, user), MAX_CONNECTIONS)
    if connections.count_of_user(user) >= of_user:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"connection refused for user '{user}': user connection limit ({of_user}) is reached",
        )


def check_channel_limit(broker: Broker, connection: OpenConnection) -> None:
    """Check the limit of the user for one more channel.

    :raises AmqpError: NOT_ALLOWED.
    """
    user = connection.user
    most = limit(broker.metadata.get(User, user), MAX_CHANNELS)
    if most != NO_LIMIT and broker.connections.channels_of_user(user) >= most:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"number of channels opened for user '{user}' has reached the maximum allowed user "
            f"limit of ({most})",
        )

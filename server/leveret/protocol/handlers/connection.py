"""The class connection (AMQP 0-9-1, section 1.4): login, tuning, opening, closing."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pamqp.base import Frame
from pamqp.commands import Connection as ConnectionMethods

from leveret.errors import AmqpError, ReplyCode
from leveret.limits import FRAME_MIN_SIZE
from leveret.protocol.states import ConnectionEvent, ConnectionState
from leveret.protocol.wire.methods import octets
from leveret.protocol.wire.sasl import MECHANISMS

if TYPE_CHECKING:
    from leveret.protocol.connections.connection import Connection

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
"""What the broker says it can do beyond the specification: what works, and nothing else."""


def start(connection: "Connection") -> Frame:
    """connection.start, the broker's first method."""
    broker = connection.broker
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
        mechanisms=" ".join(MECHANISMS),
        locales="en_US",
    )


def start_ok(connection: "Connection", method: ConnectionMethods.StartOk) -> Frame | None:
    """connection.start-ok: log in."""
    connection.expect(ConnectionState.START)
    properties = method.client_properties or {}
    capabilities = properties.get("capabilities")
    if isinstance(capabilities, dict):
        connection.session.capabilities = {
            name for name, value in capabilities.items() if value is True
        }
    name = properties.get("connection_name")
    connection.name = name if isinstance(name, str) else ""
    mechanism = MECHANISMS.get(method.mechanism)
    if mechanism is None:
        raise AmqpError(
            ReplyCode.COMMAND_INVALID,
            f"unknown authentication mechanism '{method.mechanism}'",
        )
    user, password = mechanism(octets(method.response))
    accounts = connection.broker.accounts
    allowed = connection.from_loopback or not accounts.loopback_only(user)
    if not accounts.authenticate(user, password) or not allowed:
        refused = AmqpError(
            ReplyCode.ACCESS_REFUSED,
            f"Login was refused using authentication mechanism {method.mechanism}. "
            "For details see the broker logfile.",
        )
        why = "wrong user or password" if allowed else "user may log in from loopback only"
        connection.refuse(refused, user, why)
        return None
    connection.session.user = user
    connection.move(ConnectionEvent.START_OK)
    amqp = connection.broker.config.amqp
    return ConnectionMethods.Tune(
        channel_max=amqp.channel_max, frame_max=amqp.frame_max, heartbeat=amqp.heartbeat
    )


def tune_ok(connection: "Connection", method: ConnectionMethods.TuneOk) -> None:
    """connection.tune-ok: the client's word stands, within what the broker proposed."""
    connection.expect(ConnectionState.TUNE)
    amqp = connection.broker.config.amqp
    if 0 < method.frame_max < FRAME_MIN_SIZE:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"negotiated frame_max = {method.frame_max} is lower than the minimum allowed value "
            f"({FRAME_MIN_SIZE})",
        )
    _check_most("frame_max", method.frame_max, amqp.frame_max)
    _check_most("channel_max", method.channel_max, amqp.channel_max)
    connection.tuned(method.channel_max, method.frame_max, method.heartbeat)


def _check_most(what: str, value: int, most: int) -> None:
    no_limit = " (no limit)" if value == 0 else ""
    if value > most or value == 0:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"negotiated {what} = {value}{no_limit} is higher than the maximum allowed value "
            f"({most})",
        )


def open_(connection: "Connection", method: ConnectionMethods.Open) -> Frame:
    """connection.open: choose a virtual host."""
    connection.expect(ConnectionState.OPENING)
    broker = connection.broker
    vhost = broker.vhosts.get(method.virtual_host)
    if vhost is None:
        raise AmqpError(ReplyCode.NOT_ALLOWED, f"vhost {method.virtual_host} not found")
    most = broker.config.amqp.max_connections
    if broker.connections_open >= most:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED,
            f"connection refused: node connection limit ({most}) is reached",
        )
    connection.opened(vhost)
    return ConnectionMethods.OpenOk()


def close(connection: "Connection", method: ConnectionMethods.Close) -> None:
    """connection.close by the client. Its exclusive queues are gone before the reply is sent, so
    that it can declare them again at once."""
    connection.closed_by_client = connection.state == ConnectionState.OPEN
    connection.move(ConnectionEvent.CLOSE)
    connection.session.logger.info("connection closed by client", user=connection.session.user)
    connection.release()
    connection.send(ConnectionMethods.CloseOk())


def close_ok(connection: "Connection", method: ConnectionMethods.CloseOk) -> None:
    """connection.close-ok: the client has read why it was closed."""
    connection.move(ConnectionEvent.CLOSE_OK)


def update_secret(connection: "Connection", method: ConnectionMethods.UpdateSecret) -> Frame:
    """connection.update-secret: a password is no secret that runs out, so any new one will do."""
    connection.expect(ConnectionState.OPEN)
    return ConnectionMethods.UpdateSecretOk()


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    ConnectionMethods.StartOk: start_ok,
    ConnectionMethods.TuneOk: tune_ok,
    ConnectionMethods.Open: open_,
    ConnectionMethods.Close: close,
    ConnectionMethods.CloseOk: close_ok,
    ConnectionMethods.UpdateSecret: update_secret,
}

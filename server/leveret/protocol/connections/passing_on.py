"""A connection to a virtual host that another broker of the cluster serves, or that nobody serves
at the moment, from connection.open on.

The connection does nothing but wait: its transport finds the broker and passes it on, with a
handshake that says again what the client has said (`owner_handshake.py`). If the virtual host is
served here in the end, the open goes on here.

A connection that has been passed on to this broker is not passed on again. What it asks for that is
not here, though the broker that passes it on knows it, is answered with INTERNAL_ERROR: that broker
tries again, since one of the two knows less than the other for a moment.
"""

from collections.abc import Callable

from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.session import Session


class PassingOn(Work):
    """The wait of one connection for the broker that serves its virtual host."""

    def __init__(
        self,
        vhost: str,
        introduction: bytes,
        limits: tuple[int, int, int],
        broker: Broker,
        user: str,
        open_here: Callable[[], None],
        refuse: Callable[[AmqpError], None],
    ) -> None:
        """
        :param introduction: the client properties, as they came.
        :param limits: channel-max, frame-max and heartbeat, as they were negotiated.
        :param open_here: opens the connection here, and raises AmqpError if it may not be.
        :param refuse: refuses connection.open with an error.
        """
        self.vhost = vhost
        self.introduction = introduction
        self.limits = limits
        self.ended: Callable[[], None] = _ignore
        """Called when the connection is opened here or closed, before it was passed on."""
        self._broker = broker
        self._vhosts = broker.vhosts
        self._user = user
        self._open_here = open_here
        self.refuse = refuse
        self._is_over = False

    @property
    def is_served_here(self) -> bool:
        """Whether the connection is to be opened here."""
        return self.vhost in self._vhosts

    @property
    def refusal(self) -> AmqpError | None:
        """Why the connection may be opened nowhere any more: the virtual host was deleted, or the
        permission."""
        broker = self._broker
        if broker.metadata.get(VirtualHostEntity, self.vhost) is None:
            return not_found(self.vhost)
        if not broker.rights.has_access(self._user, self.vhost):
            return no_access(self.vhost, self._user)
        return None

    def waits(self) -> bool:
        return not self._is_over and not self.is_served_here

    def run(self, time_slice: TimeSlice) -> bool:
        if self.waits():
            return False
        if not self._is_over:
            self._open_here()
        return True

    def is_down(self) -> None:
        """Refuse connection.open, because nobody serves the virtual host."""
        self.refuse(down(self.vhost, self._user))

    def end(self) -> None:
        """There is nothing to wait for any more."""
        if not self._is_over:
            self._is_over = True
            self.ended()


def _ignore() -> None:
    """Nobody passes the connection on."""


def is_elsewhere(broker: Broker, name: str, session: Session) -> bool:
    """Whether the virtual host of connection.open exists, and is not served here at the moment.

    :raises AmqpError: NOT_ALLOWED if the user has no access to it; INTERNAL_ERROR to the broker
        that has passed the connection on, if the virtual host or the access is not known here, or
        the virtual host is not served here.
    """
    placement = broker.placement
    if placement is None:
        return False
    is_known = broker.metadata.get(VirtualHostEntity, name) is not None
    has_access = is_known and broker.rights.has_access(session.user, name)
    vouched = session.peer.vouched
    if vouched is not None and not (has_access and _is_served(broker, name)):
        raise down(name, session.user)
    if name in broker.vhosts or not is_known:
        return False
    if not has_access:
        raise no_access(name, session.user)
    return True


def _is_served(broker: Broker, name: str) -> bool:
    """Whether a virtual host is served here, or will be in a moment."""
    if name in broker.vhosts:
        return True
    served_by = None if broker.placement is None else broker.placement.served_by(name)
    return served_by is not None and served_by.is_local


def not_found(vhost: str) -> AmqpError:
    """The error of a virtual host that does not exist."""
    return AmqpError(ReplyCode.NOT_ALLOWED, f"vhost {vhost} not found")


def no_access(vhost: str, user: str) -> AmqpError:
    """The error of a virtual host to which the user has no access."""
    return AmqpError(ReplyCode.NOT_ALLOWED, f"access to vhost '{vhost}' refused for user '{user}'")


def down(vhost: str, user: str) -> AmqpError:
    """The error of a virtual host that nobody serves, with RabbitMQ's text."""
    return AmqpError(
        ReplyCode.INTERNAL_ERROR,
        f"access to vhost '{vhost}' refused for user '{user}': vhost '{vhost}' is down",
    )


def introduction(start_ok: bytes) -> bytes:
    """The client properties in the payload of connection.start-ok, which was decoded before."""
    return start_ok[4 : 8 + int.from_bytes(start_ok[4:8])]

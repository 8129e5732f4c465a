"""The refusal of a login: in a frame if the client understands it, else by the end of the socket,
after a delay that makes guessing slow (RabbitMQ: Authentication failure notifications)."""

from leveret.engine.broker import Broker
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import SILENT_CLOSE_DELAY_S
from leveret.protocol.channels.peer import Peer


class LoginRefusal:
    """One login that failed, which is logged already."""

    def __init__(self, broker: Broker, peer: Peer, mechanism: str, now: float) -> None:
        """
        :param mechanism: the login mechanism.
        :param now: monotonic time, in seconds.
        """
        answers = "authentication_failure_close" in peer.capabilities
        host, _, _ = peer.address.rpartition(":")
        delay_s = broker.login_failures.add(host, now)
        self.error = login_refused(mechanism) if answers else None
        """What the client is told; None if it does not understand it."""
        self.delay_s: float = max(delay_s, 0 if answers else SILENT_CLOSE_DELAY_S)
        """Seconds until it is told, or the socket is closed."""


def login_refused(mechanism: str) -> AmqpError:
    """The error of a refused login, which gives no reason to the client."""
    return AmqpError(
        ReplyCode.ACCESS_REFUSED,
        f"Login was refused using authentication mechanism {mechanism}. "
        "For details see the broker logfile.",
    )

"""What a client is told of resource alarms, if it understands it (RabbitMQ: Blocked Connection
Notifications)."""

from pamqp.commands import Connection as ConnectionMethods

from leveret.protocol.channels.session import Session
from leveret.protocol.wire import methods


def tell_blocked(session: Session, reason: str) -> None:
    """It is not read any more."""
    session.logger.warning("connection blocked", reason=reason)
    if "connection.blocked" in session.peer.capabilities:
        session.write(methods.encode(ConnectionMethods.Blocked(reason=reason), 0))


def tell_unblocked(session: Session) -> None:
    """It is read again."""
    session.logger.info("connection unblocked")
    if "connection.blocked" in session.peer.capabilities:
        session.write(methods.encode(ConnectionMethods.Unblocked(), 0))

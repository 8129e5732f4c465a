"""The class tx (AMQP 0-9-1, section 1.9): publishes and acknowledgements, all or nothing."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Tx

from leveret.engine.routing.routes import Route
from leveret.engine.values.message import arriving
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.transaction import Transaction


def select(channel: Channel, method: Tx.Select) -> Frame:
    """tx.select: from now on the channel's work waits for a commit."""
    if channel.confirming:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
    if channel.transaction is None:
        channel.transaction = Transaction()
    return Tx.SelectOk()


def commit(channel: Channel, method: Tx.Commit) -> Frame:
    """tx.commit: publish and settle all that waits, and begin anew."""
    transaction = _transaction(channel)
    channel.transaction = None
    now = int(channel.vhost.clock.now)
    refused = False
    for message, route, mandatory in transaction.published:
        came = arriving(message, now)
        if not channel.route_message(came, _without_deleted(route), mandatory):
            refused = True
    for deliveries, outcome in transaction.settled:
        channel.settle(deliveries, outcome)
    channel.transaction = Transaction()
    channel.hold_until_committed()
    if refused:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "partial tx completion")
    return Tx.CommitOk()


def _without_deleted(route: Route) -> Route:
    """A route as it was when its message was published, but for the queues that are gone since."""
    if not any(sink.deleted for sink in route.sinks):
        return route
    sinks = [sink for sink in route.sinks if not sink.deleted]
    return Route(route.raw, route.exchange, route.routing_key, sinks, route.needs_message)


def rollback(channel: Channel, method: Tx.Rollback) -> Frame:
    """tx.rollback: forget all that waits, and begin anew."""
    channel.rollback(_transaction(channel))
    channel.transaction = Transaction()
    return Tx.RollbackOk()


def _transaction(channel: Channel) -> Transaction:
    if channel.transaction is None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "channel is not transactional")
    return channel.transaction


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    Tx.Select: select,
    Tx.Commit: commit,
    Tx.Rollback: rollback,
}

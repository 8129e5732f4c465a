"""The class tx (AMQP 0-9-1, section 1.9): publishes and acknowledgements at one commit."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Tx

from leveret.engine.routing.routes import Route
from leveret.engine.routing.sink import REFUSED
from leveret.engine.values.message import arriving
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.channel import Channel


def select(channel: Channel, method: Tx.Select) -> Frame:
    """tx.select: publishes and acknowledgements wait for tx.commit from here on."""
    if channel.confirms.enabled:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
    channel.transaction.selected = True
    return Tx.SelectOk()


def commit(channel: Channel, method: Tx.Commit) -> Frame:
    """tx.commit: publish and settle all that waits, and begin a new transaction."""
    _check_transactional(channel)
    published, settled = channel.transaction.take()
    now = int(channel.vhost.clock.now)
    refused = False
    for message, route, mandatory in published:
        arrived = arriving(message, now)
        if channel.route_message(arrived, _without_deleted(route), mandatory) & REFUSED:
            refused = True
    for deliveries, outcome in settled:
        channel.settlement.settle(deliveries, outcome)
    if channel.vhost.dead_letters.pending:
        # What the transaction rejects is settled in the batch that has its publishes.
        channel.vhost.publisher.pass_on_in_batch()
    channel.hold_until_committed()
    if refused:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "partial tx completion")
    return Tx.CommitOk()


def _without_deleted(route: Route) -> Route:
    """The route a message had when it was published, without sinks that were deleted since."""
    if not any(sink.deleted for sink in route.sinks):
        return route
    sinks = [sink for sink in route.sinks if not sink.deleted]
    return Route(route.raw, route.exchange, route.routing_key, sinks, route.needs_message)


class _Rollback(Work):
    """Rolls back the transaction of a channel, and sends the reply."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def run(self, time_slice: TimeSlice) -> bool:
        channel = self._channel
        if not channel.transaction.roll_back(channel.deliveries, time_slice):
            return False
        channel.send(Tx.RollbackOk())
        return True


def rollback(channel: Channel, method: Tx.Rollback) -> None:
    """tx.rollback: forget all that waits, and begin a new transaction."""
    _check_transactional(channel)
    channel.session.begin(_Rollback(channel))


def _check_transactional(channel: Channel) -> None:
    """Check that the channel has a transaction.

    :raises AmqpError: PRECONDITION_FAILED without tx.select.
    """
    if not channel.transaction.selected:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "channel is not transactional")


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    Tx.Select: select,
    Tx.Commit: commit,
    Tx.Rollback: rollback,
}

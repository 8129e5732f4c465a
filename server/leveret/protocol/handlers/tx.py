"""The class tx (AMQP 0-9-1, section 1.9): publishes and acknowledgements at one commit."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Tx

from leveret.engine.queues.queue import Queue
from leveret.engine.routing.routes import Route
from leveret.engine.routing.sink import REFUSED
from leveret.engine.values.message import Message, arriving
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import OUTPUT_REPLIES_BYTES_MAX
from leveret.protocol.channels.channel import Channel

SETTLED_AT_ONCE: Final = 64
"""Deliveries that are settled before the clock is looked at."""


def select(channel: Channel, method: Tx.Select) -> Frame:
    """tx.select: publishes and acknowledgements wait for tx.commit from here on."""
    if channel.confirms.enabled:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
    channel.transaction.selected = True
    return Tx.SelectOk()


class _Commit(Work):
    """Commits the transaction of a channel, and sends the reply.

    What the log has of a transaction has to be in one batch. So the work is interrupted only before
    the first message or settlement that the log may have: everything behind that is done in one
    slice, and a transaction without such is done in as many as it takes.
    """

    def __init__(self, channel: Channel) -> None:
        published, settled = channel.transaction.take()
        published.reverse()
        settled.reverse()
        for deliveries, _ in settled:
            deliveries.reverse()
        self._channel = channel
        self._published = published
        """The next one last, as in `_settled`."""
        self._settled = settled
        self._now = int(channel.vhost.clock.now)
        self._refused = False
        self._logged = False
        """Whether the log may have something of the transaction."""

    def run(self, time_slice: TimeSlice) -> bool:
        channel = self._channel
        while self._published:
            message, route, mandatory = self._published.pop()
            arrived = arriving(message, self._now)
            route = _without_deleted(route)
            self._logged = self._logged or _may_be_logged(arrived, route)
            if channel.route_message(arrived, route, mandatory) & REFUSED:
                self._refused = True
            if self._must_pause(time_slice):
                return False
        while self._settled:
            deliveries, outcome = self._settled[-1]
            some = deliveries[-SETTLED_AT_ONCE:]
            some.reverse()
            del deliveries[-SETTLED_AT_ONCE:]
            self._logged = self._logged or any(each.queue.durable for each in some)
            channel.settlement.settle(some, outcome)
            if not deliveries:
                self._settled.pop()
            if self._must_pause(time_slice):
                return False
        if channel.vhost.dead_letters.pending:
            # What the transaction rejects is settled in the batch that has its publishes.
            channel.vhost.publisher.pass_on_in_batch()
        channel.hold_until_committed()
        if self._refused:
            raise AmqpError(ReplyCode.PRECONDITION_FAILED, "partial tx completion")
        channel.send(Tx.CommitOk())
        return True

    def _must_pause(self, time_slice: TimeSlice) -> bool:
        """Whether the rest has to wait for the next slice, or until the peer reads what was
        returned."""
        if self._logged:
            return False
        too_much = self._channel.session.output_size() > OUTPUT_REPLIES_BYTES_MAX
        return too_much or time_slice.is_over()


def commit(channel: Channel, method: Tx.Commit) -> None:
    """tx.commit: publish and settle all that waits, and begin a new transaction."""
    _check_transactional(channel)
    channel.session.begin(_Commit(channel))


def _may_be_logged(message: Message, route: Route) -> bool:
    """Whether a publish may write the message to the log."""
    if message.persistent or route.needs_message:
        return bool(route.sinks) or route.needs_message
    return any(not isinstance(sink, Queue) or sink.persists for sink in route.sinks)


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

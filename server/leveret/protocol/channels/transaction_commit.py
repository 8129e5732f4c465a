"""Committing a transaction: publishing and settling what it has deferred, in as many slices as that
takes.

All of it counts, or after a crash nothing. What the log need not have comes first, as it is. From
the first message or settlement on that the log may have:

- A short rest is done in one slice, so in one batch.
- A long rest is a transaction of the store, with a part in the log for each slice. There is one at
  a time, and the others wait for it. It goes on if its connection is lost, or does not read,
  because much has to wait for its end (`store/transaction.py` of the storage).

Messages are delivered as they are published: nothing can refuse a commit that has begun.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.queue import Queue
from leveret.engine.routing.routes import Route
from leveret.engine.routing.sink import AWAITS_TRANSACTION, REFUSED, Sink
from leveret.engine.values.message import Message, arriving
from leveret.engine.values.time_slice import ENDLESS, TimeSlice
from leveret.engine.values.work import Work
from leveret.limits import FAN_OUT_AT_ONCE, OUTPUT_REPLIES_BYTES_MAX
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.delivery import ACKNOWLEDGED
from leveret.protocol.channels.transaction import Publish

SETTLED_AT_ONCE: Final = 64
"""Deliveries that are settled before the clock is looked at."""

COMMITTED_AT_ONCE: Final = 1000
"""Messages, queues of messages, and settlements up to which a transaction is committed in one
slice: half a millisecond. Such a one need not wait for a long one."""


class TransactionCommit(Work):
    """Commits the transaction of a channel. The next one begins empty."""

    def __init__(self, channel: Channel) -> None:
        published, settled = channel.transaction.take()
        published.reverse()
        settled.reverse()
        for deliveries, _ in settled:
            deliveries.reverse()
        self.done = False
        """Whether all is published and settled, or it was given up."""
        self.failed = False
        """Whether it was given up, because of a fault of the broker."""
        self._waits = False
        """Whether the last call of `run` waited for the disk, or for another transaction."""
        self.batch: i64 = 0
        """The batch that it is durable with, once it is done; 0 if the store has nothing of it."""
        self._channel = channel
        self._vhost = channel.vhost
        self._publisher = channel.vhost.publisher
        self._store = channel.vhost.store
        self._published = published
        """The next one last, as in `_settled`."""
        self._settled = settled
        self._now = int(channel.vhost.clock.now)
        self._fanning_out: Message | None = None
        self._sinks: list[Sink] = []
        """A message that was published to some of its sinks, and the others, the next one last."""
        self._outcome: i64 = 0
        """The union of the outcomes of all publishes."""
        self._logged = False
        """Whether the log may have what is to be done next."""
        self._in_parts = False
        """Whether it is a transaction of the store."""
        self._dead_letters = -1
        """How many dead letters its rejections have made that are to be published; -1 before all is
        settled."""

    def is_refused(self) -> bool:
        """Whether any queue refused a message of it."""
        return self._outcome & REFUSED != 0

    def waits(self) -> bool:
        return self._waits

    def run(self, time_slice: TimeSlice) -> bool:
        self._waits = False
        if self.done or (not self._logged and not self._do_unlogged(time_slice)):
            return self.done
        store = self._store
        if store is None or not self._logged:
            self._end()
        elif self._in_parts or not self._is_short():
            self._run_part(time_slice)
        else:
            self._do(ENDLESS)
            if self._outcome & AWAITS_TRANSACTION and store.transaction.is_open():
                self._waits = True
                return False
            if self._vhost.dead_letters.pending:
                self._publisher.pass_on_in_batch()
            self._end()
        return self.done

    def _end(self) -> None:
        self.done = True
        store = self._store
        if store is not None and store.has_uncommitted():
            store.request_commit()
            self.batch = store.batch

    # --- what the log need not have ---------------------------------------------------------

    def _do_unlogged(self, time_slice: TimeSlice) -> bool:
        """Publish and settle up to what the log may have, until the slice is over.

        :returns: whether that is done. If not, it has to wait for the next slice, or until the peer
            reads what was returned.
        """
        while self._published or self._sinks:
            if not self._sinks and self._must_be_logged(self._published[-1]):
                self._logged = True
                return True
            self._publish_next()
            if self._must_pause(time_slice):
                return False
        while self._settled:
            for delivery in self._settled[-1][0][-SETTLED_AT_ONCE:]:
                if delivery.queue.durable and self._store is not None:
                    self._logged = True
                    return True
            self._settle_next()
            if self._must_pause(time_slice):
                return False
        return True

    def _must_be_logged(self, publish: Publish) -> bool:
        message, route, _ = publish
        return self._store is not None and _may_be_logged(message, _without_deleted(route))

    def _must_pause(self, time_slice: TimeSlice) -> bool:
        too_much = self._channel.session.output_size() > OUTPUT_REPLIES_BYTES_MAX
        return too_much or time_slice.is_over()

    # --- a short rest -----------------------------------------------------------------------

    def _is_short(self) -> bool:
        """Whether the rest is done in one slice. What it rejects may not be between the parts of
        another transaction."""
        count = len(self._published)
        if count > COMMITTED_AT_ONCE:
            return False
        for _, route, _ in self._published:
            count += len(route.sinks)
        for deliveries, outcome in self._settled:
            count += len(deliveries)
            if outcome != ACKNOWLEDGED and self._publisher.has_transaction():
                return False
        return count <= COMMITTED_AT_ONCE

    # --- a long rest ------------------------------------------------------------------------

    def _run_part(self, time_slice: TimeSlice) -> None:
        """Do the next part, when no other transaction is in the store."""
        publisher = self._publisher
        begins = not self._in_parts
        if begins:
            if not publisher.begin_transaction():
                self._waits = True
                return
            self._in_parts = True
        elif not publisher.may_begin_part():
            self._waits = True
            return
        ended = True
        self.failed = True
        publisher.begin_part()
        try:
            ended = self._do_part(time_slice)
            self.failed = False
        finally:
            publisher.end_part()
            if ended:
                self._end()
                publisher.commit_transaction()
        if begins and not ended:
            # Whoever waits for it may help, but need not.
            self._vhost.work.add(self)

    def _do_part(self, time_slice: TimeSlice) -> bool:
        """Go on until the slice is over; whether all is done."""
        publisher = self._publisher
        publisher.pass_on_dead_letters()
        if publisher.has_too_many_dead_letters() or not self._do(time_slice):
            return False
        if self._dead_letters < 0:
            self._dead_letters = publisher.waiting_dead_letters()
        self._dead_letters = publisher.pass_on_waiting(self._dead_letters, time_slice)
        return self._dead_letters == 0

    def _do(self, time_slice: TimeSlice) -> bool:
        """Publish and settle until the slice is over; whether all is done."""
        publisher = self._publisher
        in_parts = self._in_parts
        while self._published or self._sinks:
            self._publish_next()
            if time_slice.is_over() or (in_parts and publisher.has_too_many_dead_letters()):
                return False
        while self._settled:
            self._settle_next()
            if time_slice.is_over() or (in_parts and publisher.has_too_many_dead_letters()):
                return False
        return True

    # --- one step ---------------------------------------------------------------------------

    def _publish_next(self) -> None:
        """Publish the next message, or the one that is being published to some more of its
        sinks."""
        channel = self._channel
        message = self._fanning_out
        if message is not None:
            some = self._sinks[-FAN_OUT_AT_ONCE:]
            some.reverse()
            del self._sinks[-FAN_OUT_AT_ONCE:]
            if not self._sinks:
                self._fanning_out = None
            self._outcome |= channel.fan_out(message, some)
            return
        published, route, mandatory = self._published.pop()
        message = arriving(published, self._now)
        route = _without_deleted(route)
        if len(route.sinks) > FAN_OUT_AT_ONCE:
            channel.count_publish(message, route)
            channel.vhost.router.tell_of_client(message, route)
            self._fanning_out = message
            self._sinks = route.sinks[::-1]
            return
        self._outcome |= channel.route_message(message, route, mandatory)

    def _settle_next(self) -> None:
        """Settle the next deliveries, SETTLED_AT_ONCE of them."""
        deliveries, outcome = self._settled[-1]
        some = deliveries[-SETTLED_AT_ONCE:]
        some.reverse()
        del deliveries[-SETTLED_AT_ONCE:]
        if not deliveries:
            self._settled.pop()
        self._channel.settlement.settle(some, outcome)


def _may_be_logged(message: Message, route: Route) -> bool:
    """Whether a publish may write the message to the log."""
    if message.persistent:
        return bool(route.sinks)
    return any(not isinstance(sink, Queue) or sink.persists for sink in route.sinks)


def _without_deleted(route: Route) -> Route:
    """The route a message had when it was published, without sinks that were deleted since."""
    for sink in route.sinks:
        if sink.deleted:
            sinks = [each for each in route.sinks if not each.deleted]
            remaining = route.to(sinks)
            remaining.observed_keys = route.observed_keys
            return remaining
    return route

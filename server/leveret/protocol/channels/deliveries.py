"""Deliveries: the tags of a channel, what is unacknowledged, and the limits of its consumers.

A delivery tag counts the deliveries of a channel from 1 (AMQP 0-9-1, section 1.1, delivery-tag).
Prefetch has two limits that hold at once: each consumer has its own, and the channel may have one
that its consumers share (RabbitMQ: Consumer Prefetch).

A delivery that is not settled within the consumer timeout is overdue, and its message is requeued
for good. The client may still be at work on it, so its tag stays outstanding: it counts against the
prefetch until the client settles it, which then is no error and has no further effect.
"""

from typing import Final

from mypy_extensions import i16, i64
from pamqp.commands import Basic

from leveret.engine.queues.message_memory import (
    DISK_BUSY,
    MORE_TO_RELEASE,
    RELEASED,
    MemoryHolder,
)
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.released import RELEASED_MESSAGES_MAX, RELEASED_OCTETS_MAX
from leveret.engine.values.counters import ChannelCounters
from leveret.engine.values.delivery_times import DeliveryTimes
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import OVERDUE_TAGS_MAX
from leveret.protocol.channels.delivery import Delivery, DeliveryConsumer
from leveret.protocol.channels.session import Session
from leveret.protocol.wire.frames import DeliveryTemplate, wire_number
from leveret.protocol.wire.methods import encode

UNCHANGED: Final = -1
"""In place of a prefetch: consumers keep theirs."""

RESUMED_AT_ONCE: Final = 64
"""Consumers that are resumed before the clock is looked at: mostly all of a channel."""

GAP_TAGS_MAX: Final = 64
"""Tags in a row that settling looks at before it looks at the clock: some microseconds."""


class Deliveries(MemoryHolder):
    """What one channel has delivered, and its consumers."""

    def __init__(self, session: Session, channel: int, counters: ChannelCounters) -> None:
        super().__init__()
        self.counters = counters
        """Of the channel."""
        self.vhost_counters: ChannelCounters = session.vhost.counters
        self.session = session
        self.channel = channel
        self.wire_number: i16 = wire_number(channel)
        self.template = DeliveryTemplate()
        self.consumers: dict[str, DeliveryConsumer] = {}
        """By tag. Under a shared prefetch the one that waits longest for a delivery is first."""
        self.times: DeliveryTimes | None = None
        """When deliveries were made, about; None as long as that was not looked at."""
        self.last_tag: i64 = 0
        self.unacknowledged: dict[int, Delivery] = {}
        """By delivery tag. What a transaction settles is not among them."""
        self.reply_to = b""
        """The name by which replies reach the channel; empty without a consumer of replies."""
        self.prefetch: i64 = 0
        """The limit of `outstanding` that the consumers share; 0 is no limit. At the limit no
        consumer takes messages, not even one that acknowledges nothing."""
        self.outstanding: i64 = 0
        """Deliveries to consumers that the client has not settled, overdue ones included. What
        basic.get fetched is not among them."""
        self.overdue: dict[int, DeliveryConsumer] = {}
        """The consumer of each overdue delivery, by its tag."""
        self.lowest: i64 = 1
        """No lower tag is unacknowledged: settling many begins to look here. Read-only for
        others."""
        self.new_prefetch: i64 = UNCHANGED
        """The prefetch that all present consumers get, as they are resumed."""
        self.resumption: _Resumption | None = None
        """Resumes the consumers; None if that is done."""
        self._released_from: i64 = 1
        """No message of a lower tag can be released any more."""
        self._seen_tag: i64 = 0
        """The last tag at the last visit of a sweep."""

    def next_tag(self) -> i64:
        """The tag of the delivery that is about to be written."""
        tag = self.last_tag + 1
        self.last_tag = tag
        return tag

    def count_acknowledged(self, count: i64) -> None:
        """Count deliveries that the client has acknowledged."""
        self.counters.ack += count
        self.vhost_counters.ack += count

    def pop(self, tag: i64) -> Delivery | None:
        """Take one delivery out, to be settled; None if it was overdue.

        :raises AmqpError: PRECONDITION_FAILED for a tag that is neither.
        """
        delivery = self.unacknowledged.get(tag)
        if delivery is None:
            if tag not in self.overdue:
                raise _unknown(tag)
            self._settle_overdue([int(tag)])
            return None
        del self.unacknowledged[tag]
        return delivery

    def pop_through(self, tag: i64) -> list[Delivery]:
        """Take every delivery up to and with a tag out, or all for tag 0, to be settled.

        :raises AmqpError: PRECONDITION_FAILED if the tag itself is neither unacknowledged nor
            overdue.
        """
        if tag == 0:
            return self.pop_all()
        if tag not in self.unacknowledged and tag not in self.overdue:
            raise _unknown(tag)
        if self.overdue:
            self._settle_overdue([overdue for overdue in self.overdue if overdue <= tag])
        return self._pop_until(tag)

    def check_through(self, tag: i64) -> i64:
        """Begin to settle everything up to and with a tag, or all for tag 0: forget the overdue
        ones.

        :returns: the tag up to which `pop_next` takes deliveries out.
        :raises AmqpError: as `pop_through`.
        """
        if tag != 0 and tag not in self.unacknowledged and tag not in self.overdue:
            raise _unknown(tag)
        through = self.last_tag if tag == 0 else tag
        if self.overdue:
            self._settle_overdue([overdue for overdue in self.overdue if overdue <= through])
        return through

    def pop_next(self, through: i64) -> Delivery | None:
        """Take the oldest delivery out whose tag is `through` at most, to be settled.

        :returns: None if there is none, or not among the next GAP_TAGS_MAX tags: `lowest` tells.
        """
        if not self.unacknowledged:
            self.lowest = max(self.lowest, through + 1)
            return None
        at = self.lowest
        end = min(through + 1, at + GAP_TAGS_MAX)
        delivery: Delivery | None = None
        while at < end and delivery is None:
            delivery = self.unacknowledged.pop(int(at), None)
            at += 1
        self.lowest = at
        return delivery

    def _pop_until(self, tag: i64) -> list[Delivery]:
        popped: list[Delivery] = []
        at = self.lowest
        while at <= tag:
            delivery = self.unacknowledged.get(at)
            if delivery is not None:
                del self.unacknowledged[at]
                popped.append(delivery)
            at += 1
        self.lowest = at
        return popped

    def pop_all(self) -> list[Delivery]:
        """Take every delivery out, oldest first, to be settled."""
        popped = self._pop_until(self.last_tag)
        if self.overdue:
            # Consumers may get further deliveries by this.
            self._settle_overdue(list(self.overdue))
        return popped

    def restore(self, delivery: Delivery) -> None:
        """Make a delivery unacknowledged again that was popped, and restart its timer."""
        self.unacknowledged[delivery.tag] = delivery
        if delivery.consumer is not None:
            delivery.consumer.restart_timer(delivery)
        self.lowest = min(self.lowest, delivery.tag)
        self._released_from = min(self._released_from, delivery.tag)

    # --- memory -------------------------------------------------------------------------------

    def release(self, idle: bool) -> int:
        """Have messages on disk only that are unacknowledged since before the last visit."""
        store = self.session.store
        end = min(self._seen_tag, self.last_tag) + 1
        if not self.unacknowledged or store is None:
            end = 0
        elif not store.may_release():
            return DISK_BUSY
        else:
            self._released_from = max(self._released_from, next(iter(self.unacknowledged)))
        octets = 0
        looked_at = 0
        by_queue: dict[Queue, list[Delivery]] = {}
        while (
            self._released_from < end
            and looked_at < RELEASED_MESSAGES_MAX
            and octets < RELEASED_OCTETS_MAX
        ):
            delivery = self.unacknowledged.get(self._released_from)
            self._released_from += 1
            looked_at += 1
            if delivery is not None:
                octets += len(delivery.message.body)
                by_queue.setdefault(delivery.queue, []).append(delivery)
        for queue, deliveries in by_queue.items():
            _release(queue, deliveries)
        if self._released_from < end:
            return MORE_TO_RELEASE
        self._seen_tag = self.last_tag
        return RELEASED

    # --- overdue deliveries -------------------------------------------------------------------

    def requeue_overdue(
        self, deliveries: list[Delivery], consumer: DeliveryConsumer, more: bool
    ) -> None:
        """Requeue what a consumer did not settle in time; deliver and report it at the end.

        :param more: whether others follow that were due at the same time.
        """
        queue = consumer.queue
        for delivery in deliveries:
            if self.unacknowledged.pop(delivery.tag, None) is None:
                # A transaction has settled it; a rollback starts its timer again.
                continue
            self.overdue[delivery.tag] = consumer
            consumer.overdue += 1
            consumer.overdue_unreported += 1
            queue.unacknowledged -= 1
            queue.requeue(delivery.message, delivery.position, True)
        excess = len(self.overdue) - OVERDUE_TAGS_MAX
        if excess > 0:
            self._settle_overdue(list(self.overdue)[:excess])
        if more or consumer.overdue_unreported == 0:
            return
        count = int(consumer.overdue_unreported)
        consumer.overdue_unreported = 0
        if self.consumers.get(consumer.tag) is consumer:
            queue.time_out(consumer)
        self.session.logger.warning(
            "deliveries not acknowledged in time",
            channel=self.channel,
            consumer_tag=consumer.tag,
            queue=queue.name,
            messages=count,
            user=self.session.user,
        )
        queue.deliver_ready()

    def _settle_overdue(self, tags: list[int]) -> None:
        """Forget tags of overdue deliveries, which no longer count against the prefetch."""
        for tag in tags:
            consumer = self.overdue.pop(tag)
            consumer.outstanding -= 1
            consumer.overdue -= 1
            self.outstanding -= 1
            if consumer.overdue == 0 and self.consumers.get(consumer.tag) is consumer:
                consumer.queue.recover(consumer)
            if self.prefetch == 0:
                consumer.resume_if_able()
        if self.prefetch != 0:
            self.resume_consumers()

    # --- consumers ----------------------------------------------------------------------------

    def set_consumer_prefetch(self, prefetch: int) -> None:
        """Change the prefetch of every consumer, and resume those it had suspended; many of them in
        later slices."""
        self.new_prefetch = prefetch
        self.resume_consumers()

    def resume_consumers(self) -> None:
        """Resume every suspended consumer that no limit stops any more, many of them in later
        slices."""
        resumption = self.resumption
        if resumption is not None:
            resumption.begin_again()
            return
        resumption = _Resumption(self)
        self.resumption = resumption
        if not resumption.run(self.session.time_slice):
            self.session.vhost.work.add(resumption)

    def is_full(self) -> bool:
        """Whether the prefetch that the consumers share is used up."""
        return self.prefetch != 0 and self.outstanding >= self.prefetch

    def move_to_back(self, consumer: DeliveryConsumer) -> None:
        """Have the other consumers served first, once the shared prefetch allows it again."""
        del self.consumers[consumer.tag]
        self.consumers[consumer.tag] = consumer

    def consumer_cancelled(self, consumer: DeliveryConsumer) -> None:
        """Remove a consumer whose queue was deleted, or that an operator has cancelled, and tell a
        client that understands it.

        (RabbitMQ: Consumer Cancellation Notification.)
        """
        if self.consumers.get(consumer.tag) is not consumer:
            # It was cancelled, or its channel closed, since the queue was deleted.
            return
        del self.consumers[consumer.tag]
        consumer.queue.host.memory.removed(consumer.arguments)
        if "consumer_cancel_notify" in self.session.peer.capabilities:
            cancel = Basic.Cancel(consumer_tag=consumer.tag, nowait=True)
            self.session.write(encode(cancel, self.channel))


class _Resumption(Work):
    """Resumes the consumers of a channel. Under a shared prefetch the one that waits longest for a
    delivery is first, and nobody is asked any more when the limit is reached."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._remaining: list[DeliveryConsumer] = []
        """The next one last."""
        self._begins = True
        """Whether it has to begin with the first one when `_remaining` are done."""
        self._at_once: i64 = RESUMED_AT_ONCE

    def begin_again(self) -> None:
        """Ask all consumers again, after those that remain: a limit may have changed."""
        self._begins = True

    def run(self, time_slice: TimeSlice) -> bool:
        deliveries = self._deliveries
        while True:
            if not self._remaining:
                if not self._begins:
                    break
                self._begins = False
                self._remaining = list(deliveries.consumers.values())
                self._remaining.reverse()
                self._at_once = RESUMED_AT_ONCE
            while self._remaining:
                consumer = self._remaining.pop()
                if deliveries.new_prefetch == UNCHANGED:
                    if deliveries.is_full():
                        self._remaining.clear()
                        break
                elif not consumer.no_ack:
                    consumer.prefetch = deliveries.new_prefetch
                consumer.resume_if_able()
                self._at_once -= 1
                if self._at_once < 0 and time_slice.is_over():
                    return False
        deliveries.new_prefetch = UNCHANGED
        deliveries.resumption = None
        return True


def _release(queue: Queue, deliveries: list[Delivery]) -> None:
    """Have the messages of deliveries of one queue on disk only, as far as that is possible."""
    by_position = {int(delivery.position): delivery for delivery in deliveries}
    positions = sorted(by_position)
    popped = [(position, by_position[position].message) for position in positions]
    retained = queue.release_popped(popped)
    for at, position in enumerate(positions):
        by_position[position].message = retained[at]


def _unknown(tag: i64) -> AmqpError:
    # A tag is unsigned on the wire.
    return AmqpError(
        ReplyCode.PRECONDITION_FAILED, f"unknown delivery tag {int(tag) & 0xFFFFFFFFFFFFFFFF}"
    )

"""Deliveries: the tags of a channel, what is unacknowledged, and the consumers it went to.

A delivery tag counts the deliveries of a channel from 1 (AMQP 0-9-1, section 1.1, delivery-tag).
Prefetch has two limits that hold at once: each consumer has its own, and the channel may have one
that its consumers share (RabbitMQ: Consumer Prefetch).

A delivery that its consumer does not settle within the consumer timeout is overdue: its message
goes back to the queue, once and for all. Its tag stays with the client, which may be at work on it,
and counts against the prefetch until the client settles it. That is no error then, and concerns
nobody else.
"""

from typing import Final, TypeAlias

from mypy_extensions import i16, i64, mypyc_attr
from pamqp.commands import Basic

from leveret.engine.lifecycle.queues import remove_consumer
from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.values.arguments import PRIORITY
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.engine.values.timers import Timer
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import OVERDUE_TAGS_MAX
from leveret.protocol.channels.session import Session
from leveret.protocol.wire.frames import wire_number, write_deliver
from leveret.protocol.wire.methods import encode

Outcome: TypeAlias = int
ACKNOWLEDGED: Final = 0
REJECTED: Final = 1
RETURNED: Final = 2
FAILED: Final = 3
"""What becomes of a delivery: it is done with, or not wanted; or it goes back to its queue, either
just so or because somebody could not cope with it."""


class Deliveries:
    """What one channel has delivered. Its `take` methods take out what is to be settled."""

    def __init__(self, session: Session, channel: int) -> None:
        self.session = session
        self.channel = channel
        self.number: i16 = wire_number(channel)
        self.consumers: dict[str, ChannelConsumer] = {}
        self.last_tag: i64 = 0
        self.unacknowledged: dict[int, Delivery] = {}
        self.reply_to = b""
        """The name by which replies reach the channel; empty without a consumer of replies."""
        self.prefetch: i64 = 0
        """Messages all consumers of the channel may hold together; 0 is no limit. While that many
        are held, a consumer that acknowledges nothing waits, too."""
        self.held: i64 = 0
        """Messages its consumers hold. What basic.get fetched is not among them."""
        self.overdue: dict[int, ChannelConsumer] = {}
        """Who holds the tag of a delivery that was taken from it, by the tag."""
        self._lowest: i64 = 1
        """No tag below is unacknowledged: where an acknowledgement of many begins to look."""

    def next_tag(self) -> i64:
        """The tag of the delivery that is about to be written."""
        tag = self.last_tag + 1
        self.last_tag = tag
        return tag

    def take(self, tag: i64) -> "Delivery | None":
        """One delivery, which is no longer unacknowledged; None for one that was overdue.

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

    def take_until(self, tag: i64) -> list["Delivery"]:
        """Every delivery up to a tag, or all for tag 0; they are no longer unacknowledged.

        :raises AmqpError: PRECONDITION_FAILED if the tag itself is neither that nor overdue.
        """
        if tag == 0:
            return self.take_all()
        if tag not in self.unacknowledged and tag not in self.overdue:
            raise _unknown(tag)
        if self.overdue:
            self._settle_overdue([late for late in self.overdue if late <= tag])
        taken: list[Delivery] = []
        at = self._lowest
        while at <= tag:
            delivery = self.unacknowledged.get(at)
            if delivery is not None:
                del self.unacknowledged[at]
                taken.append(delivery)
            at += 1
        self._lowest = at
        return taken

    def take_all(self) -> list["Delivery"]:
        """Every unacknowledged delivery, oldest first."""
        taken = list(self.unacknowledged.values())
        self.unacknowledged.clear()
        self._lowest = self.last_tag + 1
        if self.overdue:
            self._settle_overdue(list(self.overdue))
        return taken

    def requeue(self, overdue: list["Delivery"], consumer: "ChannelConsumer") -> None:
        """Let what a consumer did not settle in time go back to its queue."""
        queue = consumer.queue
        count = 0
        for delivery in overdue:
            if self.unacknowledged.pop(delivery.tag, None) is None:
                # A transaction has it, and may put it back.
                continue
            count += 1
            self.overdue[delivery.tag] = consumer
            queue.unacknowledged -= 1
            queue.requeue(delivery.message, delivery.position, True)
        if count == 0:
            return
        excess = len(self.overdue) - OVERDUE_TAGS_MAX
        if excess > 0:
            self._settle_overdue(list(self.overdue)[:excess])
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
        """Forget tags of overdue deliveries: whoever held them has room again."""
        for tag in tags:
            consumer = self.overdue.pop(tag)
            consumer.unacknowledged -= 1
            self.held -= 1
            if self.prefetch == 0:
                consumer.reconsider()
        if self.prefetch != 0:
            self.reconsider_consumers()

    def retune(self, prefetch: int) -> None:
        """Change the prefetch of every consumer, and let them have what it makes room for."""
        for consumer in self.consumers.values():
            if not consumer.no_ack:
                consumer.prefetch = prefetch
        self.reconsider_consumers()

    def reconsider_consumers(self) -> None:
        """Let every consumer that was held up have messages, if it may again."""
        for consumer in list(self.consumers.values()):
            consumer.reconsider()

    def served(self, consumer: "ChannelConsumer") -> None:
        """Let the others go first when there is room under the shared limit again."""
        del self.consumers[consumer.tag]
        self.consumers[consumer.tag] = consumer

    def consumer_cancelled(self, consumer: "ChannelConsumer") -> None:
        """A queue is gone, and a consumer with it (RabbitMQ: Consumer Cancellation)."""
        del self.consumers[consumer.tag]
        if "consumer_cancel_notify" in self.session.capabilities:
            cancel = Basic.Cancel(consumer_tag=consumer.tag, nowait=True)
            self.session.write(encode(cancel, self.channel))

    def put_back(self, deliveries: list["Delivery"]) -> None:
        """Undo that deliveries were taken: they are unacknowledged still."""
        for delivery in deliveries:
            self.unacknowledged[delivery.tag] = delivery
            delivery.run_again()
            self._lowest = min(self._lowest, delivery.tag)
        self.unacknowledged = dict(sorted(self.unacknowledged.items()))


def _unknown(tag: i64) -> AmqpError:
    # A tag is unsigned on the wire.
    return AmqpError(
        ReplyCode.PRECONDITION_FAILED, f"unknown delivery tag {int(tag) & 0xFFFFFFFFFFFFFFFF}"
    )


class ChannelConsumer(Consumer):
    """A basic.consume on a channel."""

    def __init__(
        self,
        tag: str,
        queue: Queue,
        deliveries: Deliveries,
        *,
        no_ack: bool,
        exclusive: bool,
        prefetch: int,
        arguments: Table,
        timeout: int = 0,
    ) -> None:
        priority = arguments.get(PRIORITY)
        super().__init__(tag, no_ack, exclusive, priority if isinstance(priority, int) else 0)
        self.queue = queue
        self.deliveries = deliveries
        self.arguments = arguments
        self.prefetch: i64 = 0 if no_ack else prefetch
        self.unacknowledged: i64 = 0
        self.timer: AcknowledgementTimer | None = None
        """Looks after what it does not acknowledge in time, if there is such a time."""
        if timeout != 0 and not no_ack:
            self.timer = AcknowledgementTimer(queue.host, timeout)
        encoded = tag.encode("utf-8", "surrogateescape")
        self.wire_tag = bytes([len(encoded)]) + encoded

    def can_accept(self) -> bool:
        deliveries = self.deliveries
        if self.prefetch != 0 and self.unacknowledged >= self.prefetch:
            return False
        if deliveries.prefetch != 0 and deliveries.held >= deliveries.prefetch:
            return False
        return deliveries.session.writable()

    def on_suspend(self) -> None:
        session = self.deliveries.session
        if not session.writable():
            session.suspended[self] = self.queue

    def reconsider(self) -> None:
        """Take turns again if it was suspended and has room again."""
        if self.suspended:
            if self.can_accept():
                self.queue.resume(self)
            else:
                self.on_suspend()

    def deliver(self, message: Message, position: i64, redelivered: bool) -> None:
        deliveries = self.deliveries
        tag = deliveries.next_tag()
        if deliveries.prefetch != 0:
            deliveries.served(self)
        if not self.no_ack:
            self.unacknowledged += 1
            deliveries.held += 1
            self.queue.unacknowledged += 1
            delivery = Delivery(tag, message, position, self.queue, self)
            deliveries.unacknowledged[tag] = delivery
            if self.timer is not None:
                self.timer.begin(delivery)
        else:
            self.queue.settle(position)
        session = deliveries.session
        write_deliver(
            session.output,
            deliveries.number,
            self.wire_tag,
            tag,
            redelivered,
            message,
            session.frame_max,
        )
        session.request_flush()

    def end(self, vhost: VirtualHost) -> None:
        """Leave the queue; what was delivered stays with the channel."""
        session = self.deliveries.session
        session.suspended.pop(self, None)
        if self.timer is not None:
            self.timer.expect_no_more()
        remove_consumer(vhost, self.queue, self)
        if self.queue.deleted:
            session.exclusive_queues.pop(self.queue.name, None)

    def on_queue_deleted(self) -> None:
        self.deliveries.session.suspended.pop(self, None)
        if self.timer is not None:
            self.timer.expect_no_more()
        self.suspended = False
        self.deliveries.consumer_cancelled(self)


@mypyc_attr(acyclic=True)
class Delivery:
    """One message a channel holds and has not settled.

    `acyclic` as for messages: what it refers to lets go of it when the channel closes.
    """

    def __init__(
        self,
        tag: i64,
        message: Message,
        position: i64,
        queue: Queue,
        consumer: ChannelConsumer | None,
    ) -> None:
        self.tag = tag
        self.message = message
        self.position = position
        """Its place in the queue, to give it back to."""
        self.queue = queue
        self.consumer = consumer
        """None when basic.get fetched it."""

    def acknowledge(self) -> None:
        """It is done with: nobody needs the message any more."""
        self.settle()
        self.queue.settle(self.position)

    def settle(self) -> None:
        """Count it as no longer unacknowledged."""
        self.queue.unacknowledged -= 1
        consumer = self.consumer
        if consumer is not None:
            consumer.unacknowledged -= 1
            consumer.deliveries.held -= 1
            if consumer.timer is not None:
                consumer.timer.end(self)

    def run_again(self) -> None:
        """Give its consumer the whole time to settle it once more."""
        consumer = self.consumer
        if consumer is not None and consumer.timer is not None:
            consumer.timer.end(self)
            consumer.timer.begin(self)


class AcknowledgementTimer(Timer):
    """Takes from one consumer what it does not settle in time.

    Deliveries run out in the order in which they were made. So the timer is set for one of them at
    a time, and looks for the next one when it rings.
    """

    def __init__(self, host: QueueHost, timeout: i64) -> None:
        super().__init__()
        self._clock = host.clock
        self._timers = host.timers
        self._timeout = timeout
        self._ends: dict[Delivery, int] = {}
        """When each delivery runs out, in milliseconds since the epoch, the first one first."""
        self._more = True
        """Whether there may be further deliveries."""

    def begin(self, delivery: Delivery) -> None:
        """A delivery was made."""
        end = self._clock.now + self._timeout
        self._ends[delivery] = int(end)
        if self.due == 0:
            self._timers.set(self, end)

    def end(self, delivery: Delivery) -> None:
        """A delivery was settled."""
        self._ends.pop(delivery, None)
        self._stop_if_idle()

    def expect_no_more(self) -> None:
        """The consumer was cancelled: only what it holds still runs out."""
        self._more = False
        self._stop_if_idle()

    def ring(self) -> None:
        overdue = self._take_overdue()
        for end in self._ends.values():
            self._timers.set(self, end)
            break
        if overdue:
            consumer = overdue[0].consumer
            if consumer is not None:
                consumer.deliveries.requeue(overdue, consumer)

    def _take_overdue(self) -> list[Delivery]:
        now = self._clock.now
        overdue: list[Delivery] = []
        for delivery, end in self._ends.items():
            if end > now:
                break
            overdue.append(delivery)
        for delivery in overdue:
            del self._ends[delivery]
        return overdue

    def _stop_if_idle(self) -> None:
        if not self._more and not self._ends:
            self._timers.stop(self)

"""A consumer on a channel: whether it can accept a message, and how one is delivered to it.

What it has in common with the other consumers of its channel, such as the shared prefetch and the
delivery tags, is in `deliveries.py`.
"""

from mypy_extensions import i64

from leveret.engine.lifecycle.queues import remove_consumer
from leveret.engine.queues.message_memory import SHORTAGE_PREFETCH
from leveret.engine.queues.queue import Queue
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.engine.values.text import octets_of_text
from leveret.engine.vhost import VirtualHost
from leveret.protocol.channels.acknowledgement_timer import AcknowledgementTimer
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import Delivery, DeliveryConsumer
from leveret.protocol.wire.frames import write_deliver


class ChannelConsumer(DeliveryConsumer):
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
        timeout_ms: int = 0,
    ) -> None:
        """:param timeout_ms: the consumer timeout; 0 is no limit."""
        super().__init__(
            tag, queue, no_ack=no_ack, exclusive=exclusive, prefetch=prefetch, arguments=arguments
        )
        self.deliveries = deliveries
        self._memory = queue.host.memory
        if not no_ack:
            self._memory.add_delivering(deliveries)
        self._timer: AcknowledgementTimer | None = None
        """None if there is no consumer timeout."""
        if timeout_ms != 0 and not no_ack:
            self.timeout_ms = timeout_ms
            self._timer = AcknowledgementTimer(queue.host, timeout_ms)
        encoded = octets_of_text(tag)
        self.wire_tag = bytes([len(encoded)]) + encoded

    def can_accept(self) -> bool:
        deliveries = self.deliveries
        if self.prefetch != 0:
            if self.outstanding >= self.prefetch:
                return False
        elif self._memory.short and self.outstanding >= SHORTAGE_PREFETCH:
            return False
        if deliveries.prefetch != 0 and deliveries.outstanding >= deliveries.prefetch:
            return False
        return deliveries.session.writable()

    def on_suspend(self) -> None:
        session = self.deliveries.session
        if not session.writable():
            session.suspended[self] = self.queue
        elif self.prefetch == 0 and self._memory.short:
            self._memory.waiting[self] = None

    def memory_available(self) -> None:
        self.resume_if_able()

    def resume_if_able(self) -> None:
        if self.suspended:
            if self.can_accept():
                self.queue.resume(self)
            else:
                self.on_suspend()

    def deliver(self, message: Message, position: i64, redelivered: bool) -> None:
        deliveries = self.deliveries
        tag = deliveries.next_tag()
        if deliveries.prefetch != 0:
            deliveries.move_to_back(self)
        self.delivered += 1
        if not self.no_ack:
            self.queue.counters.deliver += 1
            deliveries.counters.deliver += 1
            deliveries.vhost_counters.deliver += 1
            self.outstanding += 1
            deliveries.outstanding += 1
            self.queue.unacknowledged += 1
            delivery = Delivery(tag, message, position, self.queue, self)
            deliveries.unacknowledged[tag] = delivery
            if self._timer is not None:
                self._timer.start(delivery)
        else:
            self.queue.counters.deliver_no_ack += 1
            deliveries.counters.deliver_no_ack += 1
            deliveries.vhost_counters.deliver_no_ack += 1
            self.queue.settle(position)
        if redelivered:
            self.queue.counters.redeliver += 1
            deliveries.counters.redeliver += 1
            deliveries.vhost_counters.redeliver += 1
        session = deliveries.session
        write_deliver(
            session.output,
            session.parts,
            deliveries.template,
            deliveries.wire_number,
            self.wire_tag,
            tag,
            redelivered,
            message,
            session.frame_max,
        )
        session.request_flush()

    def delivery_settled(self, delivery: Delivery) -> None:
        self.outstanding -= 1
        self.deliveries.outstanding -= 1
        if self._timer is not None:
            self._timer.stop(delivery)

    def restart_timer(self, delivery: Delivery) -> None:
        if self._timer is not None:
            self._timer.stop(delivery)
            self._timer.start(delivery)

    def requeue_overdue(self, deliveries: list[Delivery], more: bool) -> None:
        self.deliveries.requeue_overdue(deliveries, self, more)

    def end(self, vhost: VirtualHost) -> None:
        session = self.deliveries.session
        session.suspended.pop(self, None)
        self._memory.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        remove_consumer(vhost, self.queue, self)
        if self.queue.deleted:
            session.exclusive_queues.pop(self.queue.name, None)

    def on_queue_deleted(self) -> None:
        self.deliveries.session.suspended.pop(self, None)
        self._memory.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        self.suspended = False
        self.deliveries.consumer_cancelled(self)

"""The settlement of many deliveries of a channel: work that takes several time slices.

The deliveries are settled one by one, the oldest first, so that between two slices every delivery
is either unacknowledged or settled. Messages that are requeued are delivered again when all of them
are back in their queues.
"""

from mypy_extensions import i64

from leveret.engine.queues.queue import Queue
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import (
    ACKNOWLEDGED,
    FAILED,
    REJECTED,
    Delivery,
    DeliveryConsumer,
    Outcome,
)


class LongSettlement(Work):
    """Settles what a channel delivered up to a tag."""

    def __init__(
        self,
        deliveries: Deliveries,
        through: i64,
        outcome: Outcome,
        deferred: list[Delivery] | None = None,
    ) -> None:
        """:param deferred: the list that takes the deliveries in a transaction, which settles them
        when it commits.
        """
        self._deliveries = deliveries
        self._through = through
        self._outcome = outcome
        self._deferred = deferred
        self._settled = False
        """Whether all are settled, so that only deliveries remain to be made."""
        self._queues: dict[Queue, None] = {}
        """Queues with messages that were requeued."""

    def run(self, time_slice: TimeSlice) -> bool:
        if not self._settled:
            self._settled = self._settle_until_over(time_slice)
            if not self._settled:
                return False
            if self._queues:
                self._deliveries.resume_consumers()
        while self._queues:
            queue, _ = self._queues.popitem()
            queue.deliver_ready()
            if self._queues and time_slice.is_over_now():
                return False
        return True

    def _settle_until_over(self, time_slice: TimeSlice) -> bool:
        """Settle deliveries until the slice is over; whether all are settled."""
        deliveries = self._deliveries
        if self._outcome != ACKNOWLEDGED and self._deferred is None and self._has_to_wait():
            return False
        consumers: dict[DeliveryConsumer, None] = {}
        while True:
            delivery = deliveries.pop_next(self._through)
            if delivery is not None:
                self._settle(delivery, consumers)
            elif deliveries.lowest > self._through:
                break
            if time_slice.is_over():
                break
        if consumers and deliveries.prefetch != 0:
            deliveries.resume_consumers()
        else:
            for consumer in consumers:
                consumer.resume_if_able()
        return deliveries.lowest > self._through

    def _has_to_wait(self) -> bool:
        """Whether so many dead letters wait that no more should be made. They are passed on in the
        slices of this connection, too."""
        publisher = self._deliveries.session.vhost.publisher
        if publisher.has_too_many_dead_letters():
            publisher.pass_on_dead_letters()
        return publisher.has_too_many_dead_letters()

    def _settle(self, delivery: Delivery, consumers: dict[DeliveryConsumer, None]) -> None:
        """Settle one delivery, and note its consumer, which may be below its prefetch by that."""
        outcome = self._outcome
        if self._deferred is not None:
            self._deferred.append(delivery)
            return
        if outcome == ACKNOWLEDGED:
            self._deliveries.count_acknowledged(1)
            delivery.acknowledge()
        elif outcome == REJECTED:
            delivery.count_settled()
            delivery.queue.reject(delivery.message, delivery.position)
        else:
            delivery.count_settled()
            queue = delivery.queue
            queue.requeue(delivery.message, delivery.position, outcome == FAILED)
            self._queues[queue] = None
            return
        if delivery.consumer is not None and delivery.consumer.suspended:
            consumers[delivery.consumer] = None

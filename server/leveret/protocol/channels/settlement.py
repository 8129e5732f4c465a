"""Settling deliveries: basic.ack, nack, reject, and what requeues.

Each takes deliveries out of the channel's unacknowledged ones, settles their messages at once, or
at tx.commit in a transaction, and resumes the consumers that get below their prefetch by it. Very
many at once are settled in slices (`long_settlement.py`).
"""

from typing import Final

from librt.strings import read_i64_be
from mypy_extensions import i64

from leveret.engine.queues.queue import Queue
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import (
    ACKNOWLEDGED,
    FAILED,
    REJECTED,
    REQUEUED,
    Delivery,
    DeliveryConsumer,
    Outcome,
)
from leveret.protocol.channels.long_settlement import LongSettlement
from leveret.protocol.channels.transaction import Transaction
from leveret.protocol.wire import methods

SETTLED_AT_ONCE_MAX: Final = 256
"""Tags up to which settling many needs no work of its own: a fraction of a time slice."""


class Settlement:
    """Settles the deliveries of one channel."""

    def __init__(self, deliveries: Deliveries, transaction: Transaction) -> None:
        self._deliveries = deliveries
        self._transaction = transaction

    def ack(self, data: bytes, start: i64, stop: i64) -> bool:
        """basic.ack, whose payload is `data[start:stop]`.

        :returns: as `FrameHandler.on_frame`, and so do `reject` and `nack`.
        """
        if stop - start != 13:
            raise methods.undecodable(data[start:stop])
        tag = read_i64_be(data, start + 4)
        multiple = data[start + 12] & 1 != 0
        if multiple:
            return self._settle_through(tag, ACKNOWLEDGED)
        if self._transaction.selected:
            return self._settle_one(tag, ACKNOWLEDGED)
        delivery = self._deliveries.pop(tag)
        if delivery is None:
            return True
        self._deliveries.counters.ack += 1
        self._deliveries.vhost_counters.ack += 1
        delivery.acknowledge()
        consumer = delivery.consumer
        if consumer is not None and (consumer.suspended or self._deliveries.prefetch != 0):
            return self._resume(consumer)
        return True

    def reject(self, data: bytes, start: i64, stop: i64) -> bool:
        """basic.reject, whose payload is `data[start:stop]`."""
        if stop - start != 13:
            raise methods.undecodable(data[start:stop])
        tag = read_i64_be(data, start + 4)
        outcome = FAILED if data[start + 12] & 1 else REJECTED
        return self._settle_one(tag, outcome)

    def nack(self, data: bytes, start: i64, stop: i64) -> bool:
        """basic.nack, whose payload is `data[start:stop]`."""
        if stop - start != 13:
            raise methods.undecodable(data[start:stop])
        tag = read_i64_be(data, start + 4)
        bits = data[start + 12]
        outcome = REQUEUED if bits & 2 else REJECTED
        if bits & 1:
            return self._settle_through(tag, outcome)
        return self._settle_one(tag, outcome)

    def requeue_all(self) -> None:
        """Return everything unacknowledged to its queues (basic.recover)."""
        through = self._deliveries.check_through(0)
        self._deliveries.session.begin(LongSettlement(self._deliveries, through, REQUEUED))

    def _settle_one(self, tag: i64, outcome: Outcome) -> bool:
        delivery = self._deliveries.pop(tag)
        return delivery is None or self._settle_or_defer([delivery], outcome)

    def _settle_through(self, tag: i64, outcome: Outcome) -> bool:
        """Settle all up to a tag; for tag 0, all."""
        deliveries = self._deliveries
        last = deliveries.last_tag if tag == 0 else tag
        if last - deliveries.lowest < SETTLED_AT_ONCE_MAX:
            return self._settle_or_defer(deliveries.pop_through(tag), outcome)
        through = deliveries.check_through(tag)
        deferred: list[Delivery] | None = None
        if self._transaction.selected:
            deferred = []
            self._transaction.settle(deferred, outcome)
        session = deliveries.session
        session.begin(LongSettlement(deliveries, through, outcome, deferred))
        return session.work is None and not session.time_slice.is_over_now()

    def _settle_or_defer(self, deliveries: list[Delivery], outcome: Outcome) -> bool:
        if self._transaction.selected:
            self._transaction.settle(deliveries, outcome)
        else:
            self.settle(deliveries, outcome)
        return not self._deliveries.session.time_slice.is_over()

    def settle(self, deliveries: list[Delivery], outcome: Outcome) -> None:
        """Settle deliveries that are no longer among the unacknowledged ones."""
        if outcome == ACKNOWLEDGED:
            self._deliveries.count_acknowledged(len(deliveries))
            for delivery in deliveries:
                delivery.acknowledge()
            self._resume_consumers(deliveries)
        elif outcome == REJECTED:
            for delivery in deliveries:
                delivery.count_settled()
                delivery.queue.reject(delivery.message, delivery.position)
            self._resume_consumers(deliveries)
        else:
            self.requeue(deliveries, failed=outcome == FAILED)

    def requeue(self, deliveries: list[Delivery], *, failed: bool) -> None:
        """Return messages to their queues, each to its old position.

        :param failed: whether each counts as a failed attempt to deliver the message.
        """
        queues: dict[Queue, None] = {}
        for delivery in deliveries:
            delivery.count_settled()
            delivery.queue.requeue(delivery.message, delivery.position, failed)
            queues[delivery.queue] = None
        self._deliveries.resume_consumers()
        for queue in queues:
            queue.deliver_ready()

    def _resume_consumers(self, settled: list[Delivery]) -> None:
        """Resume the consumers of settled deliveries, which are below their prefetch again."""
        if self._deliveries.prefetch != 0:
            self._deliveries.resume_consumers()
            return
        for delivery in settled:
            consumer = delivery.consumer
            if consumer is not None and consumer.suspended:
                consumer.resume_if_able()

    def _resume(self, consumer: DeliveryConsumer) -> bool:
        """Resume a consumer; and all others, where they share the prefetch of the channel.

        :returns: as `FrameHandler.on_frame`.
        """
        if self._deliveries.prefetch != 0:
            self._deliveries.resume_consumers()
            return not self._deliveries.session.time_slice.is_over()
        consumer.resume_if_able()
        return True

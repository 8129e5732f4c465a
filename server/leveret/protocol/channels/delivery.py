"""A delivery: one message that a channel delivered and its client has not settled yet."""

from abc import abstractmethod
from typing import Final, TypeAlias

from mypy_extensions import i64, mypyc_attr

from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import PRIORITY
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.engine.vhost import VirtualHost

Outcome: TypeAlias = int
ACKNOWLEDGED: Final = 0
REJECTED: Final = 1
REQUEUED: Final = 2
FAILED: Final = 3
"""How a delivery is settled. REQUEUED and FAILED both return the message to its queue; FAILED
counts as a failed attempt to deliver it, which a delayed retry and the configuration of delivery
limits tell apart."""


class DeliveryConsumer(Consumer):
    """A consumer, as the deliveries of its channel see it."""

    def __init__(
        self,
        tag: str,
        queue: Queue,
        *,
        no_ack: bool,
        exclusive: bool,
        prefetch: int,
        arguments: Table,
    ) -> None:
        priority = arguments.get(PRIORITY)
        super().__init__(tag, no_ack, exclusive, priority if isinstance(priority, int) else 0)
        self.queue = queue
        self.arguments = arguments
        self.prefetch: i64 = 0 if no_ack else prefetch
        """The limit of `outstanding`; 0 is no limit."""
        self.outstanding: i64 = 0
        """Deliveries that the client has not settled, overdue ones included."""
        self.overdue: i64 = 0
        """Deliveries that were requeued, and that the client has not settled."""
        self.overdue_unreported: i64 = 0
        """How many of them the log does not have yet."""
        self.delivered: i64 = 0
        """Deliveries to it, ever."""
        self.timeout_ms: i64 = 0
        """The consumer timeout, in milliseconds; 0 is no limit."""

    @abstractmethod
    def delivery_settled(self, delivery: "Delivery") -> None:
        """Count a delivery as settled."""

    @abstractmethod
    def restart_timer(self, delivery: "Delivery") -> None:
        """Give the client the whole consumer timeout again to settle a delivery."""

    @abstractmethod
    def requeue_overdue(self, deliveries: list["Delivery"], more: bool) -> None:
        """Return the messages of deliveries that were not settled in time to the queue.

        :param more: whether others follow, before which nothing is delivered again.
        """

    @abstractmethod
    def resume_if_able(self) -> None:
        """Take messages again if it was suspended and no limit stops it any more."""

    @abstractmethod
    def end(self, vhost: VirtualHost) -> None:
        """Leave the queue. What is unacknowledged stays so."""


@mypyc_attr(acyclic=True)
class Delivery:
    """One unsettled message of a channel.

    `acyclic`, as for messages: all cycles it could be part of end when the channel closes.
    """

    def __init__(
        self,
        tag: i64,
        message: Message,
        position: i64,
        queue: Queue,
        consumer: DeliveryConsumer | None,
    ) -> None:
        self.tag = tag
        self.message = message
        self.position = position
        """Its position in the queue, which it is requeued to."""
        self.queue = queue
        self.consumer = consumer
        """None if basic.get fetched it."""

    def acknowledge(self) -> None:
        """Settle it, and its message with it."""
        self.count_settled()
        self.queue.counters.ack += 1
        self.queue.settle(self.position)

    def count_settled(self) -> None:
        """Count it as settled with its queue and its consumer; the message is left alone."""
        self.queue.unacknowledged -= 1
        consumer = self.consumer
        if consumer is not None:
            consumer.delivery_settled(self)

"""The consumers of one queue, and which of them are active.

Rules:
- Every consumer is active, unless the queue has a single active consumer. Then the first consumer
  is active, whatever the priority of later ones. When it leaves, the longest waiting consumer of
  the highest priority becomes active (RabbitMQ: Consumers, "Single Active Consumer").
- An active consumer is either ready or suspended. A suspended one could not accept a message when
  it was asked. It costs nothing until it is resumed, and is then served after its equals.

In what order ready consumers are served: consumer_rings.py.
"""

from typing import Final

from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.consumer_rings import ConsumerRings

NO_CONSUMERS: Final[dict[Consumer, None]] = {}
"""The consumers of a queue that never had one. It is never changed."""


class ConsumerSet:
    """The consumers of one queue, which owns it and hands out the messages."""

    def __init__(self, single_active: bool) -> None:
        self.ready = ConsumerRings()
        """The active consumers that are not suspended. The queue asks it for the next one."""
        self.single_active = single_active
        """Whether only one consumer is active at a time."""
        self._consumers = NO_CONSUMERS
        """All consumers, in the order in which they came."""
        self._waiting: ConsumerRings | None = None
        """The consumers that are not active; None before there was one."""

    @property
    def count(self) -> int:
        """Number of consumers."""
        return len(self._consumers)

    @property
    def consumers(self) -> list[Consumer]:
        """All consumers, in the order in which they came."""
        return list(self._consumers)

    @property
    def exclusive(self) -> bool:
        """Whether the only consumer is an exclusive one."""
        if len(self._consumers) != 1:
            return False
        return next(iter(self._consumers)).exclusive

    def add(self, consumer: Consumer) -> None:
        """Add a consumer: ready, or waiting for the single active one to leave."""
        consumer.active = not (self.single_active and self._consumers)
        if self._consumers is NO_CONSUMERS:
            self._consumers = {}
        self._consumers[consumer] = None
        if consumer.active:
            self.ready.add(consumer)
        else:
            if self._waiting is None:
                self._waiting = ConsumerRings()
            self._waiting.add(consumer)

    def remove(self, consumer: Consumer) -> None:
        """Remove a consumer. If it was the single active one, another becomes active."""
        del self._consumers[consumer]
        waiting = self._waiting
        if not consumer.active:
            if waiting is not None:
                waiting.remove(consumer)
            return
        if consumer.suspended:
            consumer.suspended = False
        else:
            self.ready.remove(consumer)
        following = None if waiting is None else waiting.first
        if following is not None and waiting is not None:
            waiting.remove(following)
            following.active = True
            self.ready.add(following)

    def resume(self, consumer: Consumer) -> None:
        """Make a suspended consumer ready again."""
        consumer.suspended = False
        self.ready.add(consumer)

    def cancel_all(self) -> None:
        """Remove every consumer, and cancel it, because the queue was deleted."""
        consumers = self._consumers
        self._consumers = NO_CONSUMERS
        self.ready.clear()
        self._waiting = None
        for consumer in consumers:
            consumer.following = None
            consumer.preceding = None
            consumer.on_queue_deleted()

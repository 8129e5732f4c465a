"""Consumers of one queue in the order in which they are served: a ring for each priority.

The highest priority is served first, and consumers of equal priority in round-robin (RabbitMQ:
Consumer Priorities). Each ring is a circular doubly linked list through `Consumer.following` and
`Consumer.preceding`, so that adding, removing and rotating cost the same for one consumer and for
thousands. A consumer is in one ring at most.
"""

from heapq import heapify, heappop, heappush
from typing import Final

from leveret.engine.queues.consumer import Consumer

STALE_PRIORITIES_MAX: Final = 64
"""Priorities without a ring that are kept, whatever their share, until they are the highest."""


class ConsumerRings:
    """Consumers by priority, then in round-robin."""

    def __init__(self) -> None:
        self.first: Consumer | None = None
        """The consumer to serve next; None if there is none. Read-only for others."""
        self._lower: dict[int, Consumer] = {}
        """The first consumer of every ring but the highest, by priority."""
        self._lower_priorities: list[int] = []
        """A heap of the priorities of these rings, negated. Some have no ring any more, or are
        there twice."""

    def next(self) -> Consumer | None:
        """The consumer that gets the next message; None if no consumer accepts one.

        A consumer that accepts none is suspended: it leaves its ring until it is added again.
        """
        consumer = self.first
        while consumer is not None:
            if consumer.can_accept():
                if consumer.following is not consumer:
                    self.first = consumer.following
                return consumer
            self.remove(consumer)
            consumer.suspended = True
            consumer.on_suspend()
            consumer = self.first
        return None

    def add(self, consumer: Consumer) -> None:
        """Put a consumer behind all of its priority."""
        priority = consumer.priority
        first = self.first
        if first is None:
            self.first = _ring(consumer)
        elif priority == first.priority:
            _link(consumer, first)
        elif priority > first.priority:
            self._add_lower_ring(first)
            self.first = _ring(consumer)
        else:
            lower = self._lower.get(priority)
            if lower is None:
                self._add_lower_ring(_ring(consumer))
            else:
                _link(consumer, lower)

    def remove(self, consumer: Consumer) -> None:
        """Take a consumer out of its ring."""
        following = consumer.following
        preceding = consumer.preceding
        if following is None or preceding is None:
            return
        consumer.following = None
        consumer.preceding = None
        if following is not consumer:
            preceding.following = following
            following.preceding = preceding
            if consumer is self.first:
                self.first = following
            elif self._lower and self._lower.get(consumer.priority) is consumer:
                self._lower[consumer.priority] = following
        elif consumer is self.first:
            self.first = self._pop_highest() if self._lower else None
        else:
            del self._lower[consumer.priority]
            self._clean()

    def clear(self) -> None:
        """Forget all consumers, whose links are the caller's to reset."""
        self.first = None
        self._lower.clear()
        self._lower_priorities.clear()

    def _add_lower_ring(self, first: Consumer) -> None:
        self._lower[first.priority] = first
        heappush(self._lower_priorities, -int(first.priority))

    def _pop_highest(self) -> Consumer | None:
        """Take out the ring of the highest priority: its first consumer."""
        while self._lower_priorities:
            highest = self._lower.pop(-heappop(self._lower_priorities), None)
            if highest is not None:
                return highest
        return None

    def _clean(self) -> None:
        """Drop the priorities without a ring once they outnumber the others."""
        rings = len(self._lower)
        if len(self._lower_priorities) > 2 * rings + STALE_PRIORITIES_MAX:
            self._lower_priorities = [-priority for priority in self._lower]
            heapify(self._lower_priorities)


def _ring(consumer: Consumer) -> Consumer:
    """Make a ring of one consumer."""
    consumer.following = consumer
    consumer.preceding = consumer
    return consumer


def _link(consumer: Consumer, first: Consumer) -> None:
    """Put a consumer at the end of the ring that begins with `first`."""
    last = first.preceding
    if last is None:
        raise ValueError(f"consumer {first.tag} is in no ring")
    consumer.preceding = last
    consumer.following = first
    last.following = consumer
    first.preceding = consumer

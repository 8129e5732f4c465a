"""Consumers of one queue in the order in which they are served: a ring for each priority.

The highest priority is served first, and consumers of equal priority in round-robin (RabbitMQ:
Consumer Priorities). Each ring is a circular doubly linked list through `Consumer.following` and
`Consumer.preceding`, so that adding, removing and rotating cost the same for one consumer and for
thousands. A consumer is in one ring at most.
"""

from heapq import heapify, heappop, heappush
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.consumer import Consumer

ASKED_AT_ONCE: Final = 256
"""Consumers that are asked in a row whether they accept a message, in some 20 us."""

STALE_PRIORITIES_MAX: Final = 64
"""Priorities without a ring that are kept, whatever their share, until they are the highest."""


class ConsumerRings:
    """Consumers by priority, then in round-robin."""

    def __init__(self) -> None:
        self.first: Consumer | None = None
        """The consumer to serve next; None if there is none. Read-only for others."""
        self._lower: LowerRings | None = None
        """Every ring but the highest; None before there was one."""

    def next(self) -> Consumer | None:
        """The consumer that gets the next message; None if no consumer accepts one, or none of the
        next ASKED_AT_ONCE: then `first` is the one to ask next.

        A consumer that accepts none is suspended: it leaves its ring until it is added again.
        """
        consumer = self.first
        asked: i64 = 0
        while consumer is not None and asked < ASKED_AT_ONCE:
            asked += 1
            if consumer.can_accept():
                if consumer.following is not consumer:
                    self.first = consumer.following
                return consumer
            self.remove(consumer)
            consumer.suspended = True
            consumer.on_suspend()
            consumer = self.first
        return None

    def empty(self) -> bool:
        """Whether no consumer is left to ask, as after `next` found none.

        Who has seen that `first` is a consumer cannot compare it with None later: mypyc trusts the
        narrowed type, and the compiled comparison raises TypeError.
        """
        return self.first is None

    def add(self, consumer: Consumer) -> None:
        """Put a consumer behind all of its priority."""
        priority = consumer.priority
        first = self.first
        if first is None:
            self.first = _ring(consumer)
        elif priority == first.priority:
            _link(consumer, first)
        elif priority > first.priority:
            self._lower_rings().add(first)
            self.first = _ring(consumer)
        else:
            lower = self._lower_rings()
            below = lower.first_of.get(priority)
            if below is None:
                lower.add(_ring(consumer))
            else:
                _link(consumer, below)

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
            elif self._lower is not None:
                self._lower.replace(consumer, following)
        elif consumer is self.first:
            self.first = None if self._lower is None else self._lower.pop_highest()
        elif self._lower is not None:
            self._lower.remove(consumer)

    def clear(self) -> None:
        """Forget all consumers, whose links are the caller's to reset."""
        self.first = None
        self._lower = None

    def _lower_rings(self) -> "LowerRings":
        lower = self._lower
        if lower is None:
            lower = LowerRings()
            self._lower = lower
        return lower


NOBODY: Final = ConsumerRings()
"""No consumer ever. A paused queue serves these."""


class LowerRings:
    """Every ring but that of the highest priority, of some queue with several priorities."""

    def __init__(self) -> None:
        self.first_of: dict[int, Consumer] = {}
        """The first consumer of each ring, by its priority."""
        self.priorities: list[int] = []
        """A heap of the priorities, negated. Some have no ring any more, or are there twice."""

    def add(self, first: Consumer) -> None:
        """Add the ring that begins with a consumer."""
        self.first_of[first.priority] = first
        heappush(self.priorities, -int(first.priority))

    def replace(self, first: Consumer, following: Consumer) -> None:
        """Have a ring begin with the next consumer, if it began with this one, which left it."""
        if self.first_of.get(first.priority) is first:
            self.first_of[first.priority] = following

    def remove(self, last: Consumer) -> None:
        """Remove the ring of which the last consumer has left."""
        del self.first_of[last.priority]
        if len(self.priorities) > 2 * len(self.first_of) + STALE_PRIORITIES_MAX:
            self.priorities = [-priority for priority in self.first_of]
            heapify(self.priorities)

    def pop_highest(self) -> Consumer | None:
        """Take out the ring of the highest priority: its first consumer; None if there is none."""
        while self.priorities:
            highest = self.first_of.pop(-heappop(self.priorities), None)
            if highest is not None:
                return highest
        return None


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

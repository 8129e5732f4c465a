"""Consumers of one queue in the order in which they are served: a ring for each priority.

The highest priority is served first, and consumers of equal priority in round-robin (RabbitMQ:
Consumer Priorities). Each ring is a circular doubly linked list through `Consumer.following` and
`Consumer.preceding`, so that adding, removing and rotating cost the same for one consumer and for
thousands. A consumer is in one ring at most.
"""

from mypy_extensions import i64

from leveret.engine.queues.consumer import Consumer


class ConsumerRings:
    """Consumers by priority, then in round-robin."""

    def __init__(self) -> None:
        self.first: Consumer | None = None
        """The consumer to serve next; None if there is none. Read-only for others."""
        self._lower: list[Consumer] = []
        """The first consumer of every ring but the highest, in ascending order of priority."""

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
            self._lower.append(first)
            self.first = _ring(consumer)
        else:
            self._add_lower(consumer)

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
            self._replace_first(consumer, following)
        elif consumer is self.first:
            self.first = self._lower.pop() if self._lower else None
        else:
            del self._lower[self._lower_index(consumer.priority)]

    def clear(self) -> None:
        """Forget all consumers, whose links are the caller's to reset."""
        self.first = None
        self._lower.clear()

    def _replace_first(self, consumer: Consumer, following: Consumer) -> None:
        """Have a ring that began with a removed consumer begin with the one behind it."""
        if consumer is self.first:
            self.first = following
        elif self._lower:
            at = self._lower_index(consumer.priority)
            if at < len(self._lower) and self._lower[at] is consumer:
                self._lower[at] = following

    def _add_lower(self, consumer: Consumer) -> None:
        lower = self._lower
        at = self._lower_index(consumer.priority)
        if at < len(lower) and lower[at].priority == consumer.priority:
            _link(consumer, lower[at])
        else:
            lower.insert(at, _ring(consumer))

    def _lower_index(self, priority: i64) -> i64:
        """Where in `_lower` the ring of a priority is, or has its place."""
        low: i64 = 0
        high: i64 = len(self._lower)
        while low < high:
            middle = (low + high) // 2
            if self._lower[middle].priority < priority:
                low = middle + 1
            else:
                high = middle
        return low


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

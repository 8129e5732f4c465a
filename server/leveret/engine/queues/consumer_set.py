"""The consumers of one queue, and which of them are active.

Rules:
- Every consumer is active, unless the queue has a single active consumer. Then the first consumer
  is active, whatever the priority of later ones. When it leaves, the longest waiting consumer of
  the highest priority becomes active (RabbitMQ: Consumers, "Single Active Consumer"). So it does
  when the active one does not settle a delivery in time, and hangs maybe: that one waits again once
  it has settled what is overdue. If all have timed out, the first that settles becomes active.
- An active consumer is either ready or suspended. A suspended one could not accept a message when
  it was asked. It costs nothing until it is resumed, and is then served after its equals.

In what order ready consumers are served: consumer_rings.py.
"""

from collections import deque
from typing import Final

from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.consumer_rings import ConsumerRings
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work

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
        self._waiting = ConsumerRings() if single_active else None
        """The consumers that are not active and have not timed out, if only one is active."""
        self._single: Consumer | None = None
        """The single active consumer."""

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
        if self._consumers is NO_CONSUMERS:
            self._consumers = {}
        self._consumers[consumer] = None
        waiting = self._waiting
        if waiting is None:
            self.ready.add(consumer)
        else:
            consumer.active = False
            self._wait(consumer, waiting)

    def remove(self, consumer: Consumer) -> None:
        """Remove a consumer. If it was the single active one, another becomes active."""
        del self._consumers[consumer]
        waiting = self._waiting
        if consumer.active:
            self._deactivate(consumer)
            if waiting is not None:
                self._single = None
                self._activate_next(waiting)
        elif waiting is not None:
            waiting.remove(consumer)

    def time_out(self, consumer: Consumer) -> None:
        """A consumer has not settled a delivery in time: another one becomes active, if one waits
        and only one may be."""
        consumer.timed_out = True
        waiting = self._waiting
        if waiting is None:
            return
        if not consumer.active:
            waiting.remove(consumer)
        elif waiting.first is not None:
            self._demote(consumer)
            self._activate_next(waiting)

    def recover(self, consumer: Consumer) -> None:
        """A consumer that has timed out has settled what was overdue."""
        consumer.timed_out = False
        if self._waiting is not None and not consumer.active:
            self._wait(consumer, self._waiting)

    def resume(self, consumer: Consumer) -> None:
        """Make a suspended consumer ready again."""
        consumer.suspended = False
        self.ready.add(consumer)

    def cancel_all(self) -> Work:
        """Remove every consumer, because the queue was deleted.

        :returns: work that cancels them.
        """
        consumers = self._consumers
        self._consumers = NO_CONSUMERS
        self._single = None
        self.ready.clear()
        if self._waiting is not None:
            self._waiting.clear()
        return _Cancellation(consumers)

    def _wait(self, consumer: Consumer, waiting: ConsumerRings) -> None:
        """Have a consumer wait for its turn, which may be at once."""
        waiting.add(consumer)
        single = self._single
        if single is not None and single.timed_out:
            self._demote(single)
        self._activate_next(waiting)

    def _activate_next(self, waiting: ConsumerRings) -> None:
        """Have a single active consumer, if there is none and any consumer."""
        if self._single is not None:
            return
        following = waiting.first
        if following is not None:
            waiting.remove(following)
        else:
            # All have timed out: if this one hangs no longer, the queue does not stand still.
            following = next(iter(self._consumers), None)
        if following is not None:
            self._single = following
            following.active = True
            self.ready.add(following)

    def _demote(self, single: Consumer) -> None:
        """Make the single active consumer an inactive one."""
        self._deactivate(single)
        single.active = False
        self._single = None

    def _deactivate(self, consumer: Consumer) -> None:
        """Take an active consumer out of those that are served."""
        if consumer.suspended:
            consumer.suspended = False
        else:
            self.ready.remove(consumer)


class _Cancellation(Work):
    """Cancels the consumers of a queue that was deleted, in the order in which they came."""

    def __init__(self, consumers: dict[Consumer, None]) -> None:
        self._consumers = deque(consumers)

    def run(self, time_slice: TimeSlice) -> bool:
        consumers = self._consumers
        while consumers:
            consumer = consumers.popleft()
            consumer.following = None
            consumer.preceding = None
            consumer.on_queue_deleted()
            if time_slice.is_over():
                break
        return not consumers

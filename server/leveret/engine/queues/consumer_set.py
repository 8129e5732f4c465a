"""Turns: the consumers of a queue, and which of them takes the next message.

Rules:
- The highest priority is served first, and equal ones in turn (RabbitMQ: Consumer Priorities).
- One that can take nothing now is suspended, and costs nothing until it is resumed. It comes back
  behind its equals.
- Where one consumer is to be active at a time, the first one is, whatever the priority of those
  who come later. The others wait; when it goes, the next one is the first of the highest priority
  (RabbitMQ: Consumers, Single Active Consumer).
"""

from leveret.engine.queues.consumer import Consumer


class ConsumerSet:
    """The consumers of one queue, which owns it and hands out the messages."""

    def __init__(self, single_active: bool) -> None:
        self.consumers: list[Consumer] = []
        """All of them, in the order in which they came."""
        self.ready: list[Consumer] = []
        """Those that are active and not suspended; the first is asked first. To be read only."""
        self.single_active = single_active
        """Whether only one consumer is active at a time."""
        self._priorities = False
        """Whether any consumer ever had another priority than 0."""

    @property
    def exclusive(self) -> bool:
        """Whether a consumer asked to be the only one."""
        return len(self.consumers) == 1 and self.consumers[0].exclusive

    def add(self, consumer: Consumer) -> None:
        """Let a consumer take its turns, from now on."""
        if consumer.priority != 0:
            self._priorities = True
        consumer.active = not (self.single_active and self.consumers)
        self.consumers.append(consumer)
        if consumer.active:
            self._line_up(consumer)

    def remove(self, consumer: Consumer) -> None:
        """Give a consumer no more turns; where it was the active one, another is now."""
        self.consumers.remove(consumer)
        if not consumer.active:
            return
        if consumer.suspended:
            consumer.suspended = False
        else:
            self.ready.remove(consumer)
        if self.single_active and self.consumers:
            self._activate_next()

    def resume(self, consumer: Consumer) -> None:
        """Let a consumer that was suspended take its turns again."""
        consumer.suspended = False
        self._line_up(consumer)

    def next(self) -> Consumer | None:
        """The consumer whose turn it is; those that cannot take anything are suspended."""
        ready = self.ready
        while ready:
            consumer = ready[0]
            if consumer.can_take():
                if len(ready) > 1:
                    if self._priorities:
                        self._goes_behind_equals(consumer)
                    else:
                        ready.append(ready.pop(0))
                return consumer
            del ready[0]
            consumer.suspended = True
            consumer.on_suspend()
        return None

    def end(self) -> None:
        """The queue is gone: there are no more turns, and every consumer is told."""
        consumers = self.consumers
        self.consumers = []
        self.ready = []
        for consumer in consumers:
            consumer.cancelled()

    def _goes_behind_equals(self, first: Consumer) -> None:
        if self.ready[1].priority == first.priority:
            del self.ready[0]
            self._line_up(first)

    def _line_up(self, consumer: Consumer) -> None:
        """Put a consumer behind its equals, and before all of lower priority."""
        ready = self.ready
        priority = consumer.priority
        if not ready or ready[-1].priority >= priority:
            ready.append(consumer)
            return
        at = 0
        while ready[at].priority >= priority:
            at += 1
        ready.insert(at, consumer)

    def _activate_next(self) -> None:
        consumer = self.consumers[0]
        for other in self.consumers:
            if other.priority > consumer.priority:
                consumer = other
        consumer.active = True
        self._line_up(consumer)

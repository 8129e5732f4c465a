"""Turns: the consumers of a queue, and which of them takes the next message.

Rules:
- Consumers are served in turn.
- One that can take nothing now is parked, and costs nothing until it is unparked. It comes back
  behind all others.
"""

from leveret.engine.consumer import Consumer


class Turns:
    """The consumers of one queue, which owns it and hands out the messages."""

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        """All of them, in the order in which they came."""
        self.ready: list[Consumer] = []
        """Those that are not parked; the first is asked first. To be read only."""

    @property
    def exclusive(self) -> bool:
        """Whether a consumer asked to be the only one."""
        return len(self.consumers) == 1 and self.consumers[0].exclusive

    def add(self, consumer: Consumer) -> None:
        """Let a consumer take its turns, from now on."""
        self.consumers.append(consumer)
        self.ready.append(consumer)

    def remove(self, consumer: Consumer) -> None:
        """Give a consumer no more turns."""
        self.consumers.remove(consumer)
        if consumer.parked:
            consumer.parked = False
        else:
            self.ready.remove(consumer)

    def unpark(self, consumer: Consumer) -> None:
        """Let a consumer that was parked take its turns again."""
        consumer.parked = False
        self.ready.append(consumer)

    def next(self) -> Consumer | None:
        """The consumer whose turn it is; those that cannot take anything are parked on the way."""
        ready = self.ready
        while ready:
            consumer = ready[0]
            if consumer.can_take():
                if len(ready) > 1:
                    ready.append(ready.pop(0))
                return consumer
            del ready[0]
            consumer.parked = True
            consumer.park()
        return None

    def end(self) -> None:
        """The queue is gone: there are no more turns, and every consumer is told."""
        consumers = self.consumers
        self.consumers = []
        self.ready = []
        for consumer in consumers:
            consumer.cancelled()

"""A consumer as its queue sees it: somebody who may take a message now, or not.

The queue knows nothing of channels and frames. The protocol's consumer derives from this class
and says when it can take a message and what taking one means.
"""

from abc import ABC, abstractmethod

from mypy_extensions import i64

from leveret.engine.values.message import Message


class Consumer(ABC):
    """One basic.consume: its place at a queue.

    A consumer that cannot take a message is suspended: it leaves the queue's ready ones, and comes
    back through `Queue.resume` when whoever held it up gives it room again.
    """

    def __init__(self, tag: str, no_ack: bool, exclusive: bool, priority: i64) -> None:
        self.tag = tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.priority = priority
        """The higher is served first."""
        self.suspended = False
        self.active = True
        """False while it waits for its queue's single active consumer to leave."""
        self.following: Consumer | None = None
        self.preceding: Consumer | None = None
        """Its neighbours in its ring (consumer_rings.py); None while it is in none."""

    @abstractmethod
    def can_take(self) -> bool:
        """Whether prefetch, flow and the connection's output leave room for one more message."""

    @abstractmethod
    def deliver(self, message: Message, position: i64, redelivered: bool) -> None:
        """Take one message; `position` is its place in the queue, to give it back to."""

    @abstractmethod
    def on_suspend(self) -> None:
        """Told that it was suspended, so that it can see to being resumed."""

    @abstractmethod
    def cancelled(self) -> None:
        """Told that its queue is gone."""

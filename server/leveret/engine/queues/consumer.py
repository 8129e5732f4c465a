"""A consumer as its queue sees it: it accepts a message at the moment, or does not.

The queue knows nothing of channels and frames. The protocol's consumer derives from this class
and says when it accepts a message and how it delivers one.
"""

from abc import ABC, abstractmethod

from mypy_extensions import i64

from leveret.engine.values.message import Message


class Consumer(ABC):
    """One basic.consume.

    A consumer that does not accept a message is suspended: its queue does not ask it again until
    `Queue.resume` is called. The protocol calls it when the prefetch and the output buffer of the
    connection allow another message.
    """

    def __init__(self, tag: str, no_ack: bool, exclusive: bool, priority: i64) -> None:
        self.tag = tag
        self.no_ack = no_ack
        """Whether a message that is delivered counts as acknowledged."""
        self.exclusive = exclusive
        self.priority = priority
        """The highest is served first (RabbitMQ: Consumer Priorities)."""
        self.suspended = False
        self.active = True
        """False while another consumer is the single active one of its queue."""
        self.timed_out = False
        """Whether it has deliveries that it did not settle in time (consumer timeout)."""
        self.following: Consumer | None = None
        self.preceding: Consumer | None = None
        """Its neighbours in its ring (`consumer_rings.py`); None while it is in none."""

    @abstractmethod
    def can_accept(self) -> bool:
        """Whether prefetch and the connection's output buffer allow one more message."""

    @abstractmethod
    def deliver(self, message: Message, position: i64, redelivered: bool) -> None:
        """Deliver a message to the client.

        :param position: its position in the queue, with which it is settled or requeued.
        """

    @abstractmethod
    def on_suspend(self) -> None:
        """Called when it was suspended: from now on the protocol has to call `Queue.resume`."""

    @abstractmethod
    def memory_available(self) -> None:
        """Called when it waited in `MessageMemory.waiting`, and memory is below the limit again."""

    @abstractmethod
    def on_queue_deleted(self) -> None:
        """Called when its queue was deleted, which cancels it; maybe some time afterwards, when its
        channel has ended it already."""

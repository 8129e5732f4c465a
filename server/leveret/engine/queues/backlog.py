"""The backlog of a queue: the messages that are ready, in the order in which they are delivered.

There are two kinds: first in, first out (`fifo_backlog.py`) and by priority
(`priority_backlog.py`).
The queue reads the fields directly, as it does so for every message.

Each message has a position, which says where it is in the order of delivery. The position is given
when the message is published, and stays: a message that is requeued returns to its place.

Deliberately elsewhere: delivery counts and delayed retries (`redelivery.py`), and which messages
are dropped when (`limit_enforcer.py`).
"""

from abc import abstractmethod
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.message_memory import MemoryHolder
from leveret.engine.queues.peek import View
from leveret.engine.queues.purge import DroppedMessages
from leveret.engine.values.message import Message
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store

NEVER_NOTED: Final[i64] = 2**63 - 1
"""The position from which on deliveries are noted where none is: above all positions."""


class Backlog(MemoryHolder):
    """Messages in order of delivery."""

    def __init__(self, first_position: i64) -> None:
        super().__init__()
        self.count: i64 = 0
        """Messages, in memory and on disk."""
        self.bytes: i64 = 0
        """Bytes of their bodies."""
        self.next_position = first_position
        """The position of the next message that is published; of no meaning with priorities."""
        self.popped_position = first_position - 1
        """The position of the message popped last; one before the first position if none was."""
        self.redelivered = False
        """Whether the message popped last may have been delivered before."""
        self.noted_end = NEVER_NOTED
        """The position from which on a delivery has to be noted first, by `note_delivered`."""
        self.store: Store | None = None
        self.journal: QueueJournal | None = None
        """Its journal in the store; None while it has none."""

    @abstractmethod
    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        """Write messages beyond the memory limit to a store; with a journal, persist
        settlements."""

    @abstractmethod
    def append(self, message: Message) -> i64:
        """Add a message behind all others of its priority.

        :returns: its position.
        """

    @abstractmethod
    def assign_position(self, message: Message) -> i64:
        """The position of a message that is delivered at once, because the backlog is empty."""

    @abstractmethod
    def requeue(self, message: Message, position: i64) -> None:
        """Put a message that was popped back to its position."""

    @abstractmethod
    def available(self) -> bool:
        """Whether the next message is in memory. Ask it before `pop`."""

    @abstractmethod
    def pop(self) -> Message:
        """Remove and return the next message. Its position is in `popped_position` then.

        :raises IndexError: if it is not available.
        """

    @abstractmethod
    def note_delivered(self, position: i64) -> None:
        """Have the store note that the message at a position, which is not below `noted_end`, may
        be delivered, so that it is redelivered after a restart."""

    @abstractmethod
    def note_delivered_exactly(self) -> None:
        """Have the store note exactly which messages may have been delivered, as the last thing
        before it is closed."""

    @abstractmethod
    def set_ttl(self, ttl: i64) -> None:
        """Have messages expire `ttl` milliseconds after arrival, or earlier at their own expiry.

        :param ttl: `NONE` if messages expire at their own expiry only.
        """

    @abstractmethod
    def next_expiry(self, now: i64) -> i64:
        """When the next message to expire expires, in milliseconds since the epoch.

        :returns: that time, or one before it that is later than `now`; 0 if no message expires, or
            the next one is not in memory.
        """

    @abstractmethod
    def pop_expired(self) -> Message:
        """As `pop`, for the message of which `next_expiry` gave the time."""

    @abstractmethod
    def head_position(self) -> i64:
        """The position of the next message; `next_position` if there is none."""

    @abstractmethod
    def settle(self, position: i64) -> None:
        """Note that a message was delivered and will not be requeued: the store may drop it."""

    @abstractmethod
    def journal_at(self, position: i64) -> QueueJournal | None:
        """The journal that has the message at a position."""

    @abstractmethod
    def purge(self) -> list[DroppedMessages]:
        """Drop every message, and settle those that were never popped.

        :returns: what is left to do.
        """

    @abstractmethod
    def delete(self) -> list[DroppedMessages]:
        """Drop every message, in the store too, because the queue is deleted.

        :returns: what is left to free.
        """

    @abstractmethod
    def restore(self, journal: QueueJournal, found: RecoveredQueue) -> None:
        """Add what recovery found. Called once for each journal, before anything is published."""

    @abstractmethod
    def load_blocking(self) -> None:
        """Wait for the disk until the next message is available, if there is one.

        If it cannot be read, the store fails, which ends the broker.
        """

    @abstractmethod
    def views(self, offset: i64, most: i64, positions: list[int] | None) -> list[View] | None:
        """The messages in the order of delivery, and change nothing: at least `most` of them behind
        the first `offset`, if there are so many.

        :param positions: if not None, the views have the messages at these positions, too.
        :returns: None if it is to be called again in a later slice.
        """

    @abstractmethod
    def extract(self, position: i64, size: i64) -> bool:
        """Remove a message, wherever in the order it is, without popping it: it is then to be
        settled. It must not be packed (`is_packed`).

        :param size: octets of its body.
        :returns: whether it was there.
        """

    @abstractmethod
    def is_packed(self, position: i64) -> bool:
        """Whether the message at a position is in a packed run, which is being read then."""

    @abstractmethod
    def release_popped(self, popped: list[tuple[int, Message]]) -> list[Message]:
        """Have messages that were popped, and are not settled, on disk only.

        :param popped: positions and messages, in the order of the positions.
        :returns: what to keep in place of each message: itself, or a `ReleasedMessage`.
        """

    def is_settled(self, position: i64) -> bool:
        """Whether a message was settled, or never written to the store."""
        journal = self.journal_at(position)
        return journal is None or journal.is_settled(position)

"""The backlog of a queue with priorities: a backlog a level, the highest level first.

RabbitMQ: Priority Queue Support. Messages of one level are first in, first out. The positions of a
level begin at a number of its own, the lower the higher its priority, so that positions are in the
order in which messages leave. A level exists from its first message on.

In a durable queue every level has a log of its own in the store, as what is settled in one says
nothing of another. The store's number for it is that of the queue plus the priority.
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.backlog import Backlog
from leveret.engine.values import properties
from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store

LEVEL_SHIFT: Final = 48
"""Bits of a position that count messages of one level."""

LEVEL_SHARE: Final = 4
"""What part a level keeps in memory of what a queue does: some levels are in use, not all."""


def within_level(position: int) -> int:
    """How many messages of a level come before a position of it."""
    return position & ((1 << LEVEL_SHIFT) - 1)


class PriorityBacklog(Backlog):
    """Messages by priority, then in order. The owner asks `available` before it pops."""

    def __init__(self, loaded: Callable[[], None], max_priority: i64) -> None:
        super().__init__(loaded)
        self._max_priority = max_priority
        self._levels: list[Backlog | None] = [None] * (int(max_priority) + 1)
        """By priority; None for one that had no message yet."""
        self._made: list[Backlog] = []
        """Those that had, the highest first."""
        self._top: Backlog | None = None
        """The highest that has a message."""
        self._ttl_ms: i64 = NONE
        self._soonest: i64 = 0
        """A time before which no level's next message expires; 0 if none does."""
        self._expiring: Backlog | None = None
        """The level whose next message expires first, when `due` last looked at all of them."""

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        self.store = store
        self.journal = journal
        if journal is not None:
            self._make(0, journal)

    def append(self, message: Message) -> i64:
        level = self._level(message)
        position = level.append(message)
        self._arrived(level, message)
        if level.count == 1:
            self._note_due(level)
        return position

    def assign_position(self, message: Message) -> i64:
        position = self._level(message).assign_position(message)
        self.popped_position = position
        return position

    def requeue(self, message: Message, position: i64) -> None:
        level = self._level_at(position)
        level.requeue(message, position)
        self._arrived(level, message)
        self._note_due(level)

    def available(self) -> bool:
        top = self._top
        return top is not None and top.available()

    def pop(self) -> Message:
        top = self._top
        if top is None:
            raise IndexError("there is no message")
        return self._pop_from(top)

    def expire_after(self, ttl: i64) -> None:
        self._ttl_ms = ttl
        for level in self._made:
            level.expire_after(ttl)
        self._look_again()

    def due(self, now: i64) -> i64:
        if self._soonest == 0 or self._soonest > now:
            return self._soonest
        self._soonest = 0
        for level in self._made:
            if level.count != 0:
                due = level.due(now)
                if due != 0 and (self._soonest == 0 or due < self._soonest):
                    self._soonest = due
                    self._expiring = level
        return self._soonest

    def pop_expired(self) -> Message:
        level = self._expiring
        if level is None:
            raise IndexError("no message expires")
        return self._pop_from(level)

    def head(self) -> i64:
        top = self._top
        return self.next if top is None else top.head()

    def settle(self, position: i64) -> None:
        self._level_at(position).settle(position)

    def journal_at(self, position: i64) -> QueueJournal | None:
        level = self._levels[self._max_priority - (position >> LEVEL_SHIFT)]
        return None if level is None else level.journal

    def purge(self) -> list[int]:
        requeued: list[int] = []
        for level in self._made:
            requeued += level.purge()
        self.clear()
        return requeued

    def drop(self) -> None:
        for level in self._made:
            level.drop()
        self.journal = None
        self.clear()

    def clear(self) -> None:
        self.count = 0
        self.bytes = 0
        for level in self._made:
            level.clear()
        self._top = None
        self._soonest = 0

    def restore(self, journal: QueueJournal, found: RecoveredQueue) -> None:
        base = self.journal
        if base is None:
            raise ValueError("a queue that keeps nothing was found in the store")
        priority = journal.number - base.number
        level = self._levels[priority]
        if level is None:
            level = self._make(priority, journal)
        level.restore(journal, found)
        self.count += level.count
        self._find_top()
        self._look_again()

    def load_now(self) -> None:
        top = self._top
        if top is not None and not top.available():
            top.load_now()
            self._look_again()

    def read_ahead(self) -> None:
        for level in self._made:
            level.read_ahead()

    def _level(self, message: Message) -> Backlog:
        """The level of a message that arrives."""
        priority: i64 = properties.priority(message.header)
        if priority > self._max_priority:
            priority = self._max_priority
        level = self._levels[priority]
        return self._begin(priority) if level is None else level

    def _level_at(self, position: i64) -> Backlog:
        """The level of a message that arrived before."""
        level = self._levels[self._max_priority - (position >> LEVEL_SHIFT)]
        if level is None:
            raise ValueError(f"no message was ever at position {position}")
        return level

    def _begin(self, priority: i64) -> Backlog:
        """Make a level for its first message."""
        store, base = self.store, self.journal
        journal: QueueJournal | None = None
        if store is not None and base is not None:
            journal = store.add_reserved_queue(base.number + int(priority))
        return self._make(priority, journal)

    def _make(self, priority: i64, journal: QueueJournal | None) -> Backlog:
        first = (self._max_priority - priority) << LEVEL_SHIFT
        level = Backlog(self._level_loaded, first, LEVEL_SHARE)
        level.expire_after(self._ttl_ms)
        if self.store is not None:
            level.attach_store(self.store, journal)
        self._levels[priority] = level
        self._made = [each for each in reversed(self._levels) if each is not None]
        return level

    def _arrived(self, level: Backlog, message: Message) -> None:
        self.count += 1
        self.bytes += len(message.body)
        top = self._top
        if top is None or level.next < top.next:
            self._top = level

    def _pop_from(self, level: Backlog) -> Message:
        message = level.pop()
        self.popped_position = level.popped_position
        self.redelivered = level.redelivered
        self.count -= 1
        self.bytes -= len(message.body)
        if level.count != 0:
            self._note_due(level)
        elif level is self._top:
            self._find_top()
        return message

    def _find_top(self) -> None:
        self._top = None
        for level in self._made:
            if level.count != 0:
                self._top = level
                return

    def _note_due(self, level: Backlog) -> None:
        """Another message may be the next of a level."""
        due = level.due(0)
        if due != 0 and (self._soonest == 0 or due < self._soonest):
            self._soonest = due

    def _look_again(self) -> None:
        """Messages were found, or came into memory: any level's next one may be another."""
        self._soonest = 1
        self.bytes = 0
        for level in self._made:
            self.bytes += level.bytes

    def _level_loaded(self) -> None:
        self._look_again()
        self._loaded()

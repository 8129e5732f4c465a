"""A backlog by priority: a FIFO backlog for each priority, the highest one first.

RabbitMQ: Priority Queue Support. The positions of a priority begin at a number of its own, the
lower the higher the priority, so that positions are in the order of delivery. The backlog of a
priority exists from its first message on.

In a durable queue every priority has a journal of its own in the store, because each settles its
positions in an order of its own. The journal's number is that of the queue plus the priority.

When memory is needed, each priority with many messages has them on disk like a queue. Those with
few are packed together (`packed_run.py`).
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.backlog import Backlog
from leveret.engine.queues.fifo_backlog import FifoBacklog
from leveret.engine.queues.message_memory import (
    DISK_BUSY,
    MORE_TO_RELEASE,
    RELEASED,
    MessageMemory,
    message_cost,
)
from leveret.engine.queues.packed_run import PACKED_COST_MAX, PACKED_COST_MIN, PackedRun
from leveret.engine.queues.peek import View
from leveret.engine.queues.purge import DroppedMessages
from leveret.engine.queues.released import body_size
from leveret.engine.values import properties
from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE
from leveret.engine.values.work import WorkQueue
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store

PRIORITY_SHIFT: Final = 48
"""Bits of a position that count the messages of one priority; the others are the priority."""

MEMORY_DIVISOR: Final = 4
"""By how much the chunks of a priority are smaller than those of a queue without priorities, as
several priorities are in use, but rarely all."""


def within_priority(position: int) -> int:
    """How many messages of the same priority have a lower position."""
    return position & ((1 << PRIORITY_SHIFT) - 1)


class PriorityBacklog(Backlog):
    """Messages by priority, then in the order in which they arrived."""

    def __init__(
        self, loaded: Callable[[], None], memory: MessageMemory | None, max_priority: i64
    ) -> None:
        """`loaded` is called when messages have been read from disk."""
        super().__init__(0)
        self._loaded = loaded
        self._memory = memory or MessageMemory(WorkQueue())
        self._uncharged: i64 = 0
        """Bytes of memory of messages that were added since `recount`."""
        self._packed: QueueJournal | None = None
        """The journal of packed runs; None while there is none."""
        self._packed_end: i64 = 0
        """The next position in it."""
        self._max_priority = max_priority
        self._by_priority: list[FifoBacklog | None] = [None] * (int(max_priority) + 1)
        """The backlogs by priority; None before its first message."""
        self._levels: list[FifoBacklog] = []
        """The backlogs that exist, the highest priority first."""
        self._top: FifoBacklog | None = None
        """The highest priority that has a message."""
        self._ttl: i64 = NONE
        self._earliest_expiry: i64 = 0
        """A time before which the next message of no priority expires; 0 if none does."""
        self._expiring: FifoBacklog | None = None
        """The priority whose next message expires first, as of the last call of `next_expiry` that
        compared all."""

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        self.store = store
        self.journal = journal
        if journal is not None:
            self._add_level(0, journal)

    def append(self, message: Message) -> i64:
        level = self._level_of(message)
        position = level.append(message)
        self._count_added(level, len(message.body))
        if level.count == 1:
            self._note_expiry(level)
        return position

    def assign_position(self, message: Message) -> i64:
        position = self._level_of(message).assign_position(message)
        self.popped_position = position
        return position

    def requeue(self, message: Message, position: i64) -> None:
        level = self._level_at(position)
        level.requeue(message, position)
        self._count_added(level, body_size(message, position))
        self._note_expiry(level)

    def available(self) -> bool:
        top = self._top
        return top is not None and top.available()

    def pop(self) -> Message:
        top = self._top
        if top is None:
            raise IndexError("there is no message")
        return self._pop_from(top)

    def note_delivered(self, position: i64) -> None:
        self._level_at(position).note_delivered(position)

    def note_delivered_exactly(self) -> None:
        for level in self._levels:
            level.note_delivered_exactly()

    def set_ttl(self, ttl: i64) -> None:
        self._ttl = ttl
        for level in self._levels:
            level.set_ttl(ttl)
        self._recompute()

    def next_expiry(self, now: i64) -> i64:
        if self._earliest_expiry == 0 or self._earliest_expiry > now:
            return self._earliest_expiry
        self._earliest_expiry = 0
        for level in self._levels:
            if level.count != 0:
                expiry = level.next_expiry(now)
                if expiry != 0 and (self._earliest_expiry == 0 or expiry < self._earliest_expiry):
                    self._earliest_expiry = expiry
                    self._expiring = level
        return self._earliest_expiry

    def pop_expired(self) -> Message:
        level = self._expiring
        if level is None:
            raise IndexError("no message expires")
        return self._pop_from(level)

    def head_position(self) -> i64:
        top = self._top
        return self.next_position if top is None else top.head_position()

    def settle(self, position: i64) -> None:
        self._level_at(position).settle(position)

    def journal_at(self, position: i64) -> QueueJournal | None:
        level = self._by_priority[self._max_priority - (position >> PRIORITY_SHIFT)]
        return None if level is None else level.journal

    def purge(self) -> list[DroppedMessages]:
        self._delete_packed()
        dropped: list[DroppedMessages] = []
        for level in self._levels:
            dropped += level.purge()
        self._reset()
        return dropped

    def delete(self) -> list[DroppedMessages]:
        self._delete_packed()
        dropped: list[DroppedMessages] = []
        for level in self._levels:
            dropped += level.delete()
        self.journal = None
        self._reset()
        return dropped

    def restore(self, journal: QueueJournal, found: RecoveredQueue) -> None:
        base = self.journal
        if base is None:
            raise ValueError("the store has messages of a queue without a journal")
        priority = journal.number - base.number
        level = self._by_priority[priority]
        if level is None:
            level = self._add_level(priority, journal)
        level.restore(journal, found)
        self.count += level.count
        self._find_top()
        self._recompute()

    def load_blocking(self) -> None:
        top = self._top
        if top is not None and not top.available():
            top.load_blocking()
            self._recompute()

    def views(self, offset: i64, most: i64, positions: list[int] | None) -> list[View] | None:
        found: list[View] = []
        for level in self._levels:
            if level.count == 0:
                continue
            views = level.views(offset, most, positions)
            if views is None:
                return None
            found += views
            offset = max(offset - level.count, 0)
        return found

    def extract(self, position: i64, size: i64) -> bool:
        level = self._by_priority[self._max_priority - (position >> PRIORITY_SHIFT)]
        if level is None:
            return False
        before = level.bytes
        if not level.extract(position, size):
            return False
        self.count -= 1
        self.bytes += level.bytes - before
        if level.count != 0:
            self._note_expiry(level)
        elif level is self._top:
            self._find_top()
        return True

    def is_packed(self, position: i64) -> bool:
        level = self._by_priority[self._max_priority - (position >> PRIORITY_SHIFT)]
        return level is not None and level.is_packed(position)

    def release_popped(self, popped: list[tuple[int, Message]]) -> list[Message]:
        retained: list[Message] = []
        at = 0
        while at < len(popped):
            level = self._level_at(popped[at][0])
            end = at + 1
            while end < len(popped) and self._level_at(popped[end][0]) is level:
                end += 1
            retained += level.release_popped(popped[at:end])
            at = end
        return retained

    # --- memory -------------------------------------------------------------------------------

    def activity(self) -> i64:
        return 2 * self.popped_position + self.count

    def recount(self) -> None:
        self._uncharged = 0
        cost: i64 = 0
        for level in self._levels:
            cost += level.packable_cost()
        self._memory.charge(self, cost if cost >= PACKED_COST_MIN else 0)

    def release(self, idle: bool) -> int:
        store = self.store
        self.recount()
        if store is None or self.charged == 0:
            return RELEASED
        if not store.may_release():
            return DISK_BUSY
        messages: list[Message] = []
        packed: list[FifoBacklog] = []
        cost: i64 = 0
        for level in reversed(self._levels):
            level_cost = level.packable_cost()
            if level_cost != 0 and (idle or level is not self._top) and level.pack(messages):
                packed.append(level)
                cost += level_cost
                if cost >= PACKED_COST_MAX:
                    break
        if cost < PACKED_COST_MIN:
            return RELEASED
        self._write_packed(store, messages, packed)
        self.recount()
        return MORE_TO_RELEASE if self.charged != 0 else RELEASED

    def _write_packed(
        self, store: Store, messages: list[Message], levels: list[FifoBacklog]
    ) -> None:
        """Write the messages of these priorities as one run."""
        journal = self._packed
        if journal is None:
            journal = store.add_queue(False)
            self._packed = journal
        run = store.write_run(journal, int(self._packed_end), messages)
        self._packed_end += len(messages)
        packed = PackedRun(store, run, self._unpack, self._level_loaded)
        at: i64 = 0
        for level in levels:
            level.set_packed(packed, at)
            at += level.count

    def _unpack(self, packed: PackedRun) -> None:
        for level in self._levels:
            level.unpack(packed)
        if self._packed is not None:
            self._packed.settle_range(packed.run.first, packed.run.end)
        self.recount()

    def _delete_packed(self) -> None:
        """Delete the journal of packed runs, all of whose messages are dropped."""
        if self._packed is not None and self.store is not None:
            self.store.delete_queue(self._packed)
        self._packed = None

    def _level_of(self, message: Message) -> FifoBacklog:
        """The backlog for a message that was just published."""
        priority: i64 = properties.priority(message.header)
        if priority > self._max_priority:
            priority = self._max_priority
        level = self._by_priority[priority]
        return self._new_level(priority) if level is None else level

    def _level_at(self, position: i64) -> FifoBacklog:
        """The backlog that gave a message its position.

        :raises ValueError: if none did.
        """
        level = self._by_priority[self._max_priority - (position >> PRIORITY_SHIFT)]
        if level is None:
            raise ValueError(f"no message was ever at position {position}")
        return level

    def _new_level(self, priority: i64) -> FifoBacklog:
        """Make the backlog of a priority for its first message."""
        store, base = self.store, self.journal
        journal: QueueJournal | None = None
        if store is not None and base is not None:
            journal = store.add_reserved_queue(base.number + int(priority))
        return self._add_level(priority, journal)

    def _add_level(self, priority: i64, journal: QueueJournal | None) -> FifoBacklog:
        first_position = (self._max_priority - priority) << PRIORITY_SHIFT
        level = FifoBacklog(self._level_loaded, self._memory, first_position, MEMORY_DIVISOR)
        level.set_ttl(self._ttl)
        if self.store is not None:
            level.attach_store(self.store, journal)
        self._by_priority[priority] = level
        self._levels = [each for each in reversed(self._by_priority) if each is not None]
        return level

    def _count_added(self, level: FifoBacklog, size: i64) -> None:
        self.count += 1
        self.bytes += size
        self._uncharged += message_cost(size, 1)
        if self._uncharged >= PACKED_COST_MIN:
            self.recount()
        top = self._top
        if top is None or level.next_position < top.next_position:
            self._top = level

    def _pop_from(self, level: FifoBacklog) -> Message:
        message = level.pop()
        self.popped_position = level.popped_position
        self.redelivered = level.redelivered
        self.count -= 1
        self.bytes -= len(message.body)
        if level.count != 0:
            self._note_expiry(level)
        elif level is self._top:
            self._find_top()
        return message

    def _reset(self) -> None:
        """Count no message, because all were dropped."""
        self.count = 0
        self.bytes = 0
        self._top = None
        self._earliest_expiry = 0
        self.recount()

    def _find_top(self) -> None:
        self._top = None
        for level in self._levels:
            if level.count != 0:
                self._top = level
                return

    def _note_expiry(self, level: FifoBacklog) -> None:
        """Take into account that the next message of a priority may be another."""
        expiry = level.next_expiry(0)
        if expiry != 0 and (self._earliest_expiry == 0 or expiry < self._earliest_expiry):
            self._earliest_expiry = expiry

    def _recompute(self) -> None:
        """Take into account that the next message of any priority may be another."""
        self._earliest_expiry = 1
        self.bytes = 0
        for level in self._levels:
            self.bytes += level.bytes

    def _level_loaded(self) -> None:
        self._recompute()
        self._loaded()

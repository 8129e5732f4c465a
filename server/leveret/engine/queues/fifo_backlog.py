"""A backlog that is first in, first out, the middle of a deep one on disk.

Appending and popping are list operations at the list's end, which cost nothing else. The tail is a
list that grows at its end; the head is a reversed list, popped from its end; between them are
chunks (`chunks.py`). Requeued messages precede all that were never popped (`requeued.py`).

The memory that this takes is charged in steps (`message_memory.py`): the tail may cost so much, and
charges more when it is full. When memory is needed, the head and the tail become chunks, which are
written, dropped, and read again when the next message is asked for.
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.backlog import NEVER_NOTED, Backlog
from leveret.engine.queues.chunks import GONE, UNKNOWN, Chunks, cost_of
from leveret.engine.queues.message_memory import (
    CHUNK_COST_MAX,
    DISK_BUSY,
    MORE_TO_RELEASE,
    RELEASED,
    MessageMemory,
    message_cost,
)
from leveret.engine.queues.packed_run import PackedRun
from leveret.engine.queues.peek import PackedPart, Part, View
from leveret.engine.queues.purge import DroppedMessages
from leveret.engine.queues.released import ReleasedRuns, body_size
from leveret.engine.queues.requeued import RequeuedMessages
from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE
from leveret.engine.values.work import WorkQueue
from leveret.limits import MESSAGE_OVERHEAD_BYTES
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.store import Store

FREE_COST: Final = 2048
"""Bytes of memory that the tail of a backlog may take without a charge."""

STEP_FACTOR: Final = 4
"""How many times more a tail may take after each charge, up to a chunk."""

RELEASED_COST_MIN: Final = 4096
"""Bytes of memory from which on the messages of a backlog are written to disk to release it. What
stays in memory for each run takes half a kilobyte."""


NOTED_EXACTLY: Final = 8
"""How many deliveries are noted one by one, so that a crash leaves the flag `redelivered` exact in
a queue with few. Each note may cost a sync."""

NOTED_AHEAD_MAX: Final = 4096
"""Messages that are noted as delivered before they are, at most, in a queue with many deliveries:
13 bytes of the log and perhaps a sync for so many. A crash marks so many more as redelivered."""


def _ignore(added_bytes: int) -> None:
    """What is called when nothing is ever read."""


NO_MESSAGES: Final[list[Message]] = []
NO_CHUNKS: Final = Chunks(_ignore, MessageMemory(WorkQueue()))
"""What a backlog has before it has any of its own. They are never changed: most queues of a broker
with many are empty, and these would be most of their memory."""


class FifoBacklog(Backlog):
    """Messages in the order in which they arrived."""

    def __init__(
        self,
        loaded: Callable[[], None],
        memory: MessageMemory | None = None,
        first_position: i64 = 0,
        memory_divisor: i64 = 1,
    ) -> None:
        """`loaded` is called when messages have been read from disk. `memory_divisor` is how many
        times smaller than usual a chunk is: 1 for a queue, more for one priority of it."""
        super().__init__(first_position)
        self._loaded = loaded
        self._memory = memory or MessageMemory(WorkQueue())
        self._memory_divisor = memory_divisor
        self._tail_cost: i64 = 0
        self._tail_messages_max: i64 = 0
        self._tail_octets_max: i64 = 0
        """What the tail may take before it is charged or full: the cost in bytes of memory, and the
        messages and octets that cost half of it each."""
        self._allow_tail(FREE_COST)
        self._ttl: i64 = NONE
        self._requeued: RequeuedMessages | None = None
        """None if there is none."""
        self._released: ReleasedRuns | None = None
        """The runs that popped messages can be read from; None if there was none."""
        self._head = NO_MESSAGES
        self._head_position: i64 = 0
        self._head_run: Run | None = None
        """Where the messages of the head are on disk; None if they are not."""
        self._head_cost: i64 = 0
        """Bytes of memory that the head took when it was whole."""
        self._packed: PackedRun | None = None
        """Where messages are that take the place of the head; None if they are not packed."""
        self._packed_at: i64 = 0
        self._packed_end: i64 = 0
        """A half-open range of places in the packed run."""
        self._chunks = NO_CHUNKS
        self._tail: list[Message] = []
        self._tail_octets: i64 = 0
        """Octets of the headers and bodies of the tail."""
        self._delivered_end: i64 = 0
        """Messages at positions below it may have been delivered before the last start."""
        self._notes: i64 = 0
        """How often deliveries were noted since the last start."""

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        self.store = store
        self.journal = journal
        if journal is not None and journal.durable:
            self.noted_end = max(journal.delivered_end, self._first_position())
        if self._chunks is not NO_CHUNKS:
            self._chunks.store = store

    def append(self, message: Message) -> i64:
        position = self.next_position
        tail = self._tail
        tail.append(message)
        self.next_position = position + 1
        self.count += 1
        size: i64 = len(message.body)
        self.bytes += size
        self._tail_octets += size + len(message.header)
        if len(tail) >= self._tail_messages_max or self._tail_octets >= self._tail_octets_max:
            self._extend_tail()
        return position

    def assign_position(self, message: Message) -> i64:
        position = self.next_position
        self.next_position = position + 1
        self.popped_position = position
        if position >= self.noted_end:
            self.note_delivered(position)
        return position

    def requeue(self, message: Message, position: i64) -> None:
        requeued = self._requeued
        if requeued is None:
            requeued = RequeuedMessages(self._chunk_loaded)
            self._requeued = requeued
        self.count += 1
        self.bytes += body_size(message, position)
        if requeued.add(message, position):
            self._charge()

    def available(self) -> bool:
        if self._requeued is not None:
            return self._requeued.next_message(self.store) is not None
        if self._head:
            return True
        if self._packed is not None:
            self._packed.request()
            return len(self._head) != 0
        if not self._chunks.is_empty():
            if self._chunks.is_next_loaded():
                return True
            self._chunks.read_ahead()
            return False
        return len(self._tail) != 0

    def pop(self) -> Message:
        if self._requeued is not None:
            message = self._pop_requeued(self._requeued)
            self.redelivered = True
        else:
            if not self._head:
                self._refill_head()
            message = self._head.pop()
            position = self._head_position
            self.popped_position = position
            self.redelivered = position < self._delivered_end
            if position >= self.noted_end:
                self.note_delivered(position)
            self._head_position = position + 1
        self.count -= 1
        self.bytes -= len(message.body)
        return message

    def note_delivered(self, position: i64) -> None:
        store, journal = self.store, self.journal
        if store is None or journal is None:
            self.noted_end = NEVER_NOTED
            return
        ahead: i64 = 0
        if self._notes >= NOTED_EXACTLY:
            ahead = min(1 << (self._notes - NOTED_EXACTLY), NOTED_AHEAD_MAX)
        if ahead < NOTED_AHEAD_MAX:
            self._notes += 1
        self.noted_end = position + 1 + ahead
        journal.note_delivered(self.noted_end)
        # Without it the note might be written half a second after the message was sent.
        store.request_commit()

    def note_delivered_exactly(self) -> None:
        journal = self.journal
        if journal is None or self.noted_end == NEVER_NOTED:
            return
        delivered_end = max(self._first_position(), self._delivered_end)
        if delivered_end < journal.delivered_end:
            journal.note_delivered(delivered_end)

    def set_ttl(self, ttl: i64) -> None:
        self._ttl = ttl

    def next_expiry(self, now: i64) -> i64:
        if self._requeued is not None:
            message = self._requeued.next_message(self.store)
            return 0 if message is None else self._expiry_of(message)
        if not self._head:
            if self._packed is not None:
                # Those that are packed expire only if the queue has a TTL since.
                if self._ttl != NONE:
                    self._packed.request()
                return self._expiry_of(self._head[-1]) if self._head else 0
            if not self._chunks.is_empty() and not self._chunks.is_next_loaded():
                return self._expiry_on_disk(now)
            if self.count == 0:
                return 0
            self._refill_head()
        return self._expiry_of(self._head[-1])

    def pop_expired(self) -> Message:
        return self.pop()

    def head_position(self) -> i64:
        requeued = self._requeued
        return self._first_position() if requeued is None else requeued.first_position()

    def settle(self, position: i64) -> None:
        journal = self.journal
        if journal is not None:
            journal.settle(position)

    def journal_at(self, position: i64) -> QueueJournal | None:
        return self.journal

    def purge(self) -> list[DroppedMessages]:
        if self.journal is not None:
            self.journal.settle_range(self._first_position(), self.next_position)
        return self._drop_all()

    def delete(self) -> list[DroppedMessages]:
        dropped = self._drop_all()
        if self.store is not None and self.journal is not None:
            self.store.delete_queue(self.journal)
            self.journal = None
            self._released = None
        return dropped

    def _drop_all(self) -> list[DroppedMessages]:
        """Drop every message, and settle none in the store."""
        dropped: list[DroppedMessages] = []
        requeued = self._requeued
        if requeued is not None or self._chunks is not NO_CHUNKS:
            popped = [] if requeued is None else requeued.take_all()
            dropped.append(DroppedMessages(popped, self._chunks.take_all()))
        self.count = 0
        self.bytes = 0
        self._requeued = None
        self._head = NO_MESSAGES
        self._head_run = None
        self._packed = None
        self._chunks = NO_CHUNKS
        self._tail = []
        self._tail_octets = 0
        self.recount()
        return dropped

    def restore(self, journal: QueueJournal, found: RecoveredQueue) -> None:
        for item in found.contents:
            if isinstance(item, LoggedMessages):
                self.count += len(item.messages)
                for message in item.messages:
                    self.bytes += len(message.body)
            else:
                for first, end in item.live:
                    self.count += end - first
                # The bytes of a run that was settled in part are known when it is read.
                self.bytes += max(item.live_bytes, 0)
        if found.contents:
            self._own_chunks().restore(found)
        self.next_position = max(self.next_position, found.next_position)
        self._delivered_end = journal.delivered_end
        self.noted_end = max(self.noted_end, journal.delivered_end)
        self.recount()

    def load_blocking(self) -> None:
        if self._requeued is not None:
            self._requeued.load_blocking(self.store)
            return
        if self._packed is not None:
            self._packed.load_blocking()
        if self._head or self._chunks.is_empty():
            return
        if not self._chunks.is_next_loaded():
            self.bytes += self._chunks.load_blocking()

    def views(self, offset: i64, most: i64, positions: list[int] | None) -> list[View] | None:
        if positions is None and self.count <= offset:
            return [View([], self.count, 0, None)]
        parts: list[Part] = []
        if self._requeued is not None:
            part = self._requeued.part(offset, most, positions)
            if part is None:
                return None
            parts.append(part)
        if self._packed is not None:
            parts.append(
                PackedPart(self._head_position, self._packed, self._packed_at, self._packed_end)
            )
        if self._head:
            parts.append(Part(self._head_position, self._head[::-1], None))
        parts += self._chunks.parts()
        if self._tail:
            parts.append(Part(self.next_position - len(self._tail), self._tail[:], None))
        return [View(parts, 0, self._delivered_end, self.journal)]

    def extract(self, position: i64, size: i64) -> bool:
        requeued = self._requeued
        if requeued is not None and requeued.remove(position):
            if requeued.is_empty():
                self._requeued = None
        elif self._head and position == self._head_position:
            self._head.pop()
            self._head_position += 1
        else:
            self._make_chunks()
            known = self._chunks.extract(position)
            if known == GONE:
                return False
            if known != UNKNOWN:
                size = 0
        self.count -= 1
        self.bytes -= size
        self._charge()
        return True

    def is_packed(self, position: i64) -> bool:
        packed = self._packed
        if packed is None:
            return False
        packed.request()
        return self._packed is not None

    # --- memory -------------------------------------------------------------------------------

    def activity(self) -> i64:
        return self.next_position + self.popped_position

    def recount(self) -> None:
        cost = message_cost(self._tail_octets, len(self._tail))
        allowed: i64 = FREE_COST
        while allowed <= cost:
            allowed *= STEP_FACTOR
        self._allow_tail(min(allowed, self._memory.chunk_cost // self._memory_divisor))
        if not self._head:
            self._head_cost = 0
        if self._released is not None:
            self._released.prune()
        cost += self._head_cost + self._chunks.cost + self._requeued_cost()
        self._memory.charge(self, cost if cost > FREE_COST else 0)

    def release(self, idle: bool) -> int:
        store = self.store
        self.recount()
        if store is None or self.charged < RELEASED_COST_MIN:
            return RELEASED
        if not store.may_release():
            return DISK_BUSY
        if self.journal is None:
            self.journal = store.add_queue(False)
        if idle:
            self._make_chunks()
        requeued = self._requeued
        more = False
        if requeued is not None and requeued.cost >= RELEASED_COST_MIN:
            more = requeued.release(self.release_popped)
        if not more:
            more = self._chunks.release(store, self.journal, 0 if idle else 1)
        self.recount()
        return MORE_TO_RELEASE if more else RELEASED

    def release_popped(self, popped: list[tuple[int, Message]]) -> list[Message]:
        store = self.store
        if store is None:
            return [message for _, message in popped]
        if self.journal is None:
            self.journal = store.add_queue(False)
        if self._released is None:
            self._released = ReleasedRuns()
        return self._released.release(store, self.journal, popped)

    def packable_cost(self) -> i64:
        """Bytes of memory of the messages, if they are so few that they are not released otherwise,
        and can be packed; else 0."""
        if (
            self.count == 0
            or self.count > RELEASED_COST_MIN // MESSAGE_OVERHEAD_BYTES
            or self.count != len(self._head) + len(self._tail)
            or self._ttl != NONE
            or self._head_run is not None
        ):
            return 0
        cost = message_cost(self._tail_octets, len(self._tail)) + cost_of(self._head)
        return cost if cost < RELEASED_COST_MIN else 0

    def pack(self, packed: list[Message]) -> bool:
        """Add all messages to `packed`, if none of them expires and no position between them is
        missing; whether they were added."""
        if self._head and self._head_position + self.count != self.next_position:
            return False
        messages = self._head[::-1] + self._tail
        for message in messages:
            if message.expires_at != 0:
                return False
        packed += messages
        return True

    def set_packed(self, packed: PackedRun, at: i64) -> None:
        """All messages were written to a packed run, at places from `at` on."""
        self._head_position = self._first_position()
        self._packed = packed
        self._packed_at = at
        self._packed_end = at + self.count
        self._head = NO_MESSAGES
        self._tail = []
        self._tail_octets = 0
        self.recount()

    def unpack(self, packed: PackedRun) -> None:
        """Have those messages in memory that are in this run."""
        messages = packed.messages
        if self._packed is packed and messages is not None:
            self._packed = None
            self._head = messages[self._packed_at : self._packed_end][::-1]
            self._head_cost = cost_of(self._head)

    def _pop_requeued(self, requeued: RequeuedMessages) -> Message:
        """Pop the first requeued message.

        :raises IndexError: if it is not in memory.
        """
        position, message = requeued.pop()
        self.popped_position = position
        if requeued.is_empty():
            self._requeued = None
        return message

    def _requeued_cost(self) -> i64:
        """Bytes of memory of the requeued messages that are not on disk only."""
        return 0 if self._requeued is None else self._requeued.cost

    def _make_chunks(self) -> None:
        """Make chunks of the head and the tail: one of both, if their positions are consecutive."""
        head, tail = self._head[::-1], self._tail
        tail_cost = message_cost(self._tail_octets, len(tail))
        if head:
            head_cost = cost_of(head)
            run = self._head_run
            is_one = self._head_position + len(head) == self.next_position - len(tail)
            if (
                run is None
                and is_one
                and self._chunks.is_empty()
                and head_cost + tail_cost <= CHUNK_COST_MAX
            ):
                tail = head + tail
                tail_cost += head_cost
            else:
                self._own_chunks().add_first(self._head_position, head, run, head_cost)
        if tail:
            self._own_chunks().add(self.next_position - len(tail), tail, tail_cost)
        self._head = NO_MESSAGES
        self._head_run = None
        self._tail = []
        self._tail_octets = 0

    def _own_chunks(self) -> Chunks:
        """Chunks that may be added to."""
        if self._chunks is NO_CHUNKS:
            self._chunks = Chunks(self._chunk_loaded, self._memory)
            self._chunks.store = self.store
        return self._chunks

    def _allow_tail(self, cost: i64) -> None:
        """Have the tail take so many bytes of memory before `_extend_tail` is called."""
        self._tail_cost = cost
        self._tail_messages_max = cost // (2 * MESSAGE_OVERHEAD_BYTES)
        self._tail_octets_max = cost // 2

    def _extend_tail(self) -> None:
        """Charge more for the tail, or make a chunk of it if it is full."""
        full = self._memory.chunk_cost // self._memory_divisor
        if self._tail_cost >= full or message_cost(self._tail_octets, len(self._tail)) >= full:
            self._seal_tail()
            full = self._memory.chunk_cost // self._memory_divisor
            if self._tail_cost > full:
                self._allow_tail(full)
        else:
            self._allow_tail(min(self._tail_cost * STEP_FACTOR, full))
        self._charge()

    def _charge(self) -> None:
        cost = self._tail_cost + self._head_cost + self._chunks.cost + self._requeued_cost()
        self._memory.charge(self, cost)

    def _first_position(self) -> i64:
        """The position of the oldest message that was never popped; else `next_position`."""
        if self._head or self._packed is not None:
            return self._head_position
        if not self._chunks.is_empty():
            return self._chunks.first_position()
        return self.next_position - len(self._tail)

    def _expiry_of(self, message: Message) -> i64:
        """When a message expires; 0 if never."""
        return self._expiry(message.arrived, message.expires_at)

    def _expiry(self, arrived: i64, expires_at: i64) -> i64:
        ttl = self._ttl
        if ttl == NONE:
            return expires_at
        expiry = arrived + ttl
        if expires_at == 0 or expiry < expires_at:
            return expiry
        return expires_at

    def _expiry_on_disk(self, now: i64) -> i64:
        """As `next_expiry`, for a message that is on disk: it is read once it has to expire."""
        chunk = self._chunks.first()
        if chunk.expires_at != UNKNOWN:
            expiry = self._expiry(chunk.arrived, chunk.expires_at)
            if expiry == 0 or expiry > now:
                return expiry
        self._chunks.read_first()
        return 0

    def _refill_head(self) -> None:
        """Make the next chunk, or the tail, the head.

        :raises IndexError: if the next chunk is not in memory, or the head is packed.
        """
        if self._packed is not None:
            raise IndexError("the next message is packed")
        if self._chunks.is_empty():
            self._tail.reverse()
            self._head, self._tail = self._tail, []
            self._head_run = None
            self._head_cost = message_cost(self._tail_octets, len(self._head))
            self._tail_octets = 0
            self._head_position = self.next_position - len(self._head)
            return
        chunk = self._chunks.pop()
        messages = chunk.messages
        if messages is not None:
            # A copy, because a run that is being written needs its list as it is.
            self._head = messages[::-1]
        self._head_position = chunk.first
        self._head_run = chunk.run
        self._head_cost = chunk.cost
        if chunk.run is not None:
            if self._released is None:
                self._released = ReleasedRuns()
            self._released.add(chunk.run)
        self._chunks.read_ahead()
        self._charge()

    def _seal_tail(self) -> None:
        """Add the tail, which is full, to the chunks, in memory or on disk."""
        first = self.next_position - len(self._tail)
        cost = message_cost(self._tail_octets, len(self._tail))
        store = self.store
        chunks = self._own_chunks()
        if store is not None and chunks.belongs_on_disk():
            if self.journal is None:
                self.journal = store.add_queue(False)
            run = store.write_run(self.journal, int(first), self._tail)
            chunks.add_written(first, run, cost)
        else:
            chunks.add(first, self._tail, cost)
        self._tail = []
        self._tail_octets = 0

    def _chunk_loaded(self, added_bytes: int) -> None:
        self.bytes += added_bytes
        self._charge()
        self._loaded()

"""A backlog that is first in, first out, the middle of a deep one on disk.

Appending and popping are list operations at the list's end, which cost nothing else. The tail is a
list that grows at its end; the head is a reversed list, popped from its end; between them are
chunks (`chunks.py`). Messages that were requeued precede all that were never popped, and are in a
heap by position.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from mypy_extensions import i64

from leveret.engine.queues.backlog import Backlog
from leveret.engine.queues.chunks import CHUNK_BYTES, CHUNK_MESSAGES, Chunks
from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store


class FifoBacklog(Backlog):
    """Messages in the order in which they arrived."""

    def __init__(
        self, loaded: Callable[[], None], first_position: i64 = 0, memory_divisor: i64 = 1
    ) -> None:
        """`loaded` is called when messages have been read from disk. `memory_divisor` is how many
        times smaller than usual a chunk is: 1 for a queue, more for one priority of it."""
        super().__init__(first_position)
        self._loaded = loaded
        self._chunk_messages = CHUNK_MESSAGES // memory_divisor
        self._chunk_bytes = CHUNK_BYTES // memory_divisor
        self._ttl: i64 = NONE
        self._requeued: list[tuple[int, Message]] = []
        self._head: list[Message] = []
        self._head_position: i64 = 0
        self._chunks = Chunks(self._chunk_loaded)
        self._tail: list[Message] = []
        self._tail_bytes: i64 = 0

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        self.store = store
        self.journal = journal
        self._chunks.store = store

    def append(self, message: Message) -> i64:
        position = self.next_position
        tail = self._tail
        tail.append(message)
        self.next_position = position + 1
        self.count += 1
        size: i64 = len(message.body)
        self.bytes += size
        self._tail_bytes += size
        if len(tail) >= self._chunk_messages or self._tail_bytes >= self._chunk_bytes:
            self._seal_tail()
        return position

    def assign_position(self, message: Message) -> i64:
        position = self.next_position
        self.next_position = position + 1
        self.popped_position = position
        return position

    def requeue(self, message: Message, position: i64) -> None:
        heappush(self._requeued, (position, message))
        self.count += 1
        self.bytes += len(message.body)

    def available(self) -> bool:
        if self._head or self._requeued:
            return True
        if not self._chunks.is_empty():
            return self._chunks.is_next_loaded()
        return len(self._tail) != 0

    def pop(self) -> Message:
        if self._requeued:
            position, message = heappop(self._requeued)
            self.popped_position = position
            self.redelivered = True
        else:
            if not self._head:
                self._refill_head()
            message = self._head.pop()
            self.popped_position = self._head_position
            self.redelivered = False
            self._head_position += 1
        self.count -= 1
        self.bytes -= len(message.body)
        return message

    def set_ttl(self, ttl: i64) -> None:
        self._ttl = ttl

    def next_expiry(self, now: i64) -> i64:
        if self._requeued:
            return self._expiry_of(self._requeued[0][1])
        if not self.available():
            return 0
        if not self._head:
            self._refill_head()
        return self._expiry_of(self._head[-1])

    def pop_expired(self) -> Message:
        return self.pop()

    def head_position(self) -> i64:
        return self._requeued[0][0] if self._requeued else self._first_position()

    def settle(self, position: i64) -> None:
        journal = self.journal
        if journal is not None:
            journal.settle(position)

    def journal_at(self, position: i64) -> QueueJournal | None:
        return self.journal

    def purge(self) -> list[int]:
        if self.journal is not None:
            self.journal.settle_range(self._first_position(), self.next_position)
        requeued = [position for position, _ in self._requeued]
        self.clear()
        return requeued

    def delete(self) -> None:
        self.clear()
        if self.store is not None and self.journal is not None:
            self.store.delete_queue(self.journal)
            self.journal = None

    def clear(self) -> None:
        """Drop every message, and settle none in the store."""
        self.count = 0
        self.bytes = 0
        self._requeued = []
        self._head = []
        self._chunks.clear()
        self._tail = []
        self._tail_bytes = 0

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
        self._chunks.restore(found)
        self.next_position = max(self.next_position, found.next_position)
        self._chunks.read_ahead()

    def load_blocking(self) -> None:
        if not self.available():
            self.bytes += self._chunks.load_blocking()

    def _first_position(self) -> i64:
        """The position of the oldest message that was never popped; else `next_position`."""
        if self._head:
            return self._head_position
        if not self._chunks.is_empty():
            return self._chunks.first_position()
        return self.next_position - len(self._tail)

    def _expiry_of(self, message: Message) -> i64:
        """When a message expires; 0 if never."""
        ttl = self._ttl
        if ttl == NONE:
            return message.expires_at
        expiry = message.arrived + ttl
        if message.expires_at == 0 or expiry < message.expires_at:
            return expiry
        return message.expires_at

    def _refill_head(self) -> None:
        """Make the next chunk, or the tail, the head.

        :raises IndexError: if the next chunk is not in memory.
        """
        if self._chunks.is_empty():
            self._tail.reverse()
            self._head, self._tail = self._tail, []
            self._tail_bytes = 0
            self._head_position = self.next_position - len(self._head)
            return
        chunk = self._chunks.pop()
        messages = chunk.messages
        if messages is not None:
            # A copy, because a run that is being written needs its list as it is.
            self._head = messages[::-1]
        self._head_position = chunk.first
        self._chunks.read_ahead()

    def _seal_tail(self) -> None:
        """Add the tail, which is full, to the chunks, in memory or on disk."""
        first = self.next_position - len(self._tail)
        store = self.store
        if store is not None and self._chunks.belongs_on_disk():
            if self.journal is None:
                self.journal = store.add_queue(False)
            self._chunks.add_written(first, store.write_run(self.journal, int(first), self._tail))
        else:
            self._chunks.add(first, self._tail)
        self._tail = []
        self._tail_bytes = 0

    def _chunk_loaded(self, added_bytes: int) -> None:
        self.bytes += added_bytes
        self._loaded()

"""The backlog of a queue: messages first in, first out, the middle of a deep one on disk.

Appending and popping are list operations at the list's end, which cost nothing else. The tail grows
at its end; the head is a list turned round, popped from its end; between them lie chunks. The first
few chunks stay in memory, those behind them are written to disk and dropped, and read again a
little ahead of their turn. So a queue costs no more memory at a hundred million messages than at
ten thousand.

Each message has a position, its place in the order of arrival. Positions in a chunk are
consecutive; between chunks some may be missing after a restart. Messages leave in that order, so
whatever comes back lies before all that has not left yet: it waits in a heap of its own.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from mypy_extensions import i64

from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE
from leveret_storage.errors import StorageError
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.store import Store

CHUNK_MESSAGES: Final = 1024
CHUNK_BYTES: Final = 256 * 1024
"""Messages and bytes of bodies at which a chunk is full: long enough that turning one round, or a
read, is no cost per message, short enough that it takes no time another connection would notice."""

CHUNKS_IN_MEMORY: Final = 8
"""Full chunks a queue keeps in memory before the next ones go to disk."""

CHUNKS_AHEAD: Final = 2
"""Chunks read from disk ahead of their turn."""


class Chunk:
    """Messages with consecutive positions, in memory, on disk, or on the way."""

    def __init__(self, first: i64, messages: list[Message] | None, run: Run | None) -> None:
        self.first = first
        self.messages = messages
        self.run = run
        self.loading = False


class Backlog:
    """Messages in order. The owner asks `available` before it pops."""

    def __init__(self, loaded: Callable[[], None], first: i64 = 0, share: i64 = 1) -> None:
        """`first` is the position of the first message to arrive, `share` the part of what a queue
        keeps in memory: 1 for all of it, 4 for a quarter."""
        self.count: i64 = 0
        """Messages, wherever they are."""
        self.bytes: i64 = 0
        """Bytes of their bodies."""
        self.next = first
        """The position of the next message to arrive."""
        self.popped_position = first - 1
        """The position of the message popped last; before the first one if none was."""
        self.redelivered = False
        """Whether the message popped last had been given back."""
        self.store: Store | None = None
        self.journal: QueueJournal | None = None
        """What the store keeps of it; None until it keeps anything."""
        self._loaded = loaded
        """Told when messages that were waited for are there."""
        self._chunk_messages = CHUNK_MESSAGES // share
        self._chunk_bytes = CHUNK_BYTES // share
        self._ttl: i64 = NONE
        self._returned: list[tuple[int, Message]] = []
        self._head: list[Message] = []
        self._head_position: i64 = 0
        self._chunks: deque[Chunk] = deque()
        self._in_memory: i64 = 0
        self._tail: list[Message] = []
        self._tail_bytes: i64 = 0

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        """Use a store: for what does not fit into memory and, with `log`, for what is durable."""
        self.store = store
        self.journal = journal

    def append(self, message: Message) -> i64:
        """Put a message behind all others.

        :returns: its position.
        """
        position = self.next
        tail = self._tail
        tail.append(message)
        self.next = position + 1
        self.count += 1
        size: i64 = len(message.body)
        self.bytes += size
        self._tail_bytes += size
        if len(tail) >= self._chunk_messages or self._tail_bytes >= self._chunk_bytes:
            self._seal()
        return position

    def assign_position(self, message: Message) -> i64:
        """The position of a message that goes straight through, as nothing waits."""
        position = self.next
        self.next = position + 1
        self.popped_position = position
        return position

    def requeue(self, message: Message, position: i64) -> None:
        """Put a message that was taken back to its old place."""
        heappush(self._returned, (position, message))
        self.count += 1
        self.bytes += len(message.body)

    def available(self) -> bool:
        """Whether the next message is in memory."""
        if self._head or self._returned:
            return True
        if self._chunks:
            return self._in_hand(self._chunks[0])
        return len(self._tail) != 0

    def pop(self) -> Message:
        """Take the next message, whose position is in `popped_position` then.

        :raises IndexError: if it is not available.
        """
        if self._returned:
            position, message = heappop(self._returned)
            self.popped_position = position
            self.redelivered = True
        else:
            if not self._head:
                self._refill()
            message = self._head.pop()
            self.popped_position = self._head_position
            self.redelivered = False
            self._head_position += 1
        self.count -= 1
        self.bytes -= len(message.body)
        return message

    def expire_after(self, ttl: i64) -> None:
        """Let messages expire so many milliseconds after they arrived; `NONE`: when they say."""
        self._ttl = ttl

    def due(self, now: i64) -> i64:
        """When the next message to expire does, or a time before that, but behind `now`; 0 if
        never, or if it is not in memory now."""
        if self._returned:
            return self._due(self._returned[0][1])
        if not self.available():
            return 0
        if not self._head:
            self._refill()
        return self._due(self._head[-1])

    def pop_expired(self) -> Message:
        """As `pop`, for the message that `due` told of."""
        return self.pop()

    def first(self) -> i64:
        """The position of the oldest message that never left; `next` if there is none."""
        if self._head:
            return self._head_position
        if self._chunks:
            return self._chunks[0].first
        return self.next - len(self._tail)

    def head(self) -> i64:
        """The position of the next message; `next` if there is none."""
        return self._returned[0][0] if self._returned else self.first()

    def settle(self, position: i64) -> None:
        """A message that was popped, or passed by, is done with."""
        journal = self.journal
        if journal is not None:
            journal.settle(position)

    def journal_at(self, position: i64) -> QueueJournal | None:
        """What the store keeps of the message at a position."""
        return self.journal

    def is_settled(self, position: i64) -> bool:
        """Whether a message is done with, or was never kept."""
        journal = self.journal_at(position)
        return journal is None or journal.is_settled(position)

    def purge(self) -> list[int]:
        """Drop every message, and be done with those that never left.

        :returns: the positions of the others, of which the owner has to be done with each.
        """
        if self.journal is not None:
            self.journal.settle_range(self.first(), self.next)
        requeued = [position for position, _ in self._returned]
        self.clear()
        return requeued

    def drop(self) -> None:
        """Drop every message, and what the store has of them: the queue is gone."""
        self.clear()
        if self.store is not None and self.journal is not None:
            self.store.delete_queue(self.journal)
            self.journal = None

    def clear(self) -> None:
        """Drop every message."""
        self.count = 0
        self.bytes = 0
        self._returned = []
        self._head = []
        self._chunks.clear()
        self._in_memory = 0
        self._tail = []
        self._tail_bytes = 0

    def restore(self, journal: QueueJournal, found: RecoveredQueue) -> None:
        """Take in what a start found."""
        for item in found.contents:
            if isinstance(item, LoggedMessages):
                self._restore_loose(item)
            else:
                self._restore_run(item)
        self.next = max(self.next, found.next_position)
        self.read_ahead()

    def _restore_loose(self, loose: LoggedMessages) -> None:
        self._chunks.append(Chunk(loose.first, loose.messages, None))
        self._in_memory += 1
        self.count += len(loose.messages)
        for message in loose.messages:
            self.bytes += len(message.body)

    def _restore_run(self, run: Run) -> None:
        self._chunks.append(Chunk(run.live[0][0], None, run))
        for first, end in run.live:
            self.count += end - first
        # What was settled of it in part counts when it is read.
        self.bytes += max(run.live_bytes, 0)

    def load_now(self) -> None:
        """Wait for the disk until the next message is available, if there is one.

        It is not if it cannot be read, which ends the broker.
        """
        if not self.available() and self._chunks and self.store is not None:
            chunk = self._chunks[0]
            if chunk.run is not None:
                try:
                    self._arrive(chunk, self.store.read_run_blocking(chunk.run))
                except StorageError as error:
                    self.store.fail(error)

    def read_ahead(self) -> None:
        """See to it that the next chunks are, or come, into memory."""
        if self.store is None:
            return
        at = 0
        while at < len(self._chunks) and at < CHUNKS_AHEAD:
            chunk = self._chunks[at]
            run = chunk.run
            if run is not None and not chunk.loading and not self._in_hand(chunk):
                chunk.loading = True
                self.store.read_run(run, _Arrival(self, chunk).arrived)
            at += 1

    def _due(self, message: Message) -> i64:
        """When a message expires; 0 if never."""
        ttl = self._ttl
        if ttl == NONE:
            return message.expires_at
        due = message.arrived + ttl
        return due if message.expires_at == 0 or due < message.expires_at else message.expires_at

    def _in_hand(self, chunk: Chunk) -> bool:
        """Whether a chunk is in memory, be it only because its write is not done."""
        if chunk.messages is None and chunk.run is not None:
            chunk.messages = chunk.run.messages
        return chunk.messages is not None

    def _refill(self) -> None:
        if not self._chunks:
            self._tail.reverse()
            self._head, self._tail = self._tail, []
            self._tail_bytes = 0
            self._head_position = self.next - len(self._head)
            return
        chunk = self._chunks[0]
        if not self._in_hand(chunk):
            raise IndexError("the next message is not in memory")
        self._chunks.popleft()
        if chunk.run is None:
            self._in_memory -= 1
        messages = chunk.messages
        if messages is not None:
            # A run that is being written still needs its list as it is.
            messages = messages[::-1]
            self._head = messages
        self._head_position = chunk.first
        self.read_ahead()

    def _seal(self) -> None:
        """The tail is a full chunk: the next one in memory, or on disk."""
        first = self.next - len(self._tail)
        run: Run | None = None
        messages: list[Message] | None = self._tail
        store = self.store
        if store is not None and (self._in_memory >= CHUNKS_IN_MEMORY or self._is_deep()):
            if self.journal is None:
                self.journal = store.add_queue(False)
            run = store.write_run(self.journal, int(first), self._tail)
            messages = None
        else:
            self._in_memory += 1
        self._chunks.append(Chunk(first, messages, run))
        self._tail = []
        self._tail_bytes = 0

    def _is_deep(self) -> bool:
        """Whether the chunk behind which the next one goes is on disk."""
        return len(self._chunks) > CHUNKS_AHEAD and self._chunks[-1].run is not None

    def _arrive(self, chunk: Chunk, messages: list[Message]) -> None:
        """A run was read: what of it is still to be delivered takes its place."""
        run = chunk.run
        chunk.loading = False
        if run is None or not self._chunks or chunk not in self._chunks_ahead():
            return
        if not run.live:
            chunk.messages = messages
            return
        at = self._chunks.index(chunk)
        del self._chunks[at]
        for first, end in reversed(run.live):
            start = first - run.first
            block = messages[start : start + end - first]
            self._chunks.insert(at, Chunk(first, block, run))
            if run.live_bytes < 0:
                for message in block:
                    self.bytes += len(message.body)

    def _chunks_ahead(self) -> list[Chunk]:
        return [self._chunks[at] for at in range(min(len(self._chunks), CHUNKS_AHEAD + 1))]


class _Arrival:
    """What to do when a chunk has been read."""

    def __init__(self, backlog: Backlog, chunk: Chunk) -> None:
        self._backlog = backlog
        self._chunk = chunk

    def arrived(self, messages: list[Message]) -> None:
        self._backlog._arrive(self._chunk, messages)
        self._backlog._loaded()

"""The backlog of a queue: messages first in, first out, the middle of a deep one on disk.

Appending and popping are list operations at the list's end, which cost nothing else. The tail grows
at its end; the head is a list turned round, popped from its end; between them lie chunks. The first
few chunks stay in memory, those behind them are written to disk and dropped, and read again a
little ahead of their turn. So a queue costs no more memory at a hundred million messages than at
ten thousand.

Each message has a position, its place in the order of arrival. Positions in a chunk are
consecutive; between chunks some may be missing after a restart.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.message import Message
from leveret_storage.queue_log import QueueLog, Run
from leveret_storage.store import Store

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

    def __init__(self, loaded: Callable[[], None]) -> None:
        self.count: i64 = 0
        """Messages, wherever they are."""
        self.bytes: i64 = 0
        """Bytes of their bodies."""
        self.next: i64 = 0
        """The position of the next message to arrive."""
        self.popped: i64 = -1
        """The position of the message popped last; -1 before the first."""
        self.store: Store | None = None
        self.log: QueueLog | None = None
        self._loaded = loaded
        """Told when messages that were waited for are there."""
        self._head: list[Message] = []
        self._head_position: i64 = 0
        self._chunks: deque[Chunk] = deque()
        self._in_memory: i64 = 0
        self._tail: list[Message] = []
        self._tail_bytes: i64 = 0

    def append(self, message: Message) -> None:
        """Put a message behind all others."""
        tail = self._tail
        tail.append(message)
        self.next += 1
        self.count += 1
        size: i64 = len(message.body)
        self.bytes += size
        self._tail_bytes += size
        if len(tail) == CHUNK_MESSAGES or self._tail_bytes >= CHUNK_BYTES:
            self._seal()

    def available(self) -> bool:
        """Whether the next message is in memory."""
        if self._head:
            return True
        if self._chunks:
            return self._in_hand(self._chunks[0])
        return len(self._tail) != 0

    def pop(self) -> Message:
        """Take the oldest message, whose position is in `popped` then.

        :raises IndexError: if it is not available.
        """
        if not self._head:
            self._refill()
        message = self._head.pop()
        self.popped = self._head_position
        self._head_position += 1
        self.count -= 1
        self.bytes -= len(message.body)
        return message

    def peek(self) -> Message:
        """The oldest message, which stays.

        :raises IndexError: if it is not available.
        """
        if not self._head:
            self._refill()
        return self._head[-1]

    def pass_by(self) -> i64:
        """The position of a message that goes straight through, as nothing waits."""
        position = self.next
        self.next = position + 1
        self.popped = position
        return position

    def first(self) -> i64:
        """The position of the oldest message; that of the next to arrive if there is none."""
        if self._head:
            return self._head_position
        if self._chunks:
            return self._chunks[0].first
        return self.next - len(self._tail)

    def clear(self) -> None:
        """Drop every message."""
        self.count = 0
        self.bytes = 0
        self._head = []
        self._chunks.clear()
        self._in_memory = 0
        self._tail = []
        self._tail_bytes = 0

    def restore(self, first: int, messages: list[Message]) -> None:
        """Put consecutive messages that a restart found behind all others."""
        self._chunks.append(Chunk(first, messages, None))
        self._in_memory += 1
        self.count += len(messages)
        for message in messages:
            self.bytes += len(message.body)

    def restore_run(self, run: Run) -> None:
        """As `restore`, for messages that are on disk."""
        self._chunks.append(Chunk(run.live[0][0], None, run))
        for first, end in run.live:
            self.count += end - first

    def load_now(self) -> None:
        """Wait for the disk until the next message is available, if there is one."""
        if not self.available() and self._chunks and self.store is not None:
            chunk = self._chunks[0]
            if chunk.run is not None:
                self._arrive(chunk, self.store.read_run_now(chunk.run))

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
            if self.log is None:
                self.log = store.add_queue(False)
            run = store.write_run(self.log, int(first), self._tail)
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
            piece = Chunk(first, messages[start : start + end - first], run)
            self._chunks.insert(at, piece)

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

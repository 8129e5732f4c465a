"""The middle of a FIFO backlog: chunks of messages, most of them on disk when there are many.

The first full chunks stay in memory. Those behind them are written to disk and dropped, and read
again a little ahead of being needed. So a queue costs no more memory at a hundred million messages
than at ten thousand.

Positions in a chunk are consecutive; between chunks some may be missing after a restart.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.values.message import Message
from leveret_storage.errors import StorageError
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import Run
from leveret_storage.store.store import Store

CHUNK_MESSAGES: Final = 1024
CHUNK_BYTES: Final = 256 * 1024
"""Messages, and bytes of their bodies, at which a chunk is full: large enough that reversing or
reading one costs little per message, small enough that it delays no other connection noticeably."""

CHUNKS_IN_MEMORY: Final = 8
"""Full chunks that a queue keeps in memory before the next ones go to disk."""

CHUNKS_AHEAD: Final = 2
"""Chunks that are read from disk before they are needed."""


class Chunk:
    """Messages with consecutive positions, in memory, on disk, or being written or read."""

    def __init__(self, first: i64, messages: list[Message] | None, run: Run | None) -> None:
        self.first = first
        """The position of its first message."""
        self.messages = messages
        """None while they are not in memory."""
        self.run = run
        """Where they are on disk; None if they are not."""
        self.loading = False
        """Whether they are being read."""

    def is_loaded(self) -> bool:
        """Whether the messages are in memory. Those of a run that is being written still are."""
        if self.messages is None and self.run is not None:
            self.messages = self.run.messages
        return self.messages is not None


class Chunks:
    """The chunks of one backlog, in order."""

    def __init__(self, loaded: Callable[[int], None]) -> None:
        """`loaded` is called when a chunk was read, with the bytes of bodies of its messages if
        they were not known before, else with 0."""
        self.store: Store | None = None
        """Where chunks are read from; None while all are in memory."""
        self._loaded = loaded
        self._chunks: deque[Chunk] = deque()
        self._in_memory: i64 = 0
        """Chunks that are in memory only."""

    def is_empty(self) -> bool:
        """Whether there is no chunk."""
        return not self._chunks

    def first_position(self) -> i64:
        """The position of the first message.

        :raises IndexError: if there is no chunk.
        """
        return self._chunks[0].first

    def is_next_loaded(self) -> bool:
        """Whether the first chunk is in memory.

        :raises IndexError: if there is no chunk.
        """
        return self._chunks[0].is_loaded()

    def belongs_on_disk(self) -> bool:
        """Whether a chunk that is added now goes to disk, if there is a store."""
        if self._in_memory >= CHUNKS_IN_MEMORY:
            return True
        chunks = self._chunks
        return len(chunks) > CHUNKS_AHEAD and chunks[-1].run is not None

    def add(self, first: i64, messages: list[Message]) -> None:
        """Add a chunk that stays in memory."""
        self._chunks.append(Chunk(first, messages, None))
        self._in_memory += 1

    def add_written(self, first: i64, run: Run) -> None:
        """Add a chunk whose messages are being written to disk."""
        self._chunks.append(Chunk(first, None, run))

    def pop(self) -> Chunk:
        """Remove and return the first chunk.

        :raises IndexError: if it is not in memory.
        """
        chunk = self._chunks[0]
        if not chunk.is_loaded():
            raise IndexError("the next message is not in memory")
        self._chunks.popleft()
        if chunk.run is None:
            self._in_memory -= 1
        return chunk

    def clear(self) -> None:
        """Drop all chunks."""
        self._chunks.clear()
        self._in_memory = 0

    def restore(self, found: RecoveredQueue) -> None:
        """Add what recovery found in the log and in queue segments."""
        for item in found.contents:
            if isinstance(item, LoggedMessages):
                self.add(item.first, item.messages)
            else:
                self._chunks.append(Chunk(item.live[0][0], None, item))

    def load_blocking(self) -> int:
        """Read the first chunk, and wait for it. If that fails, so does the store.

        :returns: bytes of bodies of its messages, if they were not known before, else 0.
        """
        store = self.store
        if store is None or not self._chunks:
            return 0
        chunk = self._chunks[0]
        if chunk.run is not None:
            try:
                return self._fill(chunk, store.read_run_blocking(chunk.run))
            except StorageError as error:
                store.fail(error)
        return 0

    def read_ahead(self) -> None:
        """Begin to read the next chunks, as far as they are not in memory."""
        store = self.store
        if store is None:
            return
        at = 0
        while at < len(self._chunks) and at < CHUNKS_AHEAD:
            chunk = self._chunks[at]
            run = chunk.run
            if run is not None and not chunk.loading and not chunk.is_loaded():
                chunk.loading = True
                store.read_run(run, _ChunkRead(self, chunk).done)
            at += 1

    def _fill(self, chunk: Chunk, messages: list[Message]) -> int:
        """Replace a chunk that was read by chunks of its live messages.

        :returns: bytes of their bodies, if they were not known before, else 0.
        """
        run = chunk.run
        chunk.loading = False
        if run is None or not self._chunks or chunk not in self._next_chunks():
            return 0
        if not run.live:
            chunk.messages = messages
            return 0
        added = 0
        at = self._chunks.index(chunk)
        del self._chunks[at]
        for first, end in reversed(run.live):
            start = first - run.first
            block = messages[start : start + end - first]
            self._chunks.insert(at, Chunk(first, block, run))
            if run.live_bytes < 0:
                for message in block:
                    added += len(message.body)
        return added

    def _next_chunks(self) -> list[Chunk]:
        return [self._chunks[at] for at in range(min(len(self._chunks), CHUNKS_AHEAD + 1))]


class _ChunkRead:
    """A chunk that is being read."""

    def __init__(self, chunks: Chunks, chunk: Chunk) -> None:
        self._chunks = chunks
        self._chunk = chunk

    def done(self, messages: list[Message]) -> None:
        chunks = self._chunks
        chunks._loaded(chunks._fill(self._chunk, messages))

"""The middle of a FIFO backlog: chunks of messages, most of them on disk when there are many.

The first full chunks stay in memory. Those behind them are written to disk and dropped, and read
again a little ahead of being needed. So a queue costs no more memory at a hundred million messages
than at ten thousand. When memory is needed, all of them are written and dropped
(`message_memory.py`).

Positions in a chunk are consecutive; between chunks some may be missing after a restart.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.message_memory import CHUNKS_AHEAD, MessageMemory, message_cost
from leveret.engine.queues.peek import Part
from leveret.engine.values.message import Message
from leveret_storage.errors import StorageError
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.store import Store

UNKNOWN: Final = -1
"""The expiry of the first message of a chunk that was not in memory since the start; the bytes of a
message that was extracted, which only its reader knows."""

GONE: Final = -2
"""In place of the bytes of a message that is not there."""


class Chunk(Part):
    """Messages with consecutive positions, in memory, on disk, or being written or read."""

    def __init__(self, first: i64, messages: list[Message] | None, run: Run | None) -> None:
        super().__init__(first, messages, run)
        self.counted = True
        """Whether the bytes of its bodies were counted."""
        self.loading = False
        """Whether they are being read."""
        self.cost: i64 = 0
        """Bytes of memory of its messages, if they were ever in memory."""
        self.arrived: i64 = 0
        self.expires_at: i64 = UNKNOWN
        """When the first message arrived and when it expires, as the message says."""

    def note_expiry(self) -> None:
        """Note when the first message arrived and expires, while it is in memory."""
        messages = self.messages
        if messages:
            self.arrived = messages[0].arrived
            self.expires_at = messages[0].expires_at


class Chunks:
    """The chunks of one backlog, in order."""

    def __init__(self, loaded: Callable[[int], None], memory: MessageMemory) -> None:
        """`loaded` is called when a chunk was read, with the bytes of bodies of its messages if
        they were not known before, else with 0."""
        self.store: Store | None = None
        """Where chunks are read from; None while all are in memory."""
        self.cost: i64 = 0
        """Bytes of memory of the messages that are in memory."""
        self._loaded = loaded
        self._memory = memory
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

    def first(self) -> Chunk:
        """The first chunk.

        :raises IndexError: if there is none.
        """
        return self._chunks[0]

    def is_next_loaded(self) -> bool:
        """Whether the first chunk is in memory.

        :raises IndexError: if there is no chunk.
        """
        return self._is_loaded(self._chunks[0])

    def belongs_on_disk(self) -> bool:
        """Whether a chunk that is added now goes to disk, if there is a store."""
        if self._in_memory >= self._memory.chunks_in_memory:
            return True
        chunks = self._chunks
        return len(chunks) > CHUNKS_AHEAD and chunks[-1].run is not None

    def add(self, first: i64, messages: list[Message], cost: i64) -> None:
        """Add a chunk that stays in memory, where it takes `cost` bytes."""
        chunk = Chunk(first, messages, None)
        chunk.cost = cost
        self._chunks.append(chunk)
        self._in_memory += 1
        self.cost += cost

    def add_written(self, first: i64, run: Run, cost: i64) -> None:
        """Add a chunk whose messages are being written to disk."""
        chunk = Chunk(first, run.messages, run)
        chunk.note_expiry()
        chunk.messages = None
        chunk.cost = cost
        self._chunks.append(chunk)

    def add_first(self, first: i64, messages: list[Message], run: Run | None, cost: i64) -> None:
        """Add a chunk in front of the others that is in memory; on disk, too, if there is a run."""
        chunk = Chunk(first, messages, run)
        chunk.cost = cost
        if run is None:
            self._in_memory += 1
        else:
            chunk.live = [(int(first), int(first) + len(messages))]
        self._chunks.appendleft(chunk)
        self.cost += cost

    def pop(self) -> Chunk:
        """Remove and return the first chunk.

        :raises IndexError: if it is not in memory.
        """
        chunk = self._chunks[0]
        if not self._is_loaded(chunk):
            raise IndexError("the next message is not in memory")
        self._chunks.popleft()
        if chunk.run is None:
            self._in_memory -= 1
        self.cost -= chunk.cost
        return chunk

    def take_all(self) -> deque[Chunk]:
        """Remove and return all chunks. A read that is under way finds its chunk in none of
        them."""
        chunks = self._chunks
        self._chunks = deque()
        self._in_memory = 0
        self.cost = 0
        return chunks

    def restore(self, found: RecoveredQueue) -> None:
        """Add what recovery found in the log and in queue segments."""
        for item in found.contents:
            if isinstance(item, LoggedMessages):
                self.add(item.first, item.messages, cost_of(item.messages))
            else:
                chunk = Chunk(item.live[0][0], None, item)
                chunk.live = item.live
                chunk.counted = item.live_bytes >= 0
                self._chunks.append(chunk)

    def parts(self) -> list[Part]:
        """All chunks, for a look at them."""
        return list(self._chunks)

    def extract(self, position: i64) -> int:
        """Remove the message at a position, wherever it is among the chunks.

        :returns: bytes of its body that were counted: `GONE` if there is no such message, `UNKNOWN`
            if it was removed and the caller knows them, 0 if it was and they were not counted.
        """
        at = self._index_of(position)
        if at < 0:
            return GONE
        chunk = self._chunks[at]
        # What is being written is in memory, and stays one piece.
        self._is_loaded(chunk)
        if chunk.messages is not None:
            return UNKNOWN if self._extract_loaded(at, chunk, position) else GONE
        ranges: list[tuple[int, int]] = []
        found = False
        for first, end in chunk.ranges():
            if first <= position < end:
                found = True
                ranges += _without(first, end, int(position))
            else:
                ranges.append((first, end))
        if not found:
            return GONE
        if not ranges:
            del self._chunks[at]
        else:
            chunk.live = ranges
            if chunk.first != ranges[0][0]:
                chunk.first = ranges[0][0]
                chunk.expires_at = UNKNOWN
        return UNKNOWN if chunk.counted else 0

    def _extract_loaded(self, at: int, chunk: Chunk, position: i64) -> bool:
        """Replace a chunk that is in memory by one before a position and one behind it."""
        messages = chunk.messages
        first = int(chunk.first)
        if messages is None or not first <= position < first + len(messages):
            return False
        del self._chunks[at]
        self.cost -= chunk.cost
        if chunk.run is None:
            self._in_memory -= 1
        for start, end in reversed(_without(first, first + len(messages), int(position))):
            part = Chunk(start, messages[start - first : end - first], chunk.run)
            if part.messages is not None:
                part.cost = cost_of(part.messages)
            if chunk.run is None:
                self._in_memory += 1
            else:
                part.live = [(start, end)]
            self.cost += part.cost
            self._chunks.insert(at, part)
        return True

    def _index_of(self, position: i64) -> int:
        """The index of the last chunk that begins at a position or before; -1 if none does."""
        low, high = 0, len(self._chunks)
        while low < high:
            middle = (low + high) // 2
            if self._chunks[middle].first <= position:
                low = middle + 1
            else:
                high = middle
        return low - 1

    # --- from disk ----------------------------------------------------------------------------

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

    def read_first(self) -> None:
        """Begin to read the first chunk, if it is not in memory."""
        self._read(1)

    def read_ahead(self) -> None:
        """Begin to read the next chunks, as far as they are not in memory."""
        self._read(self._memory.chunks_ahead)

    def _read(self, count: i64) -> None:
        store = self.store
        if store is None:
            return
        at = 0
        while at < len(self._chunks) and at < count:
            chunk = self._chunks[at]
            run = chunk.run
            if run is not None and not chunk.loading and not self._is_loaded(chunk):
                chunk.loading = True
                store.read_run(run, _ChunkRead(self, chunk).done)
            at += 1

    def _is_loaded(self, chunk: Chunk) -> bool:
        """Whether the messages are in memory. Those of a run that is being written still are."""
        if chunk.messages is not None:
            return True
        run = chunk.run
        if run is None or run.messages is None:
            return False
        live = chunk.live
        if live is None:
            chunk.messages = run.messages
        else:
            # A run that is being written is in one piece, which was the head of a backlog.
            first, end = live[0]
            chunk.messages = run.messages[first - run.first : end - run.first]
        self.cost += chunk.cost
        return True

    def _fill(self, chunk: Chunk, messages: list[Message]) -> int:
        """Have the messages of a chunk that was read in memory: one chunk for each range of live
        ones.

        :returns: bytes of their bodies, if they were not known before, else 0.
        """
        run = chunk.run
        chunk.loading = False
        if run is not None:
            self._memory.received(int(run.size))
        if run is None or chunk.messages is not None or chunk not in self._next_chunks():
            return 0
        if chunk.live is None:
            chunk.messages = messages
            self.cost += chunk.cost
            return 0
        added = 0
        at = self._chunks.index(chunk)
        del self._chunks[at]
        for first, end in reversed(chunk.live):
            start = first - run.first
            block = messages[start : start + end - first]
            part = Chunk(first, block, run)
            part.live = [(first, end)]
            part.cost = cost_of(block)
            self.cost += part.cost
            self._chunks.insert(at, part)
            if not chunk.counted:
                for message in block:
                    added += len(message.body)
        return added

    def _next_chunks(self) -> list[Chunk]:
        """The chunks among which one that is being read is: another one may have been added in
        front of those that are read ahead."""
        return [self._chunks[at] for at in range(min(len(self._chunks), CHUNKS_AHEAD + 2))]

    # --- to disk ------------------------------------------------------------------------------

    def release(self, store: Store, journal: QueueJournal, retained: int) -> bool:
        """Drop chunks from memory, and write those that are not on disk, one of them at most.

        :param retained: chunks at the front that stay as they are.
        :returns: whether there may be another one to be written.
        """
        front: list[Chunk] = []
        written = 0
        unwritten = self._in_memory
        while self._chunks and written == 0 and (unwritten > 0 or len(front) <= CHUNKS_AHEAD + 2):
            chunk = self._chunks.popleft()
            if chunk.run is None:
                unwritten -= 1
            if len(front) >= retained and not chunk.loading and chunk.messages is not None:
                chunk.note_expiry()
                if chunk.run is None:
                    chunk.run = store.write_run(journal, int(chunk.first), chunk.messages)
                    self._in_memory -= 1
                    written = 1
                chunk.messages = None
                self.cost -= chunk.cost
            front.append(chunk)
        self._chunks.extendleft(reversed(_joined(front)))
        return self._in_memory > 0 and written > 0


class _ChunkRead:
    """A chunk that is being read."""

    def __init__(self, chunks: Chunks, chunk: Chunk) -> None:
        self._chunks = chunks
        self._chunk = chunk

    def done(self, messages: list[Message]) -> None:
        chunks = self._chunks
        chunks._loaded(chunks._fill(self._chunk, messages))


def cost_of(messages: list[Message]) -> i64:
    """Bytes of memory that messages take."""
    octets: i64 = 0
    for message in messages:
        octets += len(message.body) + len(message.header)
    return message_cost(octets, len(messages))


def _without(first: int, end: int, position: int) -> list[tuple[int, int]]:
    """A half-open range of positions without one of them."""
    return [each for each in ((first, position), (position + 1, end)) if each[0] < each[1]]


def _joined(chunks: list[Chunk]) -> list[Chunk]:
    """The same chunks; neighbours that are parts of one run, and on disk only, are one chunk.

    Each chunk is read for itself, so that a run in many parts would be read as often.
    """
    joined: list[Chunk] = []
    for chunk in chunks:
        before = joined[-1] if joined else None
        if (
            before is not None
            and before.live is not None
            and chunk.live is not None
            and before.run is chunk.run
            and _is_on_disk_only(before)
            and _is_on_disk_only(chunk)
        ):
            before.live = before.live + chunk.live
            before.cost += chunk.cost
        else:
            joined.append(chunk)
    return joined


def _is_on_disk_only(chunk: Chunk) -> bool:
    run = chunk.run
    return (
        run is not None
        and run.messages is None
        and chunk.messages is None
        and not chunk.loading
        and chunk.counted
    )

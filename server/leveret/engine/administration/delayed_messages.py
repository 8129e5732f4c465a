"""The messages of a delayed exchange, in the order in which they are due; one can be cancelled.

They are read in slices, from memtables and sorted runs (`queues/delayed_store.py`); blocks that are
on disk are read by the reading thread.

A message is named by when it is due and a digest of it, because it has another position in a sorted
run than in a memtable. Messages with one id are equal.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from hashlib import blake2b
from heapq import heapify, heappop, heapreplace
from typing import Final, NamedTuple

from leveret.engine.queues.delayed_store import DelayedStore, Entry
from leveret.engine.queues.sorted_runs import Block
from leveret.engine.values.delay import due_of
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret_storage.format.entries import ABSENT
from leveret_storage.segments.queue_journal import Run

LISTED_MAX: Final = 5_000
"""Messages that are listed, those that are due first."""

DIGEST_BYTES: Final = 8

DUE_DIGITS_MAX: Final = 20
"""Of milliseconds in 64 bits."""


class Delayed(NamedTuple):
    """A message that is not due."""

    id: str
    """Names it until it is released."""
    due: int
    """In milliseconds since the epoch."""
    message: Message


def id_of(due: int, message: Message) -> str:
    """The id of a message."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in (message.route, message.header, message.body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return f"{due}-{digest.hexdigest()}"


class BlockReader:
    """Reads blocks of sorted runs."""

    def __init__(self, store: DelayedStore) -> None:
        self._store = store
        self._unread: Run | None = None
        self._run: Run | None = None
        self._messages: list[Message] = []

    def entries(self, block: Block) -> list[Entry] | None:
        """The messages of a block, in the order in which they are due; None if `read` is to be
        called before."""
        first, end = int(block.first), int(block.end)
        if self._store.deleted:
            messages = []
        elif block.is_in_memory() and block.messages is not None:
            messages = block.messages[::-1]
        elif block.run is not None and self._run is block.run:
            start = first - int(block.run.first)
            messages = self._messages[start : start + end - first]
        elif block.run is None or first == end:
            messages = []
        else:
            self._unread = block.run
            return None
        return [
            (int(due_of(message)), position, message)
            for position, message in enumerate(messages, first)
            if message is not ABSENT
        ]

    def has_to_read(self) -> bool:
        """Whether `read` is to be called before the next message."""
        return self._unread is not None

    def read(self, done: Callable[[], None]) -> None:
        """Have the block read that was asked for last, and call `done` then."""
        run = self._unread
        self._unread = None
        if run is None or any(each.segment.obsolete for each in run.locations()):
            # The exchange was deleted, or all messages of the block were released.
            self._run, self._messages = run, []
            done()
            return

        def got(messages: list[Message]) -> None:
            self._run, self._messages = run, messages
            done()

        self._store.read_run(run, got)


class _Source:
    """A memtable, or a sorted run: what is left of it."""

    def __init__(self, entries: list[Entry], blocks: list[Block]) -> None:
        self.entries = deque(entries)
        self.blocks = deque(blocks)

    def due(self) -> int | None:
        """When its next message is due at the earliest; None if there is none."""
        if self.entries:
            return self.entries[0][0]
        return int(self.blocks[0].due) if self.blocks else None


class DelayedListing(Work):
    """Lists the messages that are due first; while it is not done, it waits for its reader."""

    def __init__(self, store: DelayedStore) -> None:
        self.found: list[Delayed] = []
        self.is_done = False
        self.reader = BlockReader(store)
        sources = [_Source(entries, []) for entries in store.memtables()]
        sources += [_Source([], blocks) for blocks in store.sorted_runs.blocks()]
        self._heap = [
            (due, number, source)
            for number, source in enumerate(sources)
            if (due := source.due()) is not None
        ]
        heapify(self._heap)

    def run(self, time_slice: TimeSlice) -> bool:
        while self._heap and len(self.found) < LISTED_MAX:
            if not self._take_next():
                return True
            if time_slice.is_over_now():
                return False
        self.is_done = True
        return True

    def _take_next(self) -> bool:
        """Take the next message, or the next block of a sorted run; whether nothing is to be read
        before."""
        _, number, source = self._heap[0]
        if source.entries:
            due, _, message = source.entries.popleft()
            self.found.append(Delayed(id_of(due, message), due, message))
        else:
            entries = self.reader.entries(source.blocks[0])
            if entries is None:
                return False
            source.blocks.popleft()
            source.entries.extend(entries)
        next_due = source.due()
        if next_due is None:
            heappop(self._heap)
        else:
            heapreplace(self._heap, (next_due, number, source))
        return True


class DelayedCancel(Work):
    """Drops a message that is not due; while it is not done, it waits for its reader."""

    def __init__(self, store: DelayedStore, message_id: str) -> None:
        self.was_there = False
        self.is_done = False
        self.reader = BlockReader(store)
        self._store = store
        self._id = message_id
        due = message_id.partition("-")[0]
        self._due = int(due) if due.isdecimal() and len(due) <= DUE_DIGITS_MAX else 0
        self._steps = self._run()

    def run(self, time_slice: TimeSlice) -> bool:
        for _ in self._steps:
            if self.reader.has_to_read():
                return True
            if time_slice.is_over_now():
                return False
        self.is_done = True
        return True

    def _run(self) -> Iterator[None]:
        if not self._due:
            return
        # What is in a memtable at this moment is in none of these sorted runs, and the reverse.
        sorted_runs = self._store.sorted_runs.blocks()
        for entries in self._store.memtables():
            if self._cancel(entries, is_sorted=False):
                return
        for blocks in sorted_runs:
            at = yield from self._bisect(blocks)
            for block in blocks[at:]:
                entries = yield from self._entries(block)
                if self._cancel(entries, is_sorted=True):
                    return
                if entries and entries[0][0] > self._due:
                    break

    def _cancel(self, entries: list[Entry], *, is_sorted: bool) -> bool:
        """Drop the message if it is one of these."""
        for due, position, message in entries:
            if due == self._due and id_of(due, message) == self._id:
                self.was_there = self._store.cancel(position, is_sorted=is_sorted)
                if self.was_there:
                    return True
        return False

    def _bisect(self, blocks: list[Block]) -> Generator[None, None, int]:
        """The index of a block, before which no message of these is due as late as that one.

        When blocks are due is not known of all, so those in the middle are read.
        """
        low, high = 0, len(blocks)
        while low < high:
            middle = at = (low + high) // 2
            entries = yield from self._entries(blocks[at])
            while not entries and at + 1 < high:
                # Nothing of it is left.
                at += 1
                entries = yield from self._entries(blocks[at])
            if entries and entries[-1][0] < self._due:
                low = at + 1
            else:
                high = middle
        return low

    def _entries(self, block: Block) -> Generator[None, None, list[Entry]]:
        entries = self.reader.entries(block)
        while entries is None:
            yield
            entries = self.reader.entries(block)
        yield
        return entries

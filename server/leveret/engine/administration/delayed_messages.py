"""The messages of a delayed exchange, in the order in which they are due.

They are read in slices, from memtables and sorted runs (`queues/delayed_store.py`); blocks that are
on disk are read by the reading thread. Nothing about them changes.
"""

from collections import deque
from collections.abc import Callable
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

IN_MEMORY: Final = "m"
SORTED: Final = "s"
"""The first letter of an id: where its position is."""


class Delayed(NamedTuple):
    """A message that is not due."""

    id: str
    """Names it until it is released, or written to a sorted run."""
    due: int
    """In milliseconds since the epoch."""
    message: Message


class _Source:
    """A memtable, or a sorted run: what is left of it."""

    def __init__(self, letter: str, entries: list[Entry], blocks: list[Block]) -> None:
        self.letter = letter
        self.entries = deque(entries)
        self.blocks = deque(blocks)

    def due(self) -> int | None:
        """When its next message is due at the earliest; None if there is none."""
        if self.entries:
            return self.entries[0][0]
        return int(self.blocks[0].due) if self.blocks else None


class DelayedReader:
    """Merges the messages of a delayed store."""

    def __init__(self, store: DelayedStore) -> None:
        self.ended = False
        """Whether there is no further message."""
        self._store = store
        self._unread: Run | None = None
        self._run: Run | None = None
        self._messages: list[Message] = []
        sources = [_Source(IN_MEMORY, entries, []) for entries in store.memtables()]
        sources += [_Source(SORTED, [], blocks) for blocks in store.sorted_runs.blocks()]
        self._heap = [
            (due, number, source)
            for number, source in enumerate(sources)
            if (due := source.due()) is not None
        ]
        heapify(self._heap)

    def next(self) -> Delayed | None:
        """The next message; None if there is none at the moment, as `Reader.next`."""
        heap = self._heap
        if not heap or self._store.deleted:
            self.ended = True
            return None
        _, number, source = heap[0]
        found = None
        if source.entries:
            due, position, message = source.entries.popleft()
            found = Delayed(f"{source.letter}{position}", due, message)
        elif not self._fill(source):
            return None
        next_due = source.due()
        if next_due is None:
            heappop(heap)
        else:
            heapreplace(heap, (next_due, number, source))
        return found

    def has_to_read(self) -> bool:
        """Whether `read` is to be called before the next message."""
        return self._unread is not None

    def read(self, done: Callable[[], None]) -> None:
        """Have the block read that has the next message, and call `done` then."""
        run = self._unread
        if run is None or any(each.segment.obsolete for each in run.locations()):
            # The exchange was deleted.
            self.ended = True
            self._unread = None
            done()
            return

        def got(messages: list[Message]) -> None:
            self._run, self._messages = run, messages
            self._unread = None
            done()

        self._store.read_run(run, got)

    def _fill(self, source: _Source) -> bool:
        """Take the messages of the next block of a source; whether it did not have to be read."""
        block = source.blocks[0]
        first, end = int(block.first), int(block.end)
        if block.is_in_memory() and block.messages is not None:
            messages = block.messages[::-1]
        elif block.run is not None and self._run is block.run:
            start = first - int(block.run.first)
            messages = self._messages[start : start + end - first]
        elif block.run is None or first == end:
            messages = []
        else:
            self._unread = block.run
            return False
        source.blocks.popleft()
        source.entries.extend(
            (int(due_of(message)), position, message)
            for position, message in enumerate(messages, first)
            if message is not ABSENT
        )
        return True


class DelayedListing(Work):
    """Lists the messages that are due first; while it is not done, it waits for its reader."""

    def __init__(self, store: DelayedStore) -> None:
        self.found: list[Delayed] = []
        self.is_done = False
        self.reader = DelayedReader(store)

    def run(self, time_slice: TimeSlice) -> bool:
        while not self.is_done:
            found = self.reader.next()
            if found is not None:
                self.found.append(found)
            elif self.reader.has_to_read():
                return True
            self.is_done = self.reader.ended or len(self.found) >= LISTED_MAX
            if time_slice.is_over_now():
                return self.is_done
        return True


def cancel(store: DelayedStore, message_id: str) -> bool:
    """Drop a message that is not due; whether there was one."""
    letter, number = message_id[:1], message_id[1:]
    if letter not in (IN_MEMORY, SORTED) or not number.isdecimal():
        return False
    return store.cancel(int(number), is_sorted=letter == SORTED)

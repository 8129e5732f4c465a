"""Strands: messages on disk in the order in which they are due.

What waits long is written in strands. The messages of one strand are sorted by when they are due,
and have consecutive positions in one log, that of all strands; one strand begins where the one
before ends. So a strand is read from its beginning on, a piece at a time, and the next message of
all is at the beginning of one of them. A piece is read a little before any of its messages is due:
what is due much later costs a few bytes of memory a piece, and none a message.

Where strands begin is kept as definitions. When pieces are due is not: after a restart, none is
known to be due later than the one before it, until that is read.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from typing import Final

from mypy_extensions import i64

from leveret.engine.values.delay import due_of
from leveret.engine.values.message import Message
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.store import Store

AHEAD_MS: Final = 1000
"""Milliseconds before it may be due that a piece is read: far more than a read takes."""

BLOCKS_IN_MEMORY: Final = 2
"""Pieces of one strand that are in memory at most."""


class Block:
    """A part of a strand: messages with consecutive positions, on disk or in memory."""

    def __init__(
        self, first: i64, end: i64, due: i64, run: Run | None, messages: list[Message] | None
    ) -> None:
        """`messages`, if they are here, begin with the last one."""
        self.first = first
        self.end = end
        self.due = due
        """None of its messages is due before that."""
        self.run = run
        self.messages = messages
        self.reading = False

    def in_hand(self) -> bool:
        """Whether its messages are in memory, be it only because their write is not done."""
        run = self.run
        if self.messages is None and run is not None and run.messages is not None:
            self.take(run.messages)
        return self.messages is not None

    def take(self, messages: list[Message]) -> None:
        """Its messages are among those of its run, which are here now."""
        run = self.run
        if run is not None:
            start = int(self.first - run.first)
            self.messages = messages[start : start + int(self.end - self.first)]
            self.messages.reverse()


class SortedRun:
    """Messages in the order in which they are due."""

    def __init__(self, first: i64) -> None:
        self.first = first
        """The position at which it begins."""
        self.blocks: deque[Block] = deque()
        self.last_due: i64 = 0
        """When its last message is due; 0 if nobody knows, or it never had one."""
        self.listed = False
        """Whether it is among those whose next message is looked at."""


class SortedRuns:
    """All strands of one exchange. The owner asks `available` before it pops."""

    def __init__(self, loaded: Callable[[], None]) -> None:
        self.count: i64 = 0
        """Messages in all of them."""
        self.due: i64 = 0
        """The next message is not due before that; 0 if there is none."""
        self.journal: QueueJournal | None = None
        self.deleted = False
        self._store: Store | None = None
        self._loaded = loaded
        """Told when messages that were waited for are there."""
        self._next: i64 = 0
        self._sorted_runs: list[SortedRun] = []
        self._order: list[tuple[int, int, SortedRun]] = []
        """A heap of those that have messages, by when their next one may be due."""
        self._entries = 0
        self._read_at: i64 = 0
        """When there may be something to read; 0 is never."""

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        """Use a store, and `log` for what is durable."""
        self._store = store
        self.journal = journal

    def begin(self) -> SortedRun:
        """Begin a strand behind the last."""
        sorted_run = SortedRun(self._next)
        self._sorted_runs = [known for known in self._sorted_runs if known.blocks]
        self._sorted_runs.append(sorted_run)
        return sorted_run

    def last(self, due: i64) -> SortedRun | None:
        """The strand that messages due from `due` on can be appended to, if there is one."""
        sorted_run = self._sorted_runs[-1] if self._sorted_runs else None
        return sorted_run if sorted_run is not None and 0 < sorted_run.last_due <= due else None

    def starts(self) -> list[int]:
        """The positions at which those that are not empty begin."""
        return [
            int(sorted_run.first)
            for sorted_run in self._sorted_runs
            if sorted_run.blocks or sorted_run is self._sorted_runs[-1]
        ]

    def in_memory(self) -> int:
        """How many messages of all strands are in memory for their turn."""
        return sum(
            len(block.messages)
            for sorted_run in self._sorted_runs
            for block in sorted_run.blocks
            if block.messages is not None
        )

    def append(
        self, sorted_run: SortedRun, messages: list[Message], due: i64, last_due: i64
    ) -> i64:
        """Put messages on disk, at the end of the last strand.

        :returns: the position of the first.
        """
        store = self._store
        if store is None:
            raise ValueError("strands need a store")
        if self.journal is None:
            self.journal = store.add_queue(False)
        first = self._next
        self._next = first + len(messages)
        run = store.write_run(self.journal, int(first), messages)
        sorted_run.blocks.append(Block(first, self._next, due, run, None))
        sorted_run.last_due = last_due
        self.count += len(messages)
        if not sorted_run.listed:
            self._list(sorted_run, due)
        self._plan(sorted_run)
        return first

    def available(self, now: i64) -> bool:
        """Whether the next message is due, and in memory."""
        order = self._order
        while order:
            due, entry, sorted_run = order[0]
            self.due = due
            block = sorted_run.blocks[0]
            if due > now or not block.in_hand() or not block.messages:
                return False
            real = due_of(block.messages[-1])
            if real <= due:
                return True
            heapreplace(order, (int(real), entry, sorted_run))
        self.due = 0
        return False

    def pop(self) -> tuple[i64, Message]:
        """Take the next message, which must be available, and its position."""
        due, entry, sorted_run = self._order[0]
        block = sorted_run.blocks[0]
        messages = block.messages
        if not messages:
            raise IndexError("the next message is not in memory")
        message = messages.pop()
        position = block.first
        block.first += 1
        self.count -= 1
        if not messages:
            sorted_run.blocks.popleft()
            if not sorted_run.blocks:
                heappop(self._order)
                sorted_run.listed = False
                self.due = self._order[0][0] if self._order else 0
                return position, message
            following = sorted_run.blocks[0]
            following.due = max(following.due, due)
            self._plan(sorted_run)
            heapreplace(self._order, (int(following.due), entry, sorted_run))
        self.due = self._order[0][0]
        return position, message

    def clear(self) -> None:
        """Drop all of them."""
        self.deleted = True
        self.count = 0
        self.due = 0
        self._sorted_runs = []
        self._order = []
        self._read_at = 0
        if self._store is not None and self.journal is not None:
            self._store.delete_queue(self.journal)
            self.journal = None

    # --- reading ------------------------------------------------------------------------------

    def wake_at(self) -> i64:
        """When to call `read_ahead`, or to pop; 0 is never, or when something that is being read
        is there."""
        in_memory = bool(self._order) and self._order[0][2].blocks[0].messages is not None
        due = self.due if in_memory else 0
        if self._read_at != 0 and (due == 0 or self._read_at < due):
            return self._read_at
        return due

    def read_ahead(self, now: i64) -> None:
        """Begin to read what may be due soon."""
        if self._read_at == 0 or now < self._read_at:
            return
        self._read_at = 0
        for _, _, sorted_run in self._order:
            for at in range(min(len(sorted_run.blocks), BLOCKS_IN_MEMORY)):
                block = sorted_run.blocks[at]
                if block.reading:
                    break
                if block.in_hand():
                    continue
                # What the next piece is due at least follows from this one.
                if block.due <= now + AHEAD_MS:
                    self._read(sorted_run, block)
                else:
                    self._read_later(block)
                break

    def _plan(self, sorted_run: SortedRun) -> None:
        """Have the first pieces of a strand read in time."""
        for at in range(min(len(sorted_run.blocks), BLOCKS_IN_MEMORY)):
            block = sorted_run.blocks[at]
            if block.messages is None:
                if not block.reading:
                    self._read_later(block)
                return

    def _read_later(self, block: Block) -> None:
        at = max(1, block.due - AHEAD_MS)
        if self._read_at == 0 or at < self._read_at:
            self._read_at = at

    def _read(self, sorted_run: SortedRun, block: Block) -> None:
        run, store = block.run, self._store
        if run is not None and store is not None:
            block.reading = True
            store.read_run(run, _Arrival(self, sorted_run, block).arrived)

    def arrived(self, sorted_run: SortedRun, block: Block, messages: list[Message]) -> None:
        """A piece was read."""
        if self.deleted:
            return
        block.reading = False
        block.take(messages)
        if len(sorted_run.blocks) > 1 and sorted_run.blocks[0] is block and block.messages:
            following = sorted_run.blocks[1]
            following.due = max(following.due, due_of(block.messages[0]))
        self._plan(sorted_run)
        self._loaded()

    def _list(self, sorted_run: SortedRun, due: i64) -> None:
        self._entries += 1
        sorted_run.listed = True
        heappush(self._order, (int(due), self._entries, sorted_run))
        if self.due == 0 or due < self.due:
            self.due = due

    # --- a restart ----------------------------------------------------------------------------

    def found(self, starts: list[int]) -> None:
        """Strands begin at these positions, as a start found."""
        for start in starts:
            self._sorted_runs.append(SortedRun(start))

    def restore(self, store: Store, journal: QueueJournal, found: RecoveredQueue) -> None:
        """Take in what a start found, once it is known where the strands begin."""
        self.attach_store(store, journal)
        # Where nobody knows, as definitions were lost with what was damaged, all is one strand.
        self._sorted_runs.insert(0, SortedRun(0))
        starts = [int(sorted_run.first) for sorted_run in self._sorted_runs]
        self._next = max(found.next_position, *starts, 0)
        for item in found.contents:
            if isinstance(item, LoggedMessages):
                self._put(starts, item.first, item.first + len(item.messages), None, item.messages)
            else:
                for first, end in item.live or [(int(item.first), item.end)]:
                    self._put(starts, first, end, item, [])
        self._sorted_runs = [sorted_run for sorted_run in self._sorted_runs if sorted_run.blocks]
        for sorted_run in self._sorted_runs:
            self._list(sorted_run, sorted_run.blocks[0].due)
            self._plan(sorted_run)

    def _put(
        self, starts: list[int], first: int, end: int, run: Run | None, messages: list[Message]
    ) -> None:
        """Divide messages among the strands they are in."""
        self.count += end - first
        at = first
        while at < end:
            index = bisect_right(starts, at)
            stop = min(end, starts[index]) if index < len(starts) else end
            here = None if run is not None else messages[at - first : stop - first]
            due: i64 = 1
            if here is not None:
                due = due_of(here[0])
                here.reverse()
            self._sorted_runs[index - 1].blocks.append(Block(at, stop, due, run, here))
            at = stop


class _Arrival:
    """What to do when a piece has been read."""

    def __init__(self, sorted_runs: SortedRuns, sorted_run: SortedRun, block: Block) -> None:
        self._sorted_runs = sorted_runs
        self._sorted_run = sorted_run
        self._piece = block

    def arrived(self, messages: list[Message]) -> None:
        self._sorted_runs.arrived(self._sorted_run, self._piece, messages)

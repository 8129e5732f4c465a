"""Sorted runs: the part of a delayed exchange's merge tree that is on disk (`delayed_store.py`).

The messages of one sorted run are sorted by when they are due, and have consecutive positions in
the one journal of all runs; a run begins where the one before it ends. So a run is read from its
beginning, a block at a time, and the next message of all is at the beginning of one of them. A
block is read a little before any of its messages is due. A block that is due much later costs a few
bytes of memory, however many messages it has.

Where runs begin is persisted as definitions. When blocks are due is not: a block that a start finds
counts as due no later than the one before it, until it is read.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from mypy_extensions import i64

from leveret.engine.values.delay import due_of
from leveret.engine.values.message import Message
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.store import Store

READ_AHEAD_MS: Final = 1000
"""Milliseconds before it may be due that a block is read: far more than a read takes."""

BLOCKS_IN_MEMORY: Final = 2
"""Blocks of one sorted run that are in memory at most."""


class Block:
    """A part of a sorted run: messages with consecutive positions, on disk or in memory."""

    def __init__(
        self, first: i64, end: i64, due: i64, run: Run | None, messages: list[Message] | None
    ) -> None:
        """
        :param messages: the messages if they are in memory, the last one first.
        """
        self.first = first
        self.end = end
        self.due = due
        """None of its messages is due before this time."""
        self.run = run
        self.messages = messages
        self.reading = False

    def is_in_memory(self) -> bool:
        """Whether its messages are in memory. They are, too, while they are being written."""
        run = self.run
        if self.messages is None and run is not None and run.messages is not None:
            self.take(run.messages)
        return self.messages is not None

    def take(self, messages: list[Message]) -> None:
        """Take its messages from those of the whole run of the store."""
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
        """When its last message is due; 0 if that is not known, or it never had one."""
        self.listed = False
        """Whether it is in the heap of runs that have messages."""


class SortedRuns:
    """All sorted runs of one exchange. Call `available` before `pop`."""

    def __init__(self, loaded: Callable[[int], None]) -> None:
        self.count: i64 = 0
        """Messages in all of them."""
        self.due: i64 = 0
        """The next message is not due before this time; 0 if there is none."""
        self.journal: QueueJournal | None = None
        self.deleted = False
        self._store: Store | None = None
        self._loaded = loaded
        """Called when a block was read, with its bytes."""
        self._next: i64 = 0
        self._sorted_runs: list[SortedRun] = []
        self._order: list[tuple[int, int, SortedRun]] = []
        """A heap of the runs that have messages, by when their next message may be due."""
        self._entries = 0
        """Entries put into the heap so far: a number for each, as runs do not compare."""
        self._read_at: i64 = 0
        """When a block may have to be read; 0 is never."""

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        """Write to a store, with the journal of a durable exchange."""
        self._store = store
        self.journal = journal

    def begin(self) -> SortedRun:
        """Begin a run behind the last."""
        sorted_run = SortedRun(self._next)
        self._sorted_runs = [known for known in self._sorted_runs if known.blocks]
        self._sorted_runs.append(sorted_run)
        return sorted_run

    def last(self, due: i64) -> SortedRun | None:
        """The run that messages due from `due` on can be appended to, if there is one."""
        sorted_run = self._sorted_runs[-1] if self._sorted_runs else None
        return sorted_run if sorted_run is not None and 0 < sorted_run.last_due <= due else None

    def starts(self) -> list[int]:
        """The positions at which the runs begin, but for empty ones before the last."""
        return [
            int(sorted_run.first)
            for sorted_run in self._sorted_runs
            if sorted_run.blocks or sorted_run is self._sorted_runs[-1]
        ]

    def in_memory(self) -> int:
        """Number of messages in memory, but for those that are only being written."""
        return sum(
            len(block.messages)
            for sorted_run in self._sorted_runs
            for block in sorted_run.blocks
            if block.messages is not None
        )

    def append(
        self, sorted_run: SortedRun, messages: list[Message], due: i64, last_due: i64
    ) -> i64:
        """Write a block at the end of the last run.

        :param due: when the first message is due.
        :param last_due: when the last message is due.
        :returns: the position of the first message.
        """
        store = self._store
        if store is None:
            raise ValueError("sorted runs need a store")
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
        self._schedule_read(sorted_run)
        return first

    def available(self, now: i64) -> bool:
        """Whether the next message is due and in memory."""
        order = self._order
        while order:
            due, entry, sorted_run = order[0]
            self.due = due
            block = sorted_run.blocks[0]
            if due > now or not block.is_in_memory() or not block.messages:
                return False
            exact_due = due_of(block.messages[-1])
            if exact_due <= due:
                return True
            heapreplace(order, (int(exact_due), entry, sorted_run))
        self.due = 0
        return False

    def pop(self) -> tuple[i64, Message]:
        """Remove and return the next message, which must be available, and its position."""
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
            self._schedule_read(sorted_run)
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

    def blocks(self) -> list[list[Block]]:
        """The blocks of each run that has messages, in the order in which they are due."""
        return [list(sorted_run.blocks) for sorted_run in self._sorted_runs if sorted_run.blocks]

    def remove(self, position: int) -> bool:
        """Remove the message at a position, wherever it is; whether there was one. The caller
        settles it."""
        for sorted_run in reversed(self._sorted_runs):
            if sorted_run.first <= position:
                return self._remove_from(sorted_run, position)
        return False

    def _remove_from(self, sorted_run: SortedRun, position: int) -> bool:
        blocks = sorted_run.blocks
        for at, block in enumerate(blocks):
            if not block.first <= position < block.end:
                continue
            del blocks[at]
            rest = [(int(block.first), position), (position + 1, int(block.end))]
            for first, end in reversed(rest):
                if first < end:
                    part = Block(first, end, block.due, block.run, None)
                    messages = block.messages
                    if messages is not None:
                        part.messages = messages[int(block.end) - end : int(block.end) - first]
                    blocks.insert(at, part)
            self.count -= 1
            if not blocks:
                self._unlist(sorted_run)
            self._schedule_read(sorted_run)
            return True
        return False

    def _unlist(self, sorted_run: SortedRun) -> None:
        """Take a run that has no messages any more out of the heap."""
        self._order = [entry for entry in self._order if entry[2] is not sorted_run]
        heapify(self._order)
        sorted_run.listed = False
        self.due = self._order[0][0] if self._order else 0

    # --- reading ------------------------------------------------------------------------------

    def next_action_at(self) -> i64:
        """When to call `read_ahead`, or to pop; 0 if there is nothing to do before a block that is
        being read has arrived."""
        in_memory = bool(self._order) and self._order[0][2].blocks[0].messages is not None
        due = self.due if in_memory else 0
        if self._read_at != 0 and (due == 0 or self._read_at < due):
            return self._read_at
        return due

    def read_ahead(self, now: i64) -> None:
        """Begin to read the blocks that may be due soon."""
        if self._read_at == 0 or now < self._read_at:
            return
        self._read_at = 0
        for _, _, sorted_run in self._order:
            for at in range(min(len(sorted_run.blocks), BLOCKS_IN_MEMORY)):
                block = sorted_run.blocks[at]
                if block.reading:
                    break
                if block.is_in_memory():
                    continue
                # When the next block is due at the earliest follows from this one.
                if block.due <= now + READ_AHEAD_MS:
                    self._read(sorted_run, block)
                else:
                    self._read_later(block)
                break

    def _schedule_read(self, sorted_run: SortedRun) -> None:
        """Have the first blocks of a run read in time."""
        for at in range(min(len(sorted_run.blocks), BLOCKS_IN_MEMORY)):
            block = sorted_run.blocks[at]
            if block.messages is None:
                if not block.reading:
                    self._read_later(block)
                return

    def _read_later(self, block: Block) -> None:
        """Have a block read a little before it is due."""
        at = max(1, block.due - READ_AHEAD_MS)
        if self._read_at == 0 or at < self._read_at:
            self._read_at = at

    def _read(self, sorted_run: SortedRun, block: Block) -> None:
        run, store = block.run, self._store
        if run is not None and store is not None:
            block.reading = True
            store.read_run(run, _BlockRead(self, sorted_run, block).arrived)

    def arrived(self, sorted_run: SortedRun, block: Block, messages: list[Message]) -> None:
        """A block was read."""
        if self.deleted:
            return
        block.reading = False
        block.take(messages)
        if len(sorted_run.blocks) > 1 and sorted_run.blocks[0] is block and block.messages:
            following = sorted_run.blocks[1]
            following.due = max(following.due, due_of(block.messages[0]))
        self._schedule_read(sorted_run)
        self._loaded(0 if block.run is None else int(block.run.size))

    def _list(self, sorted_run: SortedRun, due: i64) -> None:
        self._entries += 1
        sorted_run.listed = True
        heappush(self._order, (int(due), self._entries, sorted_run))
        if self.due == 0 or due < self.due:
            self.due = due

    # --- a restart ----------------------------------------------------------------------------

    def add_starts(self, starts: list[int]) -> None:
        """Note the positions at which runs begin, of those that a start found."""
        known = {int(sorted_run.first) for sorted_run in self._sorted_runs}
        for start in starts:
            if start not in known:
                self._sorted_runs.append(SortedRun(start))

    def restore(self, store: Store, journal: QueueJournal, found: RecoveredQueue) -> None:
        """Restore the messages that a start found, once `add_starts` was called for all runs."""
        self.attach_store(store, journal)
        # Messages before the first known start are one run: a salvage may have lost definitions.
        self._sorted_runs.insert(0, SortedRun(0))
        starts = [int(sorted_run.first) for sorted_run in self._sorted_runs]
        self._next = max(found.next_position, *starts, 0)
        for item in found.contents:
            if isinstance(item, LoggedMessages):
                self._add_blocks(
                    starts, item.first, item.first + len(item.messages), None, item.messages
                )
            else:
                for first, end in item.live or [(int(item.first), item.end)]:
                    self._add_blocks(starts, first, end, item, [])
        self._sorted_runs = [sorted_run for sorted_run in self._sorted_runs if sorted_run.blocks]
        for sorted_run in self._sorted_runs:
            self._list(sorted_run, sorted_run.blocks[0].due)
            self._schedule_read(sorted_run)

    def _add_blocks(
        self, starts: list[int], first: int, end: int, run: Run | None, messages: list[Message]
    ) -> None:
        """Add messages to the runs that they are in, as blocks."""
        self.count += end - first
        at = first
        while at < end:
            index = bisect_right(starts, at)
            stop = min(end, starts[index]) if index < len(starts) else end
            in_block = None if run is not None else messages[at - first : stop - first]
            due: i64 = 1
            if in_block is not None:
                due = due_of(in_block[0])
                in_block.reverse()
            self._sorted_runs[index - 1].blocks.append(Block(at, stop, due, run, in_block))
            at = stop


class _BlockRead:
    """Takes the block that was read."""

    def __init__(self, sorted_runs: SortedRuns, sorted_run: SortedRun, block: Block) -> None:
        self._sorted_runs = sorted_runs
        self._sorted_run = sorted_run
        self._block = block

    def arrived(self, messages: list[Message]) -> None:
        self._sorted_runs.arrived(self._sorted_run, self._block, messages)

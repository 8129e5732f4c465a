"""What the store keeps of one queue: which positions are settled, and the runs it has on disk.

A run is some hundred messages with consecutive positions, written as one record to a segment of
the queue's own, so that a deep queue costs a few bytes of memory a run and none a message. A
segment whose messages are all settled is deleted.
"""

from typing import Final

from mypy_extensions import i64

from leveret_storage.entries import Stored
from leveret_storage.ranges import RangeSet
from leveret_storage.segments import SegmentWriter

QUEUE_SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a queue segment after which the next one begins: what one stuck message can keep."""


class QueueSegment:
    """A blob of runs of one queue, in the order they were written."""

    def __init__(self, writer: SegmentWriter) -> None:
        self.writer = writer
        self.name = writer.name
        self.size: i64 = 0
        """Bytes appended, those under way included; 0 before the blob exists."""
        self.ranges: RangeSet = RangeSet()
        """Positions whose messages are in it."""
        self.first: i64 = 0
        self.end: i64 = 0
        """A half-open range around them."""
        self.finished = False
        """Whether nothing more is to be put into it: another process began it."""
        self.readers = 0
        """Reads of it under way, for which it is kept."""
        self.gone = False
        """Whether it is to be deleted when they have ended."""

    def include(self, first: i64, end: i64) -> None:
        """Messages with these positions are put into it."""
        self.first = first if self.end == 0 else min(self.first, first)
        self.end = max(self.end, end)
        self.ranges.add(first, end)


class Run:
    """Messages with consecutive positions that are, or are about to be, on disk."""

    def __init__(self, segment: QueueSegment, first: int, count: int) -> None:
        self.segment = segment
        self.first: i64 = first
        self.count: i64 = count
        self.offset: i64 = -1
        """Where its record begins in the segment; -1 while it is being written."""
        self.size: i64 = 0
        """Bytes of its record."""
        self.messages: list[Stored] | None = None
        """The messages, while they are in memory, too."""
        self.live: list[tuple[int, int]] = []
        """For one found at a start: the positions that are in the queue still. Empty: all."""

    @property
    def end(self) -> int:
        """The position behind its last message."""
        return int(self.first + self.count)


class QueueLog:
    """One queue of the store."""

    def __init__(self, number: int, durable: bool, dirty: "list[QueueLog]") -> None:
        self.number = number
        """What it is called in the log; never used for another queue."""
        self.durable = durable
        """Whether it is there after a restart: if not, nothing of it is in the commit log."""
        self.settled = RangeSet()
        self.written = RangeSet()
        """Positions that are in a queue segment."""
        self.segments: list[QueueSegment] = []
        self.fresh: list[tuple[int, int]] = []
        """What was settled since the last commit."""
        self.dirty = False
        """Whether it is among the store's queues to look at, which are in `_dirty`."""
        self._dirty = dirty
        self._first: i64 = 0
        self._end: i64 = 0

    def settle(self, position: i64) -> None:
        """A message is done with: acknowledged, dropped, or delivered for good."""
        if position != self._end:
            self._flush()
            self._first = position
        self._end = position + 1
        if not self.dirty:
            self.dirty = True
            self._dirty.append(self)

    def settle_range(self, first: i64, end: i64) -> None:
        """As `settle`, for all positions of a half-open range."""
        self._flush()
        self._first = first
        self._end = end
        if not self.dirty:
            self.dirty = True
            self._dirty.append(self)

    def _flush(self) -> None:
        if self._first < self._end:
            self.settled.add(self._first, self._end)
            self.fresh.append((int(self._first), int(self._end)))
            self._first = self._end

    def take_fresh(self) -> list[tuple[int, int]]:
        """The ranges settled since the last time, which are the caller's to write down."""
        self._flush()
        fresh = self.fresh
        self.fresh = []
        self.dirty = False
        return fresh

    def is_settled(self, position: i64) -> bool:
        """Whether a position is done with."""
        return self._first <= position < self._end or position in self.settled

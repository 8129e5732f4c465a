"""What the store keeps of one queue: which positions are settled, and the runs it has on disk.

A run is some hundred messages with consecutive positions, written as one record to a segment of
the queue's own, so that a deep queue costs a few bytes of memory a run and none a message. A
segment whose messages are all settled is deleted.
"""

from typing import Final

from mypy_extensions import i64

from leveret_storage.errors import UnknownFormat
from leveret_storage.format.entries import ABSENT, Stored, read_run
from leveret_storage.medium import Medium
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.segment_writer import SegmentWriter, read_record

QUEUE_SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a queue segment after which the next one begins: what one stuck message can keep."""


BRIDGED_MESSAGES: Final = 64
"""Settled messages that are copied with live ones around them, or stand there as left out, to keep
the runs long: less octets, and less memory for whoever holds the runs, than another run costs."""


class QueueSegment:
    """A blob of runs of one queue, in the order they were written."""

    def __init__(self, writer: SegmentWriter) -> None:
        self.writer = writer
        self.name = writer.name
        self.size: i64 = 0
        """Bytes appended, those under way included; 0 before the blob exists."""
        self.ranges: RangeSet = RangeSet()
        """Positions whose messages are in it."""
        self.messages: i64 = 0
        """How many were put into it."""
        self.live: i64 = 0
        """How many are left: not fewer, and mostly no more, until `recount`."""
        self.first: i64 = 0
        self.end: i64 = 0
        """A half-open range around the positions."""
        self.pending: i64 = 0
        """Runs of it that are being written."""
        self.finished = False
        """Whether nothing more is to be put into it: another process began it, or it is copied."""
        self.before: QueueSegment | None = None
        """The one before it, which is to be sealed when the first run is put into this one."""
        self.readers = 0
        """Reads of it under way, for which it is kept."""
        self.gone = False
        """Whether it is to be deleted when they have ended."""
        self.noted = False
        self.live_noted: i64 = 0
        """Whether it was found sparse, and what was left of it at the last look, -1 before: see
        compaction.py."""
        self.moved: dict[int, list[Run]] | None = None
        """Where the live messages of each of its runs are now, by the offset of the run; None while
        it is needed."""

    def add(self, ranges: list[tuple[int, int]], messages: int) -> None:
        """Note that the messages at some positions, as half-open ranges, are in it, and how many
        messages it has more by that."""
        for first, end in ranges:
            if self.end == 0 or first < self.first:
                self.first = first
            self.end = max(self.end, end)
            self.ranges.add(first, end)
            self.live += end - first
        self.messages += messages

    def settle(self, first: int, end: int) -> None:
        """Positions are done with; some may have been before."""
        if first < self.end and self.first < end:
            self.live -= self.ranges.count(first, end)

    def recount(self, settled: RangeSet) -> None:
        """Have the exact number of messages that are left."""
        live = 0
        for first, end in self.ranges.ranges():
            live += end - first - settled.count(first, end)
        self.live = live


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
        self.live_bytes: i64 = -1
        """Bytes of the bodies of these messages; -1 if that is not known before it is read."""

    @property
    def end(self) -> int:
        """The position behind its last message."""
        return int(self.first + self.count)

    def places(self) -> "list[Run]":
        """The runs that have its messages now, but for those that were settled: itself, unless its
        segment is not needed any more."""
        found: list[Run] = []
        left = [self]
        while left:
            run = left.pop()
            moved = run.segment.moved
            if moved is None:
                found.append(run)
            else:
                left += moved.get(int(run.offset), [])
        return found


def read_places(medium: Medium, run: Run, places: list[Run]) -> list[Stored]:
    """The messages of a run from where they are now; ABSENT for one that is not there any more.

    :raises StorageError: if they cannot be read, or are damaged.
    """
    if len(places) == 1 and places[0] is run:
        return _read_place(medium, run)
    found = [ABSENT] * int(run.count)
    for place in places:
        for position, message in enumerate(_read_place(medium, place), int(place.first)):
            if run.first <= position < run.end and message is not ABSENT:
                found[position - int(run.first)] = message
    return found


def _read_place(medium: Medium, run: Run) -> list[Stored]:
    payload = read_record(medium, run.segment.name, int(run.offset), int(run.size))
    try:
        return read_run(payload)
    except UnknownFormat as error:
        raise error.at(run.segment.name, int(run.offset)) from None


class QueueJournal:
    """One queue of the store."""

    def __init__(self, number: int, durable: bool, dirty: "list[QueueJournal]") -> None:
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
        self.open_first: i64 = 0
        self.open_end: i64 = -1
        """Around its messages in the open batch, a half-open range; the end is -1 for none."""
        self._dirty = dirty
        self._first: i64 = 0
        self._end: i64 = 0

    def settle(self, position: i64) -> None:
        """A message is done with: acknowledged, dropped, or delivered for good."""
        if position != self._end:
            self._flush()
            self._first = position
        self._end = position + 1
        self.look_again()

    def settle_range(self, first: i64, end: i64) -> None:
        """As `settle`, for all positions of a half-open range."""
        self._flush()
        self._first = first
        self._end = end
        self.look_again()

    def look_again(self) -> None:
        """Have the store look at it at the next commit."""
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

    def kept_elsewhere(self, end: int) -> RangeSet:
        """The positions, up to `end`, whose messages are settled or in a queue segment, so that
        nobody needs the log for them.

        Short stretches of them are left out, as a run for each message between would cost more.
        """
        known = RangeSet()
        for source in (self.settled, self.written):
            for first, stop in source.ranges():
                known.add(first, stop)
        result = RangeSet()
        at = 0
        for first, stop in known.gaps(0, end):
            if at == 0 or first - at > BRIDGED_MESSAGES:
                result.add(at, first)
            at = stop
        result.add(at, end)
        return result

"""The journal of one queue in the store: which positions are settled, and its runs on disk.

A run is some hundred messages with consecutive positions, written as one record to a segment of
the queue's own, so that a deep queue costs a few bytes of memory a run and none a message. A
segment whose messages are all settled is deleted.
"""

from typing import Final

from mypy_extensions import i64

from leveret_storage.errors import UnknownFormat
from leveret_storage.format.entries import ABSENT, StoredMessage
from leveret_storage.format.runs import BodySpan, read_run
from leveret_storage.medium import Medium
from leveret_storage.segments.body_segment import read_bodies
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.segment_writer import SegmentWriter

QUEUE_SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a queue segment after which the next one begins: disk space that one message which is
never settled can occupy."""

BRIDGED_MESSAGES: Final = 64
"""Settled messages between live ones that are copied with them, or left out as absent ones, so that
the live ones stay one run: that costs fewer octets, and less memory, than another run."""

SPARSE_DIVISOR: Final = 3
"""A segment is sparse if less than this part of its messages, here a third, is live."""


class QueueSegment:
    """A blob of runs of one queue, in the order they were written."""

    def __init__(self, writer: SegmentWriter, transient: bool = False) -> None:
        self.writer = writer
        self.transient = transient
        """Whether nothing in it has to survive, so that it is never synced."""
        self.name = writer.name
        self.size: i64 = 0
        """Bytes appended, those under way included; 0 before the blob exists."""
        self.ranges: RangeSet = RangeSet()
        """Positions whose messages are in it."""
        self.messages: i64 = 0
        """How many were written to it."""
        self.live: i64 = 0
        """How many of them are live; after settlements possibly too many, until `recount`."""
        self.first: i64 = 0
        self.end: i64 = 0
        """A half-open range around the positions."""
        self.pending_runs: i64 = 0
        """Runs of it that are not written yet."""
        self.sealed = False
        """Whether no more runs are written to it: another process began it, or it is compacted."""
        self.previous: QueueSegment | None = None
        """The full segment before it, to be synced when the first run is written to this one."""
        self.readers = 0
        """Reads of it under way; it is not deleted before they have ended."""
        self.obsolete = False
        """Whether it is deleted as soon as nothing reads it."""
        self.is_candidate = False
        """Whether it was found sparse, so that compaction checks it again."""
        self.live_at_check: i64 = 0
        """Live messages at the last such check; -1 before the first."""
        self.settled: RangeSet | None = None
        """The settled positions of its queue."""
        self.body_spans: dict[int, tuple[int, int]] = {}
        """By the number of each body segment that its runs refer to, a half-open range around the
        positions of their messages."""
        self.copied_to: dict[int, list[Run]] | None = None
        """By offset of each of its runs, the runs that have its live messages instead; None while
        the segment itself has them."""

    def add(self, ranges: list[tuple[int, int]], messages: int) -> None:
        """A run is written to it, with so many messages, live at half-open ranges of positions."""
        for first, end in ranges:
            if self.end == 0 or first < self.first:
                self.first = first
            self.end = max(self.end, end)
            self.ranges.add(first, end)
            self.live += end - first
        self.messages += messages

    def include_body(self, blob: int, position: int) -> None:
        """A message of a run has its body in a body segment."""
        first, end = self.body_spans.get(blob, (position, position))
        self.body_spans[blob] = (min(first, position), max(end, position + 1))

    def include_bodies(self, span: BodySpan) -> None:
        """A run that a start found has bodies in a body segment."""
        first, end = self.body_spans.get(span.blob, (span.first, span.end))
        self.body_spans[span.blob] = (min(first, span.first), max(end, span.end))

    def settle(self, first: int, end: int) -> None:
        """A range of positions is settled, some of it possibly for the second time."""
        if first < self.end and self.first < end:
            self.live -= self.ranges.count(first, end)

    def recount(self, settled: RangeSet) -> None:
        """Count the live messages anew."""
        live = 0
        for first, end in self.ranges.ranges():
            live += end - first - settled.count(first, end)
        self.live = live


def is_sparse(segment: QueueSegment) -> bool:
    """Whether less than a third of the messages in a segment are live."""
    return segment.live * SPARSE_DIVISOR < segment.messages


class Run:
    """Messages with consecutive positions that are on disk, or are being written."""

    def __init__(self, segment: QueueSegment, first: int, count: int) -> None:
        self.segment = segment
        self.first: i64 = first
        self.count: i64 = count
        self.offset: i64 = -1
        """Where its record begins in the segment; -1 while it is being written."""
        self.size: i64 = 0
        """Bytes of its record."""
        self.messages: list[StoredMessage] | None = None
        """The messages while they are not written, else None."""
        self.live: list[tuple[int, int]] = []
        """For a run that a start found: positions still in the queue. Empty: all."""
        self.live_bytes: i64 = -1
        """Bytes of the bodies of these messages; -1 if that is not known before it is read."""

    @property
    def end(self) -> int:
        """The position behind its last message."""
        return int(self.first + self.count)

    def locations(self) -> "list[Run]":
        """The runs that have its live messages: itself, or those that compaction copied them to."""
        found: list[Run] = []
        to_follow = [self]
        while to_follow:
            run = to_follow.pop()
            copied_to = run.segment.copied_to
            if copied_to is None:
                found.append(run)
            else:
                to_follow += copied_to.get(int(run.offset), [])
        return found


def read_messages(
    medium: Medium, run: Run, locations: list[Run]
) -> tuple[list[StoredMessage], list[int]]:
    """The messages of a run from its locations, one for each position; ABSENT where the message was
    settled and left out.

    :param medium: where body segments are.
    :returns: these, and the positions whose body segment does not exist, which are ABSENT.
    :raises StorageError: if they cannot be read, or are damaged.
    """
    if len(locations) == 1 and locations[0] is run:
        found = _read_record(run)
    else:
        found = [ABSENT] * int(run.count)
        for location in locations:
            for position, message in enumerate(_read_record(location), int(location.first)):
                if run.first <= position < run.end and message is not ABSENT:
                    found[position - int(run.first)] = message
    return found, read_bodies(medium, found, int(run.first), run.live)


def _read_record(run: Run) -> list[StoredMessage]:
    kind, payload = run.segment.writer.read(int(run.offset), int(run.size))
    try:
        return read_run(payload, kind)
    except UnknownFormat as error:
        raise error.at(run.segment.name, int(run.offset)) from None


class QueueJournal:
    """The settled positions of one queue, and its segments."""

    def __init__(self, number: int, durable: bool, changed_queues: "list[QueueJournal]") -> None:
        """`changed_queues` is the store's list of journals to be examined at the next commit."""
        self.number = number
        """Its number in the log; never used for another queue."""
        self.durable = durable
        """Whether it survives a restart; if not, nothing of it is in the commit log."""
        self.settled = RangeSet()
        self.flushed = RangeSet()
        """Positions whose messages are in a queue segment."""
        self.segments: list[QueueSegment] = []
        self.changed = False
        """Whether it is in the store's list of changed queues."""
        self.delivered_end: i64 = 0
        """Messages at positions below it may have been delivered; it may be ahead of the last one
        that was."""
        self._delivered_unwritten = False
        """Whether `delivered_end` is in no batch yet."""
        self.unsaved = False
        """Whether positions were settled or delivered that are to be in the next checkpoint."""
        self.open_first: i64 = 0
        self.open_end: i64 = -1
        """A half-open range around the positions of its messages in the open batch; the end is -1
        if there are none."""
        self._changed_queues = changed_queues
        self._uncommitted: list[tuple[int, int]] = []
        """Ranges settled since the last commit, but for the open one."""
        self._first: i64 = 0
        self._end: i64 = 0
        """The open range: consecutive positions settled last."""

    def settle(self, position: i64) -> None:
        """A message is settled: acknowledged, dropped, or delivered without acknowledgement."""
        if position != self._end:
            self._close_range()
            self._first = position
        self._end = position + 1
        self.mark_changed()

    def settle_range(self, first: i64, end: i64) -> None:
        """Settle all positions of a half-open range."""
        self._close_range()
        self._first = first
        self._end = end
        self.mark_changed()

    def note_delivered(self, end: i64) -> None:
        """Note that messages at positions below `end`, and no others, may have been delivered."""
        self.delivered_end = end
        self._delivered_unwritten = True
        self.mark_changed()

    def take_delivered(self) -> bool:
        """Whether `delivered_end` changed since the last call; the caller puts it into a batch."""
        unwritten = self._delivered_unwritten
        self._delivered_unwritten = False
        return unwritten

    def mark_changed(self) -> None:
        """Have the store examine it at the next commit."""
        if not self.changed:
            self.changed = True
            self._changed_queues.append(self)

    def _close_range(self) -> None:
        if self._first < self._end:
            self.settled.add(self._first, self._end)
            self._uncommitted.append((int(self._first), int(self._end)))
            self._first = self._end

    def take_uncommitted(self) -> list[tuple[int, int]]:
        """Take out the ranges settled since the last call; the caller puts them into a batch."""
        self._close_range()
        uncommitted = self._uncommitted
        self._uncommitted = []
        self.changed = False
        return uncommitted

    def is_settled(self, position: i64) -> bool:
        """Whether a position is settled."""
        return self._first <= position < self._end or position in self.settled


def settle_in_segments(queue: QueueJournal, settled: list[tuple[int, int]]) -> None:
    """Count settled positions in the segments of a queue: a deep one has very many, of which a
    batch concerns few."""
    if not settled:
        return
    low: i64 = min([first for first, _ in settled])
    high: i64 = max([end for _, end in settled])
    for segment in queue.segments:
        if segment.first < high and low < segment.end:
            for first, end in settled:
                segment.settle(first, end)

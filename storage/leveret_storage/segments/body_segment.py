"""A body segment: bodies that several queues hold, each written once, and referred to by runs.

A body is a record of its own. A run that refers to bodies is a shared run (`format/FORMAT.md`): it
names the body segments, with a range around the positions of its messages whose bodies are there,
so that a start knows who needs which segment without reading messages. A body segment is deleted
when all positions that refer to it are settled.
"""

from typing import Final

from mypy_extensions import i64

from leveret_storage.errors import Damaged, NoSuchBlob
from leveret_storage.format.entries import ABSENT, BodyPlace, StoredMessage
from leveret_storage.format.file_header import RECORD_HEADER_BYTES
from leveret_storage.medium import Medium
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.segment_writer import (
    BODIES_KIND,
    SegmentWriter,
    bodies_name,
    read_record,
)

SHARED_BODY_BYTES: Final = 4096
"""Bytes of a body from which on it is written once for all queues that hold it. A shorter one costs
little more in a run than the reference to it, and reading it elsewhere takes a read more."""

SPARSE_DIVISOR: Final = 3
"""A body segment is sparse if less than this part of its bodies, here a third, is live."""


class BodySpans:
    """The positions of one queue that refer to a body segment."""

    def __init__(self, settled: RangeSet, first: int, end: int) -> None:
        self.settled = settled
        """The settled positions of the queue, as they are at any time."""
        self.first = first
        self.end = end
        """A half-open range around the positions."""

    def is_needed(self) -> bool:
        """Whether any of the positions is not settled."""
        return not self.settled.covers(self.first, self.end)


class BodySegment:
    """A blob of bodies, and the queues whose runs refer to it."""

    def __init__(self, medium: Medium, number: int) -> None:
        self.number = number
        self.writer = SegmentWriter(medium, bodies_name(number), BODIES_KIND)
        self.size: i64 = 0
        """Bytes appended, those under way included."""
        self.pending_runs: i64 = 0
        """Runs that refer to it and are not written yet."""
        self.readers: i64 = 0
        """Reads under way; it is not deleted before they have ended."""
        self.live_at_check: i64 = -1
        """Live positions when compaction looked at it last; -1 before the first time."""
        self._bodies: i64 = 0
        """How many were written to it; for one that a start found, at least so many."""
        self._queues: dict[int, BodySpans] = {}
        """By the number of each queue, the positions that refer to it."""
        self._blocking = 0
        """A queue that needed it at the last check, so that it is checked first."""

    def add(self, size: i64) -> None:
        """A body of `size` bytes is written to it."""
        self.size += size
        self._bodies += 1

    def queues(self) -> list[int]:
        """The numbers of the queues that refer to it."""
        return list(self._queues)

    def live(self) -> i64:
        """The positions that refer to it and are not settled, at most."""
        live = 0
        for spans in self._queues.values():
            live += spans.end - spans.first - spans.settled.count(spans.first, spans.end)
        return live

    def is_sparse(self, live: i64) -> bool:
        """Whether it has few bodies for so many live positions, each of them another body at
        worst."""
        bodies = self._bodies
        for spans in self._queues.values():
            bodies = max(bodies, spans.end - spans.first)
        return live * SPARSE_DIVISOR < bodies

    def include(self, queue: int, settled: RangeSet, first: int, end: int) -> None:
        """A run of a queue refers to it, at positions in a half-open range."""
        known = self._queues.get(queue)
        if known is None:
            self._queues[queue] = BodySpans(settled, first, end)
        else:
            known.first = min(known.first, first)
            known.end = max(known.end, end)

    def forget_queue(self, queue: int) -> None:
        """A queue was deleted."""
        self._queues.pop(queue, None)

    def is_needed(self) -> bool:
        """Whether anything refers to it."""
        if self.pending_runs or self.readers:
            return True
        blocking = self._queues.get(self._blocking)
        if blocking is not None and blocking.is_needed():
            return True
        for queue in list(self._queues):
            if self._queues[queue].is_needed():
                self._blocking = queue
                return True
            del self._queues[queue]
        return False


def read_body(medium: Medium, place: BodyPlace) -> bytes:
    """The body at a place.

    :raises NoSuchBlob: if the body segment is not there.
    :raises Damaged: if the body is not there as it was written.
    :raises StorageError: if it cannot be read.
    """
    size = RECORD_HEADER_BYTES + int(place.size)
    return read_record(medium, bodies_name(int(place.blob)), int(place.offset), size)[1]


def read_bodies(
    medium: Medium, messages: list[StoredMessage], first: int, live: list[tuple[int, int]]
) -> list[int]:
    """Read the bodies that are elsewhere, of messages with consecutive positions from `first`.

    A message whose body segment does not exist is replaced by ABSENT.

    :param live: half-open ranges of the positions to read; none to read all.
    :returns: the positions of those replaced. They have to be settled, else it is damage.
    :raises StorageError: if a body cannot be read, or is damaged.
    """
    missing: list[int] = []
    for range_first, range_end in live or [(first, first + len(messages))]:
        for position in range(range_first, range_end):
            place = messages[position - first].place
            if place is None:
                continue
            try:
                messages[position - first].body = read_body(medium, place)
            except NoSuchBlob:
                messages[position - first] = ABSENT
                missing.append(position)
    return missing


def lost_bodies(blob: str, positions: list[int], settled: RangeSet | None) -> Damaged | None:
    """The damage if a position of a queue segment whose body segment is missing is not settled."""
    for position in positions:
        if settled is None or position not in settled:
            return Damaged(f"{blob}: the body segment of the message at {position} is missing")
    return None

"""Giving back the disk that a few messages of a queue segment keep.

A segment with less than a third of its messages left is sparse. One that is so at two looks in a
row, and is not simply being consumed, is read, its live messages are put into the queue's current
segment as runs, and when these are durable it is deleted. So a byte that is copied has given two
back, one segment is worked on at a time, and memory holds a third of one at most.

Positions between live messages that are close together stay in a run as settled ones of one octet.
Whoever holds a run of the old segment finds its messages through what `QueueSegment.moved` says.

A segment that is damaged or cannot be read stays: whoever needs what is in it is told.
"""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mypy_extensions import i64

from leveret_storage.errors import Damaged, StorageError
from leveret_storage.format import entries
from leveret_storage.format.entries import ABSENT, Stored
from leveret_storage.format.record_reader import Damage, RecordReader, told
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_scan import STRETCH_BYTES, STRETCH_MESSAGES
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import BRIDGED_MESSAGES, QueueJournal, QueueSegment, Run

if TYPE_CHECKING:
    from leveret_storage.store.store import Store

SPARSE: Final = 3
"""A segment is sparse if not one of so many messages in it is left."""


class Moved:
    """Live messages of a segment that become one run."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.messages: list[Stored] = []
        self.bytes: i64 = 0
        self.offsets: list[int] = []
        """Where the runs begin that they were in."""

    @property
    def end(self) -> int:
        return self.first + len(self.messages)


def read_live(medium: Medium, name: str, settled: RangeSet) -> list[Moved]:
    """The messages of a queue segment whose positions are not settled.

    :raises StorageError: if it cannot be read, or is damaged.
    """
    found: list[Moved] = []
    for record in RecordReader(medium, name):
        if isinstance(record, Damage):
            raise Damaged(told(record))
        header = entries.read_run_header(record.payload)
        live = settled.gaps(header.first, header.first + header.messages)
        if live:
            messages = entries.read_run(record.payload)
            for first, end in live:
                part = messages[first - header.first : end - header.first]
                _gather(found, record.offset, first, part, settled)
    return found


def _gather(
    found: list[Moved], offset: int, first: int, messages: list[Stored], settled: RangeSet
) -> None:
    """Put messages with consecutive positions behind those found last, or begin with them anew."""
    for position, message in enumerate(messages, first):
        if message is ABSENT:
            continue
        last = found[-1] if found else None
        if (
            last is None
            or not last.end <= position <= last.end + BRIDGED_MESSAGES
            or position - last.first >= STRETCH_MESSAGES
            or last.bytes >= STRETCH_BYTES
            or not settled.covers(last.end, position)
        ):
            last = Moved(position)
            found.append(last)
        last.messages += [ABSENT] * (position - last.end)
        last.messages.append(message)
        last.bytes += len(message.body)
        if not last.offsets or last.offsets[-1] != offset:
            last.offsets.append(offset)


class Compaction:
    """A segment being copied."""

    def __init__(self, queue: QueueJournal, segment: QueueSegment) -> None:
        self.queue = queue
        self.segment = segment
        self.runs: list[Run] = []
        self.moved: dict[int, list[Run]] = {}


class Compactor:
    """Knows which segments are sparse, and copies one at a time. Belongs to a store."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._noted: list[tuple[QueueJournal, QueueSegment]] = []
        """Those found sparse, to be looked at again."""
        self._waiting: deque[tuple[QueueJournal, QueueSegment]] = deque()
        self._at_work: Compaction | None = None

    def note(self, queue: QueueJournal, segment: QueueSegment) -> None:
        """A segment may be sparse."""
        if not segment.noted:
            segment.noted = True
            segment.live_noted = -1
            self._noted.append((queue, segment))

    def look(self) -> None:
        """Begin to copy what was sparse at the last look and has not lost half of it since."""
        noted = self._noted
        self._noted = []
        for queue, segment in noted:
            if not _is_kept(queue, segment):
                continue
            # One that is being consumed in order will be empty before long.
            if 0 < segment.live_noted < segment.live * 2 and not segment.pending:
                self._waiting.append((queue, segment))
            else:
                segment.live_noted = segment.live
                self._noted.append((queue, segment))
        self._begin()

    def _begin(self) -> None:
        while self._at_work is None and self._waiting:
            queue, segment = self._waiting.popleft()
            if _is_kept(queue, segment):
                segment.recount(queue.settled)
                if segment.live and not segment.pending and is_sparse(segment):
                    self._read(Compaction(queue, segment))
                else:
                    segment.noted = False

    def _read(self, work: Compaction) -> None:
        self._at_work = work
        segment = work.segment
        # Nothing more may be put into it.
        segment.finished = True
        segment.readers += 1
        medium, settled = self._store.medium, work.queue.settled.copy()

        def read() -> list[Moved] | None:
            try:
                return read_live(medium, segment.name, settled)
            except StorageError:
                return None

        def got(result: Any) -> None:
            self._store.end_read(segment)
            if result is None or not _is_kept(work.queue, segment):
                self._at_work = None
                self._begin()
            elif not isinstance(result, StorageError):
                self._write(work, result)

        self._store.reading.submit(read, got)

    def _write(self, work: Compaction, found: list[Moved]) -> None:
        for each in found:
            run = self._store.write_run(work.queue, each.first, each.messages)
            work.runs.append(run)
            for offset in each.offsets:
                work.moved.setdefault(offset, []).append(run)
        if work.runs:
            self._store.commit()
        else:
            self._end(work)

    def written(self, run: Run) -> None:
        """A run is on disk. They get there in order."""
        work = self._at_work
        if work is not None and work.runs and run is work.runs[-1]:
            segments = [each.segment for each in work.runs if not each.segment.gone]

            def end() -> None:
                self._end(work)

            self._store.make_durable(segments if work.queue.durable else [], end)

    def _end(self, work: Compaction) -> None:
        """The copies are as safe as the segment, which nobody needs any more."""
        self._at_work = None
        segment = work.segment
        if _is_kept(work.queue, segment):
            segment.moved = work.moved
            work.queue.segments.remove(segment)
            self._store.doom(segment)
        self._begin()


def is_sparse(segment: QueueSegment) -> bool:
    """Whether not one of three messages in it is left."""
    return segment.live * SPARSE < segment.messages


def _is_kept(queue: QueueJournal, segment: QueueSegment) -> bool:
    return segment in queue.segments

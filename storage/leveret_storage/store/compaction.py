"""Compaction: freeing the disk space of a queue segment with few live messages.

A segment with less than a third of its messages live is sparse, and a candidate for compaction. One
that is sparse at two checks in a row, and is not being consumed in order, is read; its live
messages are written to the queue's current segment as runs, and when these are durable it is
deleted. So a byte that is copied frees at least two. One segment is compacted at a time, and at
most a third of it is in memory.

Positions between live messages that are close together stay in a run as absent messages of one
octet. A run of the old segment finds its messages through `QueueSegment.copied_to`.

A body segment of which less than a third is live is emptied in the same way: the queue segments
that refer to it are compacted, and its live bodies are written again, once for all of them.

A segment that is damaged or cannot be read is not compacted: a read of a message in it reports the
error.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from mypy_extensions import i64

from leveret_storage.errors import Damaged, StorageError
from leveret_storage.format import runs
from leveret_storage.format.entries import ABSENT, BodyPlace, StoredMessage
from leveret_storage.format.record_reader import Damage, RecordReader, describe
from leveret_storage.medium import Medium
from leveret_storage.segments.body_segment import read_body
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import (
    BRIDGED_MESSAGES,
    QueueJournal,
    QueueSegment,
    Run,
    is_sparse,
)
from leveret_storage.segments.run_buffer import RunBuffer
from leveret_storage.store.context import StoreContext
from leveret_storage.store.limits import COMPACTION_SHARE
from leveret_storage.store.queue_runs import QueueRuns
from leveret_storage.store.shared_bodies import SharedBodies


class LiveRun:
    """Live messages of a segment that become one run, with absent ones between them."""

    def __init__(self, first: int) -> None:
        self.buffer = RunBuffer(first)
        self.offsets: list[int] = []
        """Offsets of the runs that they were in."""


def read_live(medium: Medium, name: str, settled: RangeSet) -> list[LiveRun]:
    """The messages of a queue segment whose positions are not settled.

    :raises StorageError: if it cannot be read, or is damaged.
    """
    found: list[LiveRun] = []
    for record in RecordReader(medium, name):
        if isinstance(record, Damage):
            raise Damaged(describe(record))
        header = runs.read_run_header(record.payload)
        live = settled.gaps(header.first, header.first + header.messages)
        if live:
            messages = runs.read_run(record.payload, record.kind)
            for first, end in live:
                part = messages[first - header.first : end - header.first]
                _append_live(found, record.offset, first, part, settled)
    return found


def _append_live(
    found: list[LiveRun], offset: int, first: int, messages: list[StoredMessage], settled: RangeSet
) -> None:
    """Append messages with consecutive positions to the last run, or to a new one."""
    for position, message in enumerate(messages, first):
        if message is ABSENT:
            continue
        last = found[-1] if found else None
        if (
            last is None
            or not last.buffer.takes(position, BRIDGED_MESSAGES)
            or not settled.covers(last.buffer.end(), position)
        ):
            last = LiveRun(position)
            found.append(last)
        last.buffer.fill(position)
        last.buffer.append(message)
        if not last.offsets or last.offsets[-1] != offset:
            last.offsets.append(offset)


def move_bodies(
    medium: Medium, runs: list[LiveRun], blob: int, places: dict[int, BodyPlace]
) -> None:
    """Read the bodies of messages that are in a body segment, to be written again elsewhere.

    :param places: their new places by the offset of the old one, which is extended.
    :raises StorageError: if one cannot be read, or is damaged.
    """
    for run in runs:
        for message in run.buffer.messages:
            place = message.place
            if place is not None and place.blob == blob:
                offset = int(place.offset)
                message.body = read_body(medium, place)
                message.place = places.setdefault(offset, BodyPlace(0, -1, place.size))


class Compaction:
    """The compaction of one segment."""

    def __init__(self, queue: QueueJournal, segment: QueueSegment) -> None:
        self.queue = queue
        self.segment = segment
        self.runs: list[Run] = []
        self.copied_to: dict[int, list[Run]] = {}

    def is_written(self) -> bool:
        """Whether all runs are written that it has."""
        at = len(self.runs) - 1
        while at >= 0 and self.runs[at].messages is None:
            at -= 1
        return at < 0


class Compactor:
    """Knows which segments of a store are sparse, and compacts one at a time."""

    def __init__(
        self,
        context: StoreContext,
        runs: QueueRuns,
        bodies: SharedBodies,
        commit: Callable[[], None],
    ) -> None:
        self._bodies = bodies
        self._queues = context.queues
        self._medium = context.medium
        self._runs = runs
        self._batch = context.batch
        self._segment_bytes_min: i64 = context.limits.queue_segment_bytes // COMPACTION_SHARE
        self._commit = commit
        self._candidates: list[tuple[QueueJournal, QueueSegment]] = []
        """Segments found sparse, to be checked again."""
        self._waiting: deque[tuple[QueueJournal, QueueSegment]] = deque()
        self._current: Compaction | None = None
        self._emptied = 0
        """The number of the body segment whose bodies are moved; 0 if there is none."""
        self._places: dict[int, BodyPlace] = {}
        """By the offset of each body that was moved out of it, its new place."""

    def examine(self, queue: QueueJournal) -> None:
        """Messages of a queue were settled: find its segments that are obsolete or sparse."""
        obsolete: list[QueueSegment] = []
        for segment in queue.segments:
            if segment.pending_runs or not is_sparse(segment):
                continue
            if segment.live <= 0:
                segment.recount(queue.settled)
            if segment.live == 0:
                segment.copied_to = {}
                obsolete.append(segment)
            elif segment.size >= self._segment_bytes_min and not segment.is_candidate:
                segment.is_candidate = True
                segment.live_at_check = -1
                self._candidates.append((queue, segment))
        if obsolete:
            self._batch.obsolete += obsolete
            queue.segments = [segment for segment in queue.segments if segment not in obsolete]

    def check(self) -> None:
        """Begin to compact the candidates that had not lost half of their messages since the last
        check."""
        candidates = self._candidates
        self._candidates = []
        for queue, segment in candidates:
            if segment not in queue.segments:
                continue
            # A segment that is consumed in order will be empty before long.
            if 0 < segment.live_at_check < segment.live * 2 and not segment.pending_runs:
                self._waiting.append((queue, segment))
            else:
                segment.live_at_check = segment.live
                self._candidates.append((queue, segment))
        if not self._waiting and self._current is None:
            self._empty_sparse_bodies()
        self._begin()

    def _empty_sparse_bodies(self) -> None:
        self._emptied = 0
        self._places = {}
        sparse = self._bodies.next_sparse()
        if sparse is None:
            return
        self._emptied = sparse.number
        for number in sparse.queues():
            queue = self._queues.get(number)
            if queue is not None:
                for segment in queue.segments:
                    if sparse.number in segment.body_spans:
                        self._waiting.append((queue, segment))

    def _begin(self) -> None:
        while self._current is None and self._waiting:
            queue, segment = self._waiting.popleft()
            if segment in queue.segments:
                segment.recount(queue.settled)
                wanted = is_sparse(segment) or self._emptied in segment.body_spans
                if segment.live and not segment.pending_runs and wanted:
                    self._read(Compaction(queue, segment))
                else:
                    segment.is_candidate = False

    def _read(self, compaction: Compaction) -> None:
        self._current = compaction
        segment = compaction.segment
        segment.sealed = True
        segment.readers += 1
        medium, settled = self._medium, compaction.queue.settled.copy()
        segment_medium = segment.writer.medium
        emptied, places = self._emptied, self._places
        held = self._bodies.begin_read(segment)

        def read() -> list[LiveRun] | None:
            try:
                found = read_live(segment_medium, segment.name, settled)
                move_bodies(medium, found, emptied, places)
            except StorageError:
                return None
            return found

        def got(result: Any) -> None:
            self._runs.end_read(segment)
            self._bodies.end_read(held)
            if result is None or segment not in compaction.queue.segments:
                self._current = None
                self._begin()
            elif not isinstance(result, StorageError):
                self._write(compaction, result)

        self._runs.reading_of(segment).submit(read, got)

    def _write(self, compaction: Compaction, found: list[LiveRun]) -> None:
        for live in found:
            buffer = live.buffer
            run = self._runs.write(compaction.queue, int(buffer.first), buffer.messages)
            compaction.runs.append(run)
            for offset in live.offsets:
                compaction.copied_to.setdefault(offset, []).append(run)
        if compaction.runs:
            self._commit()
        else:
            self._end(compaction)

    def run_written(self, run: Run) -> None:
        """A run of the store is written. Those on one medium are written in order."""
        compaction = self._current
        if compaction is not None and compaction.is_written() and run in compaction.runs:
            segments = [each.segment for each in compaction.runs if not each.segment.obsolete]

            def end() -> None:
                self._end(compaction)

            self._runs.make_durable(segments, end)

    def _end(self, compaction: Compaction) -> None:
        """The copies are as durable as the segment was."""
        self._current = None
        segment = compaction.segment
        if segment in compaction.queue.segments:
            segment.copied_to = compaction.copied_to
            compaction.queue.segments.remove(segment)
            self._bodies.leave(compaction.queue, segment)
            self._batch.obsolete.append(segment)
            self._batch.awaited = True
            self._commit()
        self._begin()

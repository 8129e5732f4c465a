"""The bodies that several queues hold: each is written once, to a body segment.

The first run that has such a message writes its body; every later one refers to it, as long as the
message is the same object in memory. Body segments are filled one after the other, and deleted when
all that refers to them is settled.
"""

from mypy_extensions import i64

from leveret_storage.errors import Damaged
from leveret_storage.format.entries import ABSENT, BodyPlace, StoredMessage
from leveret_storage.segments.body_segment import BodySegment
from leveret_storage.segments.queue_journal import QueueJournal, QueueSegment
from leveret_storage.segments.segment_writer import SegmentWriter, bodies_number
from leveret_storage.store.commit_log import CommitLog
from leveret_storage.store.context import StoreContext

CHECKED_SEGMENTS: i64 = 8
"""Body segments that one call of `trim` looks at."""


class RunBodies:
    """The bodies that one run refers to."""

    def __init__(self) -> None:
        self.segments: list[BodySegment] = []
        """The body segments that it refers to."""
        self.new: list[tuple[BodySegment, BodyPlace, bytes]] = []
        """The bodies to be written before it."""
        self.full: list[SegmentWriter] = []
        """Body segments that are full, to be synced before another one is begun."""

    def write(self, needed_by: SegmentWriter) -> None:
        """Write the bodies. To be called by the writing executor.

        :raises StorageError: MediumFull, MediumFailed; the call may be repeated after MediumFull.
        """
        for writer in self.full:
            writer.sync_and_mark()
        for segment, place, body in self.new:
            if place.offset < 0:
                place.offset = segment.writer.append_body(body)
        for segment in self.segments:
            needed_by.needs(segment.writer)


class SharedBodies:
    """The body segments of a store."""

    def __init__(self, context: StoreContext, log: CommitLog) -> None:
        self._medium = context.medium
        self._writing = context.writing
        self._numbers = context.numbers
        self._failure = context.failure
        self._queues = context.queues
        self._segment_bytes: i64 = context.limits.body_segment_bytes
        self._log = log
        self._segments: dict[int, BodySegment] = {}
        self._current: BodySegment | None = None
        self._full: list[SegmentWriter] = []
        """Full segments that are not synced."""
        self._to_compact: list[int] = []
        """Numbers of segments that `next_sparse` looks at next, the last one first."""
        self._to_check: list[int] = []
        """Numbers of segments that `trim` looks at next, the last one first."""

    def restore(self, queue: QueueJournal) -> None:
        """Take over what the segments of a queue refer to that a start found."""
        for segment in queue.segments:
            for blob, (first, end) in segment.body_spans.items():
                found = self._segments.get(blob)
                if found is None:
                    found = BodySegment(self._medium, blob)
                    self._segments[blob] = found
                found.include(queue.number, queue.settled, first, end)

    def unneeded(self, blobs: list[str]) -> list[str]:
        """Those of the blobs that are body segments, and that no queue refers to."""
        needed = {segment.writer.name for segment in self._segments.values()}
        return [name for name in blobs if bodies_number(name) is not None and name not in needed]

    def take(
        self, queue: QueueJournal, segment: QueueSegment, first: i64, messages: list[StoredMessage]
    ) -> RunBodies:
        """Give every shared body of a run a place, and hold its body segments until `release`."""
        bodies = RunBodies()
        at = -1
        for message in messages:
            at += 1
            place = message.place
            if place is None:
                continue
            position = int(first) + at
            found = self._segments.get(int(place.blob))
            if found is None:
                if len(message.body) < place.size:
                    # It was read for compaction, and settled since.
                    messages[at] = self._absent(queue, position)
                    continue
                found = self._begin_body(place)
                bodies.new.append((found, place, message.body))
            if found not in bodies.segments:
                bodies.segments.append(found)
                found.pending_runs += 1
            found.include(queue.number, queue.settled, position, position + 1)
            segment.include_body(found.number, position)
        bodies.full, self._full = self._full, []
        return bodies

    def _absent(self, queue: QueueJournal, position: int) -> StoredMessage:
        if position not in queue.settled:
            self._failure.fail(Damaged(f"the body of message {position} was deleted"))
        return ABSENT

    def _begin_body(self, place: BodyPlace) -> BodySegment:
        current = self._current
        if current is None or current.size >= self._segment_bytes:
            if current is not None:
                self._full.append(current.writer)
            current = BodySegment(self._medium, self._numbers.take_blob())
            self._segments[current.number] = current
            self._current = current
        place.blob = current.number
        place.offset = -1
        current.add(place.size)
        return current

    def release(self, bodies: RunBodies) -> None:
        """A run is written."""
        for segment in bodies.segments:
            segment.pending_runs -= 1

    def begin_read(self, segment: QueueSegment) -> list[BodySegment]:
        """Hold the body segments of a queue segment, until `end_read`."""
        found = []
        for blob in segment.body_spans:
            body_segment = self._segments.get(blob)
            if body_segment is not None:
                body_segment.readers += 1
                found.append(body_segment)
        return found

    def end_read(self, segments: list[BodySegment]) -> None:
        """A read has ended."""
        for segment in segments:
            segment.readers -= 1

    def next_sparse(self) -> BodySegment | None:
        """Look at the next segment: it, if it was sparse the last time and did not lose half of its
        live bodies since."""
        if not self._to_compact:
            self._to_compact = list(self._segments)
        segment = self._segments.get(self._to_compact.pop()) if self._to_compact else None
        if segment is None or segment is self._current or segment.pending_runs:
            return None
        live, before = segment.live(), segment.live_at_check
        segment.live_at_check = live
        return segment if 0 < before < live * 2 and segment.is_sparse(live) else None

    def leave(self, queue: QueueJournal, left: QueueSegment) -> None:
        """A segment is no part of a queue any more."""
        blobs = set(left.body_spans)
        for segment in queue.segments:
            blobs.difference_update(segment.body_spans)
        for blob in blobs:
            found = self._segments.get(blob)
            if found is not None:
                found.forget_queue(queue.number)

    def forget_queue(self, queue: QueueJournal) -> None:
        """A queue was deleted, with all that refers to bodies."""
        for segment in queue.segments:
            for blob in segment.body_spans:
                found = self._segments.get(blob)
                if found is not None:
                    found.forget_queue(queue.number)

    def writers(self) -> list[SegmentWriter]:
        """The writers of the segments that may not be synced."""
        return self._full if self._current is None else [*self._full, self._current.writer]

    def trim(self) -> None:
        """Delete some segments that nothing refers to. To be called while the open batch has no
        changes: the settlements in it may never be durable."""
        remaining: i64 = CHECKED_SEGMENTS
        writers: list[SegmentWriter] = []
        while remaining > 0 and self._segments:
            remaining -= 1
            if not self._to_check:
                self._to_check = list(self._segments)
            number = self._to_check.pop()
            segment = self._segments.get(number)
            if segment is None or segment.is_needed():
                continue
            del self._segments[number]
            if segment is self._current:
                self._current = None
            writers.append(segment.writer)
        if not writers:
            return

        def delete() -> None:
            for writer in writers:
                writer.delete()

        # What has settled the messages has to be durable first.
        self._log.sync_written()
        self._log.await_appends()
        self._writing.submit(delete, self._failure.check)

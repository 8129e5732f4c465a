"""The segments of the commit log: begun, appended to, and deleted when obsolete.

The oldest segment is deleted when all its messages are settled or in a queue segment as well, and
the rest of what it says is in the checkpoint (`checkpoint_writer.py`).
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Final

from mypy_extensions import i64

from leveret_storage.format import entries
from leveret_storage.format.entries import Entry
from leveret_storage.format.segment_start import SegmentStart, write_segment_start
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd
from leveret_storage.segments.log_segment import LogPreallocation, LogSegment
from leveret_storage.segments.position_ranges import in_either
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.checkpoint_writer import CheckpointWriter
from leveret_storage.store.context import StoreContext
from leveret_storage.store.segment_syncs import SegmentSyncs

ENCODED_BYTES_MAX: Final = 64 * 1024
"""Bytes of a batch up to which its record is encoded in the event loop."""

FREED_SHARE: Final = 16
"""On a full medium the current segment is replaced from this part of a full one on, and if it is
twice as long as the checkpoint, which may have to be written anew for that."""

CHECKPOINT_ENTRY_BYTES: Final = 37
"""Bytes of the entry of a checkpoint in one checkpoint segment."""

CHECKS_AT_ONCE: Final = 1024
"""Queues for which one call of `trim` checks whether they need the oldest segment, about a
microsecond each."""


class CommitLog:
    """The log segments of a store, oldest first."""

    def __init__(self, context: StoreContext, checkpoint: CheckpointWriter, sync: bool) -> None:
        """Without `sync`, appends are not synced."""
        self.segments: list[LogSegment] = []
        self.unsynced = False
        """Whether a batch was written without a sync, and none followed."""
        self._deleting = False
        """Whether the segment before the oldest one is being deleted."""
        self.oldest_in_use = False
        """Whether the oldest segment is being read, so that it must not be deleted."""
        limits = context.limits
        self._medium = context.medium
        self._writing = context.writing
        self._reading = context.reading
        self._segment_bytes: i64 = limits.log_segment_bytes
        self._segments_max: i64 = limits.log_segments_max
        self._batch = context.batch
        self._queues = context.queues
        self._numbers = context.numbers
        self._failure = context.failure
        self._measures = context.measures
        self._checkpoint = checkpoint
        self._covered_next: list[LogSegment] = []
        """Segments that the checkpoint covers which is being written."""
        self._sync = sync
        self._preallocation = LogPreallocation(
            context.medium, context.reading, limits.preallocation_bytes
        )
        self._answers_later = sync and context.medium.commits_in_flight_max > 1

    def append(
        self,
        parts: list[bytes],
        size: i64,
        queues: list[QueueJournal],
        is_alone: bool,
        done: Callable[[Any], None],
    ) -> None:
        """Append a batch of `size` bytes. `queues` are those with messages in it; `done` gets None
        when it is durable, or a StorageError.

        :param is_alone: whether all batches before it are durable, and batches come one at a time.
        """
        segment = self.segments[-1]
        for queue in queues:
            if queue.number in self._queues:
                segment.include(queue, int(queue.open_first), int(queue.open_end))
            queue.open_end = -1
        segment.size += size
        if size > CHECKPOINT_ENTRY_BYTES or parts[0][0] != entries.CHECKPOINT_ADVANCED:
            segment.is_worth_covering = True
        writer = segment.writer
        self.unsynced = not self._sync
        # The CRC of a long batch is computed where nobody waits for it, that of a short one here:
        # compiled code does it while the writing thread still sleeps.
        is_long = size > ENCODED_BYTES_MAX
        measures = self._measures
        measures.batch_bytes.add(float(size))
        record = parts if is_long else writer.encode(entries.BATCH, parts)
        if self._answers_later:
            self._append_later(segment, record, is_long, is_alone, done)
        elif self._sync:

            def append_synced() -> None:
                encoded = writer.encode(entries.BATCH, record) if is_long else record
                start = perf_counter()
                writer.append_synced(encoded)
                measures.sync_seconds.add(perf_counter() - start)

            self._writing.submit(append_synced, done)
        else:

            def append() -> None:
                encoded = writer.encode(entries.BATCH, record) if is_long else record
                start = perf_counter()
                writer.append_encoded(encoded)
                measures.write_seconds.add(perf_counter() - start)

            self._writing.submit(append, done)

    def _append_later(
        self,
        segment: LogSegment,
        record: list[bytes],
        is_long: bool,
        is_alone: bool,
        done: Callable[[Any], None],
    ) -> None:
        """Append a batch on a medium that has several commits in flight."""
        writing, writer, measures = self._writing, segment.writer, self._measures
        given = perf_counter()

        def measured(error: Any) -> None:
            measures.sync_seconds.add(perf_counter() - given)
            done(error)

        def answered(error: Any) -> None:
            writing.post(measured, error)

        def begin() -> None:
            encoded = writer.encode(entries.BATCH, record) if is_long else record
            writer.append_synced_later(encoded, answered)

        def begun(result: Any) -> None:
            # An append that could not begin is not answered.
            if result is not None:
                done(result)

        may_begin = is_alone and not is_long and writing.is_free()
        if not may_begin or not writer.append_synced_at_once(record, answered):
            writing.submit(begin, begun)

    def await_appends(self) -> None:
        """Have the writing executor wait for the appends that the medium has not answered."""
        self._writing.submit(self.segments[-1].writer.await_appends, self._failure.check)

    def sync_written(self) -> None:
        """Make durable what was written without a sync."""
        if self.unsynced and not self._failure.failed:
            self.unsynced = False
            writer, measures = self.segments[-1].writer, self._measures

            def sync() -> None:
                start = perf_counter()
                writer.sync()
                measures.sync_seconds.add(perf_counter() - start)

            self._writing.submit(sync, self._failure.check)

    def durable_end(self) -> LogEnd:
        """How much is known to be durable, of what this owner has written. A segment of which
        nothing is durable may not exist."""
        for segment in reversed(self.segments):
            if segment.writer.durable_bytes:
                return LogEnd(segment.number, segment.writer.durable_bytes)
        return NOT_NOTED

    def size(self) -> int:
        """Bytes of all segments."""
        size: i64 = sum([segment.size for segment in self.segments])
        return int(size)

    def is_segment_full(self) -> bool:
        """Whether a new segment should begin."""
        return self.segments[-1].size >= self._segment_bytes

    def can_free_current(self) -> bool:
        """Whether nothing in the current segment is needed, and a new one, which it then could be
        deleted for, is much smaller. Of many queues this is not found out."""
        segment = self.segments[-1]
        checkpoint_bytes: i64 = sum([part.size for part in self._checkpoint.current.parts])
        least = max(self._segment_bytes // FREED_SHARE, 2 * checkpoint_bytes)
        if segment.size < least or len(segment.spans) > CHECKS_AT_ONCE:
            return False
        return not any(self.needs(segment, queue) for queue in segment.spans)

    def has_too_many_segments(self) -> bool:
        """Whether the oldest segment should be emptied."""
        return len(self.segments) > self._segments_max

    def preallocate(self, size: int) -> None:
        """A batch of `size` bytes was appended: preallocate more where that pays."""
        if self._sync:
            self._preallocation.add_batch(self.segments[-1], size, self._preallocated)

    def _preallocated(self, result: Any) -> None:
        self._failure.check(result)
        self.trim()

    def begin_segment(self, unproven: list[Entry]) -> None:
        """Begin the next segment. The open batch must be empty.

        `unproven` entries of earlier segments, which may not be durable there, are repeated in it.
        """
        previous = self.segments[-1].writer if self.segments else None
        segment = LogSegment(self._medium, self._numbers.take_blob())
        # Its first record must not be durable without the batches before it.
        self.sync_written()
        self.segments.append(segment)
        payload = self._segment_start(segment, unproven)
        segment.size = len(payload)
        writer = segment.writer

        def begin() -> None:
            if previous is not None:
                previous.sync_and_mark()
            writer.append_synced(writer.encode(entries.SEGMENT_START, [payload]))

        def begun(result: Any) -> None:
            self._failure.check(result)
            segment.created = True
            if self._sync:
                self._preallocation.extend(self.segments[-1], self._preallocated)

        self._writing.submit(begin, begun)
        self.trim()

    def _segment_start(self, segment: LogSegment, unproven: list[Entry]) -> bytes:
        """The payload of the first record of a segment; of `unproven` entries it repeats those that
        still count."""
        repeated: list[Entry] = []
        definitions = int(self._checkpoint.definitions)
        for entry in unproven:
            if entry.message is None:
                if entry.checkpoint is None:
                    repeated.append(entry)
                if entry.kind == entries.DEFINITION:
                    self._checkpoint.definitions += 1
                continue
            targets: list[tuple[int, int]] = []
            for number, position in entry.queues:
                queue = self._queues.get(number)
                if queue is not None and position not in queue.settled:
                    targets.append((number, position))
                    segment.include(queue, position, position + 1)
            if targets:
                repeated.append(entry._replace(queues=targets))
        return write_segment_start(
            SegmentStart(
                int(self._numbers.next_queue),
                self._checkpoint.current,
                definitions,
                repeated,
            )
        )

    def forget_queue(self, queue: QueueJournal) -> None:
        """Note that a queue was deleted, so that its messages are not live any more."""
        for segment in self.segments:
            segment.spans.pop(queue, None)

    def trim(self) -> None:
        """Delete the oldest segments while none of their messages is live in the log alone, or have
        the checkpoint advanced for that.

        Does nothing while the open batch has changes: the settlements in it may never be durable.
        Nor while the oldest segment is being read, the one before is being deleted, or a
        preallocation is under way. Of many queues only some are checked at once.
        """
        if self._batch.has_changes() or self.oldest_in_use or self._preallocation.under_way:
            return
        if self._deleting:
            # A log without a segment between two others is damaged.
            return
        while len(self.segments) > 1 and not self._failure.failed:
            oldest = self.segments[0]
            if not self._is_not_needed(oldest):
                return
            if not oldest.covered:
                worth_it = any(segment.is_worth_covering for segment in self.segments[:-1])
                if worth_it and not self._checkpoint.running:
                    self._covered_next = self.segments[:-1]
                    self._checkpoint.begin(self._covered_next[-1].number)
                return
            del self.segments[0]
            self._delete(oldest)
            return

    def _is_not_needed(self, oldest: LogSegment) -> bool:
        """Whether no queue needs the oldest segment. A queue that was found not to need it does not
        later, so each is asked until it does not once, and only some in one call."""
        unchecked = oldest.unchecked
        if unchecked is None:
            unchecked = oldest.unchecked = list(oldest.spans)
        checks = CHECKS_AT_ONCE
        while unchecked and checks > 0:
            checks -= 1
            queue = unchecked[-1]
            if queue in oldest.spans:
                if self.needs(oldest, queue):
                    return False
                first, end = oldest.spans[queue]
                if not queue.settled.covers(first, end):
                    for segment in queue.segments:
                        if not segment.transient:
                            oldest.replacements[segment] = None
            unchecked.pop()
        return not unchecked

    def cover(self) -> None:
        """The log names the checkpoint that was being written, durably: it covers the segments that
        were finished when it was begun."""
        for segment in self._covered_next:
            segment.covered = True
        self._covered_next = []

    def delete_unreferenced(self, names: list[str]) -> None:
        """Delete checkpoint segments that no batch refers to any more."""
        if not names:
            return
        self.sync_written()
        current = self.segments[-1].writer
        medium = self._medium

        def delete() -> None:
            current.await_appends()
            for name in names:
                medium.delete(name)

        self._writing.submit(delete, self._failure.check)

    def needs(self, segment: LogSegment, queue: QueueJournal) -> bool:
        """Whether a queue has live messages in a log segment that are not on disk elsewhere."""
        if queue not in segment.spans:
            return False
        if segment.copies is not None:
            # Not every position is in them: transient messages are not in the log.
            return any(run.messages is not None for run in segment.copies.get(queue, ()))
        first, end = segment.spans[queue]
        return not in_either(first, end, queue.settled, queue.flushed)

    def _delete(self, segment: LogSegment) -> None:
        """Make the queue segments durable that have the messages, then delete a log segment.

        The reading executor deletes it: that takes 10 ms, which batches would wait for.
        """
        # The settlements of its messages are in later segments, and have to be durable first.
        self.sync_written()
        current = self.segments[-1].writer
        writers = [each.writer for each in segment.replacements]
        name = segment.writer.name

        def appended(result: Any) -> None:
            if result is None:
                self._reading.submit(partial(self._medium.delete, name), self._deleted)
            else:
                self._deleted(result)

        self._deleting = True
        SegmentSyncs(
            self._writing,
            self._failure,
            writers,
            lambda: self._writing.submit(current.await_appends, appended),
        ).go_on()

    def _deleted(self, result: Any) -> None:
        self._deleting = False
        self._failure.check(result)
        self.trim()

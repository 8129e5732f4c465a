"""Runs of messages in queue segments: written, synced, read, and deleted with their segment.

The runs of a durable queue are written after the batch that has their messages: the other way
round, a crash in between would leave a part of a batch, which has to be there as a whole or not at
all. A segment that is read is deleted after the read has ended.

Runs that do not have to survive may be on another medium: those of queues that are not durable, and
those of durable queues that have no persistent message. They are in transient segments, wait for no
batch, are never synced, and have all their bodies in them. A run with a persistent message is
durable with all its messages, which needs no mark for each of them.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from mypy_extensions import i64

from leveret_storage.errors import StorageError
from leveret_storage.format import entries, runs
from leveret_storage.format.entries import ABSENT, StoredMessage
from leveret_storage.media.executor import Executor
from leveret_storage.segments.body_segment import BodySegment, lost_bodies
from leveret_storage.segments.queue_journal import (
    QueueJournal,
    QueueSegment,
    Run,
    is_sparse,
    read_messages,
)
from leveret_storage.segments.segment_writer import QUEUE_KIND, SegmentWriter, queue_name
from leveret_storage.store.commit_log import CommitLog
from leveret_storage.store.context import RunMedium, StoreContext
from leveret_storage.store.limits import RUNS_SHARE
from leveret_storage.store.segment_syncs import SegmentSyncs
from leveret_storage.store.shared_bodies import SharedBodies

MESSAGE_BYTES: Final = 20
"""Bytes of a message in a run beside route, header and body, about."""


class WaitingRun:
    """A run that is written when the batch that has its messages is durable."""

    def __init__(
        self, queue: QueueJournal, run: Run, messages: list[StoredMessage], size: i64
    ) -> None:
        self.queue = queue
        self.run = run
        self.messages = messages
        self.size = size
        """Bytes of its payload, and of the shared bodies that are written with it."""
        self.begins_segment = run.segment.size == 0


def payload_bytes(messages: list[StoredMessage]) -> i64:
    """Bytes of a run with these messages, about."""
    size: i64 = runs.RUN_HEADER_BYTES
    for message in messages:
        size += MESSAGE_BYTES + len(message.route) + len(message.header)
        if message.place is None:
            size += len(message.body)
    return size


def unwritten_body_bytes(messages: list[StoredMessage]) -> i64:
    """Bytes of their shared bodies that are in no body segment yet."""
    size: i64 = 0
    for message in messages:
        place = message.place
        if place is not None and place.blob == 0:
            size += place.size
    return size


def any_persistent(messages: list[StoredMessage]) -> bool:
    """Whether any of the messages is persistent."""
    at = 0
    while at < len(messages) and not messages[at].persistent:
        at += 1
    return at < len(messages)


def with_bodies(messages: list[StoredMessage]) -> list[StoredMessage]:
    """The same messages, none with its body elsewhere. All have their bodies in memory."""
    found: list[StoredMessage] = []
    for message in messages:
        if message.place is not None:
            message = StoredMessage(
                message.route,
                message.header,
                message.body,
                message.persistent,
                message.arrived,
                message.expires_at,
            )
        found.append(message)
    return found


class QueueRuns:
    """All runs of a store."""

    def __init__(
        self,
        context: StoreContext,
        log: CommitLog,
        bodies: SharedBodies,
        on_written: Callable[[Run], None],
    ) -> None:
        """`on_written` is called with each run that is written, in order."""
        self.unwritten_bytes: i64 = 0
        """Bytes of runs that are not written yet."""
        self.under_way_bytes: i64 = 0
        """Bytes of those that do not wait for their turn any more."""
        self.unwritten_segments: i64 = 0
        """Runs that are not written yet and begin a segment."""
        self.bytes_in_flight: i64 = context.medium.bytes_in_flight
        """Bytes that wait to be written, above which publishers should be throttled."""
        self._durable = context.durable_runs
        self._transient = context.transient_runs
        self._separates = context.transient_runs is not context.durable_runs
        """Whether runs that do not have to survive are on a medium of their own."""
        self._segment_bytes: i64 = context.limits.queue_segment_bytes
        self._log = log
        self._bodies = bodies
        self._batch = context.batch
        self._numbers = context.numbers
        self._failure = context.failure
        self._measures = context.measures
        self._on_written = on_written
        self._waiting: deque[WaitingRun] = deque()
        """Runs that wait for the open batch, for the transaction, or for those before them."""

    def write(self, queue: QueueJournal, first: int, messages: list[StoredMessage]) -> Run:
        """Write messages with consecutive positions as a run, which has them in memory until they
        are written. A run of a durable queue waits for the open batch."""
        transient = not queue.durable or (self._separates and not any_persistent(messages))
        segment = self._segment_of(queue, transient)
        run = Run(segment, first, len(messages))
        run.messages = messages
        if transient and self._separates:
            messages = with_bodies(messages)
        size = payload_bytes(messages)
        waiting = WaitingRun(queue, run, messages, size + unwritten_body_bytes(messages))
        segment.size += size
        live = queue.settled.gaps(first, first + len(messages))
        # Those that are settled already are on disk like the others, and make the segment sparse.
        segment.add(live, len(messages) - messages.count(ABSENT))
        segment.pending_runs += 1
        self.unwritten_bytes += waiting.size
        if waiting.begins_segment:
            self.unwritten_segments += 1
        if transient:
            self.under_way_bytes += waiting.size
            self._write(waiting)
        else:
            self._waiting.append(waiting)
            self._batch.awaited = True
        return run

    def take_waiting(self) -> list[WaitingRun]:
        """Take out runs that wait for the open batch, as many as may be written at once. None while
        there is a transaction: any may have messages of it."""
        taken: list[WaitingRun] = []
        while self.may_take_waiting():
            waiting = self._waiting.popleft()
            self.under_way_bytes += waiting.size
            taken.append(waiting)
        return taken

    def may_take_waiting(self) -> bool:
        """Whether `take_waiting` would take out any."""
        return (
            bool(self._waiting)
            and self.under_way_bytes < self.bytes_in_flight // RUNS_SHARE
            and not self._batch.has_transaction
        )

    def write_waiting(self, runs: list[WaitingRun]) -> None:
        """Write runs whose batch is durable, but for those of a segment that was deleted since."""
        for waiting in runs:
            if waiting.run.segment.obsolete:
                self._leave_out(waiting)
            else:
                self._write(waiting)

    def _leave_out(self, waiting: WaitingRun) -> None:
        """Do not write a run, as all its messages are settled or elsewhere, and go on as if it were
        written."""
        self._note_written(waiting)
        waiting.run.segment.pending_runs -= 1
        waiting.run.messages = None
        self._on_written(waiting.run)

    def _note_written(self, waiting: WaitingRun) -> None:
        self.unwritten_bytes -= waiting.size
        if waiting.begins_segment:
            self.unwritten_segments -= 1
        self.under_way_bytes -= waiting.size

    def _write(self, waiting: WaitingRun) -> None:
        queue, run, messages = waiting.queue, waiting.run, waiting.messages
        writer = run.segment.writer
        first = int(run.first)
        bodies = self._bodies.take(queue, run.segment, run.first, messages)
        previous = run.segment.previous
        run.segment.previous = None
        full = previous.writer if previous is not None and not previous.obsolete else None

        # Neither function may refer to another one here: the functions and their variables would
        # form a reference cycle, which only the garbage collector frees.
        def write() -> tuple[int, int]:
            if full is not None:
                # A start reads the log only for messages of segments without a mark at the end.
                full.sync_and_mark()
            bodies.write(writer)
            kind = entries.SHARED_RUN if bodies.segments else entries.RUN
            return writer.append(kind, runs.run(first, messages))

        def written(result: Any) -> None:
            self._note_written(waiting)
            self._bodies.release(bodies)
            if isinstance(result, StorageError):
                self._failure.fail(result)
                return
            run.offset, run.size = result
            run.segment.pending_runs -= 1
            if run.segment.pending_runs == 0 and is_sparse(run.segment):
                queue.mark_changed()
            queue.flushed.add(run.first, run.end)
            run.messages = None
            self._on_written(run)

        self._where(run.segment).writing.submit(write, written)

    def _segment_of(self, queue: QueueJournal, transient: bool) -> QueueSegment:
        """The segment that the next run of a queue is written to."""
        last: QueueSegment | None = None
        at = len(queue.segments) - 1
        while at >= 0 and last is None:
            if queue.segments[at].transient == transient:
                last = queue.segments[at]
            at -= 1
        if last is not None and not (last.sealed or self._is_full(last)):
            return last
        name = queue_name(queue.number, self._numbers.take_blob())
        medium = self._transient.medium if transient else self._durable.medium
        segment = QueueSegment(SegmentWriter(medium, name, QUEUE_KIND), transient)
        segment.settled = queue.settled
        if last is not None and not transient and not last.sealed:
            segment.previous = last
        queue.segments.append(segment)
        return segment

    def _where(self, segment: QueueSegment) -> RunMedium:
        """Where the runs of a segment are."""
        return self._transient if segment.transient else self._durable

    def reading_of(self, segment: QueueSegment) -> Executor:
        """The executor that reads a segment."""
        return self._where(segment).reading

    def _is_full(self, segment: QueueSegment) -> bool:
        return segment.size >= self._segment_bytes

    def make_durable(self, segments: list[QueueSegment], done: Callable[[], None]) -> None:
        """Sync segments, then call `done`. A few are synced in a row, so that the commits of
        clients need not wait for all."""
        writers = [each.writer for each in dict.fromkeys(segments) if not each.transient]
        SegmentSyncs(self._durable.writing, self._failure, writers, done).go_on()

    def read(self, run: Run, done: Callable[[list[StoredMessage]], None]) -> None:
        """Read a run from disk. `done` gets one message for each of its positions, ABSENT where the
        message was settled and left out."""
        locations = run.locations()
        held: list[BodySegment] = []
        reading = self._transient.reading
        for location in locations:
            if not location.segment.transient:
                reading = self._durable.reading
            location.segment.readers += 1
            held += self._bodies.begin_read(location.segment)

        def read() -> tuple[list[StoredMessage], list[int]]:
            start = perf_counter()
            found = read_messages(self._durable.medium, run, locations)
            self._measures.read_seconds.add(perf_counter() - start)
            return found

        def got(result: Any) -> None:
            for location in locations:
                self.end_read(location.segment)
            self._bodies.end_read(held)
            if not isinstance(result, StorageError):
                messages, missing = result
                result = lost_bodies(run.segment.name, missing, run.segment.settled)
                if result is None:
                    done(messages)
                    return
            self._failure.fail(result)

        reading.submit(read, got)

    def read_blocking(self, run: Run) -> list[StoredMessage]:
        """Read a run as `read` does, and wait for it.

        :raises StorageError: if it cannot be read.
        """
        if run.messages is not None:
            return run.messages
        messages, missing = read_messages(self._durable.medium, run, run.locations())
        lost = lost_bodies(run.segment.name, missing, run.segment.settled)
        if lost is not None:
            raise lost
        return messages

    def end_read(self, segment: QueueSegment) -> None:
        """A read of a segment has ended."""
        segment.readers -= 1
        if segment.obsolete and segment.readers == 0:
            self.delete([segment])

    def delete(self, segments: list[QueueSegment]) -> None:
        """Delete segments that are not needed any more, each when no read of it is under way."""
        unread: list[QueueSegment] = []
        transient: list[QueueSegment] = []
        for segment in segments:
            segment.obsolete = True
            if segment.readers == 0:
                if segment.transient and self._separates:
                    transient.append(segment)
                else:
                    unread.append(segment)
        if unread:
            self._delete(unread, self._durable.writing, self._log.unsynced)
        if transient:
            self._delete(transient, self._transient.writing, False)

    def _delete(self, segments: list[QueueSegment], writing: Executor, unsynced: bool) -> None:
        """Delete segments that nobody reads.

        :param unsynced: whether the batch that makes them obsolete has to be synced before.
        """
        writers = [segment.writer for segment in segments]

        def delete() -> None:
            for writer in writers:
                writer.delete()

        if unsynced or any(segment.pending_runs for segment in segments):
            # What is written to them, and the batch, come before.
            if unsynced:
                self._log.sync_written()
            writing.submit(delete, self._failure.check)
        else:
            writing.submit_freeing(delete, self._failure.check)

"""The store: one commit log, the queues it carries, and what it takes to find them again.

Everything that has to be there after a crash is put into the open batch: messages, what was
settled, definitions. A batch is one record, written and synced by the writing thread while the
next one fills; what waits for it (a confirm, a reply) remembers the batch's number and is free when
`synced` has reached it.

The log is cut into segments. Each begins with a checkpoint, all definitions and all settled
positions, so that an older one is only kept for its messages. When every message of the oldest is
settled, or also in a queue segment, it is deleted; when segments become too many, what is left
alive in the oldest is copied to queue segments.
"""

from collections.abc import Callable
from typing import Any, Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from leveret_storage import entries
from leveret_storage.emptying import Emptying
from leveret_storage.entries import Entry, Stored
from leveret_storage.errors import StorageError
from leveret_storage.medium import Medium
from leveret_storage.queue_log import QUEUE_SEGMENT_BYTES, QueueLog, QueueSegment, Run
from leveret_storage.recovery import Recovery
from leveret_storage.segments import (
    LOG_KIND,
    QUEUE_KIND,
    SegmentWriter,
    log_name,
    queue_name,
    read_record,
)
from leveret_storage.writer import Done, Executor, Job

LOG_SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a log segment after which the next one begins."""

LOG_SEGMENTS_MAX: Final = 4
"""Log segments beyond which the oldest is emptied: with the size of one, what a start reads."""

BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of a batch at which publishers had better wait for the disk."""


class LogSegment:
    """A blob of the commit log, and what it has of each queue."""

    def __init__(self, medium: Medium, number: int) -> None:
        self.number = number
        self.writer = SegmentWriter(medium, log_name(number), LOG_KIND)
        self.size: i64 = 0
        self.spans: dict[QueueLog, tuple[int, int]] = {}
        """The positions of each queue's messages in it, as a half-open range around them; those at
        the beginning that are not needed are taken off."""
        self.moved: dict[QueueLog, None] = {}
        """Queues that have messages of it in segments of their own."""

    def include(self, queue: QueueLog, first: int, end: int) -> None:
        """Messages of a queue are put into it."""
        known = self.spans.get(queue, (first, end))
        self.spans[queue] = (min(first, known[0]), max(end, known[1]))

    def empty(self) -> None:
        """All that was alive in it was copied. What is open still in the spans never was in it:
        messages that are not persistent have positions, too."""
        self.moved.update(dict.fromkeys(self.spans))
        self.spans = {}

    def is_spare(self) -> bool:
        """Whether every message in it is settled, or in a queue segment."""
        while self.spans:
            queue, (at, end) = next(iter(self.spans.items()))
            while at < end:
                first = queue.settled.next_absent(at)
                at = queue.written.next_absent(first)
                if at > first and first < end:
                    self.moved[queue] = None
                elif at == first < end:
                    self.spans[queue] = (first, end)
                    return False
            del self.spans[queue]
        return True


class Store:
    """One owner's store on a medium. All calls are made from one thread."""

    def __init__(
        self,
        medium: Medium,
        writing: Executor,
        reading: Executor,
        *,
        snapshot: Callable[[], list[bytes]],
        synced: Callable[[], None],
        failed: Callable[[StorageError], None],
        sync: bool = True,
        log_segment_bytes: int = LOG_SEGMENT_BYTES,
        queue_segment_bytes: int = QUEUE_SEGMENT_BYTES,
        log_segments_max: int = LOG_SEGMENTS_MAX,
    ) -> None:
        self.medium = medium
        self.batch: i64 = 1
        """The number of the open batch."""
        self.synced: i64 = 0
        """Every batch up to this one is as safe as it gets."""
        self.queues: dict[int, QueueLog] = {}
        self._writing = writing
        self._reading = reading
        self._snapshot = snapshot
        self._tell_synced = synced
        self._tell_failed = failed
        self._sync = sync
        self._log_segment_bytes: i64 = log_segment_bytes
        self._queue_segment_bytes: i64 = queue_segment_bytes
        self._log_segments_max = log_segments_max
        self._emptying: LogSegment | None = None
        """The log segment that is being copied to queue segments."""
        self._out = BytesWriter()
        self._spans: dict[QueueLog, tuple[int, int]] = {}
        self._dirty: list[QueueLog] = []
        self._urgent = False
        """Whether somebody waits for the open batch."""
        self._under_way = False
        self._log: list[LogSegment] = []
        self._next_queue = 1
        self._next_blob = 1
        self._broken = False
        self._closed = False
        self.behind: i64 = 0
        """Bytes of runs that are not on disk yet."""
        self._doomed: list[QueueSegment] = []
        """Segments that nobody needs once the open batch is durable."""
        self._runs: list[tuple[Job, Done]] = []
        """What writes runs with messages of the open batch."""

    def adopt(self, recovery: Recovery) -> None:
        """Go on from what was found, with a new log segment. What was found is made durable first:
        after the death of a process alone, it may not be."""
        self._next_queue = recovery.next_queue
        self._next_blob = recovery.next_blob
        for found in recovery.queues.values():
            queue = QueueLog(found.number, True, self._dirty)
            queue.settled = found.settled
            queue.written = found.written
            queue.segments = found.segments
            self.queues[queue.number] = queue
        for number, spans in recovery.log:
            log = LogSegment(self.medium, number)
            for queue_number, span in spans.items():
                if queue_number in self.queues:
                    log.spans[self.queues[queue_number]] = span
            self._log.append(log)
        found_blobs = sorted(self.medium.list() - set(recovery.stray))

        def settle_down() -> None:
            for name in found_blobs:
                self.medium.sync(name)
            for name in recovery.stray:
                self.medium.delete(name)

        self._writing.submit(settle_down, self._check)
        self._begin_segment(recovery.unproven)
        for queue in self.queues.values():
            self._drop_settled_segments(queue, 0, recovery.queues[queue.number].next_position)
        self._delete(self._take_doomed())

    # --- what goes into the open batch ------------------------------------------------------

    def message(
        self,
        queues: list[QueueLog],
        positions: list[int],
        route: bytes,
        header: bytes,
        body: bytes,
    ) -> None:
        """Keep a message that went to `queues`, at `positions`."""
        if len(queues) > entries.TARGETS_MAX:
            self.message(queues[: entries.TARGETS_MAX], positions, route, header, body)
            queues, positions = queues[entries.TARGETS_MAX :], positions[entries.TARGETS_MAX :]
            self.message(queues, positions, route, header, body)
            return
        numbers = [queue.number for queue in queues]
        entries.write_message(self._out, numbers, positions, route, header, body)
        self._urgent = True
        at: i64 = 0
        while at < len(queues):
            queue, position = queues[at], positions[at]
            span = self._spans.get(queue)
            first = position if span is None else min(span[0], position)
            end = position + 1 if span is None else max(span[1], position + 1)
            self._spans[queue] = (first, end)
            at += 1

    def define(self, data: bytes) -> None:
        """Keep a definition. What it says is the owner's affair."""
        entries.write_definition(self._out, data)
        self._urgent = True

    def add_queue(self, durable: bool) -> QueueLog:
        """A new queue, with a number no other ever had."""
        queue = QueueLog(self._next_queue, durable, self._dirty)
        self._next_queue += 1
        self.queues[queue.number] = queue
        if durable:
            entries.write_queue(self._out, queue.number)
            self._urgent = True
        return queue

    def drop_queue(self, queue: QueueLog) -> None:
        """Forget a queue, and all that is kept of it."""
        del self.queues[queue.number]
        if queue.durable:
            entries.write_queue_gone(self._out, queue.number)
            self._urgent = True
        self._doomed += queue.segments
        queue.segments = []
        self._spans.pop(queue, None)
        for log in self._log:
            log.spans.pop(queue, None)

    # --- group commit -----------------------------------------------------------------------

    def commit(self, urgent: bool = False) -> None:
        """Write the open batch if anything waits for it (or `urgent`), and none is under way."""
        if self._under_way or self._broken or self._closed or not (self._urgent or urgent):
            return
        self._settle()
        payload = self._out.getvalue()
        if not payload:
            self._urgent = False
            self._delete(self._take_doomed())
            self._trim()
            return
        self._out.truncate(0)
        log = self._log[-1]
        for queue, (first, end) in self._spans.items():
            log.include(queue, first, end)
        self._spans = {}
        self._urgent = False
        batch = self.batch
        self.batch = batch + 1
        self._under_way = True
        writer, sync, doomed = log.writer, self._sync, self._take_doomed()

        def write() -> None:
            writer.append(entries.BATCH, payload)
            if sync:
                writer.sync()

        def done(result: Any) -> None:
            self._under_way = False
            if isinstance(result, StorageError):
                self._fail(result)
            if self._broken:
                return
            self.synced = batch
            # What they held is settled for good only now.
            self._delete(doomed)
            self._tell_synced()
            self.commit()

        self._writing.submit(write, done)
        for job, ended in self._runs:
            self._writing.submit(job, ended)
        self._runs = []
        # Between two batches the state is whole, so this is where a segment can begin.
        log.size += len(payload)
        if log.size >= self._log_segment_bytes:
            self._begin_segment([])
        self._trim()

    def _settle(self) -> None:
        """Write down what was settled since the last batch, and delete what nobody needs now."""
        dirty = self._dirty[:]
        self._dirty.clear()
        for queue in dirty:
            fresh = queue.take_fresh()
            if queue.number not in self.queues:
                continue
            if queue.durable:
                for first, end in fresh:
                    entries.write_settled(self._out, queue.number, first, end)
            if queue.segments and fresh:
                first, end = min(fresh)[0], max(end for _, end in fresh)
                self._drop_settled_segments(queue, first, end)

    def _drop_settled_segments(self, queue: QueueLog, first: int, end: int) -> None:
        """Let go of the segments that are settled now that a part of this range is."""
        settled = [
            segment
            for segment in queue.segments
            # There may be thousands, and this is done with each batch. One without messages was
            # torn at its beginning.
            if ((segment.first < end and segment.end > first) or segment.end == 0)
            and all(queue.settled.covers(*part) for part in segment.ranges.ranges())
        ]
        if settled:
            self._doomed += settled
            queue.segments = [each for each in queue.segments if each not in settled]

    def _take_doomed(self) -> list[QueueSegment]:
        doomed = self._doomed
        self._doomed = []
        return doomed

    def _delete(self, segments: list[QueueSegment]) -> None:
        """Delete segments, each when nobody reads it."""
        names = [segment.name for segment in segments if segment.readers == 0]
        for segment in segments:
            segment.gone = True
        if not names:
            return

        def delete() -> None:
            for name in names:
                self.medium.delete(name)

        self._writing.submit(delete, self._check)

    def _check(self, result: Any) -> None:
        if isinstance(result, StorageError):
            self._fail(result)

    def _fail(self, error: StorageError) -> None:
        """Nothing is kept any more; the first reason is told, once."""
        if not self._broken:
            self._broken = True
            self._tell_failed(error)

    # --- segments of the log ----------------------------------------------------------------

    def _begin_segment(self, messages: list[Entry]) -> None:
        """Begin the next log segment with a checkpoint. The open batch must be empty."""
        before = self._log[-1].writer if self._log else None
        log = LogSegment(self.medium, self._next_blob)
        self._next_blob += 1
        self._log.append(log)
        payload = self._checkpoint(log, messages)
        log.size = len(payload)
        writer = log.writer

        def begin() -> None:
            if before is not None:
                before.seal()
            writer.append(entries.CHECKPOINT, payload)
            writer.sync()

        self._writing.submit(begin, self._check)

    def _checkpoint(self, log: LogSegment, messages: list[Entry]) -> bytes:
        """The state now, and messages that have to be in this segment, too."""
        repeated: list[Entry] = []
        for entry in messages:
            targets = []
            for number, position in entry.queues:
                queue = self.queues.get(number)
                if queue is not None and position not in queue.settled:
                    targets.append((number, position))
                    log.include(queue, position, position + 1)
            if targets:
                repeated.append(entry._replace(queues=targets))
        return entries.write_checkpoint(
            entries.Checkpoint(
                self._next_queue,
                self._snapshot(),
                [
                    (each.number, each.settled.ranges())
                    for each in self.queues.values()
                    if each.durable
                ],
                repeated,
            )
        )

    def _trim(self) -> None:
        """Delete the oldest log segments while all their messages are settled or elsewhere.

        What it builds on must have been given to the writing thread, settlements above all.
        """
        while len(self._log) > 1:
            log = self._log[0]
            if log is self._emptying or not log.is_spare():
                break
            del self._log[0]
            self._release(log)
        # Of three segments the oldest is written to its end: the second had batches already.
        if len(self._log) > max(2, self._log_segments_max) and self._emptying is None:
            self._empty(self._log[0])

    def _empty(self, log: LogSegment) -> None:
        """Copy to queue segments what is alive in a log segment, bit by bit."""

        def ended(error: StorageError | None) -> None:
            self._emptying = None
            self._check(error)
            if error is None:
                log.empty()

        self._emptying = log
        emptying = Emptying(
            self.medium,
            log.writer.name,
            self.queues,
            self._reading,
            self._writing,
            self.write_run,
            ended,
        )
        emptying.go_on()

    def _release(self, log: LogSegment) -> None:
        """Make durable what holds the messages now, then delete the segment."""
        writers = [segment.writer for queue in log.moved for segment in queue.segments]
        name = log.writer.name

        def release() -> None:
            for writer in writers:
                writer.seal()
            self.medium.delete(name)

        self._writing.submit(release, self._check)

    # --- runs of messages on disk -----------------------------------------------------------

    def write_run(self, queue: QueueLog, first: int, messages: list[Stored]) -> Run:
        """Put messages with consecutive positions on disk. They stay in the run's memory until
        they are there, and until `Run.forget` in any case."""
        segment = self._segment_of(queue)
        run = Run(segment, first, len(messages))
        run.messages = messages
        payload = entries.run(first, messages)
        segment.size += len(payload)
        segment.include(first, first + len(messages))
        writer = segment.writer
        self.behind += len(payload)

        def write() -> tuple[int, int]:
            return writer.append(entries.RUN, payload)

        def done(result: Any) -> None:
            self.behind -= len(payload)
            if isinstance(result, StorageError):
                self._fail(result)
                return
            run.offset, run.size = result
            queue.written.add(run.first, run.end)
            run.messages = None

        span = self._spans.get(queue)
        if span is not None and first < span[1] and span[0] < run.end:
            # No message may be found that the log has not, nor with it what else its batch says.
            self._runs.append((write, done))
        else:
            self._writing.submit(write, done)
        return run

    def _segment_of(self, queue: QueueLog) -> QueueSegment:
        if queue.segments:
            last = queue.segments[-1]
            if not last.finished and last.size < self._queue_segment_bytes:
                return last
        name = queue_name(queue.number, self._next_blob)
        self._next_blob += 1
        segment = QueueSegment(SegmentWriter(self.medium, name, QUEUE_KIND))
        queue.segments.append(segment)
        return segment

    def read_run(self, run: Run, done: Callable[[list[Stored]], None]) -> None:
        """Read a run from disk; `done` gets its messages, all of them."""
        segment, offset, size = run.segment, int(run.offset), int(run.size)
        segment.readers += 1

        def read() -> list[Stored]:
            return entries.read_run(read_record(self.medium, segment.name, offset, size))

        def got(result: Any) -> None:
            segment.readers -= 1
            if segment.gone and segment.readers == 0:
                self._delete([segment])
            if isinstance(result, StorageError):
                self._fail(result)
            else:
                done(result)

        self._reading.submit(read, got)

    def close(self) -> None:
        """Write and sync what is open, and stop. Nothing may be put in any more."""
        self._under_way = False
        self.commit(urgent=True)
        self._closed = True
        if self._log:
            self._writing.submit(self._log[-1].writer.seal, self._check)
        self._writing.close()
        self._reading.close()

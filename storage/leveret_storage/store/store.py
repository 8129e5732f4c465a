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
from typing import Any, Final, NamedTuple

from librt.strings import BytesWriter
from mypy_extensions import i64

from leveret_storage.errors import StorageError
from leveret_storage.format import entries
from leveret_storage.format.entries import Entry, Stored
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_scan import Stretch, read_stretches
from leveret_storage.recovery.recover import Recovery
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.log_segment import ROOM_BYTES, LogRoom, LogSegment
from leveret_storage.segments.position_ranges import in_either
from leveret_storage.segments.queue_journal import (
    QUEUE_SEGMENT_BYTES,
    QueueJournal,
    QueueSegment,
    Run,
    read_places,
)
from leveret_storage.segments.segment_writer import QUEUE_KIND, SegmentWriter, queue_name
from leveret_storage.store.compaction import Compactor, is_sparse

LOG_SEGMENT_BYTES: Final = 32 * 1024 * 1024
"""Bytes of a log segment after which the next one begins."""

LOG_SEGMENTS_MAX: Final = 3
"""Log segments beyond which the oldest is emptied: with the size of one, what a start reads."""

SPARSE_SEGMENTS_MAX: Final = 64
"""Segments with few messages left that are let be until they have as many bytes as a full one: a
file costs more than a chunk of a backlog, which is this size."""

BEHIND_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes that wait to be written, above which publishers had better wait for the disk."""


class Limits(NamedTuple):
    """When a store begins new segments and has room set aside; for tests, which want it soon."""

    log_segment_bytes: int
    queue_segment_bytes: int
    log_segments_max: int
    """From 2."""
    room_bytes: int


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
        limits: Limits | None = None,
    ) -> None:
        """Without `sync`, a batch counts as safe once it is written: `sync_written` is for the
        owner to call."""
        self.medium = medium
        self.batch: i64 = 1
        """The number of the open batch."""
        self.synced: i64 = 0
        """Every batch up to this one is as safe as it gets."""
        self.queues: dict[int, QueueJournal] = {}
        self._writing = writing
        self.reading = reading
        self._snapshot = snapshot
        self._tell_synced = synced
        self._tell_failed = failed
        self._sync = sync
        if limits is None:
            limits = Limits(LOG_SEGMENT_BYTES, QUEUE_SEGMENT_BYTES, LOG_SEGMENTS_MAX, ROOM_BYTES)
        self._log_segment_bytes: i64 = limits.log_segment_bytes
        self._queue_segment_bytes: i64 = limits.queue_segment_bytes
        self._log_segments_max: i64 = limits.log_segments_max
        self._out = BytesWriter()
        self._written_to: list[QueueJournal] = []
        """Queues that have messages in the open batch."""
        self._dirty: list[QueueJournal] = []
        self._urgent = False
        """Whether somebody waits for the open batch."""
        self._under_way = False
        self._emptying = False
        self._room = LogRoom(medium, reading, limits.room_bytes)
        self._log: list[LogSegment] = []
        self._next_queue = 1
        self._next_blob = 1
        self._broken = False
        self._unsynced = False
        """Whether a batch was written without a sync since the last."""
        self.behind: i64 = 0
        """Bytes of runs that are not on disk yet."""
        self._compactor = Compactor(self)
        self._compacted_bytes_min: i64 = limits.queue_segment_bytes // SPARSE_SEGMENTS_MAX
        self._doomed: list[QueueSegment] = []
        """Segments that nobody needs once the open batch is durable."""
        self._closed = False
        self._runs: list[tuple[QueueJournal, Run, bytes]] = []
        """Runs to be written behind the open batch, and their payloads."""

    def restore_queue(self, number: int, found: RecoveredQueue) -> QueueJournal:
        """A durable queue that a start found, before `start`."""
        queue = QueueJournal(number, True, self._dirty)
        queue.settled = found.settled
        queue.written = found.written
        queue.segments = found.segments
        for segment in queue.segments:
            segment.recount(queue.settled)
        self.queues[number] = queue
        return queue

    def has_uncommitted(self) -> bool:
        """Whether anything is in the open batch, or was settled since the last."""
        return len(self._out) > 0 or bool(self._dirty)

    def needs_backpressure(self) -> bool:
        """Whether so much waits to be written that publishers had better wait for the disk."""
        return self.behind + len(self._out) > BEHIND_BYTES_MAX

    def request_commit(self) -> None:
        """Somebody waits for the open batch."""
        self._urgent = True

    def start(self, recovery: Recovery) -> None:
        """Go on from what was found, with a new log segment. What was found is made durable first:
        after the death of a process alone, it may not be."""
        self._next_queue = recovery.next_queue
        self._next_blob = recovery.next_blob
        for number, spans in recovery.log:
            log = LogSegment(self.medium, number)
            for queue_number, span in spans.items():
                if queue_number in self.queues:
                    log.spans[self.queues[queue_number]] = span
            self._log.append(log)
        found_blobs = sorted(self.medium.list() - set(recovery.stray))

        def sync_found() -> None:
            for name in found_blobs:
                self.medium.sync(name)

        def delete_stray() -> None:
            for name in recovery.stray:
                self.medium.delete(name)

        def adopted(result: Any) -> None:
            self._under_way = False
            self._check(result)
            self.commit()

        # Until then no batch is safe, be it empty: what was found is part of what it promises.
        self._under_way = True
        self._writing.submit(sync_found, self._check)
        self._begin_segment(recovery.unproven)
        # That their queues are gone is durable only now.
        self._writing.submit(delete_stray, adopted)
        for queue in self.queues.values():
            self._look_at_segments(queue)

    # --- what goes into the open batch ------------------------------------------------------

    def add_message(
        self, queues: list[QueueJournal], positions: list[int], message: Stored
    ) -> None:
        """Keep a message that went to `queues`, at `positions`."""
        most = entries.TARGETS_MAX
        if len(queues) > most:
            self.add_message(queues[:most], positions[:most], message)
            self.add_message(queues[most:], positions[most:], message)
            return
        out = self._out
        entries.begin_message(out, len(queues))
        at: i64 = 0
        while at < len(queues):
            self._write_place(queues[at], positions[at])
            at += 1
        entries.write_stored(out, message)
        self._urgent = True

    def add_message_to_one(self, queue: QueueJournal, position: i64, message: Stored) -> None:
        """As `add_message`, for a message that went to one queue, without a list."""
        entries.begin_message(self._out, 1)
        self._write_place(queue, position)
        entries.write_stored(self._out, message)
        self._urgent = True

    def _write_place(self, queue: QueueJournal, position: i64) -> None:
        entries.write_place(self._out, queue.number, position)
        if queue.open_end < 0:
            queue.open_first = position
            self._written_to.append(queue)
        if position < queue.open_first:
            queue.open_first = position
        if position >= queue.open_end:
            queue.open_end = position + 1

    def define(self, data: bytes) -> None:
        """Keep a definition. What it says is the owner's affair."""
        entries.write_definition(self._out, data)
        self._urgent = True

    def add_queue(self, durable: bool, reserved: int = 0) -> QueueJournal:
        """A new queue, with a number no other ever had. As many numbers as are `reserved` come
        behind it, for `add_reserved_queue`."""
        number = self._next_queue
        self._next_queue += 1 + reserved
        return self._add_queue(number, durable)

    def add_reserved_queue(self, number: int) -> QueueJournal:
        """A new durable queue, with a number that was reserved."""
        return self._add_queue(number, True)

    def _add_queue(self, number: int, durable: bool) -> QueueJournal:
        queue = QueueJournal(number, durable, self._dirty)
        self.queues[number] = queue
        if durable:
            entries.write_queue(self._out, queue.number)
            self._urgent = True
        return queue

    def delete_queue(self, queue: QueueJournal) -> None:
        """Forget a queue, and all that is kept of it."""
        del self.queues[queue.number]
        if queue.durable:
            entries.write_queue_gone(self._out, queue.number)
            self._urgent = True
        self._doomed += queue.segments
        queue.segments = []
        queue.open_end = -1
        for log in self._log:
            log.spans.pop(queue, None)

    # --- group commit -----------------------------------------------------------------------

    def commit(self, urgent: bool = False) -> None:
        """Write the open batch if anything waits for it (or `urgent`), and none is under way."""
        if self._under_way or self._broken or self._closed or not (self._urgent or urgent):
            return
        self._settle()
        payload = self._out.getvalue()
        runs = self._runs
        self._runs = []
        if not payload:
            self._start_runs(runs)
            self._pass_empty_batch()
            return
        self._out.truncate(0)
        log = self._log[-1]
        for queue in self._written_to:
            if queue.number in self.queues:
                log.include(queue, int(queue.open_first), int(queue.open_end))
            queue.open_end = -1
        self._written_to = []
        self._urgent = False
        batch = self.batch
        self.batch = batch + 1
        self._under_way = True
        self._unsynced = not self._sync
        writer, sync, doomed = log.writer, self._sync, self._doomed
        record = writer.encode(entries.BATCH, payload)
        self._doomed = []

        def write() -> None:
            if sync:
                writer.append_synced(record)
            else:
                writer.append_encoded(record)

        def done(result: Any) -> None:
            self._under_way = False
            if isinstance(result, StorageError):
                self.fail(result)
            if self._broken:
                return
            self.synced = batch
            self._start_runs(runs)
            # What they held is settled for good only now.
            self._delete(doomed)
            self._tell_synced()
            self.commit()

        self._writing.submit(write, done)
        # Between two batches the state is whole, so this is where a segment can begin.
        log.size += len(payload)
        if log.size >= self._log_segment_bytes:
            self._begin_segment([])
        else:
            if self._sync:
                self._room.used(log, len(payload), self._roomy)
            self._trim()

    def _pass_empty_batch(self) -> None:
        """Nothing of the open batch needs keeping, so whoever waits for it need not."""
        doomed = self._doomed
        self._doomed = []
        self._delete(doomed)
        if self._urgent:
            self._urgent = False
            self.synced = self.batch
            self.batch += 1
            self._tell_synced()
        self._trim()

    def sync_written(self) -> None:
        """Make durable what was written without a sync."""
        if self._unsynced and not self._broken:
            self._unsynced = False
            self._writing.submit(self._log[-1].writer.sync, self._check)

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
            if queue.segments:
                for segment in queue.segments:
                    for first, end in fresh:
                        segment.settle(first, end)
                self._look_at_segments(queue)

    def _look_at_segments(self, queue: QueueJournal) -> None:
        emptied: list[QueueSegment] = []
        for segment in queue.segments:
            if segment.pending or not is_sparse(segment):
                continue
            if segment.live <= 0:
                segment.recount(queue.settled)
            if segment.live == 0:
                segment.moved = {}
                emptied.append(segment)
            elif segment.size >= self._compacted_bytes_min:
                self._compactor.note(queue, segment)
        if emptied:
            self._doomed += emptied
            queue.segments = [segment for segment in queue.segments if segment not in emptied]

    def _is_full(self, segment: QueueSegment) -> bool:
        return segment.size >= self._queue_segment_bytes

    def doom(self, segment: QueueSegment) -> None:
        """Delete a segment when the open batch is durable."""
        self._doomed.append(segment)
        self._urgent = True
        self.commit()

    def _delete(self, segments: list[QueueSegment]) -> None:
        """Delete segments, each when nobody reads it."""
        writers = [segment.writer for segment in segments if segment.readers == 0]
        for segment in segments:
            segment.gone = True
        if not writers:
            return

        def delete() -> None:
            for writer in writers:
                writer.delete()

        if self._unsynced or any(segment.pending for segment in segments):
            # That nobody needs them must not be lost where they are.
            self.sync_written()
            self._writing.submit(delete, self._check)
        else:
            self._writing.submit_freeing(delete, self._check)

    def _check(self, result: Any) -> None:
        if isinstance(result, StorageError):
            self.fail(result)

    def fail(self, error: StorageError) -> None:
        """Nothing is kept any more; the first reason is told, once."""
        if not self._broken:
            self._broken = True
            self._tell_failed(error)

    def compact(self) -> None:
        """Give back disk that few messages keep: to be called now and then, seconds apart at most
        where that is to be soon."""
        self._compactor.look()

    # --- segments of the log ----------------------------------------------------------------

    def _begin_segment(self, messages: list[Entry]) -> None:
        """Begin the next log segment with a checkpoint, which repeats messages that may not be
        durable where they are. The open batch must be empty."""
        before = self._log[-1].writer if self._log else None
        segment = LogSegment(self.medium, self._next_blob)
        self._next_blob += 1
        # What the segment before has must not be lost where the checkpoint is not.
        self.sync_written()
        self._log.append(segment)
        payload = self._checkpoint(segment, messages)
        segment.size = len(payload)
        writer = segment.writer

        def begin() -> None:
            if before is not None:
                before.finish()
            writer.append_synced(writer.encode(entries.CHECKPOINT, payload))

        def begun(result: Any) -> None:
            self._check(result)
            segment.begun = True
            if self._sync:
                self._room.keep(self._log[-1], self._roomy)

        self._writing.submit(begin, begun)
        self._trim()
        if len(self._log) > self._log_segments_max:
            self._empty_oldest()

    def _roomy(self, result: Any) -> None:
        """The log has its room."""
        self._check(result)
        self._trim()

    def _checkpoint(self, log: LogSegment, messages: list[Entry]) -> bytes:
        repeated: list[Entry] = []
        for entry in messages:
            targets: list[tuple[int, int]] = []
            for number, position in entry.queues:
                queue = self.queues.get(number)
                if queue is not None and position not in queue.settled:
                    targets.append((number, position))
                    log.include(queue, position, position + 1)
            if targets:
                repeated.append(entry._replace(queues=targets))
        queues = [queue for queue in self.queues.values() if queue.durable]
        return entries.write_checkpoint(
            entries.Checkpoint(
                self._next_queue,
                self._snapshot(),
                [(queue.number, queue.settled.ranges()) for queue in queues],
                repeated,
            )
        )

    def _trim(self) -> None:
        """Delete the oldest log segments while all their messages are settled or elsewhere.

        What says so must have been given to the writing thread: settled positions of the open batch
        may never be durable. And one that is being read, or given room, stays.
        """
        if self.has_uncommitted() or self._emptying or self._room.coming:
            return
        while len(self._log) > 1 and not self._broken:
            oldest = self._log[0]
            blocker = oldest.blocker
            if blocker is not None and self._needs(oldest, blocker):
                return
            oldest.blocker = None
            needed: list[QueueSegment] = []
            for queue, (first, end) in oldest.spans.items():
                if queue.settled.covers(first, end):
                    continue
                if self._needs(oldest, queue):
                    oldest.blocker = queue
                    return
                needed += queue.segments
            del self._log[0]
            self._release(oldest, needed)

    def _needs(self, log: LogSegment, queue: QueueJournal) -> bool:
        """Whether a queue has messages in a log segment that are nowhere else."""
        if queue not in log.spans:
            return False
        if log.copies is not None:
            # Not all positions are in them: of transient messages the log has nothing.
            return any(run.messages is not None for run in log.copies.get(queue, ()))
        first, end = log.spans[queue]
        return not in_either(first, end, queue.settled, queue.written)

    def _empty_oldest(self) -> None:
        """Copy what is live in the oldest log segment, and nowhere else, to queue segments."""
        oldest = self._log[0]
        if self._emptying or oldest.copies is not None:
            return
        self._emptying = True
        known = {
            queue.number: queue.kept_elsewhere(span[1])
            for queue, span in oldest.spans.items()
            if self._needs(oldest, queue)
        }

        def read() -> list[Stretch]:
            return read_stretches(self.medium, oldest.writer.name, known)

        def got(result: Any) -> None:
            if isinstance(result, StorageError):
                self.fail(result)
                return
            self._emptying = False
            copies: dict[QueueJournal, list[Run]] = {}
            for stretch in result:
                queue = self.queues.get(stretch.queue)
                if queue is not None:
                    run = self.write_run(queue, stretch.first, stretch.messages)
                    copies.setdefault(queue, []).append(run)
            oldest.copies = copies
            self._trim()
            self.commit()

        self.reading.submit(read, got)

    def _release(self, log: LogSegment, needed: list[QueueSegment]) -> None:
        """Make durable what holds the messages now, then delete the segment."""
        # What says that they are settled must not be lost where they are.
        self.sync_written()
        writers = [segment.writer for segment in dict.fromkeys(needed)]
        name = log.writer.name

        def release() -> None:
            for writer in writers:
                writer.finish()
            self.medium.delete(name)

        self._writing.submit(release, self._check)

    # --- runs of messages on disk -----------------------------------------------------------

    def write_run(self, queue: QueueJournal, first: int, messages: list[Stored]) -> Run:
        """Put messages with consecutive positions on disk. They stay in the run's memory until
        they are there.

        Those of a durable queue go there behind the batch that has them: the other way round, a
        crash in between would leave a part of what is to be there as a whole or not at all.
        """
        segment = self._segment_of(queue)
        run = Run(segment, first, len(messages))
        run.messages = messages
        payload = entries.run(first, messages)
        segment.size += len(payload)
        live = queue.settled.gaps(first, first + len(messages))
        segment.add(live, sum([end - start for start, end in live]))
        segment.pending += 1
        self.behind += len(payload)
        if queue.durable:
            self._runs.append((queue, run, payload))
            self._urgent = True
        else:
            self._start_run(queue, run, payload)
        return run

    def _start_runs(self, runs: list[tuple[QueueJournal, Run, bytes]]) -> None:
        for queue, run, payload in runs:
            self._start_run(queue, run, payload)

    def _start_run(self, queue: QueueJournal, run: Run, payload: bytes) -> None:
        writer = run.segment.writer
        before = run.segment.before
        run.segment.before = None
        full = before.writer if before is not None and not before.gone else None

        # Neither function may know of another one here: they and what they hold would form a
        # cycle, which only the garbage collector frees.
        def write() -> tuple[int, int]:
            if full is not None:
                # A start that finds it sealed need not look for its messages in the log.
                full.finish()
            return writer.append(entries.RUN, payload)

        def done(result: Any) -> None:
            self.behind -= len(payload)
            if isinstance(result, StorageError):
                self.fail(result)
                return
            run.offset, run.size = result
            run.segment.pending -= 1
            if run.segment.pending == 0 and is_sparse(run.segment):
                queue.look_again()
            queue.written.add(run.first, run.end)
            run.messages = None
            self._compactor.written(run)

        self._writing.submit(write, done)

    def _segment_of(self, queue: QueueJournal) -> QueueSegment:
        last = queue.segments[-1] if queue.segments else None
        if last is not None and not (last.finished or self._is_full(last)):
            return last
        name = queue_name(queue.number, self._next_blob)
        self._next_blob += 1
        segment = QueueSegment(SegmentWriter(self.medium, name, QUEUE_KIND))
        if last is not None and queue.durable and not last.finished:
            segment.before = last
        queue.segments.append(segment)
        return segment

    def make_durable(self, segments: list[QueueSegment], done: Callable[[], None]) -> None:
        """Sync segments, and tell when that is done."""
        writers = [segment.writer for segment in dict.fromkeys(segments)]

        def sync() -> None:
            for writer in writers:
                writer.finish()

        def synced(result: Any) -> None:
            if isinstance(result, StorageError):
                self.fail(result)
            else:
                done()

        self._writing.submit(sync, synced)

    def read_run(self, run: Run, done: Callable[[list[Stored]], None]) -> None:
        """Read a run from disk; `done` gets its messages, all of them: ABSENT for one that
        is not there any more."""
        places = run.places()
        for place in places:
            place.segment.readers += 1

        def read() -> list[Stored]:
            return read_places(self.medium, run, places)

        def got(result: Any) -> None:
            for place in places:
                self.end_read(place.segment)
            if isinstance(result, StorageError):
                self.fail(result)
            else:
                done(result)

        self.reading.submit(read, got)

    def end_read(self, segment: QueueSegment) -> None:
        """A read of a segment has ended."""
        segment.readers -= 1
        if segment.gone and segment.readers == 0:
            self._delete([segment])

    def read_run_blocking(self, run: Run) -> list[Stored]:
        """Read a run from disk as `read_run` does, and wait for it.

        :raises StorageError: if that fails.
        """
        if run.messages is not None:
            return run.messages
        return read_places(self.medium, run, run.places())

    def close(self) -> None:
        """Write and sync what is open, and stop. Nothing may be put in any more."""
        # What is under way is written before, as jobs are done in order.
        self._under_way = False
        self.commit(urgent=True)
        self.sync_written()
        self._closed = True
        durable = [queue for queue in self.queues.values() if queue.durable]
        writers = [segment.writer for queue in durable for segment in queue.segments]
        writers += [log.writer for log in self._log[-1:]]

        def finish() -> None:
            for writer in writers:
                writer.finish()

        self._writing.submit(finish, self._check)
        self._writing.close()
        self.reading.close()

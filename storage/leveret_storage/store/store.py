"""The store: one commit log and the queues it carries, as their owner uses them.

Everything that has to survive a crash goes into the open batch: messages, settlements, definitions.
A group commit makes one record of it, which the writing executor writes and syncs while the next
batch fills. A confirm or a reply waits for its batch: it remembers the batch's number and is
released when `synced` has reached it.

The parts, each with a file of its own: OpenBatch encodes; LargeMessages has what waits beside it;
CommitsInFlight orders what the medium answers; CommitLog has the segments of the log; QueueRuns the
messages in queue segments; LogEmptier and Compactor give disk back. None of them knows the store.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mypy_extensions import i64

from leveret_storage.errors import MediumFull, StorageError
from leveret_storage.format.entries import Entry, StoredMessage
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import LogEnd, note_nothing
from leveret_storage.recovery.recover import Recovery
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.log_segment import LogSegment
from leveret_storage.segments.queue_journal import QueueJournal, Run, settle_in_segments
from leveret_storage.store.checkpoint_writer import CheckpointWriter
from leveret_storage.store.commit_log import CommitLog
from leveret_storage.store.commits_in_flight import Commit, CommitsInFlight
from leveret_storage.store.compaction import Compactor
from leveret_storage.store.context import RunMedium, StoreContext
from leveret_storage.store.large_messages import LargeMessages
from leveret_storage.store.limits import (
    CHANGED_QUEUES_MAX,
    THROTTLED_SEGMENTS,
    UNWRITTEN_SEGMENTS_MAX,
    StoreLimits,
)
from leveret_storage.store.log_emptier import LogEmptier
from leveret_storage.store.queue_runs import QueueRuns
from leveret_storage.store.segment_syncs import sync_at_stop
from leveret_storage.store.shared_bodies import SharedBodies
from leveret_storage.store.transaction import StoreTransaction


class Store:
    """One owner's store on a medium. All calls are made from one thread."""

    def __init__(
        self,
        medium: Medium,
        writing: Executor,
        reading: Executor,
        *,
        snapshot: Callable[[], Iterator[bytes]],
        synced: Callable[[], None],
        failed: Callable[[StorageError], None],
        sync: bool = True,
        note_log_end: Callable[[LogEnd], None] = note_nothing,
        checkpoint_due: Callable[[], None] | None = None,
        limits: StoreLimits | None = None,
        transient_runs: RunMedium | None = None,
    ) -> None:
        """The executors are the store's own, and closed with it.

        :param snapshot: iterates over all definitions there are, for a checkpoint, while they
            change: those that are defined meanwhile follow those that it has returned before.
        :param synced: called when `synced` has advanced.
        :param failed: called once, with the first failure; nothing is reported as durable any more.
        :param sync: whether a batch is synced before it counts as durable. If not, it counts when
            it is written, and the owner calls `sync_written`.
        :param note_log_end: called by the writing executor, to note in the head what the next
            recovery has to find. It may raise a StorageError.
        :param checkpoint_due: called when `write_checkpoint` is to be called, from then on until it
            returns True. Without it, the store calls it itself.
        :param transient_runs: where runs are that need not survive, empty; None for `medium`.
        """
        context = StoreContext(medium, writing, reading, limits, failed, transient_runs)
        self.batch: i64 = 1
        """The number of the open batch."""
        self.synced: i64 = 0
        """Every batch up to this one is durable."""
        self.queues, self.measures = context.queues, context.measures
        self._medium, self._writing, self.may_be_away = medium, writing, medium.may_be_away
        self._close_executors = context.close_executors
        self._on_synced = synced
        self._note_log_end = note_log_end
        self._closed = False
        self._failure = context.failure
        self._numbers = context.numbers
        self._open = context.batch
        self.large = LargeMessages(context)
        self._in_flight = CommitsInFlight(medium.commits_in_flight_max if sync else 1)
        self._checkpoint = CheckpointWriter(
            context, snapshot, self._request_checkpoint, self._checkpoint_advanced
        )
        self._checkpoint_due = checkpoint_due
        self._checkpoint_batch: i64 = 0
        """The batch that names the next checkpoint; 0 if there is none."""
        self._log = CommitLog(context, self._checkpoint, sync)
        self._bodies = SharedBodies(context, self._log)
        self._shared_body_bytes: i64 = context.limits.shared_body_bytes
        self._runs = QueueRuns(context, self._log, self._bodies, self._run_written)
        self.transaction = StoreTransaction(
            context.batch, self._log, self._checkpoint, self._add_settlements
        )
        self._emptier = LogEmptier(context, self._log, self._runs, self.commit)
        self._compactor = Compactor(context, self._runs, self._bodies, self.commit)

    # --- after a recovery -------------------------------------------------------------------

    def restore_queue(self, number: int, found: RecoveredQueue) -> QueueJournal:
        """Make the journal of a durable queue that recovery found. To be called before `start`."""
        queue = QueueJournal(number, True, self._open.changed)
        queue.settled = found.settled
        queue.delivered_end = found.delivered_end
        if found.delivered_end > found.next_position:
            # Nobody has seen the messages that will be at the positions between.
            queue.note_delivered(found.next_position)
        queue.flushed = found.flushed
        queue.segments = found.segments
        for segment in queue.segments:
            segment.settled = queue.settled
            segment.recount(queue.settled)
        self._bodies.restore(queue)
        self.queues[number] = queue
        return queue

    def start(self, recovery: Recovery) -> None:
        """Begin a new log segment, after the recovery.

        No batch counts as durable before everything that recovery found is durable: what a killed
        process has appended can be read, and may not be synced.
        """
        self._numbers.next_queue = recovery.next_queue
        self._numbers.next_blob = recovery.next_blob
        self._checkpoint.restore(recovery.checkpoint, recovery.definition_count)
        for number, size, spans in recovery.log:
            segment = LogSegment(self._medium, number)
            segment.created = True
            segment.is_worth_covering = True
            segment.size = size
            for queue_number, span in spans.items():
                if queue_number in self.queues:
                    segment.spans[self.queues[queue_number]] = span
            self._log.segments.append(segment)
        found_blobs = sorted(recovery.blobs.difference(recovery.orphaned, recovery.foreign))
        orphaned = [*recovery.orphaned, *self._bodies.unneeded(found_blobs)]
        sync_found = partial(_for_each, self._medium.sync, found_blobs)
        delete_orphaned = partial(_for_each, self._medium.delete, orphaned)
        begun = Commit(0, [], [])
        self._in_flight.begin(begun)
        self._writing.submit(sync_found, self._failure.check)
        self._begin_segment(recovery.unproven)
        # The deletion of their queues is durable with the log segment, not before.
        self._writing.submit(delete_orphaned, partial(self._answered, begun))
        self._writing.submit(self._log_end_noter(), self._failure.check)
        for queue in self.queues.values():
            self._compactor.examine(queue)

    def log_end(self) -> LogEnd:
        """How much of the commit log is known to be durable, of what this owner has written."""
        return self._log.durable_end()

    def _log_end_noter(self) -> Callable[[], None]:
        """A job of the writing executor that notes what is durable of the current log segment."""
        segment = self._log.segments[-1]
        note = self._note_log_end

        def note_log_end() -> None:
            try:
                note(LogEnd(segment.number, segment.writer.synced_bytes))
            except MediumFull:
                return  # An older note holds as well, and the batches that follow must not wait.

        return note_log_end

    # --- the open batch ---------------------------------------------------------------------

    def has_uncommitted(self) -> bool:
        """Whether the open batch has entries, or positions were settled since the last batch."""
        return self._open.has_changes()

    def needs_backpressure(self) -> bool:
        """Whether so many bytes, or files, wait to be written that publishers whose messages go to
        disk for good should be throttled."""
        waiting = self._runs.unwritten_bytes + self._open.size()
        return waiting > self._runs.bytes_in_flight or self.delays_commits()

    def delays_commits(self) -> bool:
        """Whether so many bytes, or files, are before the next batch that all publishers should be
        throttled. Most of the runs of a deep queue are behind it."""
        runs = self._runs
        before = runs.under_way_bytes + self._open.size()
        return before > runs.bytes_in_flight or runs.unwritten_segments > THROTTLED_SEGMENTS

    def may_release(self) -> bool:
        """Whether messages that could stay in memory may be written, to make room there: what is
        written for clients does not wait long behind them. Not before `start`."""
        is_started, segments = bool(self._log.segments), self._runs.unwritten_segments
        return is_started and segments < UNWRITTEN_SEGMENTS_MAX and not self.needs_backpressure()

    def log_size(self) -> tuple[int, int]:
        """Segments of the commit log, and the bytes in them."""
        return len(self._log.segments), self._log.size()

    def unwritten_bytes(self) -> int:
        """Bytes of messages that wait to be written to queue segments, which hold no confirm."""
        return int(self._runs.unwritten_bytes)

    def request_commit(self) -> None:
        """Have the next `commit` commit the open batch, because a confirm waits for it."""
        self._open.awaited = True

    def add_message(
        self, queues: list[QueueJournal], positions: list[int], message: StoredMessage
    ) -> None:
        """Persist a message that went to `queues`, at `positions`."""
        if len(message.body) >= self._shared_body_bytes:
            message.share()
        self._open.add_message(queues, positions, message)

    def add_message_to_one(
        self, queue: QueueJournal, position: i64, message: StoredMessage
    ) -> None:
        """Persist a message that went to one queue, without a list."""
        self._open.add_message_to_one(queue, position, message)

    def define(self, data: bytes) -> None:
        """Persist a definition, bytes that only the owner decodes."""
        self._open.add_definition(data)
        self._checkpoint.add_definition(data)

    def add_queue(self, durable: bool, reserved: int = 0) -> QueueJournal:
        """A new queue, with a number that was never used. The next `reserved` numbers are reserved
        for `add_reserved_queue`."""
        return self._add_queue(self._numbers.take_queue(reserved), durable)

    def add_reserved_queue(self, number: int) -> QueueJournal:
        """A new durable queue, with a number that was reserved."""
        return self._add_queue(number, True)

    def _add_queue(self, number: int, durable: bool) -> QueueJournal:
        queue = QueueJournal(number, durable, self._open.changed)
        self.queues[number] = queue
        if durable:
            self._open.add_queue(number)
            self._checkpoint.add_queue(number)
        return queue

    def delete_queue(self, queue: QueueJournal) -> None:
        """Delete a queue with all its messages."""
        del self.queues[queue.number]
        if queue.durable:
            self._open.add_queue_deletion(queue.number)
            self._checkpoint.add_queue_deletion(queue.number)
        self._open.obsolete += queue.segments
        self._bodies.forget_queue(queue)
        queue.segments = []
        queue.open_end = -1
        self._log.forget_queue(queue)

    # --- group commit -----------------------------------------------------------------------

    def commit(self, force: bool = False) -> None:
        """Commit the open batch if anything waits for it, or `force` is set.

        Does nothing while as many commits are under way as the medium allows: the batch goes on
        filling, and is committed when one of them is answered. Nor within a part of a transaction.
        """
        if self._open.in_part:
            return
        if len(self._open.changed) >= CHANGED_QUEUES_MAX:
            self._add_settlements()
        has_to = self._open.awaited or force or self.large.may_give(self.synced)
        if has_to and not self._in_flight.is_full():
            self._commit()
        else:
            self._open.end_long_part()

    def _commit(self) -> None:
        if self._failure.failed or self._closed:
            return
        batch = self._open
        self._add_settlements()
        if self.large.may_give(self.synced):
            self.large.leave_out_settled(self.batch)
            self.large.give(self.batch)
        batch.leave_out_settled()
        size = batch.size()
        if size == 0:
            self._pass_empty_batch()
            return
        parts = batch.take_parts()
        is_alone = self._in_flight.come_alone()
        commit = self._begin_commit()
        queues = batch.take_queues_with_messages()
        self._log.append(parts, size, queues, is_alone, partial(self._answered, commit))
        # The state is whole between two batches, so this is where a segment can begin.
        if self._log.is_segment_full() and not batch.has_transaction:
            self._begin_segment([])
        else:
            self._log.preallocate(int(size))
            self._trim()

    def _begin_commit(self) -> Commit:
        """Close the open batch, and begin the next one."""
        commit = Commit(self.batch, self._open.take_obsolete(), self._runs.take_waiting())
        self._open.awaited = False
        self.batch += 1
        self._in_flight.begin(commit)
        return commit

    def _pass_empty_batch(self) -> None:
        """Pass over an open batch without entries: it is durable when those before it are."""
        if self._open.awaited:
            self._begin_commit().answered = True
            self._complete()
        elif self._in_flight.is_empty():
            self._runs.delete(self._open.take_obsolete())
        self._trim()

    def _trim(self) -> None:
        """Delete what nothing refers to any more."""
        self._log.trim()
        if not self._open.has_changes():
            self._bodies.trim()

    def _answered(self, commit: Commit, result: Any) -> None:
        """The medium has answered a commit."""
        commit.answered = True
        self._failure.check(result)
        if not self._failure.failed:
            self._complete()
            self.commit()

    def _complete(self) -> None:
        """Write the runs, delete the segments and call the owner that waited for commits which are
        durable now, with all before them."""
        complete = self._in_flight.take_complete()
        if not complete:
            return
        self.synced = complete[-1].batch
        self.large.synced(self.synced)
        if 0 < self._checkpoint_batch <= self.synced:
            self._end_checkpoint()
        for commit in complete:
            self._runs.write_waiting(commit.runs)
            self._runs.delete(commit.obsolete)
        if self.synced > 0:
            self._on_synced()

    def _add_settlements(self) -> None:
        """Add the settlements since the last batch, and find segments that are obsolete or
        sparse."""
        for queue in self._open.take_changed():
            settled = queue.take_uncommitted()
            if queue.number not in self.queues:
                continue
            if queue.durable:
                self._add_state(queue, settled)
            if queue.segments:
                settle_in_segments(queue, settled)
                self._compactor.examine(queue)

    def _add_state(self, queue: QueueJournal, settled: list[tuple[int, int]]) -> None:
        """Add what of a durable queue was settled and delivered since the last batch."""
        delivered = queue.take_delivered()
        if settled:
            self._open.add_settled(queue, settled)
        if delivered:
            self._open.add_delivered(queue)
        if settled or delivered:
            self._checkpoint.add_changed(queue)

    def _begin_segment(self, unproven: list[Entry]) -> None:
        self._log.begin_segment(unproven)
        if self._log.has_too_many_segments():
            self._emptier.empty_oldest()

    # --- the checkpoint ---------------------------------------------------------------------

    def write_checkpoint(self, is_over: Callable[[], bool]) -> bool:
        """Go on with the checkpoint until `is_over`, which is asked after each piece.

        :returns: whether nothing is to be done for now.
        """
        return self._closed or self._checkpoint.run(is_over)

    def _request_checkpoint(self) -> None:
        if self._checkpoint_due is None:
            self.write_checkpoint(lambda: False)
        else:
            self._checkpoint_due()

    def _checkpoint_advanced(self) -> None:
        self._open.add_checkpoint(self._checkpoint.current)
        self._checkpoint_batch = self.batch
        self.commit()

    def _end_checkpoint(self) -> None:
        """The batch that names the checkpoint is durable: what it replaces may be deleted."""
        self._checkpoint_batch = 0
        self._log.cover()
        self._log.delete_unreferenced(self._checkpoint.end())
        self._log.trim()

    def sync_written(self) -> None:
        """Make durable what was written without a sync."""
        self._log.sync_written()

    def free_space(self) -> None:
        """Begin a new log segment if the current one could then be deleted. To be called while the
        medium is full, every second or so: without it a log whose messages are all settled occupies
        its space until it is long enough for the next segment."""
        if self._failure.failed or self._closed or self._in_flight.is_full():
            return
        self._commit()
        if not self._open.has_changes() and self._log.can_free_current():
            self._begin_segment([])

    # --- runs of messages on disk -----------------------------------------------------------

    def write_run(self, queue: QueueJournal, first: int, messages: list[StoredMessage]) -> Run:
        """Write messages with consecutive positions to a queue segment. The run has them in memory
        until they are written."""
        if self.large.any_waits():
            self.large.give_run(queue, first, len(messages), self.batch)
        return self._runs.write(queue, first, messages)

    def read_run(self, run: Run, done: Callable[[list[StoredMessage]], None]) -> None:
        """Read a run. `done` gets one message for each of its positions, ABSENT where the message
        was settled and left out."""
        self._runs.read(run, done)

    def read_run_blocking(self, run: Run) -> list[StoredMessage]:
        """Read a run as `read_run` does, and wait for it.

        :raises StorageError: if it cannot be read.
        """
        return self._runs.read_blocking(run)

    def _run_written(self, run: Run) -> None:
        self._compactor.run_written(run)
        if self._runs.may_take_waiting():
            self.request_commit()
            self.commit()

    def compact(self) -> None:
        """Compact queue segments with few live messages, and delete log segments. To be called
        every few seconds."""
        self._compactor.check()
        self._checkpoint.append_next()
        self._log.trim()
        self.commit()

    # --- the end ----------------------------------------------------------------------------

    def fail(self, error: StorageError) -> None:
        """Note a failure: nothing counts as durable any more. The first one is reported, once."""
        self._failure.fail(error)

    def close(self) -> None:
        """Write and sync the open batch, and stop. Nothing may be added any more."""
        self.begin_close()
        self.await_closed()

    def begin_close(self) -> None:
        """Begin to write and sync the open batch. Nothing may be added any more."""
        # Jobs run in order, so commits under way are written before this one.
        if self._in_flight.is_full():
            self._log.await_appends()
        self.large.give_all(self.batch)
        self._commit()
        self.sync_written()
        self._closed = True
        log = [segment.writer for segment in self._log.segments[-1:]]
        writers = self._bodies.writers()
        for queue in self.queues.values():
            writers += [each.writer for each in queue.segments if not each.transient]
        self._writing.submit(partial(sync_at_stop, log, writers), self._failure.check)
        if self._log.segments:
            self._writing.submit(self._log_end_noter(), self._failure.check)

    def await_closed(self) -> None:
        """Wait until what `begin_close` began is done, or has failed; from any thread."""
        self._close_executors()


def _for_each(action: Callable[[str], object], names: list[str]) -> None:
    for name in names:
        action(name)

"""The checkpoint: the definitions and settled positions of log segments that may be deleted.

A log segment has messages, which go to queue segments when it is to be deleted, and changes of the
state: definitions, queues, settled positions. Before it is deleted the checkpoint is advanced: the
state is written to a checkpoint segment, and an entry of the log says how many of its bytes count.

- It is advanced by what has changed since the last time, or rewritten as a whole when it has grown
  much, and the first time in a process.
- It is written in slices, beside the commits, and by the executor that reads. What changes while it
  is written is appended to it in order. So it may have a change twice, and a state that is later
  than a change behind it: the owner applies definitions so that this ends in the same state.
- The entry of the log goes into a batch behind all the changes that it has. A start reads the
  checkpoint, and applies the log on top of it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from leveret_storage.errors import MediumFull
from leveret_storage.format import entries
from leveret_storage.format.entries import NO_CHECKPOINT, Checkpoint, CheckpointPart
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.segments.segment_writer import (
    CHECKPOINT_KIND,
    SegmentWriter,
    checkpoint_name,
)
from leveret_storage.store.context import StoreContext

WAITING_RECORDS_MAX: Final = 4
"""Records that wait to be appended, at which encoding pauses."""

END: Final[list[bytes]] = []
"""Stands among these records where all before it is to be made durable."""


class CheckpointWriter:
    """Advances the checkpoint of a store."""

    def __init__(
        self,
        context: StoreContext,
        snapshot: Callable[[], Iterator[bytes]],
        due: Callable[[], None],
        advanced: Callable[[], None],
    ) -> None:
        """`snapshot` iterates over all definitions, while they may change. `due` is called when
        `run` is to be called; `advanced` when `current` is another one."""
        self.current = NO_CHECKPOINT
        """The last checkpoint that is durable where it lies; the log may not name it yet."""
        self.definitions: i64 = 0
        """Definitions in the log segments of this format version."""
        self.running = False
        """Whether it is being advanced, until `end`."""
        self._medium = context.medium
        self._reading = context.reading
        self._numbers = context.numbers
        self._queues = context.queues
        self._batch = context.batch
        self._failure = context.failure
        limits = context.limits
        self._record_bytes: i64 = limits.checkpoint_record_bytes
        self._growth_bytes: i64 = limits.checkpoint_growth_bytes
        self._ranges_at_once: int = limits.checkpoint_ranges_at_once
        self._snapshot = snapshot
        self._due = due
        self._advanced = advanced
        self._out = BytesWriter()
        """Entries that wait to be made a record."""
        self._records: deque[tuple[SegmentWriter, list[bytes]]] = deque()
        """Records that wait to be appended, and where, the first one possibly under way."""
        self._appending = False
        self._writer: SegmentWriter | None = None
        self._number = 0
        """Writer and number of the checkpoint segment; None before the first one."""
        self._rewritten_bytes: i64 = -1
        """Its bytes when all of the state had been written to it; -1 before."""
        self._obsolete: list[str] = []
        """Checkpoint segments that are not needed when the log names the next checkpoint."""
        self._units: Iterator[None] | None = None
        """Encodes a little more each time; None when all is encoded."""
        self._covered: i64 = 0
        """Definitions that are in front of the END."""
        self._log_segment = 0
        """The last log segment that it covers when this is done."""
        self._paused = False
        self._awaits_transaction = False
        """Whether `run` has to be called after the transaction."""
        self._changed: list[QueueJournal] = []
        """Queues with positions that were settled or delivered since it was advanced last."""

    def restore(self, checkpoint: Checkpoint, definitions: int) -> None:
        """Begin with what a start has found: a checkpoint, and how many definitions are in the log
        segments before the first one that is begun."""
        self.current = checkpoint
        self._obsolete = [checkpoint_name(part.number) for part in checkpoint.parts]
        self.definitions = definitions

    # --- changes ----------------------------------------------------------------------------

    def add_definition(self, data: bytes) -> None:
        """A definition is in the open batch."""
        self.definitions += 1
        if self._writer is not None:
            entries.write_definition(self._out, data)
            self._bound_waiting()

    def add_queue(self, number: int) -> None:
        """The creation of a queue is in the open batch."""
        if self._writer is not None:
            entries.write_queue(self._out, number)
            self._bound_waiting()

    def add_queue_deletion(self, number: int) -> None:
        """The deletion of a queue is in the open batch."""
        if self._writer is not None:
            entries.write_queue_deleted(self._out, number)
            self._bound_waiting()

    def add_changed(self, queue: QueueJournal) -> None:
        """Positions of a durable queue are settled or delivered in the open batch."""
        if not queue.unsaved:
            queue.unsaved = True
            self._changed.append(queue)

    def _bound_waiting(self) -> None:
        if len(self._out) >= self._record_bytes:
            self._make_record()

    # --- encoding ---------------------------------------------------------------------------

    def begin(self, log_segment: int) -> None:
        """Begin to advance the checkpoint over everything that is in the log.

        :param log_segment: the number of the last finished log segment.
        """
        self.running = True
        self._log_segment = log_segment
        writer = self._writer
        size: i64 = 0 if writer is None else writer.synced_bytes
        size_max = 2 * self._rewritten_bytes + self._growth_bytes
        if self._rewritten_bytes < 0 or size > size_max:
            self._begin_segment()
            durable = [queue for queue in self._queues.values() if queue.durable]
            self._units = self._encode_all(durable)
        else:
            changed = self._changed
            self._changed = []
            self._units = self._encode_queues(changed, False)
        self._due()

    def _begin_segment(self) -> None:
        """Begin a checkpoint segment, to which all of the state is written."""
        if self._writer is not None:
            self._obsolete.append(self._writer.name)
        self._number = self._numbers.take_blob()
        name = checkpoint_name(self._number)
        self._writer = SegmentWriter(self._medium, name, CHECKPOINT_KIND)
        self._out.truncate(0)
        self._rewritten_bytes = -1
        self._changed = []

    def run(self, is_over: Callable[[], bool]) -> bool:
        """Encode until `is_over`, or until much waits for the disk: then `due` is called later. So
        it is while there is a transaction: what it has settled and defined may never count.

        :returns: whether nothing is to be done for now.
        """
        if self._batch.has_transaction:
            self._awaits_transaction = True
            return True
        while self._units is not None and not self._failure.failed:
            if len(self._records) >= WAITING_RECORDS_MAX:
                self._paused = True
                return True
            try:
                next(self._units)
            except StopIteration:
                self._units = None
                self._end_records()
                return True
            self._bound_waiting()
            if is_over():
                return False
        return True

    def resume(self) -> None:
        """The transaction is committed with the open batch."""
        if self._awaits_transaction:
            self._awaits_transaction = False
            self._due()

    def _encode_all(self, queues: list[QueueJournal]) -> Iterator[None]:
        out = self._out
        for data in self._snapshot():
            entries.write_definition(out, data)
            yield None
        yield from self._encode_queues(queues, True)

    def _encode_queues(self, queues: list[QueueJournal], created: bool) -> Iterator[None]:
        """Encode the settled and delivered positions of queues, but for those that were deleted
        meanwhile.

        :param created: whether to encode that they exist.
        """
        out = self._out
        for queue in queues:
            queue.unsaved = False
            if queue.number not in self._queues:
                continue
            if created:
                entries.write_queue(out, queue.number)
            if queue.delivered_end > 0 or not created:
                entries.write_delivered(out, queue.number, queue.delivered_end)
            at = 0
            more = True
            while more:
                ranges = queue.settled.ranges_from(at, self._ranges_at_once)
                for first, at in ranges:
                    entries.write_settled(out, queue.number, first, at)
                yield None
                more = len(ranges) == self._ranges_at_once and queue.number in self._queues

    # --- writing ----------------------------------------------------------------------------

    def _make_record(self) -> None:
        payload = self._out.getvalue()
        self._out.truncate(0)
        writer = self._writer
        if writer is not None:
            self._records.append((writer, writer.encode(entries.STATE, [payload])))
            self.append_next()

    def _end_records(self) -> None:
        self._make_record()
        self._covered = self.definitions
        if self._writer is not None:
            self._records.append((self._writer, END))
            self.append_next()

    def append_next(self) -> None:
        """Append the next record, or try it again after the medium was full: the executor reads
        for consumers, too, so it must not wait for space."""
        if self._appending or not self._records:
            return
        self._appending = True
        writer, record = self._records[0]

        def append() -> bool:
            try:
                if record:
                    writer.append_encoded(record)
                else:
                    writer.sync_and_mark()
            except MediumFull:
                return False
            return True

        self._reading.submit(append, self._appended)

    def _appended(self, result: Any) -> None:
        self._appending = False
        self._failure.check(result)
        if self._failure.failed or result is False:
            return
        if not self._records.popleft()[1]:
            self._set_current()
        self.append_next()
        if self._paused and len(self._records) < WAITING_RECORDS_MAX:
            self._paused = False
            self._due()

    def _set_current(self) -> None:
        """All before the END is durable."""
        if self._writer is None:
            return
        size = self._writer.synced_bytes
        if self._rewritten_bytes < 0:
            self._rewritten_bytes = size
        part = CheckpointPart(self._number, size)
        self.current = Checkpoint([part], int(self._covered), self._log_segment)
        self._advanced()

    def end(self) -> list[str]:
        """The log names the current checkpoint, durably.

        :returns: the checkpoint segments to be deleted.
        """
        self.running = False
        obsolete = self._obsolete
        self._obsolete = []
        return obsolete

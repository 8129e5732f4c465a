"""What a store finds when it opens: definitions, and every queue's messages in order.

The log is read from its oldest segment on. A checkpoint says all there is to say about definitions
and settled positions, so each replaces what was gathered before; messages add up. Of the queue
segments only the headers of the runs are read: what is in a run is read when its turn comes. Too
many messages that only the log has are put on disk.

What no mark says to be durable may be torn; damage anywhere else stops the start, unless the caller
decides to go on without what is damaged. And it may not be durable, though it can be read: after a
sync that failed, the kernel shows what it has dropped. So the messages at the end of the log are
written again, and those in a queue segment count as written only if a mark says so.
"""

from collections.abc import Callable
from typing import NamedTuple, NoReturn

from leveret_storage.errors import Damaged, UnknownFormat
from leveret_storage.format import entries
from leveret_storage.format.entries import StoredDefinition
from leveret_storage.format.record_reader import Damage, Record, RecordReader, Torn, told
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_scan import scan_batch
from leveret_storage.recovery.recovered_queue import RecoveredQueue, memory_bytes
from leveret_storage.recovery.run_finder import RunPlace, find_runs
from leveret_storage.recovery.spill import spill
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import QueueSegment, Run
from leveret_storage.segments.segment_writer import (
    QUEUE_KIND,
    SegmentWriter,
    check_blob_kind,
    log_name,
    log_number,
    queue_name,
    queue_numbers,
    read_record,
)


class Recovery(NamedTuple):
    """Everything that was found."""

    definitions: list[StoredDefinition]
    queues: dict[int, RecoveredQueue]
    next_queue: int
    next_blob: int
    log: list[tuple[int, dict[int, tuple[int, int]]]]
    """Each log segment's number, and the positions of each queue's messages in it."""
    torn: list[str]
    """A line for each torn end that was cut."""
    stray: list[str]
    """Queue segments of queues that are no more."""
    unproven: list[entries.Entry]
    """Messages at the end of the log that no sync is known to have covered: the kernel may have
    dropped what it could not write, and show it until it forgets."""
    complete: bool = True
    """False if messages were left out, because memory was too small for them and nothing might be
    written yet: see `recover`."""


def refuse(damage: Damage) -> NoReturn:
    """What to do about damage where nobody says otherwise.

    :raises Damaged: naming blob and offset.
    """
    raise Damaged(told(damage))


def recover(
    medium: Medium,
    damaged: Callable[[Damage], None] = refuse,
    *,
    thorough: bool = False,
    spill_bytes: int = 0,
    taken: bool = True,
) -> Recovery:
    """Read everything that a start needs.

    `damaged` is told of every stretch of it that is not what was written; where it returns, reading
    goes on without the stretch.

    :param thorough: read all there is to the last byte, as `damaged` may be told of damage where
        nothing is needed yet.
    :param spill_bytes: memory that those messages of one queue may take which only the log has,
        before they are put into a queue segment; 0 to keep all in memory, and write nothing.
    :param taken: whether this owner has taken the medium. If not, nothing is written: messages that
        take more than `spill_bytes` are dropped and the result is not `complete`, so that the
        caller takes the medium and calls this again.
    :raises Damaged: as `damaged` does.
    :raises UnknownFormat: for what a newer program wrote, naming blob and offset.
    """
    return _Recoverer(medium, damaged, thorough, spill_bytes, taken).run()


class _FoundSegment(NamedTuple):
    """A queue segment, before it is known whether its queue is there still."""

    queue: int
    segment: QueueSegment
    runs: list[Run]
    durable: int
    """How much of it a sync is known to have covered, in bytes."""


class _Recoverer:
    def __init__(
        self,
        medium: Medium,
        damaged: Callable[[Damage], None],
        thorough: bool,
        spill_bytes: int,
        taken: bool,
    ) -> None:
        self._spill_bytes = spill_bytes
        self._taken = taken
        self._complete = True
        self._next_blob = 0
        self._thorough = thorough
        self._medium = medium
        self._damaged = damaged
        self._definitions: list[StoredDefinition] = []
        self._queues: dict[int, RecoveredQueue] = {}
        self._stray: list[str] = []
        self._next_queue = 1
        self._log: list[tuple[int, dict[int, tuple[int, int]]]] = []
        self._torn: list[str] = []
        self._runs: list[_FoundSegment] = []
        self._in_runs: dict[int, RangeSet] = {}
        """By queue, the positions of the runs that a sync is known to have covered."""
        self._unproven: list[tuple[int, list[entries.Entry]]] = []
        self._heavy: dict[int, RecoveredQueue] = {}
        """Queues with more messages in memory than when they were looked at last."""
        self._spilled: list[_FoundSegment] = []

    def run(self) -> Recovery:
        names = self._medium.list()
        log = sorted(one for name in names if (one := log_number(name)) is not None)
        runs = sorted(found for name in names if (found := queue_numbers(name)) is not None)
        self._next_blob = max([*log, *[number for _, number in runs]], default=0) + 1
        for queue, number in runs:
            self._read_runs(queue, number)
        for number in log:
            self._read_log(number)
        for name in sorted(names):
            if log_number(name) is None and queue_numbers(name) is None:
                check_blob_kind(name, RecordReader(self._medium, name).header)
        self._attach_runs()
        for recovered in self._queues.values():
            recovered.arrange()
        return Recovery(
            self._definitions,
            self._queues,
            self._next_queue,
            self._next_blob,
            self._log,
            self._torn,
            self._stray,
            [entry for _, found in self._unproven for entry in found],
            self._complete,
        )

    def _read_log(self, number: int) -> None:
        spans: dict[int, tuple[int, int]] = {}
        unproven: list[tuple[int, list[entries.Entry]]] = []
        durable = 0
        name = log_name(number)
        reader = RecordReader(self._medium, name)
        check_blob_kind(name, reader.header)
        version = 0 if reader.header is None else reader.header.version
        for record in reader:
            if isinstance(record, Damage):
                self._damaged(record)
                continue
            try:
                found = self._record(record, spans, name, version)
            except Damaged as error:
                self._damaged(Damage(name, record.offset, reader.end, str(error)))
                continue
            except UnknownFormat as error:
                raise error.at(name, record.offset) from None
            if reader.durable > durable:
                durable = reader.durable
                unproven = [one for one in unproven if one[0] >= durable]
            unproven.append((record.offset, [one for one in found if one.message is not None]))
            if self._heavy:
                before = [] if durable else self._unproven
                self._spill([entry for _, batch in before + unproven for entry in batch])
        unproven = [one for one in unproven if one[0] >= reader.durable]
        if reader.torn is not None:
            self._torn.append(_torn(reader.torn))
        # A log segment is begun when all of the one before is durable, or repeated in its first
        # record: so what proves any of it proves all before.
        self._unproven = unproven if reader.durable else self._unproven + unproven
        self._log.append((number, spans))

    def _record(
        self, record: Record, spans: dict[int, tuple[int, int]], blob: str, version: int
    ) -> list[entries.Entry]:
        """Take what a record of the log says; the entries in it are returned, but for messages
        that are known to be durable elsewhere."""
        entries.check_record_kind(record.kind, (entries.BATCH, entries.CHECKPOINT), "a log segment")
        fresh: dict[int, tuple[int, int]] = {}
        if record.kind == entries.CHECKPOINT:
            state = entries.read_checkpoint(record.payload)
            self._checkpoint(state)
            self._definitions = [
                StoredDefinition(data, version, blob, record.offset) for data in state.definitions
            ]
            found = state.messages
            for entry in found:
                for number, position in entry.queues:
                    first, end = fresh.get(number, (position, position))
                    fresh[number] = (min(first, position), max(end, position + 1))
        else:
            found = scan_batch(record.payload, self._in_runs, fresh)
        for number, (first, end) in fresh.items():
            queue = self._queue(number)
            queue.next_position = max(queue.next_position, end)
            known = spans.get(number, (first, end))
            spans[number] = (min(first, known[0]), max(end, known[1]))
        for entry in found:
            if entry.kind == entries.DEFINITION:
                self._definitions.append(StoredDefinition(entry.data, version, blob, record.offset))
            else:
                self._entry(entry)
        return found

    def _spill(self, unproven: list[entries.Entry]) -> None:
        """Put messages on disk that take too much memory, but for those of batches that may not be
        durable."""
        heavy = self._heavy
        self._heavy = {}
        if not self._taken:
            self._complete = False
            for queue in heavy.values():
                queue.logged = {}
                queue.logged_bytes = 0
            return
        for number, queue in heavy.items():
            kept = {at for entry in unproven for each, at in entry.queues if each == number}
            out = {at: message for at, message in queue.logged.items() if at not in kept}
            if sum(map(memory_bytes, out.values())) > self._spill_bytes:
                runs = spill(self._medium, number, self._next_blob, out)
                self._next_blob += 1
                if runs:
                    segment = runs[0].segment
                    found = _FoundSegment(number, segment, runs, int(segment.size) + 1)
                    self._spilled.append(found)
                    queue.logged = {at: queue.logged[at] for at in queue.logged if at in kept}
            queue.logged_bytes = sum(map(memory_bytes, queue.logged.values()))
            queue.logged_bytes_max = 2 * queue.logged_bytes + self._spill_bytes

    def _checkpoint(self, state: entries.Checkpoint) -> None:
        self._next_queue = max(self._next_queue, state.next_queue)
        known = {number for number, _ in state.queues}
        for number in [number for number in self._queues if number not in known]:
            self._forget(number)
        for number, ranges in state.queues:
            queue = self._queue(number)
            for first, end in ranges:
                queue.settle(first, end)

    def _entry(self, entry: entries.Entry) -> None:
        if entry.kind == entries.MESSAGE and entry.message is not None:
            for number, position in entry.queues:
                queue = self._queue(number)
                if position not in queue.settled:
                    queue.log(position, entry.message)
                    if 0 < queue.logged_bytes_max < queue.logged_bytes:
                        self._heavy[number] = queue
        elif entry.kind == entries.SETTLED:
            self._queue(entry.queues[0][0]).settle(entry.first, entry.end)
        elif entry.kind == entries.QUEUE:
            self._queue(entry.queues[0][0])
        else:
            self._forget(entry.queues[0][0])

    def _queue(self, number: int) -> RecoveredQueue:
        queue = self._queues.get(number)
        if queue is None:
            queue = RecoveredQueue(number)
            queue.logged_bytes_max = self._spill_bytes
            self._queues[number] = queue
            self._next_queue = max(self._next_queue, number + 1)
        return queue

    def _forget(self, number: int) -> None:
        self._queues.pop(number, None)

    def _read_runs(self, number: int, blob: int) -> None:
        name = queue_name(number, blob)
        in_runs = self._in_runs.setdefault(number, RangeSet())
        segment = QueueSegment(SegmentWriter(self._medium, name, QUEUE_KIND))
        segment.sealed = True
        runs: list[Run] = []
        places, durable = ([], 0) if self._thorough else find_runs(self._medium, name)
        for place in places:
            self._found_run(runs, segment, place, None)
        reader = RecordReader(self._medium, name, start=durable, durable=durable)
        check_blob_kind(name, reader.header)
        for record in reader:
            if isinstance(record, Damage):
                self._damaged(record)
                continue
            try:
                entries.check_record_kind(record.kind, (entries.RUN,), "a queue segment")
                header = entries.read_run_header(record.payload)
            except Damaged as error:
                self._damaged(Damage(name, record.offset, reader.end, str(error)))
                continue
            except UnknownFormat as error:
                raise error.at(name, record.offset) from None
            place = RunPlace(record.offset, reader.end - record.offset, header)
            self._found_run(runs, segment, place, record.payload)
        segment.size = reader.end
        for run in runs:
            if run.offset < reader.durable:
                for first, end in run.live:
                    in_runs.add(first, end)
        self._runs.append(_FoundSegment(number, segment, runs, reader.durable))
        if reader.torn is not None:
            self._torn.append(_torn(reader.torn))

    def _found_run(
        self, runs: list[Run], segment: QueueSegment, place: RunPlace, payload: bytes | None
    ) -> None:
        """Take a run, whose payload is read if all of its messages are not needed."""
        header = place.header
        live = [(header.first, header.first + header.messages)]
        left_out = 0
        if header.persistent < header.messages:
            try:
                if payload is None:
                    payload = read_record(self._medium, segment.name, place.offset, place.size)
                live, left_out = entries.persistent_positions(payload)
            except Damaged:
                end = place.offset + place.size
                self._damaged(Damage(segment.name, place.offset, end, "not what was written"))
                return
            except UnknownFormat as error:
                raise error.at(segment.name, place.offset) from None
        run = Run(segment, header.first, header.messages)
        run.offset, run.size, run.live = place.offset, place.size, live
        run.live_bytes = header.body_bytes
        segment.add(live, header.messages - left_out)
        runs.append(run)

    def _attach_runs(self) -> None:
        """Give the runs to their queues, now that the log has told which there are."""
        for found in self._runs + self._spilled:
            queue = self._queues.get(found.queue)
            if queue is None:
                self._stray.append(found.segment.name)
                # Deleted, it may come back: it must not be taken for a segment of another queue.
                self._next_queue = max(self._next_queue, found.queue + 1)
                continue
            queue.segments.append(found.segment)
            for run in found.runs:
                proven = run.offset < found.durable
                (queue.runs if proven else queue.runs_unproven).append(run)
                for first, end in run.live:
                    if proven:
                        queue.flushed.add(first, end)
                queue.next_position = max(queue.next_position, run.end)


def _torn(torn: Torn) -> str:
    return f"{torn.blob}: cut at offset {torn.offset}: {torn.why}"

"""Recovery: reads from a medium the definitions, and every queue's messages in order.

The log is read from its oldest segment on. What the segments before it have said of definitions and
queues is in the checkpoint that it names last (checkpoint_reader.py). Of the queue segments the
runs are found (segment_scan.py), and read when a consumer needs them. Messages that only the
log has are written to queue segments when they take too much memory (spill.py).

Bytes that no mark proves durable may be torn, and are cut. Damage anywhere else ends the start,
unless the caller goes on without the damaged range.

Bytes that can be read may not be durable: after a sync that failed, the kernel still returns what
it could not write. So the messages at the end of the log are written again, and a run in a queue
segment counts as written only if a mark proves it.
"""

from collections.abc import Callable
from typing import NamedTuple, NoReturn

from leveret_storage.errors import Damaged, ReadFailed, UnknownFormat
from leveret_storage.format import entries
from leveret_storage.format.entries import (
    NO_CHECKPOINT,
    Checkpoint,
    Entry,
    StoredDefinition,
)
from leveret_storage.format.record_reader import Damage, Record, RecordReader, Torn, describe
from leveret_storage.format.segment_start import (
    LAST_VERSION_WITH_STATE,
    FullState,
    read_full_state,
    read_segment_start,
)
from leveret_storage.medium import Medium
from leveret_storage.recovery.body_check import leave_out, positions_without_body
from leveret_storage.recovery.checkpoint_reader import read_checkpoint_segments
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd, find_lost_log
from leveret_storage.recovery.log_scan import scan_batch
from leveret_storage.recovery.recovered_queue import RecoveredQueue, memory_bytes
from leveret_storage.recovery.segment_scan import FoundSegment, scan_segment
from leveret_storage.recovery.spill import SpilledBodies, spill
from leveret_storage.recovery.transaction_reader import TransactionReader
from leveret_storage.segments.body_segment import SHARED_BODY_BYTES
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import Run
from leveret_storage.segments.segment_writer import (
    blob_kind,
    bodies_number,
    check_blob_kind,
    checkpoint_name,
    checkpoint_number,
    log_name,
    log_number,
    queue_numbers,
)


class Recovery(NamedTuple):
    """The result of a recovery."""

    definitions: list[StoredDefinition]
    queues: dict[int, RecoveredQueue]
    next_queue: int
    next_blob: int
    log: list[tuple[int, int, dict[int, tuple[int, int]]]]
    """Number and bytes of each log segment, and by queue a half-open range around the positions."""
    torn: list[str]
    """A line for each torn end that was cut."""
    orphaned: list[str]
    """Queue segments whose queue does not exist any more."""
    unproven: list[Entry]
    """Entries at the end of the log that no sync is known to have covered."""
    unknown: list[str]
    """Queue segments that were reported as damaged because no log says what they are."""
    checkpoint: Checkpoint
    """The last one that the log names."""
    definition_count: int
    """How many definitions the log of format version 3 has had, but for those that are unproven."""
    blobs: frozenset[str]
    """The names of all blobs."""
    foreign: list[str]
    """Names among the blobs that no store writes; nothing is done with them."""
    complete: bool = True
    """False if messages were dropped, which `recover` says of a medium that was not taken."""


def refuse(damage: Damage) -> NoReturn:
    """Stop at damage.

    :raises Damaged: naming blob and offset, and what to do.
    """
    raise Damaged(describe(damage))


def recover(
    medium: Medium,
    damaged: Callable[[Damage], None] = refuse,
    *,
    thorough: bool = False,
    spill_bytes: int = 0,
    taken: bool = True,
    log_end: LogEnd = NOT_NOTED,
) -> Recovery:
    """Read everything that a start needs.

    `damaged` is called with each damaged range; if it returns, reading goes on behind the range.

    :param thorough: read every record to its last byte, so that all damage is found, also in runs
        that a start reads later.
    :param spill_bytes: memory that messages of one queue may take which only the log has, before
        they are written to a queue segment; 0 to keep all in memory, and write nothing.
    :param taken: whether this owner has taken the medium. If not, nothing is written: messages that
        take more than `spill_bytes` are dropped and the result is not `complete`, so that the
        caller takes the medium and calls this again.
    :param log_end: what the owner before has noted of the end of the log.
    :raises Damaged: as `damaged` does.
    :raises UnknownFormat: for what a newer program wrote, naming blob and offset.
    """
    return _Recoverer(medium, damaged, thorough, spill_bytes, taken, log_end).run()


class _Recoverer:
    def __init__(
        self,
        medium: Medium,
        on_damage: Callable[[Damage], None],
        thorough: bool,
        spill_bytes: int,
        taken: bool,
        log_end: LogEnd,
    ) -> None:
        self._medium = medium
        self._on_damage = on_damage
        self._thorough = thorough
        self._spill_bytes = spill_bytes
        self._taken = taken
        self._log_end = log_end
        self._last_begun = 0
        """The number of the last log segment with its first record."""
        self._complete = True
        self._old_definitions: list[StoredDefinition] = []
        """Those before format version 3."""
        self._definitions: dict[int, StoredDefinition] = {}
        """The others, by their number among those of the log, from 1."""
        self._definition_count = 0
        self._checkpoint = NO_CHECKPOINT
        self._log_segment = 0
        """The number of the log segment that is being read."""
        self._transaction = TransactionReader()
        self._deleted: set[int] = set()
        """Queues whose deletion the log has."""
        self._queues: dict[int, RecoveredQueue] = {}
        self._next_queue = 1
        self._next_blob = 0
        self._log: list[tuple[int, int, dict[int, tuple[int, int]]]] = []
        self._torn: list[str] = []
        self._orphaned: list[str] = []
        self._unknown: list[str] = []
        self._foreign = sorted(medium.foreign_names())
        self._segments: list[FoundSegment] = []
        self._spilled_bodies: SpilledBodies | None = None
        self._body_segments: frozenset[int] = frozenset()
        """The numbers of the body segments that are there."""
        self._flushed: dict[int, RangeSet] = {}
        """By queue, the positions of the runs that a sync is known to have covered."""
        self._unproven: list[tuple[int, list[Entry]]] = []
        self._over_limit: dict[int, RecoveredQueue] = {}
        """Queues whose messages may take more than `spill_bytes` of memory."""

    def run(self) -> Recovery:
        names = self._medium.list()
        log = sorted(one for name in names if (one := log_number(name)) is not None)
        segments = sorted(found for name in names if (found := queue_numbers(name)) is not None)
        bodies = [one for name in names if (one := bodies_number(name)) is not None]
        self._body_segments = frozenset(bodies)
        checkpoints = [one for name in names if (one := checkpoint_number(name)) is not None]
        of_queues = [each for _, each in segments]
        self._next_blob = max(self._log_end.number, 0, *log, *of_queues, *bodies, *checkpoints) + 1
        for queue, number in segments:
            self._read_segment(queue, number)
        for number in log:
            self._read_log(number)
        lost = find_lost_log(self._medium, log, self._last_begun, self._log_end, bool(segments))
        if lost is not None:
            self._on_damage(lost)
        for name in sorted(names):
            if bodies_number(name) is not None:
                self._check_body_segment(name)
            elif blob_kind(name) == 0:
                self._check_foreign(name)
        definitions = self._add_checkpoint(checkpoints)
        self._attach_segments()
        if self._spilled_bodies is not None:
            self._spilled_bodies.close()
        for recovered in self._queues.values():
            recovered.arrange()
        unproven = [entry for _, found in self._unproven for entry in found]
        return Recovery(
            definitions,
            self._queues,
            self._next_queue,
            self._next_blob,
            self._log,
            self._torn,
            self._orphaned,
            unproven,
            self._unknown,
            self._checkpoint,
            self._definition_count - sum(map(_has_number, unproven)),
            self._medium.list(),
            self._foreign,
            self._complete,
        )

    def _check_body_segment(self, name: str) -> None:
        reader = RecordReader(self._medium, name)
        check_blob_kind(name, reader.header)
        if self._thorough:
            for record in reader:
                if isinstance(record, Damage):
                    self._on_damage(record)

    def _check_foreign(self, name: str) -> None:
        """Check that a blob with a name of another kind is none that a newer program wrote."""
        self._foreign.append(name)
        try:
            reader = RecordReader(self._medium, name)
        except ReadFailed:
            # A directory, for example.
            return
        check_blob_kind(name, reader.header)

    def _read_segment(self, queue: int, number: int) -> None:
        found = scan_segment(self._medium, queue, number, self._on_damage, self._thorough)
        flushed = self._flushed.setdefault(queue, RangeSet())
        for run in found.runs:
            if run.offset < found.durable and self._has_bodies(found, run):
                for first, end in run.live:
                    flushed.add(first, end)
        self._segments.append(found)
        # One that was deleted may be named still, by runs whose messages are settled.
        self._next_blob = max(self._next_blob, *[blob + 1 for blob in found.segment.body_spans], 0)
        if found.torn is not None:
            self._torn.append(_torn_line(found.torn))

    def _read_log(self, number: int) -> None:
        self._log_segment = number
        self._transaction = TransactionReader()
        spans: dict[int, tuple[int, int]] = {}
        unproven: list[tuple[int, list[Entry]]] = []
        durable = 0
        name = log_name(number)
        noted = self._log_end.size if number == self._log_end.number else 0
        reader = RecordReader(self._medium, name, durable=noted)
        check_blob_kind(name, reader.header)
        version = 0 if reader.header is None else reader.header.version
        for record in reader:
            if isinstance(record, Damage):
                self._on_damage(record)
                continue
            if record.kind == entries.SEGMENT_START:
                self._last_begun = number
            try:
                found = self._record(record, spans, name, version)
            except Damaged as error:
                self._on_damage(Damage(name, record.offset, reader.end, str(error)))
                continue
            except UnknownFormat as error:
                raise error.at(name, record.offset) from None
            if reader.durable > durable:
                durable = reader.durable
                unproven = [one for one in unproven if one[0] >= durable]
            unproven.append((record.offset, [_with_version(one, version) for one in found]))
            if self._over_limit:
                before = [] if durable else self._unproven
                self._spill([entry for _, batch in before + unproven for entry in batch])
        unproven = [one for one in unproven if one[0] >= reader.durable]
        if reader.torn is not None:
            self._torn.append(_torn_line(reader.torn))
        # A log segment is begun when all of the one before is durable, or repeated in its first
        # record: so a mark that proves any of it proves all before.
        self._unproven = unproven if reader.durable else self._unproven + unproven
        self._log.append((number, self._medium.size(name), spans))

    def _record(
        self, record: Record, spans: dict[int, tuple[int, int]], blob: str, version: int
    ) -> list[Entry]:
        """Apply a record of the log, and return the entries that count with it, but for messages
        that are known to be durable in a queue segment."""
        entries.check_record_kind(record.kind, entries.LOG_KINDS, "a log segment")
        in_record: dict[int, tuple[int, int]] = {}
        if record.kind == entries.SEGMENT_START:
            found = self._begin_segment(record, blob, version)
            for entry in found:
                for number, position in entry.queues if entry.message is not None else ():
                    first, end = in_record.get(number, (position, position))
                    in_record[number] = (min(first, position), max(end, position + 1))
        else:
            found = scan_batch(record.payload, self._flushed, in_record)
            found = self._transaction.effective(found)
        for number, (first, end) in in_record.items():
            if number in self._deleted:
                continue
            queue = self._queue(number)
            queue.next_position = max(queue.next_position, end)
            known = spans.get(number, (first, end))
            spans[number] = (min(first, known[0]), max(end, known[1]))
        for entry in found:
            if entry.kind == entries.DEFINITION:
                stored = StoredDefinition(entry.data, version, blob, record.offset)
                if version > LAST_VERSION_WITH_STATE:
                    self._definition_count += 1
                    self._definitions[self._definition_count] = stored
                else:
                    self._old_definitions.append(stored)
            else:
                self._entry(entry)
        return found

    def _spill(self, unproven: list[Entry]) -> None:
        """Write messages to queue segments that take too much memory, but for those of batches that
        may not be durable."""
        over_limit = self._over_limit
        self._over_limit = {}
        if not self._taken:
            self._complete = False
            for queue in over_limit.values():
                queue.logged = {}
                queue.logged_bytes = 0
            return
        places = [entry.queues for entry in unproven if entry.message is not None]
        for number, queue in over_limit.items():
            unproven_at = {at for queues in places for each, at in queues if each == number}
            messages = {at: queue.logged[at] for at in queue.logged if at not in unproven_at}
            if sum(map(memory_bytes, messages.values())) > self._spill_bytes:
                if self._spilled_bodies is None:
                    self._spilled_bodies = SpilledBodies(self._medium, self._next_blob)
                    self._body_segments |= {self._next_blob}
                    self._next_blob += 1
                runs = spill(self._medium, number, self._next_blob, messages, self._spilled_bodies)
                self._next_blob += 1
                if runs:
                    segment = runs[0].segment
                    durable = int(segment.size) + 1
                    self._segments.append(FoundSegment(number, segment, runs, durable, {}))
                    queue.logged = {
                        at: queue.logged[at] for at in queue.logged if at in unproven_at
                    }
            queue.logged_bytes = sum(map(memory_bytes, queue.logged.values()))
            queue.logged_bytes_max = 2 * queue.logged_bytes + self._spill_bytes

    def _begin_segment(self, record: Record, blob: str, version: int) -> list[Entry]:
        """Apply the first record of a log segment, and return the messages in it."""
        if version > LAST_VERSION_WITH_STATE:
            start = read_segment_start(record.payload)
            self._next_queue = max(self._next_queue, start.next_queue)
            self._checkpoint = start.checkpoint
            self._definition_count = start.definitions
            # They are among those that it repeats.
            self._unproven = []
            return start.repeated
        state = read_full_state(record.payload)
        self._old_definitions = [
            StoredDefinition(data, version, blob, record.offset) for data in state.definitions
        ]
        self._add_full_state(state)
        return state.messages

    def _add_full_state(self, state: FullState) -> None:
        self._next_queue = max(self._next_queue, state.next_queue)
        known = {number for number, _ in state.queues}
        for number in [number for number in self._queues if number not in known]:
            self._delete_queue(number)
        for number, ranges in state.queues:
            queue = self._queue(number)
            for first, end in ranges:
                queue.settle(first, end)

    def _entry(self, entry: Entry) -> None:
        deleted = self._deleted
        if deleted and entry.message is None and entry.queues and entry.queues[0][0] in deleted:
            # A transaction was committed after the queue was deleted.
            return
        if entry.kind == entries.MESSAGE and entry.message is not None:
            for number, position in entry.queues:
                if number in deleted:
                    continue
                queue = self._queue(number)
                if position not in queue.settled:
                    if len(entry.queues) > 1 and len(entry.message.body) >= SHARED_BODY_BYTES:
                        entry.message.share()
                    queue.add_logged(position, entry.message)
                    if 0 < queue.logged_bytes_max < queue.logged_bytes:
                        self._over_limit[number] = queue
        elif entry.kind == entries.SETTLED:
            self._queue(entry.queues[0][0]).settle(entry.first, entry.end)
        elif entry.kind == entries.QUEUE:
            self._queue(entry.queues[0][0])
        elif entry.kind == entries.DELIVERED:
            self._queue(entry.queues[0][0]).deliver(entry.end, self._log_segment)
        elif entry.checkpoint is not None:
            self._checkpoint = entry.checkpoint
        else:
            self._delete_queue(entry.queues[0][0])

    def _queue(self, number: int) -> RecoveredQueue:
        queue = self._queues.get(number)
        if queue is None:
            queue = RecoveredQueue(number)
            queue.logged_bytes_max = self._spill_bytes
            self._queues[number] = queue
            self._next_queue = max(self._next_queue, number + 1)
        queue.last_log_segment = self._log_segment
        return queue

    def _delete_queue(self, number: int) -> None:
        self._deleted.add(number)
        self._queues.pop(number, None)

    def _has_bodies(self, found: FoundSegment, run: Run) -> bool:
        """Whether all body segments are there that a run refers to."""
        spans = found.bodies.get(run, [])
        return self._body_segments.issuperset([span.blob for span in spans])

    def _check_bodies(self, queue: RecoveredQueue, found: FoundSegment) -> None:
        """Leave out the messages of shared runs whose body is lost; that is damage if the run is
        durable and only it has the message."""
        for blob in found.segment.body_spans.keys() - self._body_segments:
            del found.segment.body_spans[blob]
        for run in found.bodies:
            proven = run.offset < found.durable
            if proven and self._has_bodies(found, run) and not self._thorough:
                continue
            lost = positions_without_body(self._medium, run, queue.settled)
            if not lost:
                continue
            leave_out(run, lost)
            has_bodies = self._has_bodies(found, run)
            elsewhere = RangeSet() if has_bodies else self._flushed.get(found.queue, RangeSet())
            known = [position in queue.logged or position in elsewhere for position in lost]
            if proven and not all(known):
                why = f"the bodies of {len(lost)} messages from position {lost[0]} are lost"
                first = int(run.offset)
                self._on_damage(Damage(run.segment.name, first, first + int(run.size), why))

    def _add_checkpoint(self, numbers: list[int]) -> list[StoredDefinition]:
        """Add what the checkpoint says to what the log does, and return all definitions."""
        checkpoint = self._checkpoint
        named = {part.number for part in checkpoint.parts}
        self._orphaned += [checkpoint_name(each) for each in sorted(numbers) if each not in named]
        if not checkpoint.parts:
            return self._old_definitions + list(self._definitions.values())
        state = read_checkpoint_segments(self._medium, checkpoint, self._on_damage)
        for number, known in list(self._queues.items()):
            # Power loss may restore a deleted log segment, and not the next one, which says that
            # the queue was deleted.
            if known.last_log_segment <= checkpoint.log_segment and number not in state.queues:
                self._delete_queue(number)
        for number, found in state.queues.items():
            if number in self._deleted:
                continue
            queue = self._queue(number)
            if queue.delivered_log_segment <= checkpoint.log_segment:
                queue.delivered_end = found.delivered_end
            for first, end in found.settled:
                queue.settle(first, end)
        in_it = checkpoint.definitions
        later = [stored for number, stored in self._definitions.items() if number > in_it]
        return state.definitions + later

    def _attach_segments(self) -> None:
        """Give the segments to their queues, which are known once the log was read."""
        for found in self._segments:
            queue = self._queues.get(found.queue)
            if queue is not None:
                self._check_bodies(queue, found)
                queue.add_segment(found.segment, found.runs, found.durable)
                continue
            name = found.segment.name
            if self._last_begun:
                self._orphaned.append(name)
            else:
                self._unknown.append(name)
                size = self._medium.size(name)
                self._on_damage(Damage(name, 0, size, "the log that says what it is is lost"))
            # Power loss may restore a deleted segment, so no other queue may have its number.
            self._next_queue = max(self._next_queue, found.queue + 1)


def _has_number(entry: Entry) -> bool:
    """Whether an entry is a definition that is counted."""
    return entry.kind == entries.DEFINITION and entry.version > LAST_VERSION_WITH_STATE


def _with_version(entry: Entry, version: int) -> Entry:
    return entry._replace(version=version) if entry.kind == entries.DEFINITION else entry


def _torn_line(torn: Torn) -> str:
    return f"{torn.blob}: cut at offset {torn.offset}: {torn.why}"

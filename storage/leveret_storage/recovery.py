"""What a store finds when it opens: definitions, and every queue's messages in order.

The log is read from its oldest segment on. A checkpoint says all there is to say about definitions
and settled positions, so each replaces what was gathered before; messages add up. Of the queue
segments only the headers of the runs are read: what is in a run is read when its turn comes.

Only the end of the last blob written may be torn; damage anywhere else stops the start, unless the
caller decides to go on without what is damaged.
"""

from collections.abc import Callable
from typing import NamedTuple, NoReturn

from leveret_storage import entries
from leveret_storage.entries import Stored
from leveret_storage.errors import Damaged
from leveret_storage.format import RECORD_HEADER_BYTES
from leveret_storage.log_scan import scan_batch
from leveret_storage.medium import Medium
from leveret_storage.queue_log import QUEUE_SEGMENT_BYTES, QueueSegment, Run
from leveret_storage.ranges import RangeSet
from leveret_storage.record_reader import Damage, RecordReader, Torn
from leveret_storage.segments import (
    QUEUE_KIND,
    SegmentWriter,
    log_name,
    log_number,
    queue_name,
    queue_numbers,
)


class Loose(NamedTuple):
    """Messages with consecutive positions that are in memory: only the commit log has them."""

    first: int
    messages: list[Stored]


class RecoveredQueue:
    """A durable queue, as it was found."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.settled = RangeSet()
        self.logged: dict[int, Stored] = {}
        """Messages that the commit log has, by position."""
        self.runs: list[Run] = []
        """Runs in queue segments."""
        self.segments: list[QueueSegment] = []
        self.next_position = 0
        self.contents: list[Loose | Run] = []
        """What is in the queue, in order; set by `arrange`."""
        self.count = 0
        """How many messages that is."""

    def settle(self, first: int, end: int) -> None:
        """Positions that are done with."""
        self.settled.add(first, end)
        self.next_position = max(self.next_position, end)
        logged = self.logged
        if end - first < len(logged):
            for position in range(first, end):
                logged.pop(position, None)
        elif logged:
            self.logged = {at: logged[at] for at in logged if not first <= at < end}

    def arrange(self) -> None:
        """Bring what was found into order: each message once, those settled left out.

        What is not a live message then counts as settled, be it a transient message that died with
        the process or a position that was never used, so that ranges close.
        """
        live = RangeSet()
        for run in sorted(self.runs, key=lambda run: (run.first, -run.end)):
            for first, end in self.settled.gaps(int(run.first), run.end):
                for part in live.gaps(first, end):
                    run.live.append(part)
            for first, end in run.live:
                live.add(first, end)
            if run.live:
                self.contents.append(run)
        for position in sorted(self.logged):
            if position in self.settled or position in live:
                continue
            live.add(position, position + 1)
            last = self.contents[-1] if self.contents else None
            message = self.logged[position]
            if isinstance(last, Loose) and last.first + len(last.messages) == position:
                last.messages.append(message)
            else:
                self.contents.append(Loose(position, [message]))
        self.logged = {}
        self.contents.sort(key=_place)
        settled = RangeSet()
        for first, end in live.gaps(0, self.next_position):
            settled.add(first, end)
        self.settled = settled
        self.count = sum(end - first for first, end in live.ranges())


def _place(item: Loose | Run) -> int:
    return item.first if isinstance(item, Loose) else item.live[0][0]


class Recovery(NamedTuple):
    """Everything that was found."""

    definitions: list[bytes]
    queues: dict[int, RecoveredQueue]
    next_queue: int
    next_blob: int
    log: list[tuple[int, dict[int, tuple[int, int]]]]
    """Each log segment's number, and the positions of each queue's messages in it."""
    torn: list[str]
    """A line for each torn end that was cut."""
    stray: list[str]
    """Queue segments of queues that are no more."""


def refuse(damage: Damage) -> NoReturn:
    """What to do about damage where nobody says otherwise.

    :raises Damaged: naming blob and offset.
    """
    raise Damaged(_told(damage))


def recover(medium: Medium, damaged: Callable[[Damage], None] = refuse) -> Recovery:
    """Read everything that a start needs.

    `damaged` is told of every stretch that is not what was written; where it returns, reading goes
    on without the stretch.

    :raises Damaged: as `damaged` does.
    """
    return _Recoverer(medium, damaged).run()


class _FoundSegment(NamedTuple):
    """A queue segment, before it is known whether its queue is there still."""

    queue: int
    segment: QueueSegment
    runs: list[Run]
    transient: list[tuple[int, int]]
    """Positions of messages that died with the process, as half-open ranges."""


class _Recoverer:
    def __init__(self, medium: Medium, damaged: Callable[[Damage], None]) -> None:
        self._medium = medium
        self._damaged = damaged
        self._definitions: list[bytes] = []
        self._queues: dict[int, RecoveredQueue] = {}
        self._stray: list[str] = []
        self._next_queue = 1
        self._log: list[tuple[int, dict[int, tuple[int, int]]]] = []
        self._torn: list[str] = []
        self._runs: list[_FoundSegment] = []
        self._in_runs: dict[int, RangeSet] = {}
        """By queue, the positions whose messages are in runs."""

    def run(self) -> Recovery:
        names = self._medium.list()
        log = sorted(one for name in names if (one := log_number(name)) is not None)
        runs = sorted(found for name in names if (found := queue_numbers(name)) is not None)
        for queue, number in runs:
            self._read_runs(queue, number)
        for number in log:
            self._read_log(number)
        self._attach_runs()
        for recovered in self._queues.values():
            recovered.arrange()
        numbers = log + [number for _, number in runs]
        return Recovery(
            self._definitions,
            self._queues,
            self._next_queue,
            max(numbers, default=0) + 1,
            self._log,
            self._torn,
            self._stray,
        )

    def _read_log(self, number: int) -> None:
        spans: dict[int, tuple[int, int]] = {}
        reader = RecordReader(self._medium, log_name(number))
        for record in reader:
            if isinstance(record, Damage):
                self._damaged(record)
                continue
            try:
                if record.kind == entries.CHECKPOINT:
                    self._checkpoint(entries.read_checkpoint(record.payload))
                elif record.kind == entries.BATCH:
                    self._batch(record.payload, spans)
                else:
                    raise Damaged(f"no record of a log: kind {record.kind}")
            except Damaged as error:
                self._damaged(Damage(log_name(number), record.offset, reader.end, str(error)))
        if reader.torn is not None:
            self._torn.append(_torn(reader.torn))
        self._log.append((number, spans))

    def _checkpoint(self, state: entries.Checkpoint) -> None:
        self._next_queue = max(self._next_queue, state.next_queue)
        self._definitions = list(state.definitions)
        known = {number for number, _ in state.queues}
        for number in [number for number in self._queues if number not in known]:
            self._forget(number)
        for number, ranges in state.queues:
            queue = self._queue(number)
            for first, end in ranges:
                queue.settle(first, end)

    def _batch(self, payload: bytes, spans: dict[int, tuple[int, int]]) -> None:
        fresh: dict[int, tuple[int, int]] = {}
        found = scan_batch(payload, self._in_runs, fresh)
        for number, (first, end) in fresh.items():
            queue = self._queue(number)
            queue.next_position = max(queue.next_position, end)
            known = spans.get(number, (first, end))
            spans[number] = (min(first, known[0]), max(end, known[1]))
        for entry in found:
            self._entry(entry)

    def _entry(self, entry: entries.Entry) -> None:
        if entry.kind == entries.MESSAGE and entry.message is not None:
            for number, position in entry.queues:
                queue = self._queue(number)
                if position not in queue.settled:
                    queue.logged[position] = entry.message
        elif entry.kind == entries.SETTLED:
            self._queue(entry.queues[0][0]).settle(entry.first, entry.end)
        elif entry.kind == entries.DEFINITION:
            self._definitions.append(entry.data)
        else:
            self._forget(entry.queues[0][0])

    def _queue(self, number: int) -> RecoveredQueue:
        queue = self._queues.get(number)
        if queue is None:
            queue = RecoveredQueue(number)
            self._queues[number] = queue
            self._next_queue = max(self._next_queue, number + 1)
        return queue

    def _forget(self, number: int) -> None:
        self._queues.pop(number, None)

    def _read_runs(self, number: int, blob: int) -> None:
        name = queue_name(number, blob)
        in_runs = self._in_runs.setdefault(number, RangeSet())
        segment = QueueSegment(SegmentWriter(self._medium, name, QUEUE_KIND))
        segment.size = QUEUE_SEGMENT_BYTES
        found = _FoundSegment(number, segment, [], [])
        self._runs.append(found)
        reader = RecordReader(self._medium, name)
        for record in reader:
            if isinstance(record, Damage):
                self._damaged(record)
                continue
            try:
                header = entries.read_run_header(record.payload)
                if header.persistent < header.messages:
                    found.transient.extend(entries.transient_positions(record.payload))
            except Damaged as error:
                self._damaged(Damage(name, record.offset, reader.end, str(error)))
                continue
            run = Run(segment, header.first, header.messages)
            run.offset = record.offset
            run.size = RECORD_HEADER_BYTES + len(record.payload)
            segment.ranges.add(header.first, header.first + header.messages)
            found.runs.append(run)
            in_runs.add(header.first, header.first + header.messages)
        if reader.torn is not None:
            self._torn.append(_torn(reader.torn))

    def _attach_runs(self) -> None:
        """Give the runs to their queues, now that the log has told which there are."""
        for found in self._runs:
            queue = self._queues.get(found.queue)
            if queue is None:
                self._stray.append(found.segment.name)
                continue
            queue.segments.append(found.segment)
            queue.runs += found.runs
            for run in found.runs:
                queue.next_position = max(queue.next_position, run.end)
            for first, end in found.transient:
                queue.settled.add(first, end)


def _told(damage: Damage) -> str:
    return (
        f"{damage.blob}: damaged from offset {damage.offset} to {damage.end}: {damage.why}; "
        "start with --salvage to set this stretch aside and go on without it"
    )


def _torn(torn: Torn) -> str:
    return f"{torn.blob}: cut at offset {torn.offset}: {torn.why}"

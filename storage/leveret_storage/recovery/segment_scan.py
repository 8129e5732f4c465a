"""Reading a queue segment at a start: which runs it has, and which of their messages are live.

Only the headers of the runs are read, as far as a mark proves that they are durable. The messages
are read when a consumer needs them. A run with transient messages, too, is read at the start, since
these did not survive the process that wrote them.
"""

from collections.abc import Callable
from typing import NamedTuple

from leveret_storage.errors import Damaged, UnknownFormat
from leveret_storage.format import entries, runs
from leveret_storage.format.record_reader import Damage, RecordReader, Torn
from leveret_storage.format.runs import BodySpan
from leveret_storage.medium import Medium
from leveret_storage.recovery.run_finder import RunPlace, find_runs
from leveret_storage.segments.queue_journal import QueueSegment, Run
from leveret_storage.segments.segment_writer import (
    QUEUE_KIND,
    SegmentWriter,
    check_blob_kind,
    queue_name,
    read_record,
)


class FoundSegment(NamedTuple):
    """A queue segment, before it is known whether its queue still exists."""

    queue: int
    segment: QueueSegment
    runs: list[Run]
    durable: int
    """Bytes at its beginning that a sync is known to have covered."""
    bodies: dict[Run, list[BodySpan]]
    """By shared run, the body segments that it refers to."""
    torn: Torn | None = None
    """Its torn end, if it has one."""


def scan_segment(
    medium: Medium,
    queue: int,
    number: int,
    on_damage: Callable[[Damage], None],
    thorough: bool,
) -> FoundSegment:
    """Read the segment of a queue with a number.

    `on_damage` is called with each damaged range; if it returns, reading goes on behind the range.

    :param thorough: read every record to its last byte.
    :raises UnknownFormat: for what a newer program wrote.
    :raises StorageError: if the segment cannot be read.
    """
    return _SegmentScan(medium, queue_name(queue, number), on_damage).run(queue, thorough)


class _SegmentScan:
    """The scan of one segment."""

    def __init__(self, medium: Medium, name: str, on_damage: Callable[[Damage], None]) -> None:
        self._medium = medium
        self._name = name
        self._on_damage = on_damage
        self._segment = QueueSegment(SegmentWriter(medium, name, QUEUE_KIND))
        self._segment.sealed = True
        self._runs: list[Run] = []
        self._bodies: dict[Run, list[BodySpan]] = {}

    def run(self, queue: int, thorough: bool) -> FoundSegment:
        name = self._name
        places, durable = ([], 0) if thorough else find_runs(self._medium, name)
        for place in places:
            self._add_run(place, None)
        reader = RecordReader(self._medium, name, start=durable, durable=durable)
        check_blob_kind(name, reader.header)
        for record in reader:
            if isinstance(record, Damage):
                self._on_damage(record)
                continue
            try:
                entries.check_record_kind(record.kind, entries.RUN_KINDS, "a queue segment")
                header = runs.read_run_header(record.payload)
                shared = record.kind == entries.SHARED_RUN
                bodies = runs.read_body_spans(record.payload) if shared else []
            except Damaged as error:
                self._on_damage(Damage(name, record.offset, reader.end, str(error)))
                continue
            except UnknownFormat as error:
                raise error.at(name, record.offset) from None
            size = reader.end - record.offset
            place = RunPlace(record.offset, size, header, record.kind, bodies)
            self._add_run(place, record.payload)
        self._segment.size = reader.end
        return FoundSegment(
            queue, self._segment, self._runs, reader.durable, self._bodies, reader.torn
        )

    def _add_run(self, place: RunPlace, payload: bytes | None) -> None:
        """Add a run. Its payload is read if some of its messages are transient or absent."""
        header = place.header
        live = [(header.first, header.first + header.messages)]
        absent = 0
        if header.persistent < header.messages:
            try:
                if payload is None:
                    payload = read_record(self._medium, self._name, place.offset, place.size)[1]
                live, absent = runs.persistent_positions(payload, place.kind)
            except Damaged:
                end = place.offset + place.size
                self._on_damage(Damage(self._name, place.offset, end, "not what was written"))
                return
            except UnknownFormat as error:
                raise error.at(self._name, place.offset) from None
        run = Run(self._segment, header.first, header.messages)
        run.offset, run.size, run.live = place.offset, place.size, live
        run.live_bytes = header.body_bytes
        self._segment.add(live, header.messages - absent)
        if place.bodies:
            self._bodies[run] = place.bodies
        for span in place.bodies:
            self._segment.include_bodies(span)
        self._runs.append(run)

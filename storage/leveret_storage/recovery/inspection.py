"""Checks a medium without opening a store: every record is read to its last byte, and its contents
are checked.

A start reads only the beginnings of runs; `leveret log check` and a salvage need all of them.
"""

from dataclasses import dataclass, field

from leveret_storage.errors import Damaged, ReadFailed, UnknownFormat
from leveret_storage.format import entries, runs
from leveret_storage.format.file_header import RECORD_HEADER_BYTES
from leveret_storage.format.record_reader import Damage, Record, RecordReader, Torn
from leveret_storage.format.segment_start import (
    LAST_VERSION_WITH_STATE,
    FullState,
    read_full_state,
    repeated_in,
)
from leveret_storage.medium import Medium
from leveret_storage.recovery.checkpoint_reader import check_state_entries
from leveret_storage.recovery.transaction_reader import TransactionReader
from leveret_storage.segments.segment_writer import (
    BODIES_KIND,
    CHECKPOINT_KIND,
    blob_kind,
    check_blob_kind,
    log_number,
    queue_numbers,
)


@dataclass
class BlobReport:
    """What was found in one blob."""

    name: str
    queue: int | None
    """The number of the journal it is of; None for a segment of the log."""
    size: int
    records: int = 0
    messages: int = 0
    """Messages in its records. One that went to several queues counts once."""
    damages: list[Damage] = field(default_factory=list)
    torn: Torn | None = None


@dataclass
class Inspection:
    """What was found in all blobs: first those of the log, each kind in order."""

    blobs: list[BlobReport] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    """All damage: wrong CRCs, and contents that no store writes."""
    torn: list[Torn] = field(default_factory=list)
    """Torn ends, which are not damage: none of it was confirmed."""


def inspect(medium: Medium) -> Inspection:
    """Read every blob of a medium.

    :raises UnknownFormat: if a newer program wrote any of it.
    :raises StorageError: if one cannot be read.
    """
    found = Inspection()
    names = sorted(medium.list(), key=lambda name: (log_number(name) is None, name))
    for name in names:
        report = _inspect_blob(medium, name)
        found.blobs.append(report)
        found.damages += report.damages
        if report.torn is not None:
            found.torn.append(report.torn)
    return found


def _inspect_blob(medium: Medium, name: str) -> BlobReport:
    numbers = queue_numbers(name)
    kind = blob_kind(name)
    report = BlobReport(name, None if numbers is None else numbers[0], medium.size(name))
    try:
        reader = RecordReader(medium, name)
    except ReadFailed:
        if kind:
            raise
        report.damages.append(Damage(name, 0, report.size, "no file of the storage"))
        return report
    check_blob_kind(name, reader.header)
    if not kind:
        report.damages.append(Damage(name, 0, report.size, "no blob has such a name"))
        return report
    version = 0 if reader.header is None else reader.header.version
    if reader.header is not None and reader.header.kind != kind:
        why = f"a blob of kind {reader.header.kind}, where its name says {kind}"
        report.damages.append(Damage(name, 0, reader.header.size, why))
    for record in reader:
        if isinstance(record, Damage):
            report.damages.append(record)
            report.records += 1
            continue
        try:
            if kind == BODIES_KIND:
                entries.check_record_kind(record.kind, (entries.BODY,), "a body segment")
            elif kind == CHECKPOINT_KIND:
                entries.check_record_kind(record.kind, (entries.STATE,), "a checkpoint segment")
                _check_batch(report, check_state_entries(record.payload))
            else:
                _check(report, record, version)
        except Damaged as error:
            end = record.offset + RECORD_HEADER_BYTES + len(record.payload)
            report.damages.append(Damage(name, record.offset, end, str(error)))
        except UnknownFormat as error:
            raise error.at(name, record.offset) from None
        report.records += 1
    report.torn = reader.torn
    return report


def _check(report: BlobReport, record: Record, version: int) -> None:
    """Check the contents of a record.

    :raises Damaged: if no store writes them there.
    :raises UnknownFormat: if a newer program wrote them.
    """
    if report.queue is not None:
        entries.check_record_kind(record.kind, entries.RUN_KINDS, "a queue segment")
        _check_run(report, record)
        return
    entries.check_record_kind(record.kind, entries.LOG_KINDS, "a log segment")
    if record.kind == entries.SEGMENT_START:
        if version <= LAST_VERSION_WITH_STATE:
            _check_full_state(read_full_state(record.payload))
        _check_batch(report, repeated_in(record.payload, version))
    elif report.records == 0:
        raise Damaged("a segment of the log without its first record")
    else:
        batch = entries.read_entries(record.payload)
        TransactionReader().effective(batch)
        _check_batch(report, batch)


def _check_run(report: BlobReport, record: Record) -> None:
    header = runs.read_run_header(record.payload)
    if record.kind == entries.SHARED_RUN:
        runs.read_body_spans(record.payload)
    messages = runs.read_run(record.payload, record.kind)
    persistent = sum(message.persistent for message in messages)
    if not messages or header.first < 0:
        raise Damaged(f"a run of {len(messages)} messages from position {header.first}")
    if persistent != header.persistent:
        raise Damaged(f"a run with {persistent} persistent messages that says {header.persistent}")
    body_bytes = sum(message.body_bytes() for message in messages if message.persistent)
    if body_bytes != header.body_bytes:
        raise Damaged(f"a run with bodies of {body_bytes} bytes that says {header.body_bytes}")
    report.messages += sum(message is not entries.ABSENT for message in messages)


def _check_full_state(state: FullState) -> None:
    numbers = [number for number, _ in state.queues]
    if len(set(numbers)) != len(numbers):
        raise Damaged("a checkpoint that names a queue twice")
    if any(number >= state.next_queue for number in numbers):
        raise Damaged("a checkpoint with a queue that does not exist yet")
    for number, ranges in state.queues:
        at = -1
        for first, end in ranges:
            if first <= at or end <= first:
                raise Damaged(f"settled positions of queue {number} out of order")
            at = end


def _check_batch(report: BlobReport, batch: list[entries.Entry]) -> None:
    for entry in batch:
        if entry.kind == entries.MESSAGE:
            report.messages += 1
            if any(position < 0 for _, position in entry.queues) or not entry.queues:
                raise Damaged("a message without a place in a queue")
        elif entry.kind == entries.SETTLED and not 0 <= entry.first < entry.end:
            raise Damaged(f"settled positions from {entry.first} to {entry.end}")
        elif entry.kind == entries.DELIVERED and entry.end < 0:
            raise Damaged(f"delivered positions up to {entry.end}")

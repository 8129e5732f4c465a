"""Salvage: set damaged bytes aside, and write the rest to new segments.

Nothing is written in place, so a segment with damage is replaced:

- The runs of a damaged queue segment that can be read are copied to a new one.
- Of a damaged body segment the bodies that can be read are copied to the runs that refer to them.
- If any log segment or checkpoint segment is damaged, all of them are replaced: by a checkpoint
  segment with what was found, and a log segment with every message that only the log has.

New segments are synced before old ones are deleted, so a salvage that was interrupted can be
repeated and finds the same. Afterwards the medium is sound, and an ordinary start accepts it.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from librt.strings import BytesWriter

from leveret_storage.errors import Damaged, NoSuchBlob, UnknownFormat
from leveret_storage.format import entries, runs
from leveret_storage.format.entries import (
    Checkpoint,
    CheckpointPart,
    StoredDefinition,
    StoredMessage,
)
from leveret_storage.format.file_header import (
    MARK_BYTES,
    MARK_KIND,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
)
from leveret_storage.format.record_reader import Damage, Record, RecordReader
from leveret_storage.format.segment_start import SegmentStart, write_segment_start
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.body_segment import read_body
from leveret_storage.segments.segment_writer import (
    CHECKPOINT_KIND,
    LOG_KIND,
    QUEUE_KIND,
    SegmentWriter,
    blob_kind,
    bodies_number,
    checkpoint_name,
    log_name,
    queue_name,
    queue_numbers,
)

Rewrite = Callable[[list[StoredDefinition]], list[bytes]]
"""Encodes definitions, which may be of older format versions, in the current one."""

BATCH_BYTES: Final = 1024 * 1024
"""Bytes at which a batch of the new log segment is written."""


class Lost(NamedTuple):
    """Damage that was set aside."""

    damage: Damage
    file: str
    """The path of the file that has its bytes now."""
    what: str
    """Its contents, as far as they can be known, for the operator."""


class Salvage(NamedTuple):
    """The result of a salvage."""

    lost: list[Lost]
    found: Recovery
    """The contents of the medium afterwards."""


def salvage(medium: Medium, rewrite: Rewrite, log_end: LogEnd = NOT_NOTED) -> Salvage:
    """Bring a medium that this owner has taken into a state that a start accepts.

    If nothing is damaged, nothing is changed. The caller has checked with `inspect` that no newer
    program wrote any of the data: records unknown to this program would be lost.

    :param rewrite: encodes the definitions that are found in the current version.
    :param log_end: what the owner before has noted of the end of the log.

    :raises StorageError: if the medium cannot be read or written.
    """
    damages: list[Damage] = []
    found = recover(medium, damages.append, thorough=True, log_end=log_end)
    if not damages:
        return Salvage([], found)
    lost = []
    names = medium.list()
    for damage in damages:
        data = b""
        if damage.blob in names:
            data = medium.read(damage.blob, damage.offset, damage.end - damage.offset)
        file = medium.set_aside(f"{damage.blob}-{damage.offset}.bin", data)
        lost.append(Lost(damage, file, _contents_of(damage, data)))
    # Appends of the process before may not be durable, and the new segments depend on them.
    for name in sorted(medium.list().difference(found.foreign)):
        medium.sync(name)
    blob = found.next_blob
    replaced: list[str] = []
    damaged = sorted({damage.blob for damage in damages})
    lost_bodies = frozenset(filter(None, map(bodies_number, damaged)))
    for name in sorted({*damaged, *_referring_to(medium, lost_bodies)}):
        numbers = queue_numbers(name)
        if name in found.unknown or bodies_number(name) is not None:
            replaced.append(name)
        elif numbers is not None:
            _copy_runs(medium, name, queue_name(numbers[0], blob), lost_bodies)
            replaced.append(name)
            blob += 1
    if any(blob_kind(name) in (LOG_KIND, CHECKPOINT_KIND) for name in damaged):
        replaced += sorted(each for each in names if blob_kind(each) in (LOG_KIND, CHECKPOINT_KIND))
        part = _write_state(medium, blob, found, rewrite(found.definitions))
        _write_log(medium, log_name(blob + 1), found, part)
    for name in replaced:
        medium.delete(name)
    # Until the next head, power loss may restore the deleted blobs.
    epoch, data = medium.read_head()
    medium.write_head(epoch, epoch, data)
    return Salvage(lost, recover(medium))


def _referring_to(medium: Medium, bodies: frozenset[int]) -> list[str]:
    """The queue segments that refer to any of these body segments."""
    names = [name for name in medium.list() if bodies and queue_numbers(name) is not None]
    return [name for name in names if _refers(medium, name, bodies)]


def _refers(medium: Medium, name: str, bodies: frozenset[int]) -> bool:
    for record in RecordReader(medium, name):
        if isinstance(record, Record) and record.kind == entries.SHARED_RUN:
            try:
                spans = runs.read_body_spans(record.payload)
            except Damaged:
                continue
            if any(span.blob in bodies for span in spans):
                return True
    return False


def _copy_runs(medium: Medium, name: str, copy: str, lost_bodies: frozenset[int]) -> None:
    """Copy the runs of a queue segment that can be read, with the bodies that are in body segments
    to be deleted."""
    writer = SegmentWriter(medium, copy, QUEUE_KIND)
    for record in RecordReader(medium, name):
        if isinstance(record, Record) and _is_run(record):
            writer.append(*_readable_part(medium, record, lost_bodies))
    writer.sync_and_mark()


def _is_run(record: Record) -> bool:
    try:
        runs.read_run(record.payload, record.kind)
    except Damaged:
        return False
    return True


def _readable_part(
    medium: Medium, record: Record, lost_bodies: frozenset[int]
) -> tuple[int, list[bytes]]:
    """The kind and the payload of a run without the messages whose bodies are lost."""
    if record.kind != entries.SHARED_RUN:
        return record.kind, [record.payload]
    shared = False
    messages = runs.read_run(record.payload, record.kind)
    for at, message in enumerate(messages):
        if message.place is not None:
            try:
                body = read_body(medium, message.place)
            except (Damaged, NoSuchBlob):
                messages[at] = entries.ABSENT
                continue
            if message.place.blob in lost_bodies:
                message.body = body
                message.place = None
            else:
                shared = True
    kind = entries.SHARED_RUN if shared else entries.RUN
    return kind, runs.run(runs.read_run_header(record.payload).first, messages)


def _write_state(
    medium: Medium, number: int, found: Recovery, definitions: list[bytes]
) -> CheckpointPart:
    """Write a checkpoint segment with the definitions, and the state of the queues, and make it
    durable."""
    writer = SegmentWriter(medium, checkpoint_name(number), CHECKPOINT_KIND)
    out = BytesWriter()
    for data in definitions:
        entries.write_definition(out, data)
        if len(out) >= BATCH_BYTES:
            writer.append(entries.STATE, [out.getvalue()])
            out.truncate(0)
    for queue_number, queue in sorted(found.queues.items()):
        entries.write_queue(out, queue_number)
        if queue.delivered_end:
            entries.write_delivered(out, queue_number, queue.delivered_end)
        for first, end in queue.settled.ranges():
            entries.write_settled(out, queue_number, first, end)
        if len(out) >= BATCH_BYTES:
            writer.append(entries.STATE, [out.getvalue()])
            out.truncate(0)
    writer.append(entries.STATE, [out.getvalue()])
    writer.sync_and_mark()
    return CheckpointPart(number, writer.synced_bytes)


def _write_log(medium: Medium, name: str, found: Recovery, part: CheckpointPart) -> None:
    """Write a log segment with the messages that only the log had."""
    queues = sorted(found.queues.items())
    writer = SegmentWriter(medium, name, LOG_KIND)
    count = found.definition_count
    start = SegmentStart(found.next_queue, Checkpoint([part], count, part.number), count, [])
    writer.append(entries.SEGMENT_START, [write_segment_start(start)])
    out = BytesWriter()
    for message, places in _only_in_log(queues):
        numbers = [number for number, _ in places]
        positions = [position for _, position in places]
        for at in range(0, len(places), entries.TARGETS_MAX):
            end = at + entries.TARGETS_MAX
            entries.write_message(out, numbers[at:end], positions[at:end], message)
        if len(out) >= BATCH_BYTES:
            writer.append(entries.BATCH, [out.getvalue()])
            out.truncate(0)
    if len(out):
        writer.append(entries.BATCH, [out.getvalue()])
    writer.sync_and_mark()


def _only_in_log(
    queues: list[tuple[int, RecoveredQueue]],
) -> Iterator[tuple[StoredMessage, list[tuple[int, int]]]]:
    """Each message that only the log has, and its places, once for all queues it is in."""
    places: dict[int, tuple[StoredMessage, list[tuple[int, int]]]] = {}
    for number, queue in queues:
        for item in queue.contents:
            if isinstance(item, LoggedMessages):
                for position, message in enumerate(item.messages, item.first):
                    known = places.setdefault(id(message), (message, []))
                    known[1].append((number, position))
    yield from places.values()


# --- contents of damaged ranges -------------------------------------------------------------


def _contents_of(damage: Damage, data: bytes) -> str:
    """The contents of a damaged range, for the operator: known if it begins with a record whose
    length is right."""
    numbers = queue_numbers(damage.blob)
    if blob_kind(damage.blob) == CHECKPOINT_KIND:
        return "definitions, or settled positions of queues: declare and delete again what is wrong"
    if damage.offset == 0:
        return "all of the log segment" if numbers is None else f"a segment of queue {numbers[0]}"
    if not data:
        return f"{damage.end - damage.offset} bytes that are missing at the end of the file"
    kind, payload = 0, b""
    if len(data) >= RECORD_HEADER_BYTES:
        length, _, kind = RECORD_HEADER.unpack_from(data)
        if length == len(data) - RECORD_HEADER_BYTES:
            payload = data[RECORD_HEADER_BYTES:]
    if kind == MARK_KIND and len(data) == MARK_BYTES:
        return "a mark, to judge by its length and kind: nothing is lost"
    unknown = f"{len(data)} bytes of unknown contents"
    try:
        if numbers is not None and kind == entries.RUN:
            run = runs.read_run_header(payload)
            return (
                f"a run of queue {numbers[0]}: according to its header {run.messages} messages, "
                f"{run.persistent} persistent, from position {run.first}"
            )
        if numbers is None and kind == entries.SEGMENT_START and payload:
            return "the beginning of a log segment: where the checkpoint is"
        if numbers is None and kind == entries.BATCH and payload:
            return _batch_contents_of(entries.read_entries(payload))
    except (Damaged, UnknownFormat):
        return unknown
    return unknown


def _batch_contents_of(found: list[entries.Entry]) -> str:
    counts: dict[str, int] = {}
    for entry in found:
        if entry.kind == entries.MESSAGE:
            for number, _ in entry.queues:
                key = f"messages of queue {number}"
                counts[key] = counts.get(key, 0) + 1
        elif entry.kind == entries.SETTLED:
            key = f"settlements of queue {entry.queues[0][0]}"
            counts[key] = counts.get(key, 0) + entry.end - entry.first
        elif entry.kind == entries.DEFINITION:
            counts["definitions"] = counts.get("definitions", 0) + 1
    parts = ", ".join(f"{count} {what}" for what, count in counts.items())
    return f"one commit, to judge by the bytes that can be read: {parts}"

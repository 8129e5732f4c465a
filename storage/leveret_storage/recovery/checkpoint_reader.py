"""Reading the checkpoint segments that the log names: definitions, and the state of queues.

Their entries are applied in order. A salvage goes on without what is missing or damaged.
"""

from collections.abc import Callable
from typing import NamedTuple

from leveret_storage.errors import Damaged, NoSuchBlob, UnknownFormat
from leveret_storage.format import entries
from leveret_storage.format.entries import (
    STATE_ENTRY_KINDS,
    Checkpoint,
    CheckpointPart,
    Entry,
    StoredDefinition,
)
from leveret_storage.format.record_reader import Damage, Record, RecordReader
from leveret_storage.medium import Medium
from leveret_storage.segments.segment_writer import check_blob_kind, checkpoint_name


class QueueState:
    """What a checkpoint says of a durable queue."""

    def __init__(self) -> None:
        self.settled: list[tuple[int, int]] = []
        """Settled positions, as half-open ranges, some of them possibly twice."""
        self.delivered_end = 0
        """Messages at positions below it may have been delivered."""


class CheckpointState(NamedTuple):
    """What a checkpoint says."""

    definitions: list[StoredDefinition]
    queues: dict[int, QueueState]
    """The durable queues there are, by number."""


def read_checkpoint_segments(
    medium: Medium, checkpoint: Checkpoint, on_damage: Callable[[Damage], None]
) -> CheckpointState:
    """Read what a checkpoint says.

    `on_damage` is called with each damaged range; if it returns, reading goes on behind the range.

    :raises UnknownFormat: for what a newer program wrote.
    :raises StorageError: if it cannot be read.
    """
    state = CheckpointState([], {})
    for part in checkpoint.parts:
        _read_part(medium, part, state, on_damage)
    return state


def check_state_entries(payload: bytes) -> list[Entry]:
    """The entries of a record of a checkpoint segment.

    :raises Damaged: if they are cut, or of a kind that belongs elsewhere.
    :raises UnknownFormat: if a newer program wrote them.
    """
    found = entries.read_entries(payload)
    for entry in found:
        if entry.kind not in STATE_ENTRY_KINDS:
            raise Damaged(f"an entry of kind {entry.kind} in a checkpoint segment")
    return found


def _read_part(
    medium: Medium,
    part: CheckpointPart,
    state: CheckpointState,
    on_damage: Callable[[Damage], None],
) -> None:
    name = checkpoint_name(part.number)
    try:
        reader = RecordReader(medium, name, durable=part.size)
    except NoSuchBlob:
        on_damage(Damage(name, 0, part.size, "the checkpoint segment is missing"))
        return
    check_blob_kind(name, reader.header)
    version = 0 if reader.header is None else reader.header.version
    for record in reader:
        if isinstance(record, Damage):
            on_damage(record)
            continue
        if record.offset >= part.size:
            return
        try:
            _apply(state, record, name, version)
        except Damaged as error:
            on_damage(Damage(name, record.offset, reader.end, str(error)))
        except UnknownFormat as error:
            raise error.at(name, record.offset) from None


def _apply(state: CheckpointState, record: Record, blob: str, version: int) -> None:
    entries.check_record_kind(record.kind, (entries.STATE,), "a checkpoint segment")
    for entry in check_state_entries(record.payload):
        if entry.kind == entries.DEFINITION:
            stored = StoredDefinition(entry.data, version, blob, record.offset)
            state.definitions.append(stored)
            continue
        number = entry.queues[0][0]
        if entry.kind == entries.QUEUE:
            state.queues.setdefault(number, QueueState())
        elif entry.kind == entries.QUEUE_DELETED:
            state.queues.pop(number, None)
        elif number in state.queues:
            if entry.kind == entries.SETTLED:
                state.queues[number].settled.append((entry.first, entry.end))
            else:
                state.queues[number].delivered_end = entry.end

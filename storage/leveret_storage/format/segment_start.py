"""The first record of a log segment, of kind SEGMENT_START.

It has the checkpoint, and what the batches of the segment depend on. In format versions 1 and 2 it
has all definitions and all settled positions itself.
"""

from typing import Final, NamedTuple

from librt.strings import BytesWriter, write_i32_be, write_i64_be
from mypy_extensions import i32

from leveret_storage.format import entries
from leveret_storage.format.entries import Checkpoint, Entry, Reader

LAST_VERSION_WITH_STATE: Final = 2
"""The last format version whose log segments begin with everything."""


class SegmentStart(NamedTuple):
    """The first record of a log segment."""

    next_queue: int
    """Above the number of every queue that ever existed."""
    checkpoint: Checkpoint
    definitions: int
    """How many definitions are in the log segments of format version 3 before this one, but for
    those that are repeated here."""
    repeated: list[Entry]
    """Entries at the end of the segment before that no mark says to be durable."""


class FullState(NamedTuple):
    """The first record of a log segment in format versions 1 and 2: the state of the store."""

    next_queue: int
    """Above the number of every queue that ever existed."""
    definitions: list[bytes]
    queues: list[tuple[int, list[tuple[int, int]]]]
    """Each durable queue's number, and its settled positions as half-open ranges."""
    messages: list[Entry]
    """Messages at the end of the segment before that no mark says to be durable."""


def write_segment_start(start: SegmentStart) -> bytes:
    """The payload of the first record of a log segment."""
    out = BytesWriter()
    write_i32_be(out, i32(start.next_queue))
    entries.write_checkpoint(out, start.checkpoint)
    write_i64_be(out, start.definitions)
    for entry in start.repeated:
        entries.write_entry(out, entry)
    return out.getvalue()


def read_segment_start(payload: bytes) -> SegmentStart:
    """The first record of a log segment.

    :raises Damaged: if it is cut, or has impossible fields.
    :raises UnknownFormat: for a kind or a flag that is not known.
    """
    reader = Reader(payload, 0)
    next_queue = reader.long()
    checkpoint = entries.read_checkpoint(reader)
    definitions = reader.longlong()
    repeated = entries.read_entries(payload, int(reader.at))
    return SegmentStart(next_queue, checkpoint, definitions, repeated)


def read_full_state(payload: bytes) -> FullState:
    """The first record of a log segment in format versions 1 and 2.

    :raises Damaged: if it is cut, or has impossible fields.
    :raises UnknownFormat: for a kind or a flag that is not known.
    """
    reader = Reader(payload, 0)
    next_queue = reader.long()
    definitions = [reader.octets(reader.long()) for _ in range(reader.long())]
    queues = []
    for _ in range(reader.long()):
        number = reader.long()
        ranges = [(reader.longlong(), reader.longlong()) for _ in range(reader.long())]
        queues.append((number, ranges))
    return FullState(next_queue, definitions, queues, entries.read_entries(payload, int(reader.at)))


def repeated_in(payload: bytes, version: int) -> list[Entry]:
    """The entries that the first record of a log segment of a format version repeats.

    :raises StorageError: as the functions above.
    """
    if version <= LAST_VERSION_WITH_STATE:
        return read_full_state(payload).messages
    return read_segment_start(payload).repeated

"""The payloads of records of the write-ahead log: batches and checkpoints.

A batch is one group commit, a sequence of entries, so that it is durable as a whole or not at all.
FORMAT.md describes it byte for byte. Runs, whose messages have the same bytes, are in runs.py.
"""

from typing import Final, NamedTuple

from librt.strings import (
    BytesWriter,
    read_i16_be,
    read_i32_be,
    read_i64_be,
    write_i16_be,
    write_i32_be,
    write_i64_be,
)
from mypy_extensions import i16, i32, i64, mypyc_attr, u8

from leveret_storage.errors import Damaged, UnknownFormat, not_known

MESSAGE: Final = 1
SETTLED: Final = 2
DEFINITION: Final = 3
QUEUE_DELETED: Final = 4
QUEUE: Final = 5
CHECKPOINT_ADVANCED: Final = 6
DELIVERED: Final = 7
TRANSACTION: Final = 8
"""Kinds of entries."""

PART_BEGUN: Final = 1
PART_ENDED: Final = 2
COMMITTED: Final = 3
"""What the entry of a transaction says: a part of it begins, to which the entries behind it belong;
the part ends; the transaction is committed, so that all its parts count."""

BATCH: Final = 16
SEGMENT_START: Final = 17
RUN: Final = 18
STATE: Final = 19
BODY: Final = 20
SHARED_RUN: Final = 21
"""Kinds of records."""

RECORD_KINDS: Final = (BATCH, SEGMENT_START, RUN, STATE, BODY, SHARED_RUN)

LOG_KINDS: Final = (BATCH, SEGMENT_START)
"""Kinds of records of a log segment."""

RUN_KINDS: Final = (RUN, SHARED_RUN)
"""Kinds of records of a queue segment."""

STATE_ENTRY_KINDS: Final = (SETTLED, DEFINITION, QUEUE_DELETED, QUEUE, DELIVERED)
"""Kinds of entries in a checkpoint segment."""

PERSISTENT: Final = 1
TIMED: Final = 2
LEFT_OUT: Final = 4
ELSEWHERE: Final = 8
FLAGS: Final = PERSISTENT | TIMED | LEFT_OUT
"""Flags of a message: it is persistent; it has the time at which it expires; it is left out of its
run, so that nothing else follows; its body is in a body segment, which only a shared run says."""


REFERRED_BYTES: Final = 4096
"""Bytes of a body from which on it is written from where it is, and not copied: about here a copy
costs more than another part of a gathering write."""


TARGETS_MAX: Final = 0x7FFF
"""Queues that one entry can name. A message to more queues has several entries."""


@mypyc_attr(acyclic=True)
class BodyPlace:
    """Where the body of a message is that several queues hold: its record in a body segment."""

    def __init__(self, blob: i64, offset: i64, size: i64) -> None:
        self.blob = blob
        """The number of the body segment; 0 while the body is in none."""
        self.offset = offset
        """Where its record begins; -1 until it is written."""
        self.size = size
        """Bytes of the body."""


@mypyc_attr(acyclic=True)
class StoredMessage:
    """A message in the store: three byte strings without a meaning for the store.

    Times are milliseconds since 1970, not negative.
    """

    def __init__(
        self,
        route: bytes,
        header: bytes,
        body: bytes,
        persistent: bool,
        arrived: i64 = 0,
        expires_at: i64 = 0,
    ) -> None:
        self.route = route
        self.header = header
        self.body = body
        self.persistent = persistent
        self.arrived = arrived
        """When it came into its queues."""
        self.expires_at = expires_at
        """When it expires; 0 is never."""
        self.place: BodyPlace | None = None
        """Where its body is written once for all runs that it is in; None if each run has it."""

    def share(self) -> None:
        """Have its body written once, however many runs it is in."""
        if self.place is None:
            self.place = BodyPlace(0, -1, len(self.body))

    def body_bytes(self) -> int:
        """Bytes of its body, in memory or not."""
        place = self.place
        return len(self.body) if place is None else int(place.size)


ABSENT: Final = StoredMessage(b"", b"", b"", False)
"""Stands in a run for a message that was settled and is left out."""


class StoredDefinition(NamedTuple):
    """A definition as it was read: bytes that the owner of the store decodes, and their place."""

    data: bytes
    version: int
    """The format version of the blob, by which the owner decodes it."""
    blob: str
    offset: int
    """Where the record that has it begins."""


class Entry(NamedTuple):
    """One entry of a batch. Which fields have a meaning depends on the kind."""

    kind: int
    queues: list[tuple[int, int]]
    """MESSAGE: each queue and its position there. SETTLED and QUEUE...: the queue, and 0."""
    first: int = 0
    end: int = 0
    """SETTLED: the range of positions, half open. DELIVERED: `end` is that of the positions whose
    messages may have been delivered. TRANSACTION: `first` is what it says."""
    message: StoredMessage | None = None
    data: bytes = b""
    """DEFINITION: its bytes."""
    checkpoint: "Checkpoint | None" = None
    """CHECKPOINT_ADVANCED: the checkpoint."""
    version: int = 0
    """DEFINITION: the format version in which it was read; 0 if that is not known."""


class CheckpointPart(NamedTuple):
    """The beginning of a checkpoint segment."""

    number: int
    """The number of its blob."""
    size: int
    """Bytes of it that belong to the checkpoint."""


class Checkpoint(NamedTuple):
    """Where the definitions and the settled positions are that the log need not have any more."""

    parts: list[CheckpointPart]
    """Read in this order. None: the log has all there is."""
    definitions: int
    """How many definitions of the log are in them: the first ones, counted over all segments of
    format version 3, deleted ones included."""
    log_segment: int
    """The number of the last log segment of which all but the messages is in them."""


NO_CHECKPOINT: Final = Checkpoint([], 0, 0)
"""The log has everything."""


def check_record_kind(kind: int, known: tuple[int, ...], where: str) -> None:
    """Check that a record is of one of the kinds that belong where it is.

    :raises Damaged: if it is of a kind that belongs elsewhere.
    :raises UnknownFormat: if its kind is not known at all.
    """
    if kind in known:
        return
    if kind in RECORD_KINDS:
        raise Damaged(f"a record of kind {kind} in {where}")
    raise UnknownFormat(not_known(f"a record of kind {kind}"))


def begin_message(out: BytesWriter, places: i64) -> None:
    """Begin the entry of a message. `places` calls of `write_place` follow, then `write_stored`."""
    out.append(MESSAGE)
    write_i16_be(out, i16(places))


def write_place(out: BytesWriter, queue: i64, position: i64) -> None:
    """Write one queue of a message, and its position there."""
    write_i32_be(out, i32(queue))
    write_i64_be(out, position)


def write_message(
    out: BytesWriter, queues: list[int], positions: list[int], message: StoredMessage
) -> None:
    """Write the entry of a message that went to `queues`, at `positions`."""
    begin_message(out, len(queues))
    at: i64 = 0
    while at < len(queues):
        write_place(out, queues[at], positions[at])
        at += 1
    write_stored(out, message)


def write_settled(out: BytesWriter, queue: i64, first: i64, end: i64) -> None:
    """Write the entry of a range of settled positions."""
    out.append(SETTLED)
    write_i32_be(out, i32(queue))
    write_i64_be(out, first)
    write_i64_be(out, end)


def write_definition(out: BytesWriter, data: bytes) -> None:
    """Write the entry of a definition."""
    out.append(DEFINITION)
    write_i32_be(out, i32(len(data)))
    out.write(data)


def write_queue(out: BytesWriter, queue: i64) -> None:
    """Write the entry of a new queue."""
    out.append(QUEUE)
    write_i32_be(out, i32(queue))


def write_queue_deleted(out: BytesWriter, queue: i64) -> None:
    """Write the entry of a deleted queue."""
    out.append(QUEUE_DELETED)
    write_i32_be(out, i32(queue))


def write_delivered(out: BytesWriter, queue: i64, end: i64) -> None:
    """Write the entry of the positions below `end`, whose messages may have been delivered."""
    out.append(DELIVERED)
    write_i32_be(out, i32(queue))
    write_i64_be(out, end)


def write_checkpoint_advanced(out: BytesWriter, checkpoint: Checkpoint) -> None:
    """Write the entry of a checkpoint that replaces the one before."""
    out.append(CHECKPOINT_ADVANCED)
    write_checkpoint(out, checkpoint)


def write_checkpoint(out: BytesWriter, checkpoint: Checkpoint) -> None:
    """Write a checkpoint."""
    write_i32_be(out, i32(len(checkpoint.parts)))
    for part in checkpoint.parts:
        write_i64_be(out, part.number)
        write_i64_be(out, part.size)
    write_i64_be(out, checkpoint.definitions)
    write_i64_be(out, checkpoint.log_segment)


def write_transaction(out: BytesWriter, step: i64) -> None:
    """Write the entry of a transaction: PART_BEGUN, PART_ENDED or COMMITTED."""
    out.append(TRANSACTION)
    out.append(u8(step))


def write_entry(out: BytesWriter, entry: Entry) -> None:
    """Write an entry of any kind."""
    message, queues = entry.message, entry.queues
    if message is not None:
        write_message(out, [each for each, _ in queues], [at for _, at in queues], message)
    elif entry.kind == DEFINITION:
        write_definition(out, entry.data)
    elif entry.checkpoint is not None:
        write_checkpoint_advanced(out, entry.checkpoint)
    elif entry.kind == SETTLED:
        write_settled(out, queues[0][0], entry.first, entry.end)
    elif entry.kind == DELIVERED:
        write_delivered(out, queues[0][0], entry.end)
    elif entry.kind == TRANSACTION:
        write_transaction(out, entry.first)
    elif entry.kind == QUEUE:
        write_queue(out, queues[0][0])
    else:
        write_queue_deleted(out, queues[0][0])


def write_stored(out: BytesWriter, message: StoredMessage) -> None:
    """Write a message, without its places."""
    write_stored_head(out, message)
    out.write(message.body)


def write_stored_head(out: BytesWriter, message: StoredMessage) -> None:
    """Write a message up to its body, which has to follow."""
    _write_head(out, message, 0, len(message.body))


def _write_head(out: BytesWriter, message: StoredMessage, flags: i64, body_bytes: i64) -> None:
    route, header, expires_at = message.route, message.header, message.expires_at
    if message.persistent:
        flags |= PERSISTENT
    out.append(u8(flags if expires_at == 0 else flags | TIMED))
    write_i64_be(out, message.arrived)
    if expires_at != 0:
        write_i64_be(out, expires_at)
    write_i16_be(out, i16(len(route)))
    write_i32_be(out, i32(len(header)))
    write_i32_be(out, i32(body_bytes))
    out.write(route)
    out.write(header)


def read_entries(payload: bytes, at: int = 0) -> list[Entry]:
    """The entries of a batch, in order, from an offset in it.

    :raises Damaged: if one is cut, or has impossible fields.
    :raises UnknownFormat: for a kind or a flag that is not known.
    """
    entries: list[Entry] = []
    reader = Reader(payload, at)
    while reader.at < len(payload):
        kind = reader.octet()
        if kind == MESSAGE:
            queues = [(reader.long(), reader.longlong()) for _ in range(reader.short())]
            entries.append(Entry(kind, queues, message=reader.message()))
        else:
            entries.append(read_other(reader, kind))
    return entries


def read_other(reader: "Reader", kind: int) -> Entry:
    """An entry other than a message, whose kind was read already.

    :raises Damaged: if it is cut.
    :raises UnknownFormat: if its kind is not known.
    """
    if kind == SETTLED:
        queue = reader.long()
        return Entry(kind, [(queue, 0)], reader.longlong(), reader.longlong())
    if kind == DEFINITION:
        return Entry(kind, [], data=reader.octets(reader.long()))
    if kind in (QUEUE, QUEUE_DELETED):
        return Entry(kind, [(reader.long(), 0)])
    if kind == DELIVERED:
        return Entry(kind, [(reader.long(), 0)], 0, reader.longlong())
    if kind == CHECKPOINT_ADVANCED:
        return Entry(kind, [], checkpoint=read_checkpoint(reader))
    if kind == TRANSACTION:
        step = reader.octet()
        if step not in (PART_BEGUN, PART_ENDED, COMMITTED):
            raise UnknownFormat(not_known(f"a transaction with {step}"))
        return Entry(kind, [], step)
    raise UnknownFormat(not_known(f"an entry of kind {kind}"))


def read_checkpoint(reader: "Reader") -> Checkpoint:
    """A checkpoint.

    :raises Damaged: if it is cut.
    """
    parts = [CheckpointPart(reader.longlong(), reader.longlong()) for _ in range(reader.long())]
    return Checkpoint(parts, reader.longlong(), reader.longlong())


class Reader:
    """Reads one field after the other. Every method raises Damaged where the data ends."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at: i64 = at
        self.shared = False
        """Whether bodies may be elsewhere: in a shared run."""

    def _advance(self, size: i64) -> i64:
        at = self.at
        if size < 0 or at + size > len(self.data):
            raise Damaged("a field is longer than the bytes that remain")
        self.at = at + size
        return at

    def octet(self) -> int:
        """One octet."""
        return self.data[self._advance(1)]

    def short(self) -> int:
        """Two octets, from 0 to 32,767."""
        return int(read_i16_be(self.data, self._advance(2)))

    def long(self) -> int:
        """Four octets, from 0 up."""
        return int(read_i32_be(self.data, self._advance(4)))

    def longlong(self) -> int:
        """Eight octets, from 0 up."""
        return int(read_i64_be(self.data, self._advance(8)))

    def octets(self, size: int) -> bytes:
        """`size` octets."""
        at = self._advance(size)
        return self.data[at : at + size]

    def message(self) -> StoredMessage:
        """A message; ABSENT for one that is left out."""
        flags = self._flags()
        if flags & LEFT_OUT:
            return ABSENT
        arrived = self.longlong()
        expires_at = self.longlong() if flags & TIMED else 0
        route, header, body = self.short(), self.long(), self.long()
        message = StoredMessage(
            self.octets(route),
            self.octets(header),
            b"" if flags & ELSEWHERE else self.octets(body),
            flags & PERSISTENT != 0,
            arrived,
            expires_at,
        )
        if flags & ELSEWHERE:
            blob = self.longlong()
            message.place = BodyPlace(blob, self.longlong(), body)
        return message

    def skip_message(self) -> int:
        """Skip a message, and return its flags."""
        flags = self._flags()
        if flags & LEFT_OUT:
            return flags
        self._advance(16 if flags & TIMED else 8)
        route, header, body = self.short(), self.long(), self.long()
        self._advance(route)
        self._advance(header)
        self._advance(16 if flags & ELSEWHERE else body)
        return flags

    def _flags(self) -> int:
        flags = self.octet()
        if flags > LEFT_OUT:
            known = FLAGS | ELSEWHERE if self.shared else FLAGS
            if flags & ~known == 0 and flags & LEFT_OUT == 0:
                return flags
            if flags & ~known:
                raise UnknownFormat(not_known(f"a message with flags {flags:#x}"))
            raise Damaged(f"no flags of a message: {flags}")
        return flags


def write_elsewhere(out: BytesWriter, message: StoredMessage, place: BodyPlace) -> None:
    """Write a message whose body is in a body segment."""
    _write_head(out, message, ELSEWHERE, place.size)
    write_i64_be(out, place.blob)
    write_i64_be(out, place.offset)

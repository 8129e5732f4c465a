"""The blobs of a store: their names, and appending records to them."""

from collections.abc import Callable
from typing import Final

from leveret_storage.errors import Damaged, StorageError, UnknownFormat, not_known
from leveret_storage.format.crc import crc32
from leveret_storage.format.entries import BODY
from leveret_storage.format.file_header import (
    HEADER_BYTES_MAX,
    KIND_OFFSET,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    BlobHeader,
    crc_seed,
    decode_blob_header,
    encode_blob_header,
)
from leveret_storage.format.record_reader import Damage, describe
from leveret_storage.format.record_writer import RecordWriter, encode_parts, new_salt
from leveret_storage.medium import Medium
from leveret_storage.segments.appends_in_flight import AppendsInFlight

LOG_KIND: Final = 2
QUEUE_KIND: Final = 3
CHECKPOINT_KIND: Final = 4
BODIES_KIND: Final = 6
"""Kinds of blobs: a segment of the commit log, a segment of a queue, a checkpoint
segment, a body segment."""

_KINDS: Final = (LOG_KIND, QUEUE_KIND, CHECKPOINT_KIND, BODIES_KIND)
_LOG_PREFIX: Final = "log-"
_QUEUE_PREFIX: Final = "queue-"
_BODIES_PREFIX: Final = "bodies-"
_CHECKPOINT_PREFIX: Final = "checkpoint-"


def log_name(number: int) -> str:
    """The name of a log segment; numbers are used once."""
    return f"{_LOG_PREFIX}{number:012d}"


def queue_name(queue: int, number: int) -> str:
    """The name of a queue segment; numbers are used once."""
    return f"{_QUEUE_PREFIX}{queue:010d}-{number:012d}"


def bodies_name(number: int) -> str:
    """The name of a body segment; numbers are used once."""
    return f"{_BODIES_PREFIX}{number:012d}"


def checkpoint_name(number: int) -> str:
    """The name of a checkpoint segment; numbers are used once."""
    return f"{_CHECKPOINT_PREFIX}{number:012d}"


def bodies_number(name: str) -> int | None:
    """The number in the name of a body segment, or None for any other blob."""
    return _number_behind(_BODIES_PREFIX, name)


def log_number(name: str) -> int | None:
    """The number in the name of a log segment, or None for any other blob."""
    return _number_behind(_LOG_PREFIX, name)


def checkpoint_number(name: str) -> int | None:
    """The number in the name of a checkpoint segment, or None for any other blob."""
    return _number_behind(_CHECKPOINT_PREFIX, name)


def queue_numbers(name: str) -> tuple[int, int] | None:
    """Queue and number in the name of a queue segment, or None for any other blob."""
    return _numbers_behind(_QUEUE_PREFIX, name)


def blob_kind(name: str) -> int:
    """The kind of a blob that its name says; 0 for none that a store writes."""
    if log_number(name) is not None:
        return LOG_KIND
    if queue_numbers(name) is not None:
        return QUEUE_KIND
    if checkpoint_number(name) is not None:
        return CHECKPOINT_KIND
    return 0 if bodies_number(name) is None else BODIES_KIND


def _number_behind(prefix: str, name: str) -> int | None:
    digits = name.removeprefix(prefix)
    return int(digits) if digits != name and digits.isdigit() else None


def _numbers_behind(prefix: str, name: str) -> tuple[int, int] | None:
    queue, dash, number = name.removeprefix(prefix).partition("-")
    if name.startswith(prefix) and dash and queue.isdigit() and number.isdigit():
        return int(queue), int(number)
    return None


def check_blob_kind(name: str, header: BlobHeader | None) -> None:
    """Check that a blob whose header can be read is of a kind that this program knows.

    :raises UnknownFormat: if it is not.
    """
    if header is not None and header.kind not in _KINDS:
        raise UnknownFormat(not_known(f"a blob of kind {header.kind}")).at(name, KIND_OFFSET)


class SegmentWriter:
    """Appends records to a blob, which it creates with the first. Used by the writing executor.

    An append for which the medium was full was not made, and the same call may be tried again.
    """

    def __init__(self, medium: Medium, name: str, kind: int) -> None:
        self.name = name
        self.medium = medium
        self._kind = kind
        self._created = False
        self.synced_bytes = 0
        """Bytes of the blob that a sync has covered, as far as calls of this class say."""
        self._salt = new_salt()
        self._seed: int | None = None
        """That of the blob's records; None until it is created, or was read."""
        self._deleted = False
        self._records: RecordWriter | None = None
        self._to_append: list[bytes] = []
        """Parts that the medium has not taken yet: the next append begins with them."""
        self._marked_size = 0
        """Bytes of the blob when a mark was put at its end last."""
        self._in_flight = AppendsInFlight()
        self._needed: list[SegmentWriter] = []
        """Blobs to be synced before a mark says that this one is durable."""
        self._marked = 0
        """Bytes that a mark calls durable on the strength of appends that were in flight."""

    @property
    def durable_bytes(self) -> int:
        """Bytes of the blob that are known to be durable, from its beginning on."""
        return max(self.synced_bytes, self._in_flight.durable)

    def encode(self, kind: int, parts: list[bytes]) -> list[bytes]:
        """A record for this blob, in parts, from any thread. The parts of its payload are not
        copied."""
        return encode_parts(kind, parts, crc_seed(self._salt))

    def append(self, kind: int, parts: list[bytes]) -> tuple[int, int]:
        """Write a record, its payload given in parts.

        :returns: its offset, and its bytes.
        :raises StorageError: MediumFull, or MediumFailed.
        """
        return self.append_encoded(self.encode(kind, parts))

    def append_body(self, body: bytes) -> int:
        """Write a body to a body segment, and return the offset of its record.

        :raises StorageError: MediumFull, or MediumFailed.
        """
        return self.append(BODY, [body])[0]

    def needs(self, other: "SegmentWriter") -> None:
        """What is written to this blob refers to what was written to another one: a mark here has
        to say that both are durable."""
        if other not in self._needed:
            self._needed.append(other)

    def append_encoded(self, record: list[bytes]) -> tuple[int, int]:
        """Write a record made by `encode`, as `append` does."""
        records = self._add(record)
        self.medium.append(self.name, self._to_append)
        self._to_append = []
        size = sum(map(len, record))
        return records.taken - size, size

    def append_synced(self, record: list[bytes]) -> None:
        """Write a record made by `encode`, and make durable all that was appended.

        :raises StorageError: MediumFull, or MediumFailed.
        """
        records = self._add(record)
        self.medium.append_synced(self.name, self._to_append)
        self._to_append = []
        self.synced_bytes = records.taken
        records.mark(records.taken)

    def append_synced_later(
        self, record: list[bytes], answer: Callable[[StorageError | None], None]
    ) -> None:
        """Begin to write a record made by `encode`.

        `answer` is called from any thread, once: with None when the record is durable, which says
        nothing of those before it, or with the error.

        :raises StorageError: MediumFull, or MediumFailed: `answer` is not called.
        """
        answered = self._begin(record, answer)
        try:
            self.medium.append_synced_later(self.name, self._to_append, answered)
        except StorageError:
            self._in_flight.forget_last()
            raise
        self._to_append = []

    def append_synced_at_once(
        self, record: list[bytes], answer: Callable[[StorageError | None], None]
    ) -> bool:
        """Do the same if the medium waits for nothing; whether it was done. If not, the next call
        has to be `append_synced_later` of the same record.

        By the thread that submits jobs to the writing executor, while that runs none.
        """
        if self._records is None:
            return False
        answered = self._begin(record, answer)
        if not self.medium.append_synced_at_once(self.name, self._to_append, answered):
            self._in_flight.forget_last()
            return False
        self._to_append = []
        return True

    def _begin(
        self, record: list[bytes], answer: Callable[[StorageError | None], None]
    ) -> Callable[[StorageError | None], None]:
        """Make a record the next bytes to append, in flight, with a mark in front of it that says
        what is durable.

        :returns: what the medium has to call with the answer.
        """
        records = self._records
        if records is not None and not self._to_append and self._in_flight.durable > self._marked:
            self._marked = self._in_flight.durable
            records.mark(self._marked)
        records = self._add(record)
        in_flight, end = self._in_flight, records.taken

        def answered(error: StorageError | None) -> None:
            if error is None:
                in_flight.answer(end)
            answer(error)

        in_flight.begin(end)
        return answered

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        """The kind and the payload of the record of `size` bytes at `offset`, from any thread.

        :raises Damaged: if it is not there as it was written.
        :raises StorageError: if it cannot be read.
        """
        seed = self._seed
        if seed is None:
            # The blob of another owner has its salt.
            seed = self._seed = _read_seed(self.medium, self.name)
        return _checked_record(self.medium, self.name, offset, size, seed)

    def await_appends(self) -> None:
        """Wait until all that was begun by `append_synced_later` is durable.

        :raises StorageError: MediumFailed.
        """
        if self._in_flight.any():
            self.medium.sync(self.name)

    def _add(self, record: list[bytes]) -> RecordWriter:
        """Make the record the next bytes to append, unless an attempt that was refused did."""
        records = self._records or self._begin_blob()
        if not self._to_append:
            records.add_encoded(record)
            self._to_append = records.take_parts()
        return records

    def sync(self) -> None:
        """Make durable all that was appended; a mark says so in front of the next record."""
        self._sync_needed()
        records = self._records
        if records is not None:
            self.medium.sync(self.name)
            if not self._to_append:
                self.synced_bytes = records.taken
            if not records.waiting:
                records.mark(records.taken)

    def _sync_needed(self) -> None:
        while self._needed:
            needed = self._needed[-1]
            records = needed._records
            if records is not None and needed.synced_bytes < records.taken and not needed._deleted:
                needed.sync()
            self._needed.pop()

    def sync_and_mark(self) -> None:
        """Make durable all that was appended, and put a mark at the end: no record may ever follow,
        and without a mark behind it later damage would look like a torn end."""
        records = self._records
        if records is None or not self.is_unmarked():
            return
        if not self._to_append:
            if self.synced_bytes < records.taken or self._needed:
                self.sync()
            self._to_append = records.take_parts()
        self.medium.append(self.name, self._to_append)
        self._to_append = []
        self._marked_size = records.taken

    def is_unmarked(self) -> bool:
        """Whether `sync_and_mark` has anything to do."""
        records = self._records
        return records is not None and records.taken != self._marked_size and not self._deleted

    def delete(self) -> None:
        """Delete the blob, to which nothing may be appended any more."""
        self._deleted = True
        self.medium.delete(self.name)

    def _begin_blob(self) -> RecordWriter:
        header = encode_blob_header(self._kind, self._salt, b"")
        if not self._created:
            self.medium.create(self.name)
            self._created = True
        self.medium.append(self.name, header)
        self._records = RecordWriter(self._salt, len(header))
        self._seed = crc_seed(self._salt)
        return self._records


def read_record(medium: Medium, name: str, offset: int, size: int) -> tuple[int, bytes]:
    """The kind and the payload of the record of `size` bytes at `offset`.

    :raises Damaged: if it is not there as it was written.
    :raises StorageError: if it cannot be read.
    """
    return _checked_record(medium, name, offset, size, _read_seed(medium, name))


def _read_seed(medium: Medium, name: str) -> int:
    return crc_seed(decode_blob_header(medium.read(name, 0, HEADER_BYTES_MAX)).salt)


def _checked_record(
    medium: Medium, name: str, offset: int, size: int, seed: int
) -> tuple[int, bytes]:
    data = medium.read(name, offset, size)
    if len(data) == size:
        length, crc, kind = RECORD_HEADER.unpack_from(data)
        payload = data[RECORD_HEADER_BYTES:]
        if length == len(payload) and crc == crc32(payload, crc32(kind.to_bytes(1, "big"), seed)):
            return kind, payload
    raise Damaged(describe(Damage(name, offset, offset + size, "a wrong CRC")))

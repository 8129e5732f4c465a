"""Reads the records of a blob, and reports exactly where and how one is invalid.

A blob is read in large blocks, from its header to the end that it has when reading begins. At an
offset without a valid record (it is cut, has an impossible length, or a wrong CRC) there are three
cases:

- **The end**: zeros up to the end of the file, and nothing proves that this offset was durable. The
  rest is preallocated.
- **Torn**: nothing proves that a sync covered this offset. The rest is what a crash leaves of the
  last appends. Reading ends, `torn` has the offset and the reason, and the rest is ignored, records
  that are valid included: none of it was confirmed.
- **Damaged**: a mark further on, or the caller, says that a sync had covered this offset. The
  reader returns a Damage with the range that cannot be read, and goes on behind it. The caller
  decides what to do.

Reading goes on at the record to which the bad one's length points, if that is valid, or at the next
mark, whichever comes first; else the range ends with the blob. Marks are found by the blob's salt,
so the search takes time in proportion to the bytes, and no payload can be taken for a mark.

A blob whose header cannot be read is torn or damaged as a whole, by the same rule. Payloads are not
looked into: that is for the callers (`entries.py`).
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from leveret_storage.errors import Damaged, UnknownFormat
from leveret_storage.format.crc import crc32
from leveret_storage.format.file_header import (
    HEADER_BYTES_MAX,
    MARK_BYTES,
    MARK_KIND,
    MARK_PAYLOAD,
    PAYLOAD_BYTES_MAX,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    BlobHeader,
    crc_seed,
    decode_blob_header,
)
from leveret_storage.medium import Medium

BLOCK_BYTES: Final = 1024 * 1024
"""Bytes of one read: on disks, most of the speed of larger ones. It bounds the buffer of a reader,
unless a record is larger itself."""

MARK_OF_ANY_SALT: Final = re.compile(
    MARK_PAYLOAD.size.to_bytes(4, "big") + b"(?=[\x00-\xff]{4}" + bytes([MARK_KIND]) + b")"
)
"""Where a mark may be in a blob whose salt is not known: its length, and its kind behind the
CRC."""

ZEROS: Final = "zeros"
"""The reason where nothing was written, or what was written is lost."""


class Record(NamedTuple):
    """A valid record that is not a mark."""

    offset: int
    kind: int
    payload: bytes


class Damage(NamedTuple):
    """Bytes of a blob that were durable and cannot be read: from `offset` up to, without, `end`."""

    blob: str
    offset: int
    end: int
    why: str


def describe(damage: Damage) -> str:
    """Where damage is and what an operator can do, as one line."""
    return (
        f"{damage.blob}: damaged from offset {damage.offset} to {damage.end}: {damage.why}; "
        "start with --salvage to set this range aside and start without it"
    )


class Torn(NamedTuple):
    """Where the durable part of a blob ends before its bytes do."""

    blob: str
    offset: int
    why: str


class _Mark(NamedTuple):
    offset: int
    durable: int


class RecordReader:
    """Iterates over Records and Damages, in one thread. `torn` and `end` are set when it has ended.

    `durable` is how many bytes of the blob the caller knows to have been synced. `start` is the
    offset of the first record to read.

    :raises NoSuchBlob: when made.
    :raises UnknownFormat: when made, for a blob of a version that cannot be read.
    :raises ReadFailed: when made, and when iterated.
    """

    def __init__(
        self,
        medium: Medium,
        blob: str,
        *,
        start: int = 0,
        durable: int = 0,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._medium: Final = medium
        self._blob: Final = blob
        self._block_bytes: Final = block_bytes
        self._size: Final = medium.size(blob)
        self._durable = durable
        self._buffer = b""
        self._buffer_offset = 0
        # The first mark behind all offsets from the one to the other, the mark's own excepted.
        self._mark: _Mark | None = None
        self._mark_is_behind = self._size
        header, self._header_problem = self._read_header()
        self.header: Final = header
        """The header of the blob; None if it cannot be read."""
        self.torn: Torn | None = None
        """Where reading ended before the blob's end, once it ended."""
        self.end = max(start, header.size) if header is not None else 0
        """Where the next record begins: everything before was returned."""
        salt = header.salt if header is not None else b""
        self._salt: Final = salt
        self._seeds: Final = [crc32(kind.to_bytes(1, "big"), crc_seed(salt)) for kind in range(256)]

    @property
    def durable(self) -> int:
        """How many bytes of the blob are known to have been synced, from what was read so far."""
        return self._durable

    def __iter__(self) -> Iterator[Record | Damage]:
        return self

    def __next__(self) -> Record | Damage:
        if self._header_problem:
            return self._bad_header()
        while self.torn is None and self.end < self._size:
            problem = self._problem_at(self.end)
            if problem:
                return self._bad_record(problem)
            offset = self.end
            at = offset - self._buffer_offset
            length, _, kind = RECORD_HEADER.unpack_from(self._buffer, at)
            payload = self._buffer[at + RECORD_HEADER_BYTES : at + RECORD_HEADER_BYTES + length]
            self.end = offset + RECORD_HEADER_BYTES + length
            if kind != MARK_KIND:
                return Record(offset, kind, payload)
            self._durable = max(self._durable, MARK_PAYLOAD.unpack(payload)[1])
        if self.torn is None and self._durable > self._size:
            missing, self._durable = self._durable, self._size
            return Damage(self._blob, self._size, missing, "the end of the blob is missing")
        raise StopIteration

    # --- one record -------------------------------------------------------------------------

    def _problem_at(self, offset: int) -> str:
        """Why there is no valid record at `offset`; "" if there is one, which is in the buffer
        then."""
        remaining = self._size - offset
        if remaining < RECORD_HEADER_BYTES:
            return f"a record cut after {remaining} bytes"
        self._fill(offset, RECORD_HEADER_BYTES)
        at = offset - self._buffer_offset
        length, crc, kind = RECORD_HEADER.unpack_from(self._buffer, at)
        if length > PAYLOAD_BYTES_MAX:
            return f"an impossible length: {length}"
        if RECORD_HEADER_BYTES + length > remaining:
            return f"a record of {RECORD_HEADER_BYTES + length} bytes cut after {remaining}"
        self._fill(offset, RECORD_HEADER_BYTES + length)
        at = offset - self._buffer_offset + RECORD_HEADER_BYTES
        payload = self._buffer[at : at + length]
        if length == crc == kind == 0:
            return ZEROS
        if crc32(payload, self._seeds[kind]) != crc:
            return "a wrong CRC"
        if kind == 0:
            return "a record of kind 0"
        if kind == MARK_KIND and (
            length != MARK_PAYLOAD.size or MARK_PAYLOAD.unpack(payload)[1] > offset
        ):
            return "an impossible mark"
        return ""

    def _fill(self, offset: int, size: int) -> None:
        """Read into the buffer until it has these bytes, which the blob has."""
        have = self._buffer_offset + len(self._buffer)
        if self._buffer_offset <= offset and offset + size <= have:
            return
        buffered = b""
        if self._buffer_offset <= offset < have:
            buffered = self._buffer[offset - self._buffer_offset :]
        wanted = min(max(size, self._block_bytes), self._size - offset) - len(buffered)
        self._buffer = buffered + self._medium.read(self._blob, offset + len(buffered), wanted)
        self._buffer_offset = offset

    # --- an offset without a valid record ---------------------------------------------------

    def _bad_record(self, why: str) -> Damage:
        """The damage at `end`, where there is no valid record.

        :raises StopIteration: if the bytes are torn, or nothing was written there: reading ends.
        """
        offset = self.end
        if not self._was_durable(offset):
            if why == ZEROS and self._only_zeros_from(offset):
                raise StopIteration
            self.torn = Torn(self._blob, offset, why)
            raise StopIteration
        self.end = self._resume(offset)
        return Damage(self._blob, offset, self.end, why)

    def _was_durable(self, offset: int) -> bool:
        """Whether a mark, or the caller, proves that a sync covered the byte at `offset`."""
        searched = offset
        while self._durable <= offset:
            mark = self._next_mark(searched)
            if mark is None:
                return False
            self._durable = max(self._durable, mark.durable)
            searched = mark.offset
        return True

    def _only_zeros_from(self, offset: int) -> bool:
        """Whether the file is only preallocated from `offset` on."""
        while offset < self._size:
            block = self._medium.read(
                self._blob, offset, min(self._block_bytes, self._size - offset)
            )
            if block.strip(b"\0") or not block:
                return False
            offset += len(block)
        return True

    def _resume(self, bad: int) -> int:
        """Where reading goes on behind a bad record."""
        mark = self._next_mark(bad)
        at = mark.offset if mark is not None else self._size
        if self._size - bad >= RECORD_HEADER_BYTES:
            self._fill(bad, RECORD_HEADER_BYTES)
            length = RECORD_HEADER.unpack_from(self._buffer, bad - self._buffer_offset)[0]
            following = bad + RECORD_HEADER_BYTES + length
            if following < at and not self._problem_at(following):
                return int(following)
        return at

    def _next_mark(self, offset: int) -> _Mark | None:
        """The first valid mark behind `offset`. The last one found is cached."""
        found_at = self._mark.offset if self._mark is not None else self._size
        if not self._mark_is_behind <= offset < found_at:
            self._mark = self._search_mark(offset + 1)
            self._mark_is_behind = offset
        return self._mark

    def _search_mark(self, start: int) -> _Mark | None:
        """The first valid mark at or behind `start`; of any salt if the blob's is not known."""
        pattern, before = MARK_OF_ANY_SALT, 0
        if self._salt:
            # Only the marks of this blob have these bytes, behind their CRC.
            pattern = re.compile(re.escape(bytes([MARK_KIND]) + self._salt))
            before = RECORD_HEADER_BYTES - 1
        block_bytes = max(self._block_bytes, 2 * MARK_BYTES)
        while self._size - start >= MARK_BYTES:
            block = self._medium.read(self._blob, start, min(block_bytes, self._size - start))
            for found in pattern.finditer(block):
                mark = self._mark_at(block, found.start() - before, start)
                if mark is not None:
                    return mark
            # The last bytes may be the beginning of a mark.
            start += max(1, len(block) - MARK_BYTES + 1)
        return None

    def _mark_at(self, block: bytes, at: int, block_offset: int) -> _Mark | None:
        """The mark at an index of a block, if a whole and valid one is there."""
        if at < 0 or at + MARK_BYTES > len(block):
            return None
        length, crc, kind = RECORD_HEADER.unpack_from(block, at)
        payload = block[at + RECORD_HEADER_BYTES : at + MARK_BYTES]
        salt, durable = MARK_PAYLOAD.unpack(payload)
        right = crc32(payload, crc32(bytes([kind]), crc_seed(salt))) == crc
        if length != len(payload) or not right or durable > block_offset + at:
            return None
        return _Mark(block_offset + at, durable)

    # --- the header -------------------------------------------------------------------------

    def _read_header(self) -> tuple[BlobHeader | None, str]:
        """The header, or why it cannot be read."""
        data = self._medium.read(self._blob, 0, min(HEADER_BYTES_MAX, self._size))
        try:
            return decode_blob_header(data), ""
        except Damaged as error:
            return None, ZEROS if data and not data.strip(b"\0") else str(error)
        except UnknownFormat as error:
            raise UnknownFormat(f"{self._blob}: {error}") from None

    def _bad_header(self) -> Damage:
        """The damage of a blob without a readable header.

        :raises StopIteration: if it is torn.
        """
        why, self._header_problem = self._header_problem, ""
        durable = self._durable > 0
        if not durable:
            mark = self._search_mark(0)
            durable = mark is not None and mark.durable > 0
        if not durable:
            self.torn = Torn(self._blob, 0, why)
            raise StopIteration
        self.end = self._size
        return Damage(self._blob, 0, self._size, why)

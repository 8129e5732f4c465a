"""Writes the records of a blob, each with its length and CRC, and marks between them.

The caller appends and syncs. It uses a writer in this way:

    data = encode_blob_header(kind, new_salt(), identity)       # appended first
    writer = RecordWriter(salt, len(data))
    writer.add(kind, payload); ...; medium.append(name, writer.peek()); writer.take()
    medium.sync(name); writer.mark(writer.taken)                # goes with the next append

A mark says how many bytes a sync has made durable. With it a reader can distinguish a torn end,
which was never durable, from damage. So the caller puts one before the first record after each
sync, and one at the end of a finished blob.
"""

import os
from typing import Final

from leveret_storage.format.crc import crc32
from leveret_storage.format.file_header import (
    MARK_KIND,
    MARK_PAYLOAD,
    PAYLOAD_BYTES_MAX,
    RECORD_HEADER,
    RECORD_KIND_MAX,
    RECORD_KIND_MIN,
    SALT_BYTES,
    crc_seed,
)

JOINED_BYTES_MAX: Final = 64 * 1024
"""Bytes up to which parts are joined before they are written: copying so few takes less than the
system takes to look at the parts."""


def new_salt() -> bytes:
    """A salt for a new blob."""
    return os.urandom(SALT_BYTES)


def encode_record(kind: int, payload: bytes, seed: int) -> bytes:
    """A record of the store. `seed` is the blob's `crc_seed`."""
    return b"".join(encode_parts(kind, [payload], seed))


def encode_parts(kind: int, parts: list[bytes], seed: int) -> list[bytes]:
    """The same record, its payload given and returned in parts, which are not copied."""
    size = sum(map(len, parts))
    if not RECORD_KIND_MIN <= kind <= RECORD_KIND_MAX:
        raise ValueError(f"a record of kind {kind}")
    if size > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a payload of {size} bytes; at most {PAYLOAD_BYTES_MAX}")
    crc = crc32(kind.to_bytes(1, "big"), seed)
    for part in parts:
        crc = crc32(part, crc)
    return [RECORD_HEADER.pack(size, crc, kind), *parts]


def encode_mark(salt: bytes, durable: int) -> bytes:
    """A mark: a sync has returned which covered the first `durable` bytes of the blob."""
    return _framed(MARK_KIND, MARK_PAYLOAD.pack(salt, durable), crc_seed(salt))


def _framed(kind: int, payload: bytes, seed: int) -> bytes:
    crc = crc32(payload, crc32(kind.to_bytes(1, "big"), seed))
    return RECORD_HEADER.pack(len(payload), crc, kind) + payload


class RecordWriter:
    """The records of one blob that are not appended yet. Belongs to the appender of the blob."""

    def __init__(self, salt: bytes, size: int) -> None:
        """`size` is the number of bytes that the blob has already: its header at least."""
        self.taken = size
        """Bytes of the blob once everything that was taken is appended."""
        self.waiting = 0
        """Bytes added and not taken yet."""
        self._salt: Final = salt
        self._seed: Final = crc_seed(salt)
        self._parts: list[bytes] = []

    def add(self, kind: int, payload: bytes) -> int:
        """Add a record of the store, and return the offset in the blob that it will have."""
        return self.add_encoded(encode_parts(kind, [payload], self._seed))

    def mark(self, durable: int) -> None:
        """Add a mark: a sync has returned which covered the first `durable` bytes of the blob."""
        if not 0 <= durable <= self.taken:
            raise ValueError(f"{durable} bytes durable of {self.taken} appended")
        self.add_encoded([encode_mark(self._salt, durable)])

    def peek(self) -> bytes:
        """All bytes that were added and not taken, for an append that a full medium may refuse."""
        return b"".join(self._parts)

    def take(self) -> bytes:
        """The same bytes, once they are appended: they are part of the blob from then on."""
        return b"".join(self.take_parts())

    def take_parts(self) -> list[bytes]:
        """The same bytes in parts: one if they are few, and else as they were added."""
        parts = self._parts if self.waiting > JOINED_BYTES_MAX else [b"".join(self._parts)]
        self._parts = []
        self.taken += self.waiting
        self.waiting = 0
        return parts

    def add_encoded(self, record: list[bytes]) -> int:
        """As `add`, for a record that `encode_parts` made with this blob's seed."""
        offset = self.taken + self.waiting
        self._parts += record
        self.waiting += sum(map(len, record))
        return offset

"""Writing records: what a blob is filled with, framed so that its reader knows what to believe.

The caller owns the appends and syncs. What it does with a blob:

    data = encode_blob_header(kind, new_salt(), identity)       # appended first
    writer = RecordWriter(salt, len(data))
    writer.add(kind, payload); ...; medium.append(name, writer.peek()); writer.take()
    medium.sync(name); writer.mark(writer.taken)                # goes with the next append

A mark says up to where a sync has returned. It is what lets a reader tell bytes that were never
durable, which a crash may spoil and nobody misses, from durable ones that are damaged, so a writer
puts one in front of the first record after each sync, and one at the end of a blob it has finished.
"""

import os
from typing import Final
from zlib import crc32

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


def new_salt() -> bytes:
    """A salt for a new blob."""
    return os.urandom(SALT_BYTES)


def encode_record(kind: int, payload: bytes, seed: int) -> bytes:
    """A record of the store's; `seed` is the blob's crc_seed."""
    if not RECORD_KIND_MIN <= kind <= RECORD_KIND_MAX:
        raise ValueError(f"no kind of a record: {kind}")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a payload of {len(payload)} bytes; at most {PAYLOAD_BYTES_MAX}")
    return _framed(kind, payload, seed)


def encode_mark(salt: bytes, durable: int) -> bytes:
    """A mark: a sync has returned that covered the first `durable` bytes of the blob."""
    return _framed(MARK_KIND, MARK_PAYLOAD.pack(salt, durable), crc_seed(salt))


def _framed(kind: int, payload: bytes, seed: int) -> bytes:
    crc = crc32(payload, crc32(kind.to_bytes(1, "big"), seed))
    return RECORD_HEADER.pack(len(payload), crc, kind) + payload


class RecordWriter:
    """Records of one blob, gathered for the next append; belongs to whoever appends to the blob."""

    def __init__(self, salt: bytes, size: int) -> None:
        """`size` is what the blob holds already: its header at least."""
        self.taken = size
        """Bytes of the blob when all that was taken is appended."""
        self.waiting = 0
        """Bytes added and not taken yet."""
        self._salt: Final = salt
        self._seed: Final = crc_seed(salt)
        self._parts: list[bytes] = []

    def add(self, kind: int, payload: bytes) -> int:
        """Add a record of the store's, and return the offset in the blob it will have."""
        return self.add_encoded(encode_record(kind, payload, self._seed))

    def mark(self, durable: int) -> None:
        """Add a mark: a sync has returned that covered the first `durable` bytes of the blob."""
        if not 0 <= durable <= self.taken:
            raise ValueError(f"{durable} bytes durable of {self.taken} appended")
        self.add_encoded(encode_mark(self._salt, durable))

    def peek(self) -> bytes:
        """All that was added and not taken, to be appended as it is; a full medium may say no."""
        return b"".join(self._parts)

    def take(self) -> bytes:
        """The same, which the blob has from now on."""
        data = self.peek()
        self._parts.clear()
        self.taken += self.waiting
        self.waiting = 0
        return data

    def add_encoded(self, record: bytes) -> int:
        """The same as `add`, of a record that `encode_record` made with this blob's seed."""
        offset = self.taken + self.waiting
        self._parts.append(record)
        self.waiting += len(record)
        return offset

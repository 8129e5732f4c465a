"""The constants of the format and its fixed parts, for writers and readers.

FORMAT.md beside this file is the description; this file is the same in Python.
"""

import struct
from typing import Final, NamedTuple

from leveret_storage.errors import Damaged, UnknownFormat, not_known
from leveret_storage.format.crc import crc32

# --- the prelude of blobs and of the head -----------------------------------------

MAGIC: Final = b"LEVERET\n"

FORMAT_VERSION: Final = 3
"""The version that is written."""

READABLE_VERSIONS: Final = (1, 2, 3)
"""The versions that can be read. What differs between them is in FORMAT.md."""

VERSION_OFFSET: Final = 8
"""Offset of the version in a prelude."""

PRELUDE: Final = struct.Struct(">8sHHI")
"""Magic, version, bytes of prelude and body together, CRC. This much is the same in every
version."""

CHECKED_BEFORE_CRC: Final = 12
"""Bytes of the prelude in front of its CRC, which covers them and the body."""

HEADER_BYTES_MAX: Final = 4096
"""Bytes of a prelude and its body: one block of nearly every file system, so one read."""

HEAD_KIND: Final = 1
"""The kind in the body of the head record."""

KIND_OFFSET: Final = 16
"""Offset of the kind in the body behind a prelude."""

HEAD_BODY: Final = struct.Struct(">BQ")
"""Kind and epoch; the data of the owner follows."""

HEAD_DATA_OFFSET: Final = 25
"""Offset of the owner's data in the head."""

BLOB_KIND_MIN: Final = 2
"""The smallest kind of a blob. The kinds are in `segments/segment_writer.py`."""

BLOB_BODY: Final = struct.Struct(">B8s")
"""Kind and salt; the identity of the blob follows."""

SALT_BYTES: Final = 8
"""Bytes of a blob's salt: random, so that a publisher cannot guess it and forge a record."""

IDENTITY_BYTES_MAX: Final = 1024
"""Bytes of the identity of a blob: enough for two names of 255 bytes, escaped, and numbers."""

# --- records --------------------------------------------------------------------------------

RECORD_HEADER: Final = struct.Struct(">IIB")
"""Bytes of the payload, CRC, kind."""

RECORD_HEADER_BYTES: Final = 9

PAYLOAD_BYTES_MAX: Final = 2**30
"""Bytes of a payload: twice the largest message that RabbitMQ can be configured to accept
(512 MiB).
A length above it is damage, whatever the size of the blob."""

MARK_KIND: Final = 1
"""The kind of a mark, which says how many bytes of the blob were durable."""

MARK_PAYLOAD: Final = struct.Struct(">8sQ")
"""The blob's salt, which makes marks findable, and the offset up to which a sync had returned."""

MARK_BYTES: Final = RECORD_HEADER_BYTES + 16

RECORD_KIND_MIN: Final = 2
"""The smallest kind of a record of the store. 0 is never used, so that zeros are no record."""

RECORD_KIND_MAX: Final = 255


class BlobHeader(NamedTuple):
    """The header of a blob."""

    version: int
    """The format version of the blob, one of READABLE_VERSIONS."""

    kind: int
    salt: bytes
    identity: bytes
    size: int
    """Bytes of the header: where the first record begins."""


def encode_blob_header(kind: int, salt: bytes, identity: bytes) -> bytes:
    """The first bytes of a blob."""
    if not BLOB_KIND_MIN <= kind <= 255:
        raise ValueError(f"a blob of kind {kind}")
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    if len(identity) > IDENTITY_BYTES_MAX:
        raise ValueError(f"an identity of {len(identity)} bytes; at most {IDENTITY_BYTES_MAX}")
    return _with_prelude(BLOB_BODY.pack(kind, salt) + identity)


def decode_blob_header(data: bytes) -> BlobHeader:
    """Read a blob's header from its first HEADER_BYTES_MAX bytes, or all that it has.

    :raises Damaged: if it is cut, or its CRC is wrong.
    :raises UnknownFormat: for a version that cannot be read.
    """
    version, body = _behind_prelude(data)
    if len(body) < BLOB_BODY.size:
        raise Damaged("the header of a blob is cut")
    kind, salt = BLOB_BODY.unpack_from(body)
    if kind < BLOB_KIND_MIN:
        raise Damaged(f"a blob of kind {kind}")
    return BlobHeader(version, kind, salt, body[BLOB_BODY.size :], PRELUDE.size + len(body))


def encode_head(epoch: int, data: bytes) -> bytes:
    """All bytes of the head record."""
    return _with_prelude(HEAD_BODY.pack(HEAD_KIND, epoch) + data)


def decode_head(data: bytes) -> tuple[int, bytes]:
    """Epoch and data of a head.

    :raises Damaged: if it is cut, or its CRC is wrong.
    :raises UnknownFormat: for a version or a kind that is not known.
    """
    _, body = _behind_prelude(data)
    if PRELUDE.size + len(body) != len(data):
        raise Damaged(f"{len(data) - PRELUDE.size - len(body)} bytes behind the head record")
    if len(body) < HEAD_BODY.size:
        raise Damaged("the head record is cut")
    kind, epoch = HEAD_BODY.unpack_from(body)
    if kind != HEAD_KIND:
        raise UnknownFormat(f"offset {KIND_OFFSET}: {not_known(f'a head of kind {kind}')}")
    return epoch, body[HEAD_BODY.size :]


def crc_seed(salt: bytes) -> int:
    """The initial value of the CRC of each record in a blob."""
    return crc32(salt)


def _with_prelude(body: bytes) -> bytes:
    size = PRELUDE.size + len(body)
    checked = PRELUDE.pack(MAGIC, FORMAT_VERSION, size, 0)[:CHECKED_BEFORE_CRC]
    return PRELUDE.pack(MAGIC, FORMAT_VERSION, size, crc32(body, crc32(checked))) + body


def _behind_prelude(data: bytes) -> tuple[int, bytes]:
    """The version and the body of data that begin with a prelude.

    :raises Damaged: if it is cut, or its CRC is wrong.
    :raises UnknownFormat: for a version that cannot be read.
    """
    if len(data) < PRELUDE.size:
        raise Damaged(f"{len(data)} bytes, where a header has {PRELUDE.size} at least")
    magic, version, size, crc = PRELUDE.unpack_from(data)
    if magic != MAGIC:
        raise Damaged(f"begins with {magic.hex()}, not with {MAGIC.hex()}")
    if not PRELUDE.size <= size <= len(data):
        raise Damaged(f"a header of {size} bytes, of which {len(data)} are there")
    body = data[PRELUDE.size : size]
    if crc32(body, crc32(data[:CHECKED_BEFORE_CRC])) != crc:
        raise Damaged("the CRC of the header is wrong")
    if version not in READABLE_VERSIONS:
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise UnknownFormat(
            f"offset {VERSION_OFFSET}: written in format version {version}; "
            f"this program reads versions {known} only"
        )
    return version, body

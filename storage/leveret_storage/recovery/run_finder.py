"""Finding the runs of a queue segment without reading their messages.

The header of a record says where the next one begins, and the header of a run has a CRC of its own,
so a few octets of each are enough to know which positions are where. That holds for the part that a
mark proves durable: it was written completely, and later damage to it is found when the run is
read. The part behind the last mark has to be read record by record.
"""

from typing import Final, NamedTuple

from leveret_storage.errors import Damaged, UnknownFormat
from leveret_storage.format import entries, runs
from leveret_storage.format.crc import crc32
from leveret_storage.format.file_header import (
    HEADER_BYTES_MAX,
    MARK_KIND,
    MARK_PAYLOAD,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    BlobHeader,
    crc_seed,
    decode_blob_header,
)
from leveret_storage.format.runs import RUN_HEADER_BYTES, BodySpan, RunHeader
from leveret_storage.medium import Medium

READ_BYTES: Final = 4096
"""Bytes of one read: several short runs are in one, a long run costs one page."""

HEADERS_BYTES: Final = RECORD_HEADER_BYTES + RUN_HEADER_BYTES


class RunPlace(NamedTuple):
    """A run, as its header describes it."""

    offset: int
    size: int
    """Bytes of its record."""
    header: RunHeader
    kind: int
    bodies: list[BodySpan]
    """The body segments that a shared run refers to."""


def find_runs(medium: Medium, name: str) -> tuple[list[RunPlace], int]:
    """The runs in the part of a queue segment that a mark proves durable, and the bytes of that
    part, where a RecordReader has to go on.

    At anything unexpected the part ends at the last mark before.

    :raises StorageError: NoSuchBlob, or ReadFailed.
    """
    finder = _Finder(medium, name)
    finder.run()
    return [place for place in finder.places if place.offset < finder.durable], finder.durable


class _Finder:
    def __init__(self, medium: Medium, name: str) -> None:
        self._medium = medium
        self._name = name
        self._size = medium.size(name)
        self._read_data = b""
        self._read_offset = 0
        self._seed = 0
        self.places: list[RunPlace] = []
        self.durable = 0

    def run(self) -> None:
        header = self._header()
        if header is None:
            return
        self._seed = crc_seed(header.salt)
        offset = header.size
        while offset < self._size:
            data = self._read(offset, HEADERS_BYTES)
            if len(data) < RECORD_HEADER_BYTES:
                return
            length, crc, kind = RECORD_HEADER.unpack_from(data)
            following = offset + RECORD_HEADER_BYTES + length
            payload = data[RECORD_HEADER_BYTES:]
            if following > self._size:
                return
            if kind == MARK_KIND:
                if not self._take_mark(offset, length, crc, payload, header.salt):
                    return
            elif not self._take_run(offset, length, kind, payload):
                return
            offset = following

    def _header(self) -> BlobHeader | None:
        data = self._medium.read(self._name, 0, min(HEADER_BYTES_MAX, self._size))
        try:
            return decode_blob_header(data)
        except (Damaged, UnknownFormat):
            # RecordReader reports it.
            return None

    def _take_mark(self, offset: int, length: int, crc: int, payload: bytes, salt: bytes) -> bool:
        payload = payload[: MARK_PAYLOAD.size]
        kind = MARK_KIND.to_bytes(1, "big")
        if length != len(payload) or crc32(payload, crc32(kind, self._seed)) != crc:
            return False
        marked, durable = MARK_PAYLOAD.unpack(payload)
        if marked != salt or durable > offset:
            return False
        self.durable = max(self.durable, durable)
        return True

    def _take_run(self, offset: int, length: int, kind: int, payload: bytes) -> bool:
        if kind not in entries.RUN_KINDS or length < RUN_HEADER_BYTES:
            return False
        try:
            header = runs.read_run_header(payload)
            bodies = self._body_spans(offset, length) if kind == entries.SHARED_RUN else []
        except Damaged:
            return False
        self.places.append(RunPlace(offset, RECORD_HEADER_BYTES + length, header, kind, bodies))
        return True

    def _body_spans(self, offset: int, length: int) -> list[BodySpan]:
        begin = offset + RECORD_HEADER_BYTES
        size = RUN_HEADER_BYTES + runs.body_spans_bytes(self._read(begin, RUN_HEADER_BYTES + 4))
        if size > length:
            raise Damaged("the body segments of a run are cut")
        return runs.read_body_spans(self._read(begin, size))

    def _read(self, offset: int, size: int) -> bytes:
        """Bytes of the segment, fewer at its end."""
        at = offset - self._read_offset
        if not 0 <= at <= len(self._read_data) - size:
            self._read_data = self._medium.read(self._name, offset, max(size, READ_BYTES))
            self._read_offset, at = offset, 0
        return self._read_data[at : at + size]

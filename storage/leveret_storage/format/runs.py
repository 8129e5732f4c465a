"""Runs: the messages of one queue at consecutive positions, in one record of a queue segment.

A shared run refers to bodies in body segments. FORMAT.md describes both byte for byte.
"""

from typing import Final, NamedTuple

from librt.strings import BytesWriter, read_i32_be, read_i64_be, write_i32_be, write_i64_be
from mypy_extensions import i32, i64

from leveret_storage.errors import Damaged
from leveret_storage.format.crc import crc32
from leveret_storage.format.entries import (
    ABSENT,
    LEFT_OUT,
    PERSISTENT,
    REFERRED_BYTES,
    RUN,
    SHARED_RUN,
    Reader,
    StoredMessage,
    write_elsewhere,
    write_stored,
    write_stored_head,
)

RUN_HEADER_BYTES: Final = 28
"""Bytes of the fields before the messages of a run: its first position, its messages, its
persistent messages, the bytes of their bodies, and a CRC of these."""

RUN_CHECKED_BYTES: Final = 24
"""Bytes that this CRC covers."""

BODY_SPAN_BYTES: Final = 24
"""Bytes of a body span in a shared run."""


class RunHeader(NamedTuple):
    """The fields of a run before its messages."""

    first: int
    messages: int
    persistent: int
    body_bytes: int
    """Bytes of the bodies of the persistent messages."""


class BodySpan(NamedTuple):
    """A body segment with bodies of a run, and a half-open range around their positions."""

    blob: int
    first: int
    end: int


def read_run_header(payload: bytes) -> RunHeader:
    """The fields of a run before its messages.

    :raises Damaged: if they are cut, or their CRC is wrong.
    """
    if len(payload) < RUN_HEADER_BYTES:
        raise Damaged("a run of messages is cut")
    if _run_check(payload[:RUN_CHECKED_BYTES]) != payload[RUN_CHECKED_BYTES:RUN_HEADER_BYTES]:
        raise Damaged("the CRC at the beginning of a run is wrong")
    return RunHeader(
        int(read_i64_be(payload, 0)),
        int(read_i32_be(payload, 8)),
        int(read_i32_be(payload, 12)),
        int(read_i64_be(payload, 16)),
    )


def body_spans_bytes(payload: bytes) -> int:
    """Bytes of the body spans behind the header of a shared run.

    :raises Damaged: if it is cut.
    """
    return 8 + BODY_SPAN_BYTES * Reader(payload, RUN_HEADER_BYTES).long()


def read_body_spans(payload: bytes) -> list[BodySpan]:
    """The body spans of a shared run.

    :raises Damaged: if they are cut, or their CRC is wrong.
    """
    reader = Reader(payload, RUN_HEADER_BYTES)
    spans = [
        BodySpan(reader.longlong(), reader.longlong(), reader.longlong())
        for _ in range(reader.long())
    ]
    end = int(reader.at)
    if _run_check(payload[RUN_HEADER_BYTES:end]) != reader.octets(4):
        raise Damaged("the CRC of the body segments of a run is wrong")
    return spans


def _run_check(header: bytes) -> bytes:
    return crc32(header).to_bytes(4, "big")


def _messages_of(payload: bytes, kind: int) -> Reader:
    """A reader of the messages of a run.

    :raises Damaged: if the run is cut.
    """
    if kind != SHARED_RUN:
        return Reader(payload, RUN_HEADER_BYTES)
    reader = Reader(payload, RUN_HEADER_BYTES + body_spans_bytes(payload))
    reader.shared = True
    return reader


def read_run(payload: bytes, kind: int = RUN) -> list[StoredMessage]:
    """The messages of a run, in order; ABSENT for one that is left out. Those whose body is in a
    body segment have the place of it, and b"" for a body.

    :raises Damaged: if they do not end where the payload does.
    :raises UnknownFormat: if one has a flag that is not known.
    """
    count = read_run_header(payload).messages
    found: list[StoredMessage] = []
    reader = _messages_of(payload, kind)
    while count > 0:
        count -= 1
        found.append(reader.message())
    if reader.at != len(payload):
        raise Damaged("bytes behind the last message of a run")
    return found


def persistent_positions(payload: bytes, kind: int = RUN) -> tuple[list[tuple[int, int]], int]:
    """The positions of the persistent messages of a run, as half-open ranges in order, and the
    number of messages that are left out.

    :raises Damaged: if the run is cut.
    :raises UnknownFormat: if a message has a flag that is not known.
    """
    header = read_run_header(payload)
    left_out = 0
    found: list[tuple[int, int]] = []
    reader = _messages_of(payload, kind)
    for position in range(header.first, header.first + header.messages):
        flags = reader.skip_message()
        if flags & LEFT_OUT:
            left_out += 1
        if flags & PERSISTENT == 0:
            continue
        if found and found[-1][1] == position:
            found[-1] = (found[-1][0], position + 1)
        else:
            found.append((position, position + 1))
    return found, left_out


def run(first: i64, messages: list[StoredMessage]) -> list[bytes]:
    """The payload of a run: messages with consecutive positions, ABSENT for those left out. Large
    bodies are parts of their own, so that they are not copied.

    It is that of a shared run if any message has a place.
    """
    parts: list[bytes] = []
    persistent = 0
    body_bytes: i64 = 0
    for message in messages:
        if message.persistent:
            persistent += 1
            body_bytes += message.body_bytes()
    out = BytesWriter()
    write_i64_be(out, first)
    write_i32_be(out, i32(len(messages)))
    write_i32_be(out, i32(persistent))
    write_i64_be(out, body_bytes)
    out.write(_run_check(out.getvalue()))
    spans = body_spans(first, messages)
    if spans:
        out.write(_encode_body_spans(spans))
    absent = ABSENT
    for message in messages:
        if message is absent:
            out.append(LEFT_OUT)
        elif message.place is not None:
            write_elsewhere(out, message, message.place)
        elif len(message.body) < REFERRED_BYTES:
            write_stored(out, message)
        else:
            write_stored_head(out, message)
            parts.append(out.getvalue())
            parts.append(message.body)
            out.truncate(0)
    if len(out):
        parts.append(out.getvalue())
    return parts


def body_spans(first: i64, messages: list[StoredMessage]) -> list[BodySpan]:
    """The body segments with bodies of a run, in order of their numbers."""
    spans: dict[int, BodySpan] = {}
    position = int(first)
    for message in messages:
        place = message.place
        if place is not None:
            blob = int(place.blob)
            known = spans.get(blob)
            spans[blob] = BodySpan(blob, known.first if known else position, position + 1)
        position += 1
    return sorted(spans.values())


def _encode_body_spans(spans: list[BodySpan]) -> bytes:
    out = BytesWriter()
    write_i32_be(out, i32(len(spans)))
    for span in spans:
        write_i64_be(out, span.blob)
        write_i64_be(out, span.first)
        write_i64_be(out, span.end)
    out.write(_run_check(out.getvalue()))
    return out.getvalue()

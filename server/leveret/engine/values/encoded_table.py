"""Encoded field tables and property lists: checked and searched without decoding them.

What a client sends is verified once, completely, before anything else reads it: a checked table or
property list may be read without a check of bounds. Nothing is decoded in this file; the properties
of a message stay in their encoded form, and `protocol/wire/methods.py` decodes them where needed.

Rules of this file:
- Positions count from the start of `data`; `stop` is the position behind the last octet that may
  be read and never exceeds `len(data)`: that is the caller's duty.
- Malformed input raises ValueError with a text for the peer to read.
- Recursion and the number of entries are bounded by limits.py.

The grammar is that of AMQP 0-9-1, section 4.2.5, with the type letters RabbitMQ reads (RabbitMQ:
"AMQP 0-9-1 Errata", field types), which are the ones its clients write.
"""

from typing import Final

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64

from leveret.limits import TABLE_DEPTH_MAX, TABLE_ENTRIES_MAX

HEADER_PREFIX_BYTES: Final = 12
"""Octets of a content header before the property flags: class, weight, body size."""

CONTENT_TYPE: Final = 0x8000
CONTENT_ENCODING: Final = 0x4000
HEADERS: Final = 0x2000
DELIVERY_MODE: Final = 0x1000
PRIORITY: Final = 0x0800
CORRELATION_ID: Final = 0x0400
REPLY_TO: Final = 0x0200
EXPIRATION: Final = 0x0100
MESSAGE_ID: Final = 0x0080
TIMESTAMP: Final = 0x0040
MESSAGE_TYPE: Final = 0x0020
USER_ID: Final = 0x0010
APP_ID: Final = 0x0008
CLUSTER_ID: Final = 0x0004
CONTINUATION: Final = 0x0001
"""Bits of the property flags (AMQP 0-9-1, sections 1.8.1 and 4.2.6.1)."""

OCTET_PROPERTIES: Final = DELIVERY_MODE | PRIORITY

FIELD_TYPES: Final = {
    "t": (1, "bool"),
    "b": (1, "byte"),
    "B": (1, "unsignedbyte"),
    "s": (2, "short"),
    "u": (2, "unsignedshort"),
    "I": (4, "signedint"),
    "i": (4, "unsignedint"),
    "l": (8, "long"),
    "L": (8, "long"),
    "f": (4, "float"),
    "d": (8, "double"),
    "D": (5, "decimal"),
    "T": (8, "timestamp"),
    "V": (0, "void"),
    "S": (-1, "longstr"),
    "x": (-1, "binary"),
    "F": (-2, "table"),
    "A": (-3, "array"),
}
"""Type letter -> octets of a value, and RabbitMQ's name of the type. Negative octets mean that the
value begins with its length: -1 a string, -2 a table, -3 an array."""

LONG_STRING: Final = 253
TABLE: Final = 254
ARRAY: Final = 255
UNKNOWN: Final = 252
"""In `VALUE_SIZES`: a value that begins with its length in four octets, or no value at all."""


TIMESTAMP_MAX: Final = 253_402_300_799_000
"""The last whole second of the year 9999 as pamqp reads it, which takes values of more than 32 bits
for milliseconds."""


def _value_sizes() -> bytes:
    sizes = bytearray([UNKNOWN]) * 256
    for letter, (size, _) in FIELD_TYPES.items():
        sizes[ord(letter)] = size if size >= 0 else LONG_STRING - 1 - size
    return bytes(sizes)


VALUE_SIZES: Final = _value_sizes()
"""Octets of a value by its type letter; from `UNKNOWN` up, one of the constants above."""


def check_table(data: bytes, start: i64, stop: i64) -> i64:
    """Verify the field table whose four-octet length is at `start`; return the position behind it.

    Raises ValueError for a length beyond `stop` or the enclosing table, an unknown type letter,
    nesting deeper than TABLE_DEPTH_MAX or more entries than TABLE_ENTRIES_MAX, nested ones
    included. Names and strings may hold any octets, as RabbitMQ takes them.
    """
    end = _behind_long(data, start, stop)
    if end > start + 4:
        _check_values(data, start + 4, end, True, 1, TABLE_ENTRIES_MAX)
    return end


def _behind_long(data: bytes, start: i64, stop: i64) -> i64:
    """The position behind what begins at `start` with its length in four octets."""
    if start + 4 > stop:
        raise ValueError("length cut short in field table")
    end = start + 4 + (i64(read_i32_be(data, start)) & 0xFFFFFFFF)
    if end > stop:
        raise ValueError("length out of bounds in field table")
    return end


def _check_values(data: bytes, pos: i64, end: i64, named: bool, depth: i64, allowed: i64) -> i64:
    """Verify the entries of a table (`named`) or array; return how many more are allowed.

    :param allowed: how many entries are allowed, nested ones included.
    """
    if depth > TABLE_DEPTH_MAX:
        raise ValueError(f"field table nested deeper than {TABLE_DEPTH_MAX}")
    while pos < end:
        allowed -= 1
        if allowed < 0:
            raise ValueError(f"field table with more than {TABLE_ENTRIES_MAX} entries")
        if named:
            pos += 1 + i64(data[pos])
            if pos >= end:
                raise ValueError("name out of bounds in field table")
        size: i64 = VALUE_SIZES[data[pos]]
        if size < UNKNOWN:
            pos += 1 + size
        elif size == UNKNOWN:
            raise ValueError(f"unknown type {data[pos : pos + 1]!r} in field table")
        else:
            start = pos + 5
            pos = _behind_long(data, pos + 1, end)
            if size != LONG_STRING:
                allowed = _check_values(data, start, pos, size == TABLE, depth + 1, allowed)
    if pos > end:
        raise ValueError("value out of bounds in field table")
    return allowed


def check_properties(data: bytes, start: i64, stop: i64) -> int:
    """Verify `data[start:stop]`, the property flags and list of a content header; return the flags.

    The list must end exactly at `stop`. Raises ValueError for anything else, for a second word of
    flags (no property of class basic is in one) and for a malformed `headers` table. Unused bits
    but that of the second word are ignored, and strings may hold any octets, as in RabbitMQ.
    """
    if stop - start < 2:
        raise ValueError("property flags cut short")
    flags = i64(read_i16_be(data, start)) & 0xFFFF
    if (flags == 0 and stop - start == 2) or (flags == DELIVERY_MODE and stop - start == 3):
        return flags
    if flags & CONTINUATION:
        raise ValueError("property flags of more than one word")
    pos = start + 2
    flag: i64 = CONTENT_TYPE
    while flag >= CLUSTER_ID:
        if flags & flag:
            if flag & OCTET_PROPERTIES:
                pos += 1
            elif flag == HEADERS:
                pos = check_table(data, pos, stop)
            elif flag == TIMESTAMP:
                pos += 8
            elif pos >= stop:
                raise ValueError("property out of bounds")
            else:
                pos += 1 + i64(data[pos])
        flag >>= 1
    if pos != stop:
        raise ValueError("property list of the wrong length")
    return flags


def property_offset(data: bytes, start: i64, flags: i64, wanted: i64) -> i64:
    """The position of the property whose flag is `wanted` in a checked list beginning at `start`.

    `flags` is what `check_properties` returned and has `wanted` set.
    """
    pos = start + 2
    flag: i64 = CONTENT_TYPE
    while flag > wanted:
        if flags & flag:
            if flag & OCTET_PROPERTIES:
                pos += 1
            elif flag == HEADERS:
                pos += 4 + (i64(read_i32_be(data, pos)) & 0xFFFFFFFF)
            elif flag == TIMESTAMP:
                pos += 8
            else:
                pos += 1 + i64(data[pos])
        flag >>= 1
    return pos


def delivery_mode(data: bytes, start: i64, flags: i64) -> int:
    """The delivery-mode octet of a checked property list beginning at `start`; 0 when absent."""
    if not flags & DELIVERY_MODE:
        return 0
    if not flags & (CONTENT_TYPE | CONTENT_ENCODING | HEADERS):
        return data[start + 2]
    return data[property_offset(data, start, flags, DELIVERY_MODE)]


def table_types(data: bytes, start: i64) -> dict[str, str]:
    """Name -> RabbitMQ's name of the value's type, for each entry of the checked table at `start`.

    A name that is not UTF-8 reads as in `name_text`.
    """
    types: dict[str, str] = {}
    pos = start + 4
    end = pos + (i64(read_i32_be(data, start)) & 0xFFFFFFFF)
    while pos < end:
        name_end = pos + 1 + i64(data[pos])
        letter = chr(data[name_end])
        types[name_text(data[pos + 1 : name_end])] = FIELD_TYPES[letter][1]
        pos = behind_value(data, name_end)
    return types


def behind_value(data: bytes, pos: i64) -> i64:
    """The position behind the checked table value whose type letter is at `pos`."""
    size: i64 = VALUE_SIZES[data[pos]]
    if size > UNKNOWN:
        size = 4 + (i64(read_i32_be(data, pos + 1)) & 0xFFFFFFFF)
    return pos + 1 + size


def name_text(octets: bytes) -> str:
    """The octets of a name as text; in a name that is not UTF-8, `?` replaces octets not in ASCII.

    The text has as many octets as the name. RabbitMQ accepts names of any octets in a table and in
    properties.
    """
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("ascii", "replace").replace("\ufffd", "?")


def soften_values(data: bytes, copy: bytearray, pos: i64, end: i64, named: bool) -> None:
    """Replace in `copy`, a copy of `data`, the values of the checked entries `data[pos:end]` that
    pamqp cannot represent.

    Names are replaced as in `name_text`, a timestamp after the year 9999 by the end of that year;
    no size changes.
    """
    while pos < end:
        if named:
            start = pos + 1
            pos = start + i64(data[pos])
            copy[start:pos] = name_text(data[start:pos]).encode()
        behind = behind_value(data, pos)
        letter = data[pos : pos + 1]
        if letter == b"T":
            soften_timestamp(copy, pos + 1)
        elif letter in (b"F", b"A"):
            soften_values(data, copy, pos + 5, behind, letter == b"F")
        pos = behind


def soften_timestamp(copy: bytearray, pos: i64) -> None:
    """Replace a timestamp after the year 9999 by the last one that pamqp can represent."""
    seconds = int.from_bytes(copy[pos : pos + 8], "big")
    copy[pos : pos + 8] = min(seconds, TIMESTAMP_MAX).to_bytes(8, "big")

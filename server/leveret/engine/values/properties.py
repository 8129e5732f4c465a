"""The properties of a message, read and changed in the bytes they came in.

A message carries its content header as it came. The broker adds (how a message died, how often it
was delivered) and removes (the expiration) here, and does not change any other octet: decoded and
encoded again, a value could change its type. All headers were checked when they were published.
"""

from typing import Final

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64

from leveret.engine.values import encoded_table
from leveret.engine.values.encoded_table import HEADER_PREFIX_BYTES, behind_value, property_offset

LIST_AT: Final = HEADER_PREFIX_BYTES + 2
"""Where the property list begins, behind the flags."""

INTEGERS: Final = (b"b", b"B", b"s", b"u", b"I", b"i", b"l", b"L")
"""Type letters of integers in a table."""

_UNSIGNED: Final = (b"B", b"u", b"i")


def flags_of(header: bytes) -> i64:
    """The property flags of a content header."""
    return i64(read_i16_be(header, HEADER_PREFIX_BYTES)) & 0xFFFF


def expiration(header: bytes) -> bytes | None:
    """The octets of the property expiration; None if it is not there."""
    return octets_of(header, encoded_table.EXPIRATION)


def octets_of(header: bytes, wanted: i64) -> bytes | None:
    """The octets of the property of that flag, a text or the timestamp; None if it is not there."""
    flags = flags_of(header)
    if not flags & wanted:
        return None
    at = property_offset(header, HEADER_PREFIX_BYTES, flags, wanted)
    if wanted == encoded_table.TIMESTAMP:
        return header[at : at + 8]
    return header[at + 1 : at + 1 + header[at]]


def priority(header: bytes) -> int:
    """The priority of a message; 0 where it has none."""
    flags = flags_of(header)
    if not flags & encoded_table.PRIORITY:
        return 0
    return header[property_offset(header, HEADER_PREFIX_BYTES, flags, encoded_table.PRIORITY)]


def without_expiration(header: bytes) -> bytes:
    """The same content header without the property expiration."""
    flags = flags_of(header)
    if not flags & encoded_table.EXPIRATION:
        return header
    at = property_offset(header, HEADER_PREFIX_BYTES, flags, encoded_table.EXPIRATION)
    behind = at + 1 + header[at]
    return _with_flags(
        header, flags & ~i64(encoded_table.EXPIRATION), header[LIST_AT:at] + header[behind:]
    )


def header_value(header: bytes, name: bytes) -> bytes | None:
    """A value in the table of headers as it stands there, type letter first; None if absent."""
    at = _entry(header, name)
    if at < 0:
        return None
    value = at + 1 + header[at]
    return header[value : behind_value(header, value)]


def copy_keys(header: bytes) -> list[bytes]:
    """The routing keys in the header CC (RabbitMQ: Sender-selected Distribution)."""
    value = header_value(header, b"CC")
    if value is None:
        return []
    return [string_octets(each) for each in array_values(value)]


def with_headers(header: bytes, changes: dict[bytes, bytes | None]) -> bytes:
    """The same content header with other values in its table of headers.

    :param changes: values by name, type letter first; None removes one. New ones come behind
        all others.
    """
    flags = flags_of(header)
    start = property_offset(header, HEADER_PREFIX_BYTES, flags, encoded_table.HEADERS)
    end = start
    entries = bytearray()
    if flags & encoded_table.HEADERS:
        end = start + 4 + (i64(read_i32_be(header, start)) & 0xFFFFFFFF)
        at = start + 4
        while at < end:
            value = at + 1 + header[at]
            behind = behind_value(header, value)
            if header[at + 1 : value] not in changes:
                entries += header[at:behind]
            at = behind
    for name, new in changes.items():
        if new is not None:
            entries.append(len(name))
            entries += name
            entries += new
    table = len(entries).to_bytes(4, "big") + bytes(entries)
    properties = header[LIST_AT:start] + table + header[end:]
    return _with_flags(header, flags | encoded_table.HEADERS, properties)


def _entry(header: bytes, name: bytes) -> i64:
    """Where the entry of that name begins in the table of headers; -1 if there is none."""
    flags = flags_of(header)
    if not flags & encoded_table.HEADERS:
        return -1
    at = property_offset(header, HEADER_PREFIX_BYTES, flags, encoded_table.HEADERS)
    end = at + 4 + (i64(read_i32_be(header, at)) & 0xFFFFFFFF)
    at += 4
    while at < end:
        value = at + 1 + header[at]
        if header[at + 1 : value] == name:
            return at
        at = behind_value(header, value)
    return -1


def _with_flags(header: bytes, flags: i64, properties: bytes) -> bytes:
    return header[:HEADER_PREFIX_BYTES] + int(flags).to_bytes(2, "big") + properties


# --- values, as they stand in a table ----------------------------------------------------------


def long_string(value: bytes) -> bytes:
    """A long string."""
    return b"S" + len(value).to_bytes(4, "big") + value


def long_integer(value: i64) -> bytes:
    """An integer of eight octets."""
    return b"l" + int(value).to_bytes(8, "big", signed=True)


def timestamp(seconds: i64) -> bytes:
    """A timestamp, in seconds since the epoch."""
    return b"T" + int(seconds).to_bytes(8, "big")


def array(values: list[bytes]) -> bytes:
    """An array of values, each with its type letter."""
    octets = b"".join(values)
    return b"A" + len(octets).to_bytes(4, "big") + octets


def table(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A table of values, each with its type letter."""
    octets = b"".join(bytes([len(name)]) + name + value for name, value in entries)
    return b"F" + len(octets).to_bytes(4, "big") + octets


def array_values(value: bytes) -> list[bytes]:
    """The values of an array, each with its type letter; none if it is not an array."""
    if value[:1] != b"A":
        return []
    found: list[bytes] = []
    at: i64 = 5
    while at < len(value):
        behind = behind_value(value, at)
        found.append(value[at:behind])
        at = behind
    return found


def table_entries(value: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values of a table, each with its type letter; none if it is not a table."""
    if value[:1] != b"F":
        return []
    found: list[tuple[bytes, bytes]] = []
    at: i64 = 5
    while at < len(value):
        start = at + 1 + i64(value[at])
        behind = behind_value(value, start)
        found.append((value[at + 1 : start], value[start:behind]))
        at = behind
    return found


def string_octets(value: bytes) -> bytes:
    """The octets of a long string; none if it is not one."""
    return value[5:] if value[:1] == b"S" else b""


def integer_of(value: bytes) -> int:
    """An integer of any width; 0 if it is not one."""
    letter = value[:1]
    if letter not in INTEGERS:
        return 0
    return int.from_bytes(value[1:], "big", signed=letter not in _UNSIGNED)

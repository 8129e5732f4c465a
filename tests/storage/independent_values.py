"""What the independent reader needs of msgpack and of AMQP, written from FORMAT.md alone.

With the standard library only, like independent_reader.py.
"""

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


class Unknown(Exception):
    """A newer program wrote this."""


class Broken(Exception):
    """This is damaged."""


class Cursor:
    """Reads one field after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Broken(f"{size} bytes at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def unpack(self, code: str) -> Any:
        return struct.unpack(f">{code}", self.take(struct.calcsize(code)))[0]

    def short_string(self) -> bytes:
        return self.take(self.number(1))

    @property
    def done(self) -> bool:
        return self.at == len(self.data)


# --- msgpack ----------------------------------------------------------------------------------


def msgpack(cursor: Cursor) -> Any:
    """One value."""
    code = cursor.number(1)
    if code < 0x80:
        return code
    if code < 0x90:
        return msgpack_map(cursor, code & 0x0F)
    if code < 0xA0:
        return [msgpack(cursor) for _ in range(code & 0x0F)]
    if code < 0xC0:
        return cursor.take(code & 0x1F).decode()
    if code >= 0xE0:
        return code - 0x100
    simple = {0xC0: None, 0xC2: False, 0xC3: True}
    if code in simple:
        return simple[code]
    numbers = {0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q"}
    numbers |= {0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
    if code in numbers:
        return cursor.unpack(numbers[code])
    if 0xC4 <= code <= 0xC6:
        return cursor.take(cursor.number(1 << code - 0xC4))
    if 0xC7 <= code <= 0xC9:
        return extension(cursor, cursor.number(1 << code - 0xC7))
    if 0xD4 <= code <= 0xD8:
        return extension(cursor, 1 << code - 0xD4)
    if 0xD9 <= code <= 0xDB:
        return cursor.take(cursor.number(1 << code - 0xD9)).decode()
    if code in (0xDC, 0xDD):
        return [msgpack(cursor) for _ in range(cursor.number(2 << code - 0xDC))]
    if code in (0xDE, 0xDF):
        return msgpack_map(cursor, cursor.number(2 << code - 0xDE))
    raise Broken(f"msgpack has no type {code:#x}")


def msgpack_map(cursor: Cursor, size: int) -> dict[Any, Any]:
    found = {}
    for _ in range(size):
        key = msgpack(cursor)
        found[key] = msgpack(cursor)
    return found


def extension(cursor: Cursor, size: int) -> Any:
    code = cursor.unpack("b")
    data = cursor.take(size)
    if code == 1:
        return Decimal(data.decode("ascii"))
    if code == 2:
        return data
    if code == 3:
        return data.decode("utf-8", "surrogateescape")
    if code == -1:
        return timestamp(data)
    raise Unknown(f"extension of type {code}")


def timestamp(data: bytes) -> datetime:
    """msgpack's timestamp, of 4, 8 or 12 bytes, in whole seconds as AMQP has them."""
    number = int.from_bytes(data[-8:], "big", signed=len(data) == 12)
    return datetime.fromtimestamp(number & 2**34 - 1 if len(data) == 8 else number, UTC)


# --- AMQP -------------------------------------------------------------------------------------

NUMBERS = {"b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q", "L": "q"}
NUMBERS |= {"f": "f", "d": "d"}

PROPERTIES = (
    ("content_type", "short"),
    ("content_encoding", "short"),
    ("headers", "table"),
    ("delivery_mode", "octet"),
    ("priority", "octet"),
    ("correlation_id", "short"),
    ("reply_to", "short"),
    ("expiration", "short"),
    ("message_id", "short"),
    ("timestamp", "timestamp"),
    ("message_type", "short"),
    ("user_id", "short"),
    ("app_id", "short"),
    ("cluster_id", "short"),
)


def properties(header: bytes) -> dict[str, Any]:
    """The properties in a content header."""
    cursor = Cursor(header)
    cursor.take(12)
    flags = cursor.number(2)
    found: dict[str, Any] = {}
    for bit, (name, kind) in enumerate(PROPERTIES):
        if flags & 0x8000 >> bit:
            if kind == "short":
                found[name] = cursor.short_string().decode("utf-8", "surrogateescape")
            elif kind == "table":
                found[name] = table(cursor)
            elif kind == "octet":
                found[name] = cursor.number(1)
            else:
                found[name] = datetime.fromtimestamp(cursor.number(8), UTC)
    return found


def table(cursor: Cursor) -> dict[str, Any]:
    inner = Cursor(cursor.take(cursor.number(4)))
    found = {}
    while not inner.done:
        name = inner.short_string().decode()
        found[name] = field(inner)
    return found


def field(cursor: Cursor) -> Any:
    kind = chr(cursor.number(1))
    if kind in NUMBERS:
        return cursor.unpack(NUMBERS[kind])
    if kind == "t":
        return cursor.number(1) != 0
    if kind == "V":
        return None
    if kind == "D":
        scale = cursor.number(1)
        return Decimal(cursor.unpack("i")).scaleb(-scale)
    if kind == "T":
        return datetime.fromtimestamp(cursor.number(8), UTC)
    if kind == "F":
        return table(cursor)
    data = cursor.take(cursor.number(4))
    if kind == "x":
        return data
    if kind == "A":
        inner, values = Cursor(data), []
        while not inner.done:
            values.append(field(inner))
        return values
    if kind != "S":
        raise Broken(f"AMQP has no field type {kind}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data

"""Field tables as the engine sees them: what pamqp decodes, and how two values compare.

A table is a `dict[str, FieldValue]`. Two of them are the same when `freeze` makes equal keys of
them: type for type and value for value, in any order of their entries. Integers of all widths are
one type here, because pamqp does not tell them apart.

The functions follow nested tables by recursion: a table is decoded only if it is at most
`limits.TABLE_DEPTH_MAX` deep.
"""

from collections.abc import Hashable
from datetime import datetime
from decimal import Decimal
from typing import Final

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64
from pamqp.common import FieldTable, FieldValue

from leveret.engine.values import encoded_table
from leveret.engine.values.table_decoding import decode_table
from leveret.engine.values.text import octets_of_text

__all__ = [
    "FieldValue",
    "Table",
    "describe",
    "freeze",
    "freeze_table",
    "headers_of",
    "time_number",
    "type_name",
]

Table = FieldTable
"""A field table: arguments of a method, headers of a message."""

_SIGNED_INT_MIN: Final = -(2**31)
_SIGNED_INT_MAX: Final = 2**31 - 1

_ESCAPES: Final[dict[int, bytes]] = {
    8: rb"\b",
    9: rb"\t",
    10: rb"\n",
    11: rb"\v",
    12: rb"\f",
    13: rb"\r",
    27: rb"\e",
    34: rb"\"",
    92: rb"\\",
}
"""What Erlang writes for the octets that it escapes in a string."""


def headers_of(header: bytes) -> Table:
    """The headers of a message, from its content header, which was checked; {} without any.

    Values that pamqp cannot represent are replaced as `encoded_table.soften_values` says.
    """
    start = encoded_table.HEADER_PREFIX_BYTES
    flags = i64(read_i16_be(header, start)) & 0xFFFF
    if not flags & encoded_table.HEADERS:
        return {}
    at = encoded_table.property_offset(header, start, flags, encoded_table.HEADERS)
    table = header[at : at + 4 + (i64(read_i32_be(header, at)) & 0xFFFFFFFF)]
    try:
        return decode_table(table, 0)
    except (ValueError, OverflowError, OSError):
        softened = bytearray(table)
        encoded_table.soften_values(table, softened, 4, len(table), True)
        return decode_table(bytes(softened), 0)


def freeze(value: FieldValue) -> Hashable:
    """Make a hashable key of a field value; equal keys mean equal types and equal values.

    Python finds `True`, `1` and `1.0` equal, AMQP does not, so a value that is neither a string nor
    an integer is paired with its type. NaN becomes a key that equals itself, so that a binding with
    NaN in its arguments can be looked up.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if value is None or isinstance(value, int | bytes | datetime):
        return value
    if isinstance(value, float):
        return ("double", value if value == value else None)
    if isinstance(value, Decimal):
        return ("decimal", value)
    if isinstance(value, bytearray):
        return ("binary", bytes(value))
    if isinstance(value, dict):
        return ("table", freeze_table(value))
    return ("array", tuple([freeze(item) for item in value]))


def freeze_table(table: Table) -> Hashable:
    """Make a hashable key of a table; the order of its entries does not matter."""
    return frozenset([(name, freeze(value)) for name, value in table.items()])


def time_number(time: datetime) -> int:
    """The number that was sent for a time.

    Clients send seconds (AMQP 0-9-1, section 4.2.5.4) or milliseconds. pamqp takes numbers from
    2**32 on for milliseconds, so a time with a fraction of a second was one of those. Of a whole
    second it does not say which it was; this is the number of seconds then.
    """
    seconds = time.timestamp()
    return round(seconds * 1000) if time.microsecond else int(seconds)


def type_name(value: FieldValue) -> str:
    """Name the type of a field value as RabbitMQ's error texts do.

    An integer is named after the width in which clients send one of its size.
    """
    if isinstance(value, str | bytes):
        return "longstr"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "signedint" if _SIGNED_INT_MIN <= value <= _SIGNED_INT_MAX else "long"
    if value is None:
        return "void"
    if isinstance(value, float):
        return "double"
    if isinstance(value, Decimal):
        return "decimal"
    if isinstance(value, datetime):
        return "timestamp"
    if isinstance(value, bytearray):
        return "binary"
    return "table" if isinstance(value, dict) else "array"


def describe(value: FieldValue) -> str:
    """Write a field value as RabbitMQ's error texts do, as an Erlang term."""
    if isinstance(value, str):
        return _describe_bytes(octets_of_text(value))
    if isinstance(value, bytes | bytearray):
        return _describe_bytes(bytes(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "undefined"
    if isinstance(value, datetime):
        return str(time_number(value))
    if isinstance(value, dict):
        entries = [
            f"{{{describe(name)},{type_name(item)},{describe(item)}}}"
            for name, item in value.items()
        ]
        return f"[{','.join(entries)}]"
    if isinstance(value, list):
        items = [f"{{{type_name(item)},{describe(item)}}}" for item in value]
        return f"[{','.join(items)}]"
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        unscaled = int("".join([str(digit) for digit in digits]))
        return f"{{{-int(exponent)},{-unscaled if sign else unscaled}}}"
    return str(value)


def _describe_bytes(value: bytes) -> str:
    """Write octets as Erlang prints a binary: quoted if all are printable, else as numbers."""
    text = bytearray()
    for octet in value:
        escape = _ESCAPES.get(octet)
        if escape is not None:
            text += escape
        elif 32 <= octet < 127 or octet >= 160:
            text.append(octet)
        else:
            return f"<<{','.join([str(octet) for octet in value])}>>"
    return f'<<"{text.decode("utf-8", "replace")}">>' if text else "<<>>"

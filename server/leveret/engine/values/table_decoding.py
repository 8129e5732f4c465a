"""Decoding field tables: a table of n octets is decoded in a time that grows with n.

The result is what pamqp makes of the same octets. But pamqp copies the rest of a table for each of
its entries, which takes a tenth of a second for the largest frame. Here only rare types of values
go to pamqp, one at a time.

A table has to be checked before (`encoded_table.check_table`), which bounds its depth and entries.
"""

from typing import Final

from librt.strings import read_i32_be
from mypy_extensions import i64
from pamqp import decode
from pamqp.common import FieldArray, FieldTable, FieldValue

from leveret.engine.values.encoded_table import behind_value

_LONG_STRING: Final = ord("S")
_TABLE: Final = ord("F")
_ARRAY: Final = ord("A")
_BOOLEAN: Final = ord("t")
_SIGNED: Final = frozenset(b"bsIlL")
_UNSIGNED: Final = frozenset(b"Bui")
"""Type letters of integers. pamqp reads both `l` and `L` as signed ones."""


def decode_table(data: bytes, start: i64) -> FieldTable:
    """The table whose four-octet length is at `start`.

    :raises ValueError, OverflowError, OSError: for a name that is not UTF-8, or a timestamp that
        pamqp cannot represent; `encoded_table.soften_values` replaces both.
    """
    table: FieldTable = {}
    pos = start + 4
    end = pos + (i64(read_i32_be(data, start)) & 0xFFFFFFFF)
    while pos < end:
        name_end = pos + 1 + i64(data[pos])
        name = data[pos + 1 : name_end].decode()
        pos = behind_value(data, name_end)
        table[name] = _decode_value(data, name_end, pos)
    return table


def _decode_array(data: bytes, start: i64) -> FieldArray:
    array: FieldArray = []
    pos = start + 4
    end = pos + (i64(read_i32_be(data, start)) & 0xFFFFFFFF)
    while pos < end:
        behind = behind_value(data, pos)
        array.append(_decode_value(data, pos, behind))
        pos = behind
    return array


def _decode_value(data: bytes, pos: i64, behind: i64) -> FieldValue:
    """The value whose type letter is at `pos`, and which ends at `behind`."""
    letter = data[pos]
    if letter == _LONG_STRING:
        octets = data[pos + 5 : behind]
        try:
            return octets.decode()
        except UnicodeDecodeError:
            return octets
    if letter == _TABLE:
        return decode_table(data, pos + 1)
    if letter == _ARRAY:
        return _decode_array(data, pos + 1)
    if letter == _BOOLEAN:
        return data[pos + 1] != 0
    if letter in _SIGNED:
        return int.from_bytes(data[pos + 1 : behind], "big", signed=True)
    if letter in _UNSIGNED:
        return int.from_bytes(data[pos + 1 : behind], "big")
    return decode.embedded_value(data[pos:behind])[1]

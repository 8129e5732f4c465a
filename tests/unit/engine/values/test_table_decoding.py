"""Tables are decoded as pamqp decodes them, whatever the types of their values."""

import struct

import pytest
from hypothesis import given
from pamqp import decode

from leveret.engine.values.encoded_table import FIELD_TYPES, check_table
from leveret.engine.values.field_table import Table, freeze_table
from leveret.engine.values.table_decoding import decode_table
from leveret.limits import TABLE_ENTRIES_MAX
from leveret.protocol.wire.methods import encode_table
from tests.unit.engine.routing.exchanges.naive import tables

PREFIX = b"prefix"


def long(octets: bytes) -> bytes:
    return struct.pack(">I", len(octets)) + octets


def entry(name: str, letter: str, octets: bytes) -> bytes:
    return bytes([len(name)]) + name.encode() + letter.encode() + octets


def every_type(octets: bytes) -> bytes:
    """The entries of a table with every type, whose values begin with these octets."""
    entries = []
    for letter, (size, _) in FIELD_TYPES.items():
        value = long(octets) if size == -1 else long(b"") if size < 0 else octets[:size]
        entries.append(entry(f"name-{letter}", letter, value))
    return b"".join(entries)


def decoded(table: bytes) -> Table:
    """A table as it is decoded in the middle of other octets, which is as pamqp decodes it."""
    check_table(table, 0, len(table))
    result = decode_table(PREFIX + table + b"suffix", len(PREFIX))
    expected = decode.field_table(table)[1]
    assert freeze_table(result) == freeze_table(expected)
    assert list(result) == list(expected)
    return result


@pytest.mark.parametrize(
    "octets",
    [b"\0" * 8, b"\0" * 6 + b"\x7f\xff", b"\0\0\0\0\xff\xfe\xfd\xfc", b"\1\2\3\4\5\6\7\x08"],
)
def test_values_of_every_type_are_decoded(octets: bytes) -> None:
    if octets[0]:
        # A timestamp that large is none that pamqp can represent.
        entries = every_type(octets).replace(b"name-TT", b"name-Tl")
    else:
        entries = every_type(octets)
    assert len(decoded(long(entries))) == len(FIELD_TYPES)


def test_negative_integers_are_decoded() -> None:
    entries = [entry(letter, letter, b"\xff" * FIELD_TYPES[letter][0]) for letter in "bsIlLBui"]
    table = decoded(long(b"".join(entries)))
    assert [table[letter] for letter in "bsIlL"] == [-1] * 5
    assert [table[letter] for letter in "Bui"] == [2**8 - 1, 2**16 - 1, 2**32 - 1]


def test_nested_tables_and_arrays_are_decoded() -> None:
    inner = every_type(b"\0" * 8)
    array = b"F" + long(inner) + b"A" + long(b"t\1V") + b"V"
    assert decoded(long(entry("a", "A", long(array)) + entry("t", "F", long(inner))))


def test_of_two_entries_of_one_name_the_last_counts() -> None:
    assert decoded(long(entry("a", "t", b"\1") + entry("a", "V", b""))) == {"a": None}


def test_text_that_is_not_utf_8_is_bytes() -> None:
    assert decoded(long(entry("a", "S", long(b"\xff")))) == {"a": b"\xff"}


def test_a_name_that_is_not_utf_8_is_an_error() -> None:
    table = long(b"\1\xffV")
    with pytest.raises(ValueError, match="utf-8"):
        decode_table(table, 0)


def test_a_table_with_as_many_entries_as_are_allowed_is_decoded() -> None:
    entries = [entry(f"{number}", "B", b"\1") for number in range(TABLE_ENTRIES_MAX)]
    assert len(decoded(long(b"".join(entries)))) == TABLE_ENTRIES_MAX


@given(tables)
def test_tables_are_decoded_as_pamqp_decodes_them(table: Table) -> None:
    decoded(encode_table(table))

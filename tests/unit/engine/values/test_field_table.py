"""Keys made of field values: equal if, and only if, type and value are."""

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from pamqp import decode

from leveret.engine.values.encoded_table import HEADERS, PRIORITY
from leveret.engine.values.field_table import (
    FieldValue,
    Table,
    describe,
    freeze,
    freeze_table,
    headers_of,
    time_number,
    type_name,
)
from leveret.protocol.wire.methods import properties
from tests.unit.engine.routing.exchanges.naive import same, tables, values
from tests.unit.protocol.wire import octets


@given(values, values)
def test_two_values_have_one_key_only_if_they_are_the_same(
    one: FieldValue, other: FieldValue
) -> None:
    assert (freeze(one) == freeze(other)) is same(one, other)


@given(tables)
def test_the_order_of_entries_makes_no_other_key(table: Table) -> None:
    backwards = dict(reversed(table.items()))
    assert freeze_table(backwards) == freeze_table(table)
    assert hash(freeze_table(backwards)) == hash(freeze_table(table))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal(1), 1),
        (Decimal(1), 1.0),
        (float("inf"), Decimal("inf")),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        ("", b""),
        (b"", bytearray()),
        ([], {}),
        ([], None),
        (["table", []], {"table": []}),
    ],
)
def test_values_of_different_types_are_never_one_key(one: FieldValue, other: FieldValue) -> None:
    assert freeze(one) != freeze(other)


def test_a_value_that_is_not_equal_to_itself_is_found_again() -> None:
    assert freeze(float("nan")) == freeze(float("nan"))
    assert freeze(float("nan")) != freeze(float("inf"))


@pytest.mark.parametrize(
    ("value", "named", "described"),
    [
        ("a", "longstr", '<<"a">>'),
        (b"\xff\x01", "longstr", "<<255,1>>"),
        (2**31 - 1, "signedint", "2147483647"),
        (-(2**31), "signedint", "-2147483648"),
        (2**31, "long", "2147483648"),
        (False, "bool", "false"),
        (Decimal("-1.50"), "decimal", "{2,-150}"),
        ("日", "longstr", "<<230,151,165>>"),
        ("\udcff\udc80", "longstr", "<<255,128>>"),
    ],
)
def test_values_are_named_and_written_as_in_the_texts_of_rabbitmq(
    value: FieldValue, named: str, described: str
) -> None:
    assert (type_name(value), describe(value)) == (named, described)


@given(octets.tables)
def test_the_headers_of_a_message_read_as_among_all_its_properties(table: bytes) -> None:
    header = struct.pack(">HHQH", 60, 0, 0, HEADERS | PRIORITY) + table + b"\x07"
    assert freeze_table(headers_of(header)) == freeze_table(properties(header).headers or {})


def test_a_message_without_headers_has_none() -> None:
    assert headers_of(struct.pack(">HHQH", 60, 0, 0, PRIORITY) + b"\x07") == {}


@pytest.mark.parametrize("number", [0, 1, 2**32 - 1, 1_700_000_000_001, 1_700_000_000_999])
def test_a_time_has_the_number_that_was_sent(number: int) -> None:
    time = decode.timestamp(number.to_bytes(8, "big"))[1]
    assert time_number(time) == number
    assert describe(time) == str(number)

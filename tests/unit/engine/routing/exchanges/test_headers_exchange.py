"""The headers exchange: which bindings take which headers, and which are refused."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.routing.exchanges import Destination
from leveret.engine.values.field_table import FieldValue, Table
from leveret.engine.values.time_slice import TimeSlice
from leveret.errors import AmqpError, ReplyCode
from tests.unit.engine.routing.exchanges.naive import (
    binding_arguments,
    exchange,
    headers_match,
    matched,
    message,
    tables,
)


@pytest.mark.parametrize(
    ("arguments", "headers", "expected"),
    [
        ({}, None, True),
        ({}, {"a": 1}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
        ({"x-match": "all", "x-a": 1}, None, True),
        ({"x-match": "all", "x-a": 1}, {"x-a": 2}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 2}, False),
        ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"x-match": "all-with-x"}, None, True),
        ({"x-match": "any-with-x"}, {"x-match": "any-with-x"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": 1.0}, {"a": True}, False),
        ({"a": [1]}, {"a": [1.0]}, False),
        ({"a": 1}, {"a": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)}, True),
        ({"a": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)}, {"a": 1.0}, True),
        ({"a": [1]}, {"a": [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]}, False),
        ({"a": "é"}, {"a": bytearray("é".encode())}, True),
        ({"a": bytearray(b"1")}, {"a": "1"}, True),
        ({"a": ["1"]}, {"a": [bytearray(b"1")]}, False),
        ({"a": {}}, {"a": []}, True),
        ({"a": []}, {"a": {}}, True),
        ({"a": [{}]}, {"a": [[]]}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2}}, True),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, False),
        ({"a": Decimal("1.5")}, {"a": Decimal("1.5")}, True),
        ({"a": 1}, {"a": Decimal(1)}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": 2**40}, False),
        ({"a": None}, {"a": 1}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
        ({"a": 1}, {"a": None}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "all", "a": 1, "b": 2}, {"b": 2}, False),
        ({"x-match": "all", "a": 1, "b": 2}, {"b": 2, "a": 1, "c": 3}, True),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": {"b": [True]}}, {"a": {"b": [True]}}, True),
        ({"a": {"b": [True]}}, {"a": {"b": [1]}}, False),
    ],
)
def test_a_binding_takes_the_headers_its_arguments_ask_for(
    arguments: Table, headers: Table | None, expected: bool
) -> None:
    by_headers = exchange("headers")
    queue = Destination("q")
    by_headers.bind(queue, "ignored", arguments)
    assert matched(by_headers, "whatever", headers) == ([queue] if expected else [])


@given(st.lists(binding_arguments, max_size=12), st.lists(tables, min_size=1))
def test_many_bindings_together_take_what_each_takes_alone(
    bound: list[Table], messages: list[Table]
) -> None:
    by_headers = exchange("headers")
    queues = [Destination(f"q{number}") for number in range(len(bound))]
    for queue, arguments in zip(queues, bound, strict=True):
        by_headers.bind(queue, "", arguments)
    for headers in messages:
        expected = {
            queue
            for queue, arguments in zip(queues, bound, strict=True)
            if headers_match(arguments, headers)
        }
        assert set(matched(by_headers, "", headers)) == expected


@given(binding_arguments, st.integers(1, 8))
def test_a_message_with_just_what_was_asked_for_is_taken(arguments: Table, others: int) -> None:
    """The property above meets a full match seldom; this one always does."""
    by_headers = exchange("headers")
    queue = Destination("q")
    for number in range(others):
        by_headers.bind(Destination("other"), "", {**arguments, "a": number, "b": 0})
    by_headers.bind(queue, "", arguments)
    headers = {name: value for name, value in arguments.items() if name != "x-match"}
    assert (queue in matched(by_headers, "", headers)) is headers_match(arguments, headers)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("foo", 'value <<"foo">>; expected all, any, all-with-x, or any-with-x'),
        ("", "value <<>>; expected all, any, all-with-x, or any-with-x"),
        ('a"b\\c', 'value <<"a\\"b\\\\c">>; expected all, any, all-with-x, or any-with-x'),
        ("a\nb", 'value <<"a\\nb">>; expected all, any, all-with-x, or any-with-x'),
        ("é", 'value <<"é">>; expected all, any, all-with-x, or any-with-x'),
        ("\x00", "value <<0>>; expected all, any, all-with-x, or any-with-x"),
        (1, "type signedint (value 1); expected longstr"),
        (2**40, "type long (value 1099511627776); expected longstr"),
        (True, "type bool (value true); expected longstr"),
        (None, "type void (value undefined); expected longstr"),
        (1.5, "type double (value 1.5); expected longstr"),
        ({}, "type table (value []); expected longstr"),
        ({"a": "b"}, 'type table (value [{<<"a">>,longstr,<<"b">>}]); expected longstr'),
        (["all"], 'type array (value [{longstr,<<"all">>}]); expected longstr'),
        (
            datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
            "type timestamp (value 1700000000); expected longstr",
        ),
        (Decimal("3.14"), "type decimal (value {2,314}); expected longstr"),
        (bytearray(b"all"), 'type binary (value <<"all">>); expected longstr'),
    ],
)
def test_an_x_match_of_another_kind_is_refused_in_the_words_of_rabbitmq(
    kind: FieldValue, problem: str
) -> None:
    by_headers = exchange("headers")
    queue = Destination("q")
    with pytest.raises(AmqpError) as refused:
        by_headers.bind(queue, "", {"x-match": kind})
    assert refused.value.code is ReplyCode.PRECONDITION_FAILED
    assert refused.value.text == f"Invalid x-match field {problem}"
    assert not by_headers.is_bound()
    assert queue.sources() == []


def test_unbinding_with_a_wrong_x_match_finds_nothing_and_is_no_error() -> None:
    by_headers = exchange("headers")
    queue = Destination("q")
    by_headers.bind(queue, "", {})
    assert by_headers.unbind(queue, "", {"x-match": "foo"}) is False


def test_other_types_do_not_look_at_x_match() -> None:
    for kind in ("direct", "fanout", "topic"):
        assert exchange(kind).bind(Destination("q"), "k", {"x-match": "foo"}) is True


def test_a_message_is_compared_with_many_bindings_in_slices() -> None:
    source = exchange("headers")
    expected = []
    for number in range(50):
        queue = Destination(f"q{number}", False)
        source.bind(queue, "", {"a": 1, "b": number % 5})
        if number % 5 == 3:
            expected.append(queue)
    found: list[Destination] = []
    over = TimeSlice()
    match = source.begin_match("", message({"a": 1, "b": 3}), found, over)
    slices = 1
    while match is not None and not match.run(over):
        slices += 1
    assert slices >= len(expected)
    assert sorted(each.name for each in found) == sorted(each.name for each in expected)

"""The properties that the broker answers for, from the octets of content headers."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.values.encoded_table import (
    APP_ID,
    HEADERS,
    PRIORITY,
    REPLY_TO,
    check_properties,
)
from leveret.engine.values.settings import NONE
from leveret.errors import AmqpError
from leveret.protocol.channels.published_properties import check, needs_check, time_to_live
from tests.unit.protocol.wire import octets

FLAGS_AT = 12

BCC = b"A" + octets.long_string(b"S" + octets.long_string(b"there"))

other_names = st.binary(min_size=1, max_size=8).filter(lambda name: name not in (b"CC", b"BCC"))
entries = st.lists(st.tuples(other_names, octets.values), max_size=4)


def header_of(table: bytes, *, priority: int = 7) -> bytes:
    """A content header with headers, and the property that comes next but one."""
    return struct.pack(">HHQH", 60, 0, 0, HEADERS | PRIORITY) + table + bytes([priority])


def flags_of(header: bytes) -> int:
    return check_properties(header, FLAGS_AT, len(header))


@given(entries, entries)
def test_bcc_is_cut_out_and_no_other_octet_changes(
    before: list[tuple[bytes, bytes]], behind: list[tuple[bytes, bytes]]
) -> None:
    header = header_of(octets.table(*before, (b"BCC", BCC), *behind))
    assert needs_check(header, flags_of(header))
    assert check(header, "guest", b"")[0] == header_of(octets.table(*before, *behind))


@given(entries)
def test_what_has_no_routing_header_stays_as_it_is(written: list[tuple[bytes, bytes]]) -> None:
    header = header_of(octets.table(*written))
    assert check(header, "guest", b"") == (header, [], NONE)


def test_a_routing_header_inside_another_table_is_none() -> None:
    inner = b"F" + octets.table((b"BCC", BCC))
    header = header_of(octets.table((b"inner", inner)))
    assert check(header, "guest", b"") == (header, [], NONE)


def request_of(table: bytes, reply_to: bytes) -> bytes:
    """A content header with properties before and behind its reply-to."""
    flags = HEADERS | REPLY_TO | APP_ID
    properties = table + octets.short_string(reply_to) + octets.short_string(b"app")
    return struct.pack(">HHQH", 60, 0, 0, flags) + properties


@given(entries, st.binary(min_size=1, max_size=255))
def test_the_name_for_replies_is_put_in_and_no_other_octet_changes(
    written: list[tuple[bytes, bytes]], name: bytes
) -> None:
    header = request_of(octets.table(*written), b"amq.rabbitmq.reply-to")
    assert needs_check(header, flags_of(header))
    checked = check(header, "guest", name)
    assert checked == (request_of(octets.table(*written), name), [], NONE)


@given(entries)
def test_the_name_for_replies_is_put_in_where_bcc_is_cut_out(
    written: list[tuple[bytes, bytes]],
) -> None:
    header = request_of(octets.table((b"BCC", BCC), *written), b"amq.rabbitmq.reply-to")
    checked = check(header, "guest", b"mine")[0]
    assert checked == request_of(octets.table(*written), b"mine")


@pytest.mark.parametrize(
    "reply_to", [b"", b"q", b"amq.rabbitmq.reply-to.mine", b"amq.rabbitmq.reply-tp"]
)
def test_any_other_reply_to_stays_as_it_is(reply_to: bytes) -> None:
    header = request_of(octets.table(), reply_to)
    assert not needs_check(header, flags_of(header))
    assert check(header, "guest", b"mine") == (header, [], NONE)


def test_a_request_needs_a_consumer_of_replies() -> None:
    header = request_of(octets.table(), b"amq.rabbitmq.reply-to")
    with pytest.raises(AmqpError, match="fast reply consumer does not exist"):
        check(header, "guest", b"")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (b"\x00\x00", False),
        (b"\x10\x00\x01", False),
        (b"\x10\x00\x02", False),
        (b"\x10\x00\x00", True),
        (b"\x10\x00\x03", True),
        (b"\x01\x00\x0210", True),
        (b"\x00\x10\x05guest", True),
        (b"\x08\x00\x05", False),
        (b"\x20\x00" + octets.table((b"a", b"V")), False),
        (b"\x20\x00" + octets.table((b"CC", b"V")), True),
    ],
)
def test_only_what_may_be_wrong_is_examined(properties: bytes, expected: bool) -> None:
    header = struct.pack(">HHQ", 60, 0, 0) + properties
    assert needs_check(header, flags_of(header)) is expected


@given(st.integers(0, 315_360_000_000))
def test_milliseconds_up_to_ten_years_are_an_expiration(milliseconds: int) -> None:
    assert time_to_live(str(milliseconds)) == milliseconds
    assert time_to_live(f"+{milliseconds}") == milliseconds
    with pytest.raises(AmqpError, match="leftover_string"):
        time_to_live(f"{milliseconds}ms")


@given(st.integers(min_value=1))
def test_other_numbers_are_none(beyond: int) -> None:
    with pytest.raises(AmqpError, match="value_negative"):
        time_to_live(str(-beyond))
    with pytest.raises(AmqpError, match="value_too_large"):
        time_to_live(str(315_360_000_000 + beyond))


@given(st.text(max_size=40).filter(lambda text: text[:1] not in [*"+-0123456789"]))
def test_an_expiration_begins_with_digits(text: str) -> None:
    with pytest.raises(AmqpError, match="no_integer"):
        time_to_live(text)

"""The consistent hash exchange: one binding a message, fair shares, and few keys that move."""

import struct
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic

from leveret.engine.routing.exchanges import Destination, Exchange
from leveret.engine.routing.exchanges.ring import POINTS_PER_UNIT, Ring
from leveret.engine.values import encoded_table
from leveret.engine.values.field_table import FieldValue, Table
from leveret.engine.values.message import Message
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import HASH_WEIGHT_MAX
from leveret.protocol.wire.methods import encode_header
from tests.unit.engine.routing.exchanges.naive import drop, exchange, matched, next_on_ring
from tests.unit.protocol.wire import octets

KIND = "x-consistent-hash"
KEYS = [f"key{number}" for number in range(2000)]

weights = st.integers(1, 4)
names = st.sampled_from([f"q{number}" for number in range(6)])


def bound(shares: dict[Destination, int]) -> Exchange:
    made = exchange(KIND)
    for destination, weight in shares.items():
        made.bind(destination, str(weight), {})
    return made


def where(source: Exchange, keys: list[str]) -> list[str]:
    """The name of the one destination of each key."""
    found = [matched(source, key) for key in keys]
    assert all(len(destinations) == 1 for destinations in found)
    return [destinations[0].name for destinations in found]


def with_header(entry: bytes) -> Message:
    """A message with the header `h`, whose value is given with its type letter."""
    header = struct.pack(">HHQH", 60, 0, 0, encoded_table.HEADERS) + octets.table((b"h", entry))
    return Message(b"", header, b"", False)


def led(source: Exchange, message: Message, key: str = "") -> str:
    into: list[Destination] = []
    source.match(key, message, into)
    return into[0].name


def test_without_bindings_nothing_matches() -> None:
    assert matched(exchange(KIND), "k") == []


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(names, weights, min_size=1), names, weights)
def test_a_binding_that_comes_or_goes_moves_only_keys_of_its_own(
    shares: dict[str, int], name: str, weight: int
) -> None:
    shares.pop(name, None)
    source = bound({Destination(other): share for other, share in shares.items()})
    newcomer = Destination(name)
    before = where(source, KEYS) if shares else [""] * len(KEYS)
    source.bind(newcomer, str(weight), {})
    during = where(source, KEYS)
    assert all(now in (name, then) for then, now in zip(before, during, strict=True))
    source.unbind(newcomer, str(weight), {})
    if shares:
        assert where(source, KEYS) == before


@settings(deadline=None, max_examples=25)
@given(
    st.dictionaries(names, weights, min_size=1).flatmap(lambda d: st.permutations(list(d.items())))
)
def test_the_order_in_which_bindings_were_made_does_not_matter(
    order: list[tuple[str, int]],
) -> None:
    one = bound({Destination(name): weight for name, weight in order})
    other = bound({Destination(name): weight for name, weight in sorted(order)})
    assert where(one, KEYS) == where(other, KEYS)


def test_keys_lead_the_same_way_in_every_release() -> None:
    source = bound({Destination(f"q{number}"): 1 for number in range(4)})
    keys = ["", "a", "order-1", "order-2", "order-3", "\u20ac", "\udcff"]
    assert where(source, keys) == ["q0", "q1", "q1", "q3", "q1", "q3", "q0"]


@pytest.mark.parametrize("shares", [(1, 1), (1, 1, 1, 1, 1), (1, 2, 4), (10, 20, 30)])
def test_shares_are_as_the_weights_say(shares: tuple[int, ...]) -> None:
    source = bound({Destination(f"q{number}"): share for number, share in enumerate(shares)})
    counts = Counter(where(source, [f"key{number}" for number in range(20_000)]))
    for number, share in enumerate(shares):
        expected = 20_000 * share / sum(shares)
        assert 0.75 * expected < counts[f"q{number}"] < 1.25 * expected


def test_weights_of_one_destination_add_up() -> None:
    one, other = Destination("q"), Destination("r")
    twice = bound({one: 1, other: 1})
    twice.bind(one, "2", {})
    once = bound({one: 3, other: 1})
    assert where(twice, KEYS) == where(once, KEYS)
    twice.unbind(one, "1", {})
    assert where(twice, KEYS) == where(bound({one: 2, other: 1}), KEYS)
    assert len(drop(one)) == 1
    assert set(where(twice, KEYS)) == {"r"}


@pytest.mark.parametrize("weight", ["1", "+1", "01"])
def test_a_weight_may_be_written_in_any_way(weight: str) -> None:
    queue = Destination("q")
    source = exchange(KIND)
    source.bind(queue, weight, {})
    assert where(source, ["k"]) == ["q"]
    assert source.unbind(queue, weight, {})
    assert matched(source, "k") == []


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "The binding key must be an integer: <<>>"),
        ("a", 'The binding key must be an integer: <<"a">>'),
        ("1.5", 'The binding key must be an integer: <<"1.5">>'),
        (" 1", 'The binding key must be an integer: <<" 1">>'),
        ("1\n", r'The binding key must be an integer: <<"1\n">>'),
        ("\u0663", 'The binding key must be an integer: <<"\u0663">>'),
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
        (str(HASH_WEIGHT_MAX + 1), "The binding key must not be greater than 1000"),
        ("9" * 255, "The binding key must not be greater than 1000"),
    ],
)
def test_a_key_that_is_no_weight_is_refused(key: str, text: str) -> None:
    source = exchange(KIND)
    with pytest.raises(AmqpError) as refused:
        source.bind(Destination("q"), key, {})
    assert (refused.value.code, refused.value.text) == (ReplyCode.PRECONDITION_FAILED, text)
    assert source.bindings() == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hash-property": "app_id"}, "Unsupported property: app_id"),
        ({"hash-property": ""}, "Unsupported property: "),
        ({"hash-property": 5}, "invalid type 'signedint' for arg 'hash-property'"),
        ({"hash-header": None}, "invalid type 'void' for arg 'hash-header'"),
        (
            {"hash-header": "h", "hash-property": "app_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: Table, text: str) -> None:
    with pytest.raises(AmqpError) as refused:
        exchange(KIND, arguments)
    assert (refused.value.code, refused.value.text) == (ReplyCode.PRECONDITION_FAILED, text)


@pytest.fixture(scope="module")
def source() -> Exchange:
    """An exchange that hashes the header `h`, for thirty queues."""
    made = exchange(KIND, {"hash-header": "h"})
    for number in range(30):
        made.bind(Destination(f"q{number}"), "1", {})
    return made


class TestHashHeader:
    """The argument `hash-header`."""

    def test_the_header_decides_and_not_the_routing_key(self, source: Exchange) -> None:
        assert source.needs_message
        assert {len({led(source, with_header(b"S\0\0\0\1a"), key) for key in KEYS})} == {1}
        assert len({tuple(matched(source, "", {"h": key, "x": 1})) for key in KEYS}) == 30

    @pytest.mark.parametrize("headers", [None, {}, {"other": "a"}, {"h": ""}])
    def test_messages_without_it_all_go_one_way(
        self, source: Exchange, headers: Table | None
    ) -> None:
        nothing = matched(source, "")
        assert len(nothing) == 1
        assert all(matched(source, key, headers) == nothing for key in KEYS)

    @settings(deadline=None)
    @given(st.integers(-128, 127))
    def test_a_number_counts_by_its_value_however_wide_it_is(
        self, source: Exchange, number: int
    ) -> None:
        widths = {b"b": ">b", b"s": ">h", b"I": ">i", b"l": ">q", b"L": ">q"}
        if number >= 0:
            widths |= {b"B": ">B", b"u": ">H", b"i": ">I"}
        found = {led(source, with_header(t + struct.pack(f, number))) for t, f in widths.items()}
        assert len(found) == 1

    @settings(deadline=None)
    @given(octets.values)
    def test_a_value_of_any_type_leads_one_way(self, source: Exchange, value: bytes) -> None:
        assert led(source, with_header(value)) == led(source, with_header(value), "other key")


@pytest.mark.parametrize("name", ["message_id", "correlation_id", "timestamp"])
def test_a_property_decides_where_an_argument_says_so(name: str) -> None:
    source = exchange(KIND, {"hash-property": name})
    for number in range(4):
        source.bind(Destination(f"q{number}"), "1", {})

    def message(value: FieldValue) -> Message:
        properties = Basic.Properties(headers={"h": 1}, priority=3, app_id="a")
        setattr(properties, name, value)
        return Message(b"", encode_header(properties, 0), b"", False)

    values: list[FieldValue] = list(KEYS)
    if name == "timestamp":
        values = [datetime.fromtimestamp(second, UTC) for second in range(1, 500)]
    found = [led(source, message(value)) for value in values]
    assert set(found) == {"q0", "q1", "q2", "q3"}
    assert [led(source, message(value), "other") for value in values] == found
    assert len({led(source, message(None), key) for key in KEYS}) == 1


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(names, st.integers(0, 3)), unique=True),
    st.lists(st.integers(0, 2**32 - 1), min_size=1),
    st.data(),
)
def test_a_ring_finds_the_next_point_of_all(
    units: list[tuple[str, int]], wanted: list[int], data: st.DataObject
) -> None:
    ring = Ring()
    destinations = {name: Destination(name) for name, _ in units}
    for name, unit in units:
        ring.add(destinations[name], name, unit)
    removed = data.draw(st.integers(0, len(units)))
    for name, unit in units[:removed]:
        ring.remove(destinations[name], name, unit)
    left = units[removed:]
    for place in wanted:
        found = ring.find(place)
        assert (found.name if found else None) == next_on_ring(left, place)


def test_a_ring_with_points_at_one_place_is_the_same_in_any_order() -> None:
    one, other = Destination("one"), Destination("other")
    first, second = Ring(), Ring()
    first.add(one, "same", 0)
    first.add(other, "same", 0)
    second.add(other, "same", 0)
    second.add(one, "same", 0)
    first.remove(one, "same", 0)
    second.remove(one, "same", 0)
    assert {ring.find(place) for ring in (first, second) for place in range(100)} == {other}
    assert POINTS_PER_UNIT > 1

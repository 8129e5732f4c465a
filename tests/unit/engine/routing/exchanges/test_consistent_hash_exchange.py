"""The consistent hash exchange: one binding a message, fair shares, and few keys that move."""

import struct
import tracemalloc
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic

from leveret.engine.routing.exchanges import Destination, Exchange
from leveret.engine.routing.exchanges.rendezvous import CACHED_FROM, Rendezvous
from leveret.engine.values import encoded_table
from leveret.engine.values.field_table import FieldValue, Table
from leveret.engine.values.message import Message
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import HASH_CACHE_ENTRIES_MAX
from leveret.protocol.wire.methods import encode_header
from tests.support.examples import examples
from tests.unit.engine.routing.exchanges.naive import drop, exchange, matched, rendezvous
from tests.unit.protocol.wire import octets

KIND = "x-consistent-hash"
KEYS = [f"key{number}" for number in range(2000)]

weights = st.integers(1, 4) | st.integers(1, 2000)
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


@settings(deadline=None, max_examples=examples(25))
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


@settings(deadline=None, max_examples=examples(25))
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
    assert where(source, keys) == ["q2", "q3", "q3", "q2", "q0", "q2", "q0"]


@pytest.mark.parametrize(
    "shares", [(1, 1), (1, 1, 1, 1, 1), (1, 2, 4), (10, 20, 30), (1000, 500), (10**30, 10**30)]
)
def test_shares_are_as_the_weights_say(shares: tuple[int, ...]) -> None:
    source = bound({Destination(f"q{number}"): share for number, share in enumerate(shares)})
    counts = Counter(where(source, [f"key{number}" for number in range(20_000)]))
    for number, share in enumerate(shares):
        expected = 20_000 * share / sum(shares)
        assert 0.96 * expected < counts[f"q{number}"] < 1.04 * expected


def test_memory_does_not_grow_with_weights() -> None:
    tracemalloc.start()
    try:
        bound({Destination(f"q{number}"): 10**6 for number in range(100)})
        grown, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 200_000


def test_weights_of_one_destination_add_up() -> None:
    one, other = Destination("q"), Destination("r")
    twice = bound({one: 1, other: 1})
    twice.bind(one, "2", {})
    once = bound({one: 3, other: 1})
    assert where(twice, KEYS) == where(once, KEYS)
    twice.unbind(one, "1", {})
    assert where(twice, KEYS) == where(bound({one: 2, other: 1}), KEYS)
    drop(one)
    assert set(where(twice, KEYS)) == {"r"}


@pytest.mark.parametrize("weight", ["1", "+1", "01", "1001", "9" * 255])
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


@settings(deadline=None, max_examples=examples(50))
@given(
    st.lists(st.tuples(names, weights)),
    st.lists(st.integers(0, 2**32 - 1), min_size=1),
    st.data(),
)
def test_a_hash_leads_to_the_best_draw_of_all(
    added: list[tuple[str, int]], hashes: list[int], data: st.DataObject
) -> None:
    destinations = {name: Destination(name) for name, _ in added}
    found = Rendezvous()
    for name, weight in added:
        found.add_weight(destinations[name], weight)
    removed = data.draw(st.integers(0, len(added)))
    for name, weight in added[:removed]:
        found.add_weight(destinations[name], -weight)
    left: dict[str, int] = {}
    for name, weight in added[removed:]:
        left[f"queue {name}"] = left.get(f"queue {name}", 0) + weight
    for hashed in hashes:
        winner = found.find(hashed)
        assert (f"queue {winner.name}" if winner else None) == rendezvous(left, hashed)


def test_results_that_are_kept_are_those_of_a_search() -> None:
    found = Rendezvous()
    destinations = [Destination(f"q{number}") for number in range(CACHED_FROM)]
    weights = {f"queue {each.name}": 1 for each in destinations}
    for each in destinations:
        found.add_weight(each, 1)
    for hashed in [*range(200)] * 2:
        winner = found.find(hashed)
        assert winner is not None
        assert f"queue {winner.name}" == rendezvous(weights, hashed)
    found.add_weight(destinations[0], 1000)
    assert sum(found.find(hashed) is destinations[0] for hashed in range(200)) > 180


def test_hashes_that_never_come_again_do_not_fill_the_memory() -> None:
    found = Rendezvous()
    for number in range(CACHED_FROM):
        found.add_weight(Destination(f"q{number}"), 1)
    tracemalloc.start()
    try:
        for hashed in range(HASH_CACHE_ENTRIES_MAX + 1000):
            found.find(hashed)
        grown, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 2_000_000

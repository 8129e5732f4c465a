"""The modulus hash exchange: a key leads to one queue while the bindings are the same."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.routing.exchanges import Destination
from leveret.engine.routing.exchanges.hashing import hash_key
from tests.unit.engine.routing.exchanges.naive import drop, exchange, matched

KIND = "x-modulus-hash"

names = st.sampled_from(["a", "b", "c", "d"])
bindings = st.lists(st.tuples(names, st.integers(0, 2)), unique=True, min_size=1)


def test_without_bindings_nothing_matches() -> None:
    assert matched(exchange(KIND), "k") == []


@given(bindings, st.data(), st.lists(st.text(max_size=8)))
def test_the_hash_picks_one_of_the_bindings_in_order_of_their_names(
    bound: list[tuple[str, int]], data: st.DataObject, keys: list[str]
) -> None:
    source = exchange(KIND)
    queues = {name: Destination(name) for name, _ in bound}
    for name, number in bound:
        source.bind(queues[name], str(number), {})
    left = data.draw(st.lists(st.sampled_from(bound), unique=True))
    for name, number in set(bound) - set(left):
        source.unbind(queues[name], str(number), {})
    expected = sorted(name for name, _ in left)
    for key in keys:
        found = [queue.name for queue in matched(source, key)]
        assert found == ([expected[hash_key(key) % len(expected)]] if expected else [])


def test_many_keys_are_spread_evenly_and_as_often_as_a_queue_is_bound() -> None:
    source = exchange(KIND)
    once, twice = Destination("once"), Destination("twice")
    source.bind(once, "k", {})
    source.bind(twice, "k", {})
    source.bind(twice, "other", {})
    counts = Counter(matched(source, f"key{number}")[0].name for number in range(3000))
    assert 900 < counts["once"] < 1100
    assert counts["once"] + counts["twice"] == 3000


def test_a_queue_and_an_exchange_of_one_name_are_two_destinations() -> None:
    source = exchange(KIND)
    queue, other = Destination("n"), exchange("fanout")
    other.name = "n"
    source.bind(other, "k", {})
    source.bind(queue, "k", {})
    found = {tuple(matched(source, f"key{number}")) for number in range(50)}
    assert found == {(queue,), (other,)}
    drop(queue)
    assert {tuple(matched(source, f"key{number}")) for number in range(50)} == {(other,)}

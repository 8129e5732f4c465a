"""The random exchange: any one binding, each as likely as another."""

from collections import Counter

from leveret.engine.routing.exchanges import Destination
from tests.unit.engine.routing.exchanges.naive import exchange, matched

MESSAGES = 4000


def test_without_bindings_nothing_matches() -> None:
    assert matched(exchange("x-random"), "k") == []


def test_every_message_goes_to_one_binding_and_each_is_as_likely() -> None:
    source = exchange("x-random")
    once, twice = Destination("once"), Destination("twice")
    source.bind(once, "k", {})
    source.bind(twice, "k", {})
    source.bind(twice, "other", {})
    found = [matched(source, "k") for _ in range(MESSAGES)]
    assert all(len(destinations) == 1 for destinations in found)
    counts = Counter(destinations[0].name for destinations in found)
    # Ten times the standard deviation of a third of so many.
    assert abs(counts["once"] - MESSAGES / 3) < 300
    assert counts["once"] + counts["twice"] == MESSAGES


def test_what_was_unbound_gets_nothing() -> None:
    source = exchange("x-random")
    queues = [Destination(f"q{number}") for number in range(5)]
    for queue in queues:
        source.bind(queue, "k", {})
    for unbound in (0, 4, 2):
        assert source.unbind(queues[unbound], "k", {})
    left = {matched(source, "k")[0].name for _ in range(MESSAGES)}
    assert left == {"q1", "q3"}

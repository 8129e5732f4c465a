"""The topic exchange: which patterns take which routing keys, and what that may cost."""

import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leveret.engine.routing.exchanges import Destination
from leveret.limits import SHORT_STRING_BYTES_MAX
from tests.unit.engine.routing.exchanges.naive import (
    exchange,
    matched,
    patterns,
    routing_keys,
    topic_matches,
    words_of,
)


@pytest.mark.parametrize(
    ("pattern", "routing_key", "expected"),
    [
        ("#", "", True),
        ("#.#", "", True),
        ("*", "", False),
        ("*.#", "", False),
        ("", "", True),
        ("*.*", ".", True),
        ("*", ".", False),
        ("*", "a.", False),
        ("a.#.b", "a.b", True),
        ("a.*.b", "a..b", True),
        ("a..b", "a..b", True),
        ("a.*.b", "a.*.b", True),
        ("a.#", "a.#", True),
        ("a*", "ab", False),
        ("a*", "a*", True),
        ("#.b.#", "a.b.c", True),
        ("kern.*", "kern.critical", True),
        ("*.critical", "kern.critical", True),
        ("kern.*", "kern.critical.now", False),
        ("kern.#", "kern", True),
    ],
)
def test_a_pattern_takes_the_keys_that_rabbitmq_lets_it_take(
    pattern: str, routing_key: str, expected: bool
) -> None:
    topic = exchange("topic")
    queue = Destination("q")
    topic.bind(queue, pattern, {})
    assert matched(topic, routing_key) == ([queue] if expected else [])


@given(st.lists(patterns, max_size=12, unique=True), st.lists(routing_keys, min_size=1))
@example(["#.a.#.b", "#.a.b", "a.#.#.b", "*.#.b"], ["a.b", "a.a.b.b", "b"])
@example(["*.*.*", "#.*", "*.#.*"], ["*.*.*", "#.#.#", "*.#"])
def test_many_patterns_together_take_what_each_takes_alone(
    bound: list[str], keys: list[str]
) -> None:
    topic = exchange("topic")
    queues = {pattern: Destination(pattern) for pattern in bound}
    for pattern, queue in queues.items():
        topic.bind(queue, pattern, {})
    for key in keys:
        expected = {
            queue
            for pattern, queue in queues.items()
            if topic_matches(words_of(pattern), words_of(key))
        }
        assert set(matched(topic, key)) == expected


@given(st.lists(patterns, min_size=2, max_size=8, unique=True), routing_keys, st.data())
def test_a_pattern_removed_takes_nothing_more_and_disturbs_no_other(
    bound: list[str], key: str, data: st.DataObject
) -> None:
    topic = exchange("topic")
    queues = {pattern: Destination(pattern) for pattern in bound}
    for pattern, queue in queues.items():
        topic.bind(queue, pattern, {})
    matched(topic, key)
    removed = data.draw(st.sets(st.sampled_from(bound)))
    for pattern in removed:
        topic.unbind(queues[pattern], pattern, {})
    expected = {
        queues[pattern]
        for pattern in bound
        if pattern not in removed and topic_matches(words_of(pattern), words_of(key))
    }
    assert set(matched(topic, key)) == expected


@pytest.mark.parametrize("unit", ["#.a", "#.*", "*.#", "#.a.*", "#.#", "a.#.*.#"])
@pytest.mark.parametrize("ending", ["", ".b"])
def test_a_hostile_pattern_takes_no_more_than_polynomial_time(unit: str, ending: str) -> None:
    """Tried one way after the other, the `#` of these patterns can be placed in 10^30 ways."""
    times = (SHORT_STRING_BYTES_MAX - len(ending) + 1) // (len(unit) + 1)
    topic = exchange("topic")
    for length in range(1, times + 1):
        topic.bind(Destination("q"), ".".join([unit] * length) + ending, {})
    key = ".".join(["a"] * ((SHORT_STRING_BYTES_MAX + 1) // 2))
    started = time.process_time()
    matched(topic, key)
    assert time.process_time() - started < 10


def test_the_longest_pattern_takes_the_longest_key() -> None:
    topic = exchange("topic")
    queue = Destination("q")
    topic.bind(queue, ".".join(["*"] * 128), {})
    topic.bind(queue, "." * 253 + ".*", {})
    assert matched(topic, ".".join(["a"] * 128)) == [queue]
    assert matched(topic, "." * 255) == []
    assert matched(topic, "." * 254) == [queue]


def test_a_queue_bound_by_two_patterns_keeps_the_other_when_one_goes() -> None:
    topic = exchange("topic")
    queue = Destination("q")
    topic.bind(queue, "a.*", {})
    topic.bind(queue, "a.*", {"x": 1})
    assert matched(topic, "a.b") == [queue]
    topic.unbind(queue, "a.*", {})
    assert matched(topic, "a.b") == [queue]
    topic.unbind(queue, "a.*", {"x": 1})
    assert matched(topic, "a.b") == []


def test_keys_that_never_come_back_do_not_fill_the_memory() -> None:
    """Remembered for good, these keys would take more than 20 MB."""
    topic = exchange("topic")
    topic.bind(Destination("q"), "#", {})
    tracemalloc.start()
    try:
        for number in range(50_000):
            topic.match(f"{number:0200d}", None, [])
        grown, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 8_000_000


def test_a_match_with_more_destinations_than_the_cache_holds_is_right_each_time() -> None:
    topic = exchange("topic")
    queues = [Destination(f"q{number}") for number in range(20_000)]
    for queue in queues:
        topic.bind(queue, "#", {})
    assert len(matched(topic, "a")) == 20_000
    assert topic.drop(queues[0]) == 1
    assert len(matched(topic, "a")) == 19_999


def test_deleting_queues_costs_nothing_for_the_bindings_of_others() -> None:
    """A walk over all bindings for every queue would take two billion steps here."""
    topic = exchange("topic")
    queues = [Destination(f"q{number}") for number in range(60_000)]
    for number, queue in enumerate(queues):
        topic.bind(queue, f"a.{number}.*", {})
    started = time.process_time()
    assert sum(topic.drop(queue) for queue in queues) == 60_000
    assert time.process_time() - started < 10
    assert not topic.is_bound()

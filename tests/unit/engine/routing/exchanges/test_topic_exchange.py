"""The topic exchange: which patterns take which routing keys, and what that may cost."""

import time
import tracemalloc
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leveret.engine.routing.exchanges import Destination
from leveret.engine.routing.exchanges.topic_trie import PatternTrie, simplify, split
from leveret.engine.values.time_slice import ENDLESS, TimeSlice
from leveret.limits import SHORT_STRING_BYTES_MAX
from tests.unit.engine.routing.exchanges.naive import (
    drop,
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


LONGEST_KEY = ["a"] * ((SHORT_STRING_BYTES_MAX + 1) // 2)


@pytest.mark.parametrize("unit", ["#.a", "#.*", "*.#", "#.a.*", "#.#", "a.#.*.#"])
@pytest.mark.parametrize("ending", ["", ".b"])
def test_a_match_takes_at_most_words_times_patterns_steps(unit: str, ending: str) -> None:
    """Tried one way after the other, the `#` of these patterns can be placed in 10^30 ways."""
    times = (SHORT_STRING_BYTES_MAX - len(ending) + 1) // (len(unit) + 1)
    trie = PatternTrie()
    nodes = 1
    for length in range(1, times + 1):
        pattern = simplify(split(".".join([unit] * length) + ending))
        trie.add(pattern, Destination("q"))
        nodes = max(nodes, 2 * len(pattern) + 1)
    match = trie.begin_match(LONGEST_KEY, [])
    assert match.run(ENDLESS)
    assert match.steps <= (len(LONGEST_KEY) + 1) * nodes


def test_random_patterns_make_few_nodes_and_few_steps() -> None:
    chance = Random(1)
    trie = PatternTrie()
    for number in range(500):
        words = [chance.choice("a*#") for _ in range(chance.randint(20, 100))]
        trie.add(simplify([*words, f"z{number}"]), Destination("q"))
    match = trie.begin_match(LONGEST_KEY, [])
    assert match.run(ENDLESS)
    assert match.steps < 3 * 500 * len(LONGEST_KEY)


@given(st.lists(patterns, max_size=12, unique=True), routing_keys, st.data())
def test_a_match_that_is_interrupted_finds_what_was_bound_all_the_time(
    bound: list[str], key: str, data: st.DataObject
) -> None:
    trie = PatternTrie()
    queues = {pattern: Destination(pattern) for pattern in bound}
    pool = st.sampled_from(bound or ["a.#"])
    for pattern, queue in queues.items():
        trie.add(simplify(pattern.split(".")), queue)
    found: list[Destination] = []
    match = trie.begin_match(split(key), found)
    over = TimeSlice()
    always, ever = set(bound), set(bound)
    while not match.run(over):
        pattern = data.draw(pool | patterns)
        words = simplify(pattern.split("."))
        if pattern in queues:
            trie.remove(words, queues.pop(pattern))
            always.discard(pattern)
        else:
            queues[pattern] = Destination(pattern)
            trie.add(words, queues[pattern])
            ever.add(pattern)
    names = {destination.name for destination in found}
    assert names <= {each for each in ever if topic_matches(each.split("."), words_of(key))}
    assert names >= {each for each in always if topic_matches(each.split("."), words_of(key))}


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
    assert len(drop(queues[0])) == 1
    assert len(matched(topic, "a")) == 19_999


def test_deleting_queues_costs_nothing_for_the_bindings_of_others() -> None:
    """A walk over all bindings for every queue would take two billion steps here."""
    topic = exchange("topic")
    queues = [Destination(f"q{number}") for number in range(60_000)]
    for number, queue in enumerate(queues):
        topic.bind(queue, f"a.{number}.*", {})
    started = time.process_time()
    assert sum(len(drop(queue)) for queue in queues) == 60_000
    assert time.process_time() - started < 10
    assert not topic.is_bound()

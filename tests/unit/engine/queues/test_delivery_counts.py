"""Counts of requeued messages are found by position, and take few bytes each."""

from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.queues.delivery_counts import DENSE_FROM, CountsByPosition, DeliveryCounts
from tests.support.traced_memory import traced_memory

MANY = 20_000
BYTES_EACH_MAX = 12

positions = st.one_of(st.integers(0, 40), st.integers(0, 2**55))


@given(st.lists(st.tuples(st.sampled_from(["set", "forget"]), positions, st.integers(1, 3))))
def test_they_are_those_that_were_set_and_not_forgotten(steps: list[tuple[str, int, int]]) -> None:
    counts = CountsByPosition()
    expected: dict[int, DeliveryCounts] = {}
    for step, position, times in steps:
        if step == "set":
            expected[position] = DeliveryCounts(times, times, 0)
            counts.set(position, DeliveryCounts(times, times, 0))
        else:
            expected.pop(position, None)
            counts.forget(position)
        assert counts.get(position) == expected.get(position)
        assert counts.is_empty() == (not expected)
    assert dict(counts.entries()) == expected


def test_many_of_a_block_are_found_and_forgotten() -> None:
    counts = CountsByPosition()
    for position in range(0, 4 * DENSE_FROM, 2):
        counts.set(position, DeliveryCounts(1, 0, position))
    for position in range(0, 4 * DENSE_FROM, 4):
        counts.forget(position)
        counts.forget(position)
    found = dict(counts.entries())
    assert list(found) == list(range(2, 4 * DENSE_FROM, 4))
    assert all(counts.get(each) == DeliveryCounts(1, 0, each) for each in found)
    for position in found:
        counts.forget(position)
    assert counts.is_empty()


def test_settled_ones_are_forgotten() -> None:
    counts = CountsByPosition()
    for position in range(100):
        counts.set(position, DeliveryCounts(1, 1, 0))
    counts.forget_settled(lambda position: position % 7 != 0)
    assert [position for position, _ in counts.entries()] == list(range(0, 100, 7))


def test_they_may_be_forgotten_while_they_are_listed() -> None:
    counts = CountsByPosition()
    for position in range(2 * DENSE_FROM):
        counts.set(position, DeliveryCounts(1, 1, 0))
    for position, _ in counts.entries():
        for each in range(position + 1, 2 * DENSE_FROM):
            counts.forget(each)
    assert [position for position, _ in counts.entries()] == [0]


def test_messages_that_were_requeued_equally_often_take_few_bytes() -> None:
    counts = CountsByPosition()
    with traced_memory(__file__) as taken:
        for position in range(MANY):
            counts.set(position, DeliveryCounts(2, 1, 0))
        assert 0 < taken() / MANY < BYTES_EACH_MAX

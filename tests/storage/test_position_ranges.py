"""RangeSet against a set of numbers."""

from hypothesis import given
from hypothesis import strategies as st

from leveret_storage.segments.position_ranges import RangeSet, in_either

END = 60
RANGES = st.lists(st.tuples(st.integers(0, END), st.integers(0, END)), max_size=30)


def made(ranges: list[tuple[int, int]], below: int = 0) -> tuple[RangeSet, set[int]]:
    """The same set twice."""
    found, wanted = RangeSet(below), set(range(below))
    for first, end in ranges:
        found.add(first, end)
        wanted.update(range(first, end))
    return found, wanted


@given(RANGES, st.integers(0, END))
def test_it_has_what_was_added(ranges: list[tuple[int, int]], below: int) -> None:
    found, wanted = made(ranges, below)
    assert {at for at in range(END + 5) if at in found} == wanted


@given(RANGES)
def test_its_ranges_are_apart_in_order_and_as_few_as_can_be(ranges: list[tuple[int, int]]) -> None:
    found, wanted = made(ranges)
    parts = found.ranges()
    assert {at for first, end in parts for at in range(first, end)} == wanted
    assert all(first < end for first, end in parts)
    assert all(parts[at][1] < parts[at + 1][0] for at in range(len(parts) - 1))
    assert found.below == (parts[0][1] if parts and parts[0][0] == 0 else 0)


@given(RANGES, st.integers(0, END), st.integers(0, END))
def test_gaps_are_what_is_missing_of_a_range(
    ranges: list[tuple[int, int]], first: int, end: int
) -> None:
    found, wanted = made(ranges)
    gaps = found.gaps(first, end)
    missing = set(range(first, end)) - wanted
    assert {at for gap_first, gap_end in gaps for at in range(gap_first, gap_end)} == missing
    assert all(gap_first < gap_end for gap_first, gap_end in gaps)
    assert all(gaps[at][1] < gaps[at + 1][0] for at in range(len(gaps) - 1))
    assert found.covers(first, end) == (not missing)
    assert found.next_gap(first, end) == (gaps[0] if gaps else (end, end))


@given(RANGES, RANGES, st.integers(1, 3))
def test_its_ranges_in_parts_are_all_there_were_though_some_are_added_meanwhile(
    ranges: list[tuple[int, int]], later: list[tuple[int, int]], most: int
) -> None:
    found, wanted = made(ranges)
    seen: set[int] = set()
    at = 0
    while parts := found.ranges_from(at, most):
        assert len(parts) <= most
        seen.update(position for first, end in parts for position in range(first, end))
        at = parts[-1][1]
        if later:
            found.add(*later.pop())
    assert wanted <= seen
    assert all(position in found for position in seen)


@given(st.permutations(range(40)))
def test_positions_added_in_any_order_end_as_one_number(order: list[int]) -> None:
    found = RangeSet()
    for position in order:
        found.add(position, position + 1)
    assert found.below == 40
    assert found.ranges() == [(0, 40)]


@given(RANGES, RANGES, st.integers(0, END), st.integers(0, END))
def test_a_range_is_in_two_sets_together_if_each_position_is_in_one(
    one: list[tuple[int, int]], other: list[tuple[int, int]], first: int, end: int
) -> None:
    found_one, wanted_one = made(one)
    found_other, wanted_other = made(other)
    missing = set(range(first, end)) - wanted_one - wanted_other
    assert in_either(first, end, found_one, found_other) == (not missing)

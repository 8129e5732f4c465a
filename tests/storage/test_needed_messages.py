"""What a log segment is needed for, against a set of numbers."""

from hypothesis import given
from hypothesis import strategies as st

from leveret_storage.segments.needed_messages import NeededMessages
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import BRIDGED_MESSAGES

END = 4 * BRIDGED_MESSAGES
POSITIONS = st.integers(0, END)
RANGES = st.lists(st.tuples(POSITIONS, POSITIONS), max_size=20)


def positions(ranges: list[tuple[int, int]]) -> tuple[RangeSet, set[int]]:
    """The same set twice."""
    found, wanted = RangeSet(), set[int]()
    for first, end in ranges:
        found.add(first, end)
        wanted.update(range(first, end))
    return found, wanted


@given(RANGES, RANGES, POSITIONS)
def test_it_is_needed_for_what_is_neither_settled_nor_flushed(
    settled_ranges: list[tuple[int, int]], flushed_ranges: list[tuple[int, int]], end: int
) -> None:
    settled, is_settled = positions(settled_ranges)
    flushed, is_flushed = positions(flushed_ranges)
    search = NeededMessages(7, settled, flushed, end)
    steps = 1
    while not search.run():
        steps += 1
    assert steps <= 2 * (len(settled_ranges) + len(flushed_ranges)) + 2
    needed = set(range(end)) - is_settled - is_flushed
    not_needed = {at for at in range(END + 1) if at in search.not_needed}
    assert not not_needed & needed
    left_out = set(range(end)) - needed - not_needed
    for at in left_out:
        # It is between two needed messages that are not far apart.
        assert any(below in needed for below in range(max(at - BRIDGED_MESSAGES, 0), at))
        assert any(above in needed for above in range(at + 1, at + BRIDGED_MESSAGES + 1))

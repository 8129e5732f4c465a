"""A set of positions of a queue, stored as ranges.

Messages are mostly settled in order, so nearly all settled positions are below one number. Those
settled out of order are ranges above it, which are joined when they meet.
"""

from bisect import bisect_right

from mypy_extensions import i64


class RangeSet:
    """A set of positions from 0 up: everything below `below`, and ranges above it.

    The ranges are half open, apart from each other, and in order; `_starts` and `_ends` hold them.
    """

    def __init__(self, below: int = 0) -> None:
        self.below: i64 = below
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, first: i64, end: i64) -> None:
        """Add the positions from `first` up to, not including, `end`."""
        if first >= end:
            return
        if first > self.below:
            self._add_above(first, end)
            return
        if end > self.below:
            self.below = end
            if self._starts:
                self._absorb()

    def _add_above(self, first: int, end: int) -> None:
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, first)
        if at > 0 and ends[at - 1] >= first:
            at -= 1
            first = starts[at]
        stop = bisect_right(starts, end)
        if stop > at:
            end = max(end, ends[stop - 1])
        starts[at:stop] = [first]
        ends[at:stop] = [end]

    def _absorb(self) -> None:
        """Remove the ranges that `below` has reached."""
        absorbed = 0
        while absorbed < len(self._starts) and self._starts[absorbed] <= self.below:
            self.below = max(self.below, self._ends[absorbed])
            absorbed += 1
        if absorbed:
            del self._starts[:absorbed]
            del self._ends[:absorbed]

    def __contains__(self, position: int) -> bool:
        if position < self.below:
            return True
        at = bisect_right(self._starts, position)
        return at > 0 and self._ends[at - 1] > position

    def gaps(self, first: int, end: int) -> list[tuple[int, int]]:
        """The parts of a range that are not in the set, in order."""
        found: list[tuple[int, int]] = []
        at = max(first, self.below)
        index = bisect_right(self._starts, at)
        if index > 0 and self._ends[index - 1] > at:
            at = self._ends[index - 1]
        while at < end:
            start = self._starts[index] if index < len(self._starts) else end
            found.append((at, min(start, end)))
            at = self._ends[index] if index < len(self._ends) else end
            index += 1
        return found

    def covers(self, first: int, end: int) -> bool:
        """Whether every position of a range is in the set."""
        return self.next_gap(first, end)[0] >= end

    def next_gap(self, first: int, end: int) -> tuple[int, int]:
        """The first of the `gaps` in a range; an empty one at its end if there is none."""
        at = max(first, int(self.below))
        index = bisect_right(self._starts, at)
        if index > 0 and self._ends[index - 1] > at:
            at = self._ends[index - 1]
        stop = self._starts[index] if index < len(self._starts) else end
        return min(at, end), min(stop, end)

    def count(self, first: int, end: int) -> int:
        """How many positions of a range are in the set."""
        missing = sum([gap_end - gap_first for gap_first, gap_end in self.gaps(first, end)])
        return max(0, end - first) - missing

    def copy(self) -> "RangeSet":
        """Another set of the same positions."""
        other = RangeSet(self.below)
        other._starts = self._starts[:]
        other._ends = self._ends[:]
        return other

    def ranges(self) -> list[tuple[int, int]]:
        """All of the set as half-open ranges, the part below first where there is one."""
        below = [(0, int(self.below))] if self.below else []
        return below + list(zip(self._starts, self._ends, strict=True))

    def ranges_from(self, position: int, most: int) -> list[tuple[int, int]]:
        """The first of the `ranges` that have positions from this one on, at most so many.

        From the end of the last range on they go on where they were, though positions are added
        between two calls: a range that was joined to that one is there as a whole.
        """
        found: list[tuple[int, int]] = []
        if self.below > position:
            found.append((0, int(self.below)))
            most -= 1
        index = bisect_right(self._ends, position)
        found += zip(
            self._starts[index : index + most], self._ends[index : index + most], strict=True
        )
        return found


def in_either(first: int, end: int, one: RangeSet, other: RangeSet) -> bool:
    """Whether every position of a range is in one of two sets."""
    while first < end:
        first, gap_end = one.next_gap(first, end)
        if not other.covers(first, gap_end):
            return False
        first = gap_end
    return True

"""Which messages of a queue a log segment is needed for: those neither settled nor in a queue
segment."""

from mypy_extensions import i64

from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import BRIDGED_MESSAGES


class NeededMessages:
    """The search through one queue, a range at a time.

    What is settled or flushed during the search may or may not count.
    """

    def __init__(self, queue: int, settled: RangeSet, flushed: RangeSet, end: int) -> None:
        """:param end: only positions below it are of interest."""
        self.queue = queue
        """The number of the queue."""
        self.not_needed = RangeSet()
        """The positions, up to `end`, whose messages are not needed; complete at the end.

        Short ranges of them between others are left out: a run for each message in between would
        cost more than to copy them too.
        """
        self._settled = settled
        self._flushed = flushed
        self._at: i64 = 0
        """Behind the last range of needed messages that was found."""
        self._next: i64 = 0
        """Where the next one begins at the earliest."""
        self._end: i64 = end

    def run(self) -> bool:
        """Go on by one range, settled, flushed or needed; whether that was the last one."""
        end = self._end
        first, settled_from = self._settled.next_gap(self._next, end)
        behind, flushed_from = self._flushed.next_gap(first, end)
        if behind != first:
            self._next = behind
            return False
        if self._at == 0 or first == end or first - self._at > BRIDGED_MESSAGES:
            self.not_needed.add(self._at, first)
        self._at = self._next = min(settled_from, flushed_from)
        return self._at >= end

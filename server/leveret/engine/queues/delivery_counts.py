"""How often each message of a queue was requeued, by position, in a few bytes for each.

A consumer that returns all that it has returns messages at consecutive positions, equally often:
their counts are one object, to which a block of positions refers.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from mypy_extensions import i64

BLOCK_BITS: Final = 10
BLOCK_POSITIONS: Final = 1 << BLOCK_BITS
"""Positions of a block. The list of a dense one is too large for the arenas of Python's allocator,
which are freed only as a whole."""

DENSE_FROM: Final = 128
"""Messages of a block from which on it is a list, which takes eight kilobytes, and no
dictionary."""

SHARED_COUNTS_MAX: Final = 1024
"""Different counts that are remembered, to be one object for all messages that have them."""


class DeliveryCounts(NamedTuple):
    """How often one message was requeued."""

    acquired: int
    """Returns of any kind."""
    failed: int
    """Returns because of basic.reject or the end of a channel or connection."""
    retry_at: int
    """The end of its retry delay, in milliseconds since the epoch; 0 if it has none."""


class _Block:
    """The counts of the messages at BLOCK_POSITIONS consecutive positions, by place among them."""

    def __init__(self) -> None:
        self.count: i64 = 0
        self.sparse: dict[int, DeliveryCounts] = {}
        """Those there are, while they are few."""
        self.dense: list[DeliveryCounts | None] | None = None
        """Those of all places, once they are many."""

    def get(self, place: i64) -> DeliveryCounts | None:
        dense = self.dense
        return self.sparse.get(int(place)) if dense is None else dense[place]

    def set(self, place: i64, counts: DeliveryCounts | None) -> None:
        """Set or forget the counts at a place."""
        if self.get(place) is not None:
            self.count -= 1
        if counts is not None:
            self.count += 1
        if self.dense is not None:
            self.dense[place] = counts
        elif counts is None:
            self.sparse.pop(int(place), None)
        else:
            self.sparse[int(place)] = counts
            if self.count >= DENSE_FROM:
                self.dense = [self.sparse.get(each) for each in range(BLOCK_POSITIONS)]
                self.sparse = {}


class CountsByPosition:
    """The counts of the messages of a queue that were requeued and are not settled."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._shared: dict[DeliveryCounts, DeliveryCounts] = {}

    def is_empty(self) -> bool:
        """Whether no message has counts."""
        return not self._blocks

    def get(self, position: i64) -> DeliveryCounts | None:
        """The counts of a message; None if it was never requeued."""
        if not self._blocks:
            return None
        block = self._blocks.get(int(position >> BLOCK_BITS))
        return None if block is None else block.get(position & (BLOCK_POSITIONS - 1))

    def set(self, position: i64, counts: DeliveryCounts) -> None:
        """Set the counts of a message."""
        number = int(position >> BLOCK_BITS)
        block = self._blocks.get(number)
        if block is None:
            block = _Block()
            self._blocks[number] = block
        if len(self._shared) >= SHARED_COUNTS_MAX:
            self._shared.clear()
        block.set(position & (BLOCK_POSITIONS - 1), self._shared.setdefault(counts, counts))

    def forget(self, position: i64) -> None:
        """Forget the counts of a message, if it has any: it is settled."""
        if not self._blocks:
            return
        number = int(position >> BLOCK_BITS)
        block = self._blocks.get(number)
        if block is not None:
            block.set(position & (BLOCK_POSITIONS - 1), None)
            if block.count == 0:
                del self._blocks[number]

    def forget_settled(self, is_settled: Callable[[i64], bool]) -> None:
        """Forget the counts of all messages that are settled."""
        for position, _ in self.entries():
            if is_settled(position):
                self.forget(position)

    def entries(self) -> Iterator[tuple[int, DeliveryCounts]]:
        """Positions and counts, while they may change: those that were set meanwhile may be among
        them or not."""
        for number in list(self._blocks):
            block = self._blocks.get(number)
            if block is not None:
                places = range(BLOCK_POSITIONS) if block.dense is not None else list(block.sparse)
                for place in places:
                    counts = block.get(place)
                    if counts is not None:
                        yield (number << BLOCK_BITS) + place, counts

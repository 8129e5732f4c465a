"""A histogram: how many values of a kind were how large.

Deliberately elsewhere: how it is shown to whoever monitors the process.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
)  # fmt: skip
"""Bounds for durations, in seconds: from a sync of a quick disk to one that stands still."""

BYTES: Final = tuple(float(2**power) for power in range(8, 28, 2))
"""Bounds for sizes: from 256 bytes to 64 MiB."""


class Histogram:
    """Counts values by size. One thread adds; others may read meanwhile."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """
        :param bounds: the largest value of each class but the last, ascending.
        """
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """Values in each class; in the last those above all bounds."""
        self.sum = 0.0
        """The sum of all values."""

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self.counts)

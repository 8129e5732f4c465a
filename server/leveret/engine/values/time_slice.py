"""The time slice: how long the work of one client, or of one queue, may go on before others' turn.

A loop whose length a client decides asks the slice after each unit of work whether it is over, and
leaves the rest for a later slice (`work.py`). Who starts work begins a slice for it: the event
loop's scheduler, or a test.
"""

from time import perf_counter_ns
from typing import Final

from mypy_extensions import i64

UNITS_PER_READING: Final = 16
"""Units of work between two readings of the clock, which takes 60 ns: a unit is some microseconds
at most."""

UNLIMITED_NS: Final = 2**60
"""Nanoseconds of a slice that is never over, where nobody waits: 36 years."""


class TimeSlice:
    """The current time slice of a broker, which all its parts share. It is over until the first
    `begin`."""

    def __init__(self) -> None:
        self.end_ns: i64 = 0
        """When it is over, in nanoseconds of `time.perf_counter_ns`."""
        self.units_left: i64 = 0
        """Units of work that may be done before the clock is read."""

    def begin(self, length_ns: i64) -> i64:
        """Begin a slice of `length_ns` nanoseconds.

        :returns: when it began, in nanoseconds of `time.perf_counter_ns`.
        """
        now: i64 = perf_counter_ns()
        self.end_ns = now + length_ns
        self.units_left = UNITS_PER_READING
        return now

    def is_over(self) -> bool:
        """Whether the slice is over, asked after a unit of work of some microseconds at most: the
        clock is read once in UNITS_PER_READING calls."""
        self.units_left -= 1
        if self.units_left > 0:
            return False
        return self.is_over_now()

    def is_over_now(self) -> bool:
        """Whether the slice is over, asked after a unit of work that may be long: the clock is
        read."""
        now: i64 = perf_counter_ns()
        if now < self.end_ns:
            self.units_left = UNITS_PER_READING
            return False
        # Over stays over, also for those who do not read the clock.
        self.units_left = 0
        return True


def _endless() -> TimeSlice:
    time_slice = TimeSlice()
    time_slice.end_ns = (1 << 62) - 1
    # The clock need not be read.
    time_slice.units_left = time_slice.end_ns
    return time_slice


ENDLESS: Final = _endless()
"""A slice that is never over, for work that has to be done at once."""

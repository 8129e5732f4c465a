"""Spans of time that a test gives, in seconds."""

from typing import Final, SupportsFloat

from leveret.testing.errors import BrokerError

SECONDS_MAX: Final = 10**11
"""Some thousand years."""


def milliseconds(seconds: SupportsFloat) -> int:
    """A span by which the clock is advanced.

    :raises BrokerError: if it is negative, more than SECONDS_MAX, or no number.
    """
    if not isinstance(seconds, SupportsFloat):
        raise BrokerError(f"time is advanced by a number of seconds, and not by {seconds!r}")
    span_s = float(seconds) if not isinstance(seconds, int) else seconds
    if span_s < 0:
        raise BrokerError("time cannot go back: give a number of seconds from 0")
    if not span_s <= SECONDS_MAX:
        raise BrokerError(f"time is advanced by {SECONDS_MAX} seconds at most, not by {seconds!r}")
    return round(span_s * 1000)

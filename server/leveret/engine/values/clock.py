"""The time as the engine sees it: a number that somebody else turns.

The engine asks no clock of the machine. Whoever gives it work sets `now` first, once a turn of the
event loop; a test sets it as it likes.
"""

from mypy_extensions import i64


class Clock:
    """The time of day in whole milliseconds since the epoch. It never goes back."""

    def __init__(self, now: i64 = 0) -> None:
        self.now: i64 = now

    def advance_to(self, now: i64) -> None:
        """It is `now`; a clock of the machine that was set back is waited for."""
        if now > self.now:
            self.now = now

"""The time of the engine: a number that is advanced from outside.

The engine does not read the machine's clock. The event loop advances `now` before it gives the
engine work, once an iteration; a test advances it as it likes.
"""

from mypy_extensions import i64


class Clock:
    """The time of day in whole milliseconds since the epoch. It never goes back."""

    def __init__(self, now: i64 = 0) -> None:
        self.now: i64 = now

    def advance_to(self, now: i64) -> None:
        """Advance to `now`. If the machine's clock was set back, the time stands still until it has
        caught up."""
        if now > self.now:
            self.now = now

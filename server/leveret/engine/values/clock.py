"""The time of the engine: a number that is advanced from outside, by the time that elapses.

The engine does not read the machine's clock. The event loop advances `now` before it gives the
engine work, once an iteration; a test advances it as it likes. The time begins as the wall clock
says and is not set with it, so that times to live, delays and expiry are what elapses, whatever
happens to the wall clock. The difference is noted, for times that people read, and persisted, so
that persisted times mean the same after a restart. A test may skip time: then the engine is ahead
of the machine.
"""

from mypy_extensions import i64


class Clock:
    """The time of the engine in whole milliseconds since the epoch. It never goes back."""

    def __init__(self, now: i64 = 0) -> None:
        self.now: i64 = now
        self.behind: i64 = 0
        """Milliseconds that the time is behind the wall clock, as noted last: by how much that was
        set forward while a broker ran. Negative if it was set back."""
        self._offset: i64 = 0
        """Milliseconds that the time was behind the wall clock when the process started, less those
        that were skipped."""
        self.is_shared = False
        """Whether several brokers have the same time, so that persisted times mean the same in all
        of them."""
        self.skipped: i64 = 0
        """Milliseconds that were skipped, and have not elapsed."""

    def skip(self, milliseconds: i64) -> None:
        """Advance without waiting, for a test; zero or more."""
        self.skipped += milliseconds
        self._offset -= milliseconds
        self.now += milliseconds

    def time_at(self, time: i64) -> i64:
        """The engine's time at a time of the process, which is the wall clock's at its start."""
        return time - self._offset

    def advance_to(self, time: i64) -> None:
        """Advance to a time of the process; one that is over changes nothing."""
        now = time - self._offset
        if now > self.now:
            self.now = now

    def share(self, behind: i64) -> None:
        """Have the time that several brokers share, which is so far behind the wall clock of this
        one. What they restore does not change it."""
        self.resume(behind)
        self.is_shared = True

    def resume(self, behind: i64) -> None:
        """Be as far behind the wall clock as the broker was whose times are restored."""
        if self.is_shared:
            return
        offset = behind - self.skipped
        if offset != self._offset:
            self.now = max(self.now + self._offset - offset, 1)
            self._offset = offset
        self.behind = behind

    def wall_time(self) -> i64:
        """The time of day, in milliseconds since the epoch, for people to read."""
        return self.now + self.behind

"""Timers that ring as one timer of others, from when they begin until they end.

The timers of a store are set while its virtual hosts are restored, which takes several turns of the
event loop, and ring only when all of them are there.
"""

from typing import Final

from leveret.engine.values.clock import Clock
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timer, Timers


class NestedTimers(Timer):
    """Some timers, as one of a broker."""

    def __init__(self, outer: Timers, clock: Clock, time_slice: TimeSlice) -> None:
        super().__init__()
        self.inner: Final = Timers()
        self._outer = outer
        self._clock = clock
        self._time_slice = time_slice
        self._has_ended = False

    def begin(self) -> None:
        """Have them ring from now on."""
        self.inner.changed = self._arm
        self._arm()

    def end(self) -> None:
        """Have none of them ring any more."""
        self._has_ended = True
        self._outer.stop(self)

    def ring(self) -> None:
        try:
            self.inner.run(self._clock.now, self._time_slice)
        finally:
            self._arm()

    def _arm(self) -> None:
        due = self.inner.next_due()
        if due != 0 and not self._has_ended:
            self._outer.set(self, due)

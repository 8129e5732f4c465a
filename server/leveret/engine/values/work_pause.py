"""Pausing the work of a broker that waits for the disk, instead of asking it all the time."""

from leveret.engine.values.clock import Clock
from leveret.engine.values.timers import Timer, Timers
from leveret.engine.values.work import WorkQueue
from leveret.limits import BACKPRESSURE_RETRY_MS


class WorkPause(Timer):
    """Rings when work that had to wait may go on."""

    def __init__(self, work: WorkQueue, timers: Timers, clock: Clock) -> None:
        """Have the work of this queue pause when it has to wait."""
        super().__init__()
        self._work = work
        self._timers = timers
        self._clock = clock
        work.paused = self._begin

    def _begin(self) -> None:
        self._timers.set(self, self._clock.now + BACKPRESSURE_RETRY_MS)

    def ring(self) -> None:
        self._work.resume()

"""The engine's clock and timers, driven by the event loop.

Timers are due by the time that elapses. They ring for a time slice in each iteration of the loop,
however many of them are due. What the wall clock is set to meanwhile is noted.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from leveret.engine.broker import Broker
from leveret.limits import SLICE_NS
from leveret.logging import get_logger
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.wall_clock import now_ms, wall_clock_ms

WALL_CLOCK_STEP_MS: Final = 1000
"""Milliseconds of a difference from the wall clock that is noted: more than a leap second."""

logger = get_logger()


class LoopClock:
    """Advances the broker's clock, and runs its timers when they are due."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        scheduler: LoopScheduler,
        now: Callable[[], int] = now_ms,
        wall_clock: Callable[[], int] = wall_clock_ms,
    ) -> None:
        """:param now: the time of the process, in milliseconds.
        :param wall_clock: the wall clock, in milliseconds since the epoch.
        """
        self._loop = loop
        self._broker = broker
        self._now = now
        self._wall_clock = wall_clock
        self._clock = broker.clock
        self._timers = broker.timers
        self._scheduler = scheduler
        self._handle: asyncio.TimerHandle | None = None
        self._timers.changed = self._arm

    def start(self) -> None:
        """Start; timers that became due while the broker was down run at once."""
        self._clock.advance_to(self._now())
        self._arm()

    def tick(self) -> None:
        """Note by how much the wall clock was set, and run the timers that became due while the
        machine was suspended, which the event loop does not notice; to be called twice a second."""
        clock = self._clock
        due = self._timers.next_due()
        if due != 0 and due <= clock.time_at(self._now()):
            self._arm()
        behind = int(self._wall_clock() + clock.skipped - clock.time_at(self._now()))
        if abs(behind - int(clock.behind)) >= WALL_CLOCK_STEP_MS:
            logger.warning(
                "the wall clock was set: times to live, delays and expiry go on by elapsed time",
                set_by=f"{(behind - int(clock.behind)) / 1000:+.1f}s",
            )
            clock.behind = behind
            self._broker.persist_clock()

    def run_due(self) -> None:
        """Run the timers that are due, for a time slice."""
        self.stop()
        self._clock.advance_to(self._now())
        time_slice = self._broker.time_slice
        time_slice.begin(SLICE_NS)
        try:
            self._timers.run(self._clock.now, time_slice)
        finally:
            self._scheduler.request_iteration()
            self._arm()

    def skip(self, milliseconds: int) -> None:
        """Advance the clock without waiting, for a test; the timers that are due then run soon."""
        self._clock.advance_to(self._now())
        self._clock.skip(milliseconds)
        self._arm()

    def stop(self) -> None:
        """Run no further timers."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self.stop()
        due = self._timers.next_due()
        if due != 0:
            wait_ms = max(0, due - self._clock.time_at(self._now()))
            self._handle = self._loop.call_later(wait_ms / 1000, self.run_due)

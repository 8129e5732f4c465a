"""The engine's clock and timers, driven by the event loop."""

import asyncio

from leveret.engine.broker import Broker
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.wall_clock import now_ms


class LoopClock:
    """Advances the broker's clock, and runs its timers when they are due."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, broker: Broker, scheduler: LoopScheduler
    ) -> None:
        self._loop = loop
        self._clock = broker.clock
        self._timers = broker.timers
        self._scheduler = scheduler
        self._handle: asyncio.TimerHandle | None = None
        self._timers.changed = self._arm

    def start(self) -> None:
        """Start; timers that became due while the broker was down run at once."""
        self._clock.advance_to(now_ms())
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
            wait_ms = max(0, due - now_ms())
            self._handle = self._loop.call_later(wait_ms / 1000, self._run_due)

    def _run_due(self) -> None:
        self._handle = None
        self._clock.advance_to(now_ms())
        try:
            self._timers.run(self._clock.now)
        finally:
            self._scheduler.request_iteration()
            self._arm()

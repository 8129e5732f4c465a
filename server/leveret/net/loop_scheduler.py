"""A turn of the event loop: who has input left is worked on, and all output goes out at once.

Between two turns the loop looks at every socket, so a turn is kept short: whatever the number of
saturating publishers, they share the bytes of one turn, round robin, and acknowledgements and
requests, which are small, are handled as they come. A publisher that is held (its messages pile up
behind consumers who are working on them) sits out a moment, so that the consumers get the time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from leveret.engine.values.clock import Clock
from leveret.limits import INPUT_SLICE_BYTES, ITERATION_INPUT_BYTES
from leveret.net.wall_clock import now_ms

THROTTLE_S: Final = 0.001
"""Seconds a held publisher sits out: the resolution of the loop's timers."""


class Worker(Protocol):
    """A socket, as its turns see it."""

    def flush(self) -> None:
        """Write the output to the socket."""

    def work(self) -> None:
        """Work through a slice of the input that waits."""


class LoopScheduler:
    """Says who is worked on and flushed, and when."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, commit: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._commit = commit
        self._woken: list[Worker] = []
        self._waiting: deque[Worker] = deque()
        self._held: list[Worker] = []
        self._scheduled = False

    def wake(self, worker: Worker) -> None:
        """It has output."""
        self._woken.append(worker)
        self._schedule()

    def later(self, worker: Worker) -> None:
        """It has input left to work through, or is to read on."""
        self._waiting.append(worker)
        self._schedule()

    def hold(self, worker: Worker) -> None:
        """As `later`, but it sits out a moment first."""
        if not self._held:
            self._loop.call_later(THROTTLE_S, self._release)
        self._held.append(worker)

    def _release(self) -> None:
        self._waiting.extend(self._held)
        self._held = []
        self._schedule()

    def end(self) -> None:
        """Something was worked on: the turn has an end."""
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        self._clock.advance_to(now_ms())
        room = ITERATION_INPUT_BYTES
        while self._waiting and room > 0:
            room -= INPUT_SLICE_BYTES
            self._waiting.popleft().work()
        self._commit()
        woken = self._woken
        self._woken = []
        for worker in woken:
            worker.flush()
        if self._waiting:
            self._schedule()

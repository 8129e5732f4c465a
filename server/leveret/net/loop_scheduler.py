"""The schedule of the event loop: it distributes input slices fairly, commits once an iteration,
and flushes all output together.

Between two iterations the loop polls every socket, so an iteration is kept short. All connections
with a backlog of input share the bytes of one iteration, round robin, whatever their number.
Acknowledgements and requests, which are small, are processed as they arrive. A throttled publisher
(its messages queue up behind consumers that are busy) waits until they have taken enough, which is
looked at every THROTTLE_S, and at the end of each iteration for some of the throttled publishers:
consumers may have taken messages in it.

Deliberately elsewhere: when a connection is read, and when it is throttled (`transport.py`).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from leveret.engine.values.clock import Clock
from leveret.limits import INPUT_SLICE_BYTES, ITERATION_INPUT_BYTES
from leveret.net.wall_clock import now_ms

THROTTLE_S: Final = 0.001
"""Seconds a throttled publisher waits: the resolution of the loop's timers."""

THROTTLED_PER_ITERATION: Final = 8
"""Throttled publishers that one iteration looks at: a microsecond or two."""


class Scheduled(Protocol):
    """A connection, as the scheduler sees it."""

    def flush(self) -> None:
        """Write the output to the socket."""

    def process_input(self) -> None:
        """Process one slice of the buffered input."""

    def may_end_throttling(self) -> bool:
        """Whether a throttled publisher need not wait for THROTTLE_S."""


class LoopScheduler:
    """Schedules the input slices and the flushes of all connections of one event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, commit: Callable[[], None]
    ) -> None:
        """`commit` is called once an iteration, before the flushes."""
        self._loop = loop
        self._clock = clock
        self._commit = commit
        self._to_flush: list[Scheduled] = []
        self._input_queue: deque[Scheduled] = deque()
        self._throttled: deque[Scheduled] = deque()
        self._throttle_timer = False
        self._requested = False

    def request_iteration(self) -> None:
        """Run an iteration next, which commits and flushes what was done."""
        if not self._requested:
            self._requested = True
            self._loop.call_soon(self._run)

    def run_requested(self) -> None:
        """Run the iteration that was requested, if one was, without polling the sockets before it.

        For callbacks of the event loop that are no part of an iteration: the confirms of a commit
        that is durable are sent before the next poll, not after it.
        """
        self._run()

    def request_flush(self, connection: Scheduled) -> None:
        """Flush a connection's output in the next iteration."""
        self._to_flush.append(connection)
        self.request_iteration()

    def schedule_input(self, connection: Scheduled) -> None:
        """Process a slice of a connection's input when its turn comes."""
        self._input_queue.append(connection)
        self.request_iteration()

    def schedule_throttled_input(self, connection: Scheduled) -> None:
        """As `schedule_input`, after THROTTLE_S, or when consumers have taken enough."""
        if not self._throttle_timer:
            self._throttle_timer = True
            self._loop.call_later(THROTTLE_S, self._release_throttled)
        self._throttled.append(connection)

    def _release_throttled(self) -> None:
        self._throttle_timer = False
        if self._throttled:
            self._input_queue.extend(self._throttled)
            self._throttled.clear()
            self.request_iteration()

    def _release_early(self) -> None:
        """Release those of the longest throttled publishers that need not wait any more."""
        throttled = self._throttled
        for _ in range(min(len(throttled), THROTTLED_PER_ITERATION)):
            connection = throttled.popleft()
            if connection.may_end_throttling():
                self._input_queue.append(connection)
            else:
                throttled.append(connection)

    def _run(self) -> None:
        if not self._requested:
            return
        self._requested = False
        self._clock.advance_to(now_ms())
        budget = ITERATION_INPUT_BYTES
        while self._input_queue and budget > 0:
            budget -= INPUT_SLICE_BYTES
            self._input_queue.popleft().process_input()
        self._commit()
        to_flush = self._to_flush
        self._to_flush = []
        for connection in to_flush:
            connection.flush()
        if self._throttled:
            self._release_early()
        if self._input_queue:
            self.request_iteration()

"""The schedule of the event loop: it distributes time fairly, commits once an iteration, and
flushes all output together.

Between two iterations the loop polls every socket, so an iteration is kept short: it is bounded by
time, ITERATION_NS, and by input, ITERATION_INPUT_BYTES. Rules:

- A connection gets a time slice, SLICE_NS, for some of its input, or for work that its last frame
  began. What does not end in it goes on in a later slice.
- Connections share the iterations by the time they use: the next slice is for the one that has used
  the least, whatever its input asks for (start-time fair queueing). A connection that comes back
  after a pause starts where those are that were served meanwhile: time that was not used is not
  saved up.
- Acknowledgements and requests, which are small, are processed as they arrive, unless their
  connection has used much more time than others lately, or the iteration is over.
- Work that no connection waits for (`engine/values/work.py`) gets a quarter of an iteration, and
  what the connections leave.
- A throttled publisher (its messages queue up behind consumers that are busy) waits until they have
  taken enough, which is looked at every THROTTLE_S, and at the end of each iteration for some of
  the throttled publishers: consumers may have taken messages in it. So do connections whose work
  waits for the disk.

Deliberately elsewhere: when a connection is read, and when it is throttled (`transport.py`).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from time import perf_counter_ns
from typing import Final, Protocol

from leveret.engine.broker import Broker
from leveret.limits import (
    ACCOUNTED_NS_MAX,
    INPUT_SLICE_BYTES,
    ITERATION_INPUT_BYTES,
    ITERATION_NS,
    ITERATION_NS_MIN,
    RESUME_NS,
    SLICE_NS,
    WORK_NS,
)
from leveret.logging import get_logger
from leveret.net.wall_clock import now_ms

logger = get_logger()

THROTTLE_S: Final = 0.001
"""Seconds a throttled publisher waits: the resolution of the loop's timers."""

EARLY_ITERATIONS_MAX: Final = 6
"""Iterations that a connection may have run between two polls while it receives large bodies: a
millisecond of work, a quarter of a megabyte each."""

THROTTLED_PER_ITERATION: Final = 8
"""Throttled publishers that one iteration looks at: a microsecond or two."""

ITERATION_SLICES: Final = ITERATION_INPUT_BYTES // INPUT_SLICE_BYTES
"""Slices of buffered input in one iteration."""

AHEAD_NS_MAX: Final = 2 * SLICE_NS
"""Nanoseconds that a connection may have used more than the others and still have its small input
processed as it arrives."""


class Scheduled(Protocol):
    """A connection, as the scheduler sees it."""

    used_ns: int
    """Nanoseconds that it has used, on the scheduler's account; 0 at first."""

    def flush(self) -> bool:
        """Write the output to the socket; whether consumers wait for `resume`."""

    def resume(self) -> bool:
        """Deliver to the consumers that waited for the output to drain; whether some still wait
        because the time slice is over."""

    def process_input(self) -> None:
        """Process buffered input until the time slice is over."""

    def may_end_throttling(self) -> bool:
        """Whether a throttled publisher need not wait for THROTTLE_S."""


class LoopScheduler:
    """Schedules the time slices and the flushes of all connections of one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        clock_ns: Callable[[], int] = perf_counter_ns,
    ) -> None:
        """Have the broker's work run, and its batches committed, once an iteration."""
        self._loop = loop
        self._broker = broker
        self._clock_ns = clock_ns
        self._to_flush: list[Scheduled] = []
        self._to_resume: deque[Scheduled] = deque()
        self._waiting: list[tuple[int, int, Scheduled]] = []
        """Connections with buffered input: a heap by the time they have used, then in order."""
        self._sequence = 0
        self._throttled: deque[Scheduled] = deque()
        self._throttle_timer = False
        self._requested = False
        self._called = False
        """Whether the event loop will call `_run_after_poll`. One call at a time, also after
        `run_requested`: each would run an iteration of its own between two polls."""
        self._served_ns = 0
        """What the connection that was served last had used before: where one that comes back
        starts."""
        self._most_ns = 0
        """The most that any connection has used."""
        self._used_at_once_ns = 0
        """Nanoseconds that input took as it arrived, since the last iteration."""
        self._slice_began_ns = 0
        self._early_iterations = 0
        """Iterations since the last poll, beside the one that follows it."""
        broker.work.added = self.request_iteration
        if not broker.work.is_empty():
            # What a start has left: without that nobody would ask for the first iteration.
            self.request_iteration()

    def request_iteration(self) -> None:
        """Run an iteration next, which commits and flushes what was done."""
        if not self._requested:
            self._requested = True
            if not self._called:
                self._called = True
                self._loop.call_soon(self._run_after_poll)

    def _run_after_poll(self) -> None:
        self._called = False
        self._early_iterations = 0
        self._run()

    def run_requested(self) -> None:
        """Run the iteration that was requested, if one was, without polling the sockets before it.

        For callbacks of the event loop that are no part of an iteration: the confirms of a commit
        that is durable are sent before the next poll, not after it.
        """
        self._run()

    def run_early(self) -> bool:
        """Run the iteration that was requested before the sockets are polled again, as a connection
        reads more that it processes at once: what it published leaves while it reads on.

        :returns: whether it may read on. If not, others wait for the poll.
        """
        if (
            self._early_iterations == EARLY_ITERATIONS_MAX
            or self._waiting
            or self._to_resume
            or not self._broker.work.is_empty()
        ):
            return False
        self._early_iterations += 1
        self._run()
        return True

    def request_flush(self, connection: Scheduled) -> None:
        """Flush a connection's output in the next iteration."""
        self._to_flush.append(connection)
        self.request_iteration()

    def schedule_input(self, connection: Scheduled) -> None:
        """Process a slice of a connection's input when its turn comes."""
        self._enqueue(connection)
        self.request_iteration()

    def schedule_throttled_input(self, connection: Scheduled) -> None:
        """As `schedule_input`, after THROTTLE_S, or when consumers have taken enough."""
        if not self._throttle_timer:
            self._throttle_timer = True
            self._loop.call_later(THROTTLE_S, self._release_throttled)
        self._throttled.append(connection)

    # --- time slices ------------------------------------------------------------------------

    def may_process_at_once(self, connection: Scheduled) -> bool:
        """Whether small input is processed as it arrives, rather than when its turn comes."""
        return (
            self._used_at_once_ns < ITERATION_NS
            and connection.used_ns - self._served_ns < AHEAD_NS_MAX
        )

    def begin_slice(self) -> None:
        """Begin a time slice, for input as it arrives, or for what a lost connection leaves.

        It is over at once if the time of the iteration is: a thousand connections may be lost in
        one poll.
        """
        self._slice_began_ns = self._clock_ns()
        is_over = self._used_at_once_ns >= ITERATION_NS
        self._broker.time_slice.begin(0 if is_over else SLICE_NS)

    def end_slice(self, connection: Scheduled) -> None:
        """The slice that was begun has ended, at its time or before: a connection has used it."""
        self._used_at_once_ns += self._account(connection)

    def _account(self, connection: Scheduled) -> int:
        """Add the slice that has ended to what a connection has used.

        :returns: the nanoseconds of the slice, ACCOUNTED_NS_MAX at most.
        """
        used = min(self._clock_ns() - self._slice_began_ns, ACCOUNTED_NS_MAX)
        total = max(connection.used_ns, self._served_ns) + used
        connection.used_ns = total
        if total > self._most_ns:
            self._most_ns = total
        return used

    # --- the iteration ----------------------------------------------------------------------

    def _enqueue(self, connection: Scheduled) -> None:
        self._sequence += 1
        used = max(connection.used_ns, self._served_ns)
        heappush(self._waiting, (used, self._sequence, connection))

    def _release_throttled(self) -> None:
        self._throttle_timer = False
        if self._throttled:
            for connection in self._throttled:
                self._enqueue(connection)
            self._throttled.clear()
            self.request_iteration()

    def _release_early(self) -> None:
        """Release those of the longest throttled publishers that need not wait any more."""
        throttled = self._throttled
        for _ in range(min(len(throttled), THROTTLED_PER_ITERATION)):
            connection = throttled.popleft()
            if connection.may_end_throttling():
                self._enqueue(connection)
            else:
                throttled.append(connection)

    def _run(self) -> None:
        if not self._requested:
            return
        try:
            self._process()
        finally:
            # Not before: what is requested meanwhile is committed and flushed in this iteration.
            self._requested = False
        self._flush()
        if self._throttled:
            self._release_early()
        if self._waiting or self._to_resume or not self._broker.work.is_empty():
            self.request_iteration()

    def _process(self) -> None:
        """Process input and other work for the time of an iteration, and commit what was done."""
        broker = self._broker
        broker.clock.advance_to(now_ms())
        start = self._clock_ns()
        end = start + max(ITERATION_NS - self._used_at_once_ns, ITERATION_NS_MIN)
        self._used_at_once_ns = 0
        self._run_work(start + WORK_NS)
        self._process_input(end)
        if not self._waiting:
            # Nobody waits, so nobody is behind.
            self._served_ns = self._most_ns
            self._run_work(end)
        broker.commit()

    def _process_input(self, end: int) -> None:
        """Process slices of buffered input until a time, or for ITERATION_SLICES."""
        waiting = self._waiting
        slices = ITERATION_SLICES
        while waiting and slices != 0:
            slices -= 1
            used, _, connection = heappop(waiting)
            self._served_ns = max(self._served_ns, used)
            self.begin_slice()
            connection.process_input()
            self._account(connection)
            if self._clock_ns() >= end:
                return

    def _run_work(self, end: int) -> None:
        """Run work that no connection waits for until a time; a slice at least."""
        broker = self._broker
        while not broker.work.is_empty():
            broker.time_slice.begin(SLICE_NS)
            try:
                broker.work.run_next(broker.time_slice)
            except Exception:
                # A fault of the broker ends this piece of work and nothing else.
                logger.exception("internal error: work was given up; please report this")
                broker.work.give_up_running()
            if self._clock_ns() >= end:
                return

    def _flush(self) -> None:
        """Flush what was requested, and deliver to the consumers that waited for it."""
        to_flush = self._to_flush
        self._to_flush = []
        to_resume = self._to_resume
        for connection in to_flush:
            if connection.flush():
                to_resume.append(connection)
        if not to_resume:
            return
        end = self._clock_ns() + RESUME_NS
        while to_resume:
            connection = to_resume.popleft()
            self.begin_slice()
            if connection.resume():
                to_resume.append(connection)
            self._account(connection)
            if self._clock_ns() >= end:
                return

"""Work that may take longer than a time slice, and goes on in later slices.

Work that a client waits for goes on in the slices of its connection, which reads no further frame
before it is done (`Session.begin` in `protocol/channels/session.py`). Work that no connection waits
for, such as the dead letters of a queue or what a lost connection leaves behind, is added to the
broker's `WorkQueue`, which the event loop's scheduler runs between the connections.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from mypy_extensions import mypyc_attr

from leveret.engine.values.time_slice import TimeSlice

RUN_ALL_SLICE_NS: Final = 1_000_000
"""Nanoseconds of a slice where no event loop waits."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Work(ABC):
    """A piece of work that can be interrupted. What derives from it need not be compiled."""

    @abstractmethod
    def run(self, time_slice: TimeSlice) -> bool:
        """Go on until the work is done or the slice is over; at least one unit is done.

        Between two calls the state is whole: anything else may happen to the same objects.

        :returns: whether the work is done. If not, call it again.
        """

    def waits(self) -> bool:
        """Whether the last call of `run` waited for the disk, or for other work, so that another
        one at once is of no use."""
        return False

    def is_told(self) -> bool:
        """Whether the connection whose work it is has a flush requested when the wait is over, so
        that nobody has to look meanwhile."""
        return False

    def give_up(self) -> None:
        """Called when `run` has raised, a fault of the broker: it is not called again. Whoever
        remembers that the work is under way forgets it, so that the next occasion begins anew."""
        return


def run_steps(steps: Iterator[None], time_slice: TimeSlice) -> bool:
    """Do steps until the slice is over, for work that is written as a generator.

    :returns: whether none is left.
    """
    return all(not time_slice.is_over_now() for _ in steps)


def _ignore() -> None:
    """The default of what is called, where no event loop runs the work."""


class WorkQueue:
    """The work of a broker that no connection waits for, run round robin, a slice each.

    `added` is called when work is added to an empty queue, and `paused` when some has to wait, so
    that `resume` is to be called a little later.
    """

    def __init__(self) -> None:
        self.added: Callable[[], None] = _ignore
        self.paused: Callable[[], None] = _ignore
        self._waiting: list[Work] = []
        """What has to wait."""
        self._queue: deque[Work] = deque()
        self._running: Work | None = None

    def add(self, work: Work) -> None:
        """Have a piece of work run until it is done. It must not be in the queue already."""
        self._queue.append(work)
        if len(self._queue) == 1:
            self.added()

    def is_empty(self) -> bool:
        """Whether nothing waits to be run."""
        return not self._queue

    def has_paused(self) -> bool:
        """Whether some work has to wait for `resume`."""
        return bool(self._waiting)

    def run_next(self, time_slice: TimeSlice) -> None:
        """Run the next piece of work for one slice, which has begun; the queue is not empty."""
        work = self._queue.popleft()
        self._running = work
        if not work.run(time_slice):
            if work.waits():
                self._waiting.append(work)
                self.paused()
            else:
                self._queue.append(work)
        self._running = None

    def resume(self) -> None:
        """Go on with what had to wait."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            self.add(work)

    def give_up_running(self) -> None:
        """Give up the piece of work that has raised in `run_next`."""
        work, self._running = self._running, None
        if work is not None:
            work.give_up()

    def set_aside(self) -> deque[Work]:
        """Take out everything, for `put_back`: what is added meanwhile can be run to its end
        alone, while a store is restored, say."""
        queue, self._queue = self._queue, deque()
        return queue

    def put_back(self, queue: deque[Work]) -> None:
        """Have what was set aside go on."""
        was_empty = not self._queue
        self._queue.extendleft(reversed(queue))
        if was_empty and self._queue:
            self.added()

    def run_all(self, time_slice: TimeSlice) -> None:
        """Run everything to its end, without an event loop: for tests and before the broker ends.

        The slice is begun anew for each piece.
        """
        while self._queue:
            time_slice.begin(RUN_ALL_SLICE_NS)
            self.run_next(time_slice)

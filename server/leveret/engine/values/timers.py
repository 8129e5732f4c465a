"""Timers: one heap for the whole broker.

A timer has at most one due time, however often it is set. When it rings, its owner handles
everything that is due, and sets it again for the rest. So a queue of a million messages that expire
has one timer, set for the message at its head.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from mypy_extensions import i64, mypyc_attr

from leveret.engine.values.time_slice import TimeSlice

STALE_ENTRIES_MAX: Final = 64
"""Stale entries, of timers that were stopped or set anew, up to which the heap is not cleaned,
whatever their share."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Timer(ABC):
    """Calls `ring` when it is due."""

    def __init__(self) -> None:
        self.due: i64 = 0
        """When it rings, in milliseconds since the epoch; 0 while it is not set."""

    @abstractmethod
    def ring(self) -> None:
        """The timer is due, and no longer set."""


def _ignore() -> None:
    """The default of `Timers.changed`, where no event loop runs the timers."""


class Timers:
    """All timers of a broker. `changed` is called when another timer is the next to ring."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = _ignore
        self._heap: list[tuple[int, int, Timer]] = []
        self._entries = 0
        self._stale = 0
        """Entries in the heap that no longer count."""

    def set(self, timer: Timer, due: i64) -> None:
        """Set a timer to ring at `due`, unless it is set for an earlier time already."""
        if timer.due != 0 and timer.due <= due:
            return
        if timer.due != 0:
            self._stale += 1
        timer.due = due
        self._entries += 1
        heap = self._heap
        heappush(heap, (int(due), self._entries, timer))
        self._clean()
        if self._heap[0][2] is timer:
            self.changed()

    def stop(self, timer: Timer) -> None:
        """Stop a timer, if it is set."""
        if timer.due != 0:
            timer.due = 0
            self._stale += 1
            self._clean()

    def next_due(self) -> i64:
        """When the next timer rings, in milliseconds since the epoch; 0 if none is set."""
        heap = self._heap
        while heap:
            due, _, timer = heap[0]
            if timer.due == due:
                return due
            heappop(heap)
            self._stale -= 1
        return 0

    def run(self, now: i64, time_slice: TimeSlice | None = None) -> None:
        """Ring the timers that are due, in the order in which they are due: as long as the time
        slice lasts, or all. A timer that is set again for a time that is over rings in the next
        run, so that this one ends. A timer that fails ends this run."""
        newest = self._entries
        set_again: list[tuple[int, int, Timer]] = []
        try:
            while self._heap and self._heap[0][0] <= now:
                entry = heappop(self._heap)
                due, number, timer = entry
                if timer.due != due:
                    self._stale -= 1
                elif number > newest:
                    set_again.append(entry)
                else:
                    timer.due = 0
                    timer.ring()
                    if time_slice is not None and time_slice.is_over_now():
                        break
        finally:
            for entry in set_again:
                heappush(self._heap, entry)

    def _clean(self) -> None:
        """Drop the stale entries once they outnumber the others."""
        if self._stale <= STALE_ENTRIES_MAX or self._stale * 2 <= len(self._heap):
            return
        self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
        heapify(self._heap)
        self._stale = 0

"""Timers: one heap for the whole broker, and an older one while its stale entries are dropped.

A timer has at most one due time, however often it is set. When it rings, its owner handles
everything that is due, and sets it again for the rest. So a queue of a million messages that expire
has one timer, set for the message at its head.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, TypeAlias

from mypy_extensions import i64, mypyc_attr

from leveret.engine.values.time_slice import TimeSlice

STALE_ENTRIES_MAX: Final = 64
"""Stale entries, of timers that were stopped or set anew, up to which the heap is not cleaned,
whatever their share."""


CLEANED_AT_ONCE: Final = 16
"""Entries of the older heap that are moved or dropped for each entry that becomes stale or new:
some microseconds, however many timers there are."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Timer(ABC):
    """Calls `ring` when it is due."""

    def __init__(self) -> None:
        self.due: i64 = 0
        """When it rings, in milliseconds since the epoch; 0 while it is not set."""

    @abstractmethod
    def ring(self) -> None:
        """The timer is due, and no longer set."""


Entry: TypeAlias = tuple[int, int, Timer]
"""When a timer rings, the number of the entry, and the timer."""


def _ignore() -> None:
    """The default of `Timers.changed`, where no event loop runs the timers."""


class Timers:
    """All timers of a broker. `changed` is called when another timer is the next to ring."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = _ignore
        self._heap: list[Entry] = []
        self._older: list[Entry] = []
        """A heap whose entries are moved to the other one, but for the stale ones."""
        self._entries = 0
        self._stale = 0
        """Entries in the heaps that do not count."""

    def set(self, timer: Timer, due: i64) -> None:
        """Set a timer to ring at `due`, unless it is set for an earlier time already."""
        if timer.due != 0 and timer.due <= due:
            return
        if timer.due != 0:
            self._stale += 1
        timer.due = due
        self._entries += 1
        heappush(self._heap, (int(due), self._entries, timer))
        self._clean()
        if self._next_heap()[0][2] is timer:
            self.changed()

    def stop(self, timer: Timer) -> None:
        """Stop a timer, if it is set."""
        if timer.due != 0:
            timer.due = 0
            self._stale += 1
            self._clean()

    def next_due(self) -> i64:
        """When the next timer rings, in milliseconds since the epoch; 0 if none is set."""
        while heap := self._next_heap():
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
        set_again: list[Entry] = []
        try:
            while (heap := self._next_heap()) and heap[0][0] <= now:
                entry = heappop(heap)
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

    def _next_heap(self) -> list[Entry]:
        """The heap whose first entry is the next; empty if both are."""
        heap, older = self._heap, self._older
        return older if older and (not heap or older[0] < heap[0]) else heap

    def _clean(self) -> None:
        """Drop stale entries, once they outnumber the others: some at a time."""
        older = self._older
        if not older:
            if self._stale <= STALE_ENTRIES_MAX or self._stale * 2 <= len(self._heap):
                return
            older = self._older = self._heap
            self._heap = []
        for _ in range(min(CLEANED_AT_ONCE, len(older))):
            # Without its last entry, a heap is one.
            entry = older.pop()
            if entry[2].due == entry[0]:
                heappush(self._heap, entry)
            else:
                self._stale -= 1

"""The memory alarm: publishers wait while the process is above its limit.

What counts is the memory the process really has (resident pages). Above the limit everything that
is merely kept is first given back, since after a large backlog was drained that may be most of it.
"""

import ctypes
import gc
import os
import time
from collections.abc import Callable
from typing import Final

CHECK_EVERY_BYTES: Final = 16 * 1024 * 1024
"""Bytes received between two looks at the memory: how far a burst can overshoot the limit."""

COLLECTION_PAUSE: Final = 50
"""A full collection is followed by a pause of so many times what it took: with a long backlog it
takes a tenth of a second and more, and finds little."""

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE_BYTES


class Reclaimer:
    """Gives back memory that is kept and not used."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._collect_from = 0.0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def reclaim(self) -> None:
        """Return to the system what Python and the C library (glibc) keep for later.

        Only a full collection empties Python's lists of free objects. There are few of them, but
        among the messages of a backlog each can hold on to a megabyte, which is Python's unit of
        memory from the system.
        """
        start = self._clock()
        if start >= self._collect_from:
            gc.collect()
            end = self._clock()
            self._collect_from = end + COLLECTION_PAUSE * (end - start)
        if self._trim is not None:
            self._trim(0)


class MemoryGuard:
    """Looks at the memory from time to time and tells when the limit is crossed."""

    def __init__(
        self,
        limit_bytes: int,
        changed: Callable[[bool], None],
        resident: Callable[[], int] = resident_bytes,
        reclaim: Callable[[], None] | None = None,
    ) -> None:
        """`changed` is told whether the memory is above the limit, when that changes."""
        self.limit_bytes = limit_bytes
        self._changed = changed
        self._resident = resident
        self._reclaim = reclaim or Reclaimer().reclaim
        self._alarmed = False
        self._unchecked = 0

    def received(self, count: int) -> None:
        """Note that bytes were received, and look at the memory if they are many."""
        self._unchecked += count
        if self._unchecked >= CHECK_EVERY_BYTES:
            self.check()

    def check(self) -> None:
        """Look at the memory, and raise or clear the alarm."""
        self._unchecked = 0
        above = self._resident() > self.limit_bytes
        if above:
            self._reclaim()
            above = self._resident() > self.limit_bytes
        if above != self._alarmed:
            self._alarmed = above
            self._changed(above)

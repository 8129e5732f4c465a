"""The memory alarm: publishers wait while the process is above its limit.

What counts is the memory the process really has (resident pages). Above the limit the allocator is
first asked to give back what it merely keeps, since after a large backlog was drained that may be
most of it.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Final

CHECK_EVERY_BYTES: Final = 16 * 1024 * 1024
"""Bytes received between two looks at the memory: how far a burst can overshoot the limit."""

ALARM_REASON: Final = "low on memory"
"""As RabbitMQ says it in connection.blocked."""

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE_BYTES


def give_back_memory() -> None:
    """Have the C library return what it keeps to the system, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryGuard:
    """Looks at the memory from time to time and tells when the limit is crossed."""

    def __init__(
        self,
        limit_bytes: int,
        changed: Callable[[str], None],
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        self.limit_bytes = limit_bytes
        self._changed = changed
        self._resident = resident
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
            give_back_memory()
            above = self._resident() > self.limit_bytes
        if above != self._alarmed:
            self._alarmed = above
            self._changed(ALARM_REASON if above else "")

"""The measurement of memory for its resource guard: resident memory above the limit.

Near the limit the owner is told, so that it writes to disk what can be there. Above the limit the
process first returns free memory to the system, because after a large backlog was drained free
memory may be most of the resident memory.
"""

import ctypes
import gc
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Final

from leveret.engine.queues.message_memory import MemoryLevel
from leveret.memory import shared_limit_bytes

MEMORY_CHECK_BYTES: Final = 16 * 1024 * 1024
"""Received bytes between two measurements: how far a burst can exceed the limit."""

NEAR_LIMIT_PERCENT: Final = 85
"""Share of the limit, in percent, from which on memory is released before it is short."""

EXHAUSTED_PERCENT: Final = 110
"""Share of the limit, in percent, from which on what clients declare is bounded, too: an alarm
blocks publishers only, and a client may declare without end."""

COLLECTION_PAUSE: Final = 2000
"""Pause after a full collection, as a multiple of the processor time that it took."""

COLLECTED_BLOCKS_MAX: Final = 400_000
"""Blocks of Python's memory that were allocated since the start, up to which a full collection is
done: it visits the objects in them, in up to 0.03 s. Of more, of a long backlog mostly, it would
take so long that others wait, and free little: neither messages nor connections need it."""

_STATM_BYTES_MAX: Final = 256
"""Bytes of the file that are read: more than its seven numbers take."""

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@cache
def _statm_fd(process: int) -> int:
    """The file with the figures of this process, opened once: a process may have many brokers, one
    after the other. It stays open, so that a process without a free descriptor can measure, too.

    :param process: this one, which may have been forked by another that has it open.
    """
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


class ResidentMemory:
    """Measures the resident memory of this process."""

    def __init__(self) -> None:
        self._statm_fd = _statm_fd(os.getpid())

    def resident_bytes(self) -> int:
        """Resident memory, in bytes."""
        return int(os.pread(self._statm_fd, _STATM_BYTES_MAX, 0).split()[1]) * _PAGE_BYTES


class Reclaimer:
    """Returns free memory of this process to the system."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        processor_clock: Callable[[], float] = time.thread_time,
        blocks: Callable[[], int] = sys.getallocatedblocks,
    ) -> None:
        """
        :param processor_clock: the seconds that the process worked: one that stood still in a
            collection collects again all the same.
        :param blocks: blocks of memory that are allocated.
        """
        self._blocks = blocks
        self._blocks_max = blocks() + COLLECTED_BLOCKS_MAX
        self._clock = clock
        self._processor_clock = processor_clock
        self._collect_from = 0.0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def reclaim(self) -> None:
        """Return the memory that Python and the C library (glibc) reserve for later allocations.

        Python's lists of free objects are emptied, too. They are few, but among the messages of a
        backlog each one can pin a megabyte, which is Python's unit of allocation.
        """
        if self._clock() >= self._collect_from and self._blocks() <= self._blocks_max:
            start = self._processor_clock()
            gc.collect()
            worked_s = self._processor_clock() - start
            self._collect_from = self._clock() + COLLECTION_PAUSE * worked_s
        else:
            _empty_free_lists()
        if self._trim is not None:
            self._trim(0)


def _empty_free_lists() -> None:
    """Empty Python's lists of free objects, which a full collection does at its end.

    No object is visited: all are out of its sight meanwhile. Those that were so before are visited
    by later collections.
    """
    gc.freeze()
    gc.collect()
    gc.unfreeze()


def _ignore(level: MemoryLevel) -> None:
    """The default of what is called after each measurement."""


class MemoryShortage:
    """Measures whether resident memory is above a limit."""

    def __init__(
        self,
        limit_bytes: int,
        resident: Callable[[], int] | None = None,
        reclaim: Callable[[], None] | None = None,
        checked: Callable[[MemoryLevel], None] = _ignore,
    ) -> None:
        """`checked` is called after each measurement."""
        self._set(limit_bytes, limit_bytes)
        self._checked = checked
        self._resident = resident or ResidentMemory().resident_bytes
        self._reclaim = reclaim or Reclaimer().reclaim

    def set_limit(self, limit_bytes: int) -> None:
        """Change the limit while the broker runs."""
        self._set(limit_bytes, shared_limit_bytes(limit_bytes))

    def _set(self, limit_bytes: int, shared_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.shared_bytes = shared_bytes
        """The limit that connections have shares of."""
        self._near_limit_bytes = limit_bytes * NEAR_LIMIT_PERCENT // 100
        self._exhausted_bytes = shared_bytes * EXHAUSTED_PERCENT // 100

    def is_short(self) -> bool:
        """Whether memory is above the limit after free memory was returned to the system."""
        resident = self._resident()
        if resident > self.limit_bytes:
            self._reclaim()
            resident = self._resident()
        level = self._level(resident)
        self._checked(level)
        return level >= MemoryLevel.ABOVE_LIMIT

    def _level(self, resident: int) -> MemoryLevel:
        if resident > self._exhausted_bytes:
            return MemoryLevel.EXHAUSTED
        if resident > self.limit_bytes:
            return MemoryLevel.ABOVE_LIMIT
        return MemoryLevel.NEAR_LIMIT if resident > self._near_limit_bytes else MemoryLevel.ENOUGH

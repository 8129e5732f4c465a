"""The time that elapses, and the wall clock."""

import time
from typing import Final

NS_PER_MS: Final = 1_000_000

_ELAPSED: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The clock of elapsed time. That of Linux counts while the machine is suspended, too."""

_START_NS: Final = time.time_ns() - time.clock_gettime_ns(_ELAPSED)


def now_ms() -> int:
    """Milliseconds since the epoch: the wall clock at the start of the process, and what has
    elapsed since. Setting the wall clock does not change it."""
    return (_START_NS + time.clock_gettime_ns(_ELAPSED)) // NS_PER_MS


def wall_clock_ms() -> int:
    """Milliseconds since the epoch, as the wall clock says."""
    return time.time_ns() // NS_PER_MS

"""The memory limit of the broker, and the settings of the C library's allocator."""

import ctypes
import os
import re
from pathlib import Path
from typing import Final

_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_LIMIT_PATTERN: Final = re.compile(
    r"(\d{1,15}(?:\.\d{1,6})?)\s*(%|[KMGT]?i?B|)", re.IGNORECASE | re.ASCII
)

_MALLOC_OPTIONS: Final = ((-1, 32 * 2**20), (-2, 2**20), (-3, 8 * 2**20))
"""Parameters of mallopt(3). M_TRIM_THRESHOLD: free bytes at the end of the heap that are not
returned to the system; M_TOP_PAD: bytes by which the heap grows beyond a request; M_MMAP_THRESHOLD:
bytes from which an allocation has a mapping of its own."""

SHARED_BYTES_MIN: Final = 256 * 2**20
"""See `shared_limit_bytes`."""

_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


def parse_memory_limit(limit: int | str) -> tuple[float, bool]:
    """Read bytes (`2147483648`), a size (`"2GiB"`) or a share (`"40%"`).

    :returns: the share (0 to 1) and True, or bytes and False.
    :raises ValueError: if it is none of these, not above zero, or a share above 100 %.
    """
    match = _LIMIT_PATTERN.fullmatch(str(limit).strip())
    if match is None:
        raise ValueError(f"{limit!r} is neither a size nor a share")
    number, unit = float(match[1]), match[2]
    if unit == "%":
        if not 0 < number <= 100:
            raise ValueError(f"{limit!r} is no share from 0 to 100 %")
        return number / 100, True
    size = number * _UNITS[unit.upper()]
    if size < 1:
        raise ValueError(f"{limit!r} is not even a byte")
    return size, False


def memory_limit_bytes(limit: int | str) -> int:
    """The key `memory.limit` in bytes; a share refers to `memory_total_bytes`.

    :raises ValueError: as `parse_memory_limit`.
    """
    amount, is_share = parse_memory_limit(limit)
    return int(amount * memory_total_bytes()) if is_share else int(amount)


def shared_limit_bytes(limit_bytes: int) -> int:
    """The bytes that are divided into shares, for a limit that was set while the broker runs.

    A limit below `SHARED_BYTES_MIN` is set to block publishers. Shares of it would be too small for
    anything else to go on.
    """
    return max(limit_bytes, SHARED_BYTES_MIN)


def memory_total_bytes(cgroup_root: Path = _CGROUP_ROOT, own_cgroups: Path = _OWN_CGROUPS) -> int:
    """Memory of the machine, or the smallest limit of a control group (v1 or v2) of this
    process."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_cgroup_limits(cgroup_root, own_cgroups)])


def _cgroup_limits(root: Path, own_cgroups: Path) -> list[int]:
    """The limits of this process's control groups, from its own up to the root."""
    limits = []
    for line in _read(own_cgroups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.lstrip("/")
        # In a container the own group often is the root, and its path does not exist.
        while group.is_relative_to(base):
            text = _read(group / name).strip()
            if text.isdigit():  # v2 has `max` if there is no limit
                limits.append(int(text))
            group = group.parent
    return limits


def _read(path: Path) -> str:
    """The text of a file of the kernel; empty if this kernel does not have it."""
    try:
        return path.read_text()
    except OSError:
        return ""


def retain_freed_memory() -> None:
    """Make the C library (glibc) retain freed memory for later allocations, up to a limit.

    Every iteration of the event loop allocates and frees buffers of a quarter of a megabyte. By
    default each returns to the system, and its page faults take a quarter of the time of a 1 KiB
    message. The retained memory is returned when memory is short (net/memory_shortage.py).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in _MALLOC_OPTIONS:
            mallopt(parameter, value)

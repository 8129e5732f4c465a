"""How much memory the broker may take: the container's or machine's, and a share of it."""

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
_WRITTEN: Final = re.compile(
    r"(\d{1,15}(?:\.\d{1,6})?)\s*(%|[KMGT]?i?B|)", re.IGNORECASE | re.ASCII
)

_KEPT: Final = ((-1, 32 * 2**20), (-2, 2**20), (-3, 8 * 2**20))
"""M_TRIM_THRESHOLD: free bytes at the heap's end that are kept; M_TOP_PAD: bytes the heap grows by
beyond what is asked; M_MMAP_THRESHOLD: bytes from which an allocation is mapped by itself."""

_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


def parse_memory_limit(limit: int | str) -> tuple[float, bool]:
    """Read bytes (`2147483648`), a size (`"2GiB"`) or a share (`"40%"`).

    Returns the share and True, or bytes and False.

    :raises ValueError: if it is none of these, not above zero, or a share above 100 %.
    """
    match = _WRITTEN.fullmatch(str(limit).strip())
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
    """The key `memory.limit` in bytes; a share is one of `memory_total_bytes`.

    :raises ValueError: as `parse_memory_limit`.
    """
    amount, is_share = parse_memory_limit(limit)
    return int(amount * memory_total_bytes()) if is_share else int(amount)


def memory_total_bytes(cgroup_root: Path = _CGROUP_ROOT, own_cgroups: Path = _OWN_CGROUPS) -> int:
    """Bytes of the machine, or of the tightest control group (v1 or v2) around this process."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_cgroup_limits(cgroup_root, own_cgroups)])


def _cgroup_limits(root: Path, own_cgroups: Path) -> list[int]:
    """The limits of the control groups this process is in, from its own up to the root."""
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
        # A container often sees its own group as the root, at a path that is not there.
        while group.is_relative_to(base):
            text = _read(group / name).strip()
            if text.isdigit():  # v2 writes `max` where there is no limit
                limits.append(int(text))
            group = group.parent
    return limits


def _read(path: Path) -> str:
    """A file of the kernel, or nothing where this kernel has none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def keep_freed_memory() -> None:
    """Have the C library keep what was freed for the next buffer, up to a bound (glibc).

    Buffers of a quarter of a megabyte come and go with every turn of the event loop. By default
    each goes back to the system and is faulted in again page by page, a quarter of the time a
    1 KiB message takes. What is kept is given back when memory runs low (net/memory_shortage.py).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in _KEPT:
            mallopt(parameter, value)

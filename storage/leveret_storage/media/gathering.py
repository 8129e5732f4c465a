"""Writing bytes that are in several parts, without joining them.

Errors are raised as OSError.
"""

import os
from typing import Final

PARTS_MAX: Final = os.sysconf("SC_IOV_MAX")
"""Parts that one call of the system takes."""


def append_parts(fd: int, parts: list[bytes]) -> None:
    """Write all parts, in order, to a descriptor opened for appending."""
    rest: list[bytes | memoryview] = list(parts)
    while rest:
        rest = _behind(rest, os.writev(fd, rest[:PARTS_MAX]))


def write_parts_at(fd: int, parts: list[bytes], offset: int) -> None:
    """Write all parts, in order, from an offset on."""
    rest: list[bytes | memoryview] = list(parts)
    while rest:
        written = os.pwritev(fd, rest[:PARTS_MAX], offset)
        offset += written
        rest = _behind(rest, written)


def write_parts_synced_at(fd: int, parts: list[bytes], offset: int, size: int) -> None:
    """The same for parts of `size` bytes, durable when it returns. The bytes replace others."""
    rest: list[bytes | memoryview] = list(parts)
    written = os.pwritev(fd, rest[:PARTS_MAX], offset, os.RWF_DSYNC)
    if written < size:
        rest = _behind(rest, written)
        while rest:
            offset += written
            written = os.pwritev(fd, rest[:PARTS_MAX], offset)
            rest = _behind(rest, written)
        os.fdatasync(fd)


def _behind(parts: list[bytes | memoryview], written: int) -> list[bytes | memoryview]:
    """The parts without their first `written` bytes."""
    at = 0
    while at < len(parts) and written >= len(parts[at]):
        written -= len(parts[at])
        at += 1
    rest = parts[at:]
    if written:
        rest[0] = memoryview(rest[0])[written:]
    return rest

"""A resource guard: it measures whether a resource is short, and reports every change.

It measures when `check` is called, and after every so many received bytes, because a burst of
messages must not use up the resource between two regular measurements.
"""

import errno
import os
from collections.abc import Callable
from typing import Final

STDERR_FD: Final = 2
"""Open as a rule. `sys.stderr` may be anything in the process of a test suite."""

CHECKED_BY_CALLS_ONLY: Final = 2**62
"""Received bytes between two measurements of what receiving does not use up."""

DISK_CHECK_BYTES: Final = 1024 * 1024
"""Received bytes between two measurements of free disk: how far a burst can go below the limit,
beside what is on its way to the disk. It is a small part of the default limit and of what is set
aside on a small disk, and a measurement takes a microsecond or two."""


class ResourceGuard:
    """Measures one resource, and reports when it becomes short and when it no longer is."""

    def __init__(
        self,
        is_short: Callable[[], bool],
        check_every_bytes: int,
        changed: Callable[[bool], None],
    ) -> None:
        """`changed` is called with the result of a measurement that differs from the one before.

        :param check_every_bytes: received bytes after which the guard measures by itself.
        """
        self._is_short = is_short
        self._check_every_bytes = check_every_bytes
        self._changed = changed
        self._short = False
        self._unchecked_bytes = 0

    def received(self, count: int) -> None:
        """Count received bytes, and measure if they are many."""
        self._unchecked_bytes += count
        if self._unchecked_bytes >= self._check_every_bytes:
            self.check()

    def check(self) -> None:
        """Measure now."""
        self._unchecked_bytes = 0
        short = self._is_short()
        if short != self._short:
            self._short = short
            self._changed(short)


def descriptors_are_short() -> bool:
    """The measurement of file descriptors: none is free."""
    try:
        os.close(os.dup(STDERR_FD))
    except OSError as error:
        # It is closed, which tells nothing of the others.
        return error.errno != errno.EBADF
    return False


def disk_is_short(limit_bytes: int, free_bytes: Callable[[], int]) -> Callable[[], bool]:
    """The measurement of a disk: free disk is below the limit. A full disk is below every limit."""
    return lambda: free_bytes() < max(limit_bytes, 1)

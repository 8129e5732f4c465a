"""The disk alarm: publishers wait while free disk is below its limit, and consumers drain on."""

from collections.abc import Callable
from typing import Final

CHECK_EVERY_BYTES: Final = 4 * 1024 * 1024
"""Bytes received between two looks: how far a burst can get below the limit, beside what is on its
way to the disk. It is a small part of the default limit, and a look costs a microsecond or two."""


class DiskGuard:
    """Looks at free disk from time to time and tells when the limit is crossed."""

    def __init__(
        self, limit_bytes: int, free_bytes: Callable[[], int], changed: Callable[[bool], None]
    ) -> None:
        """`changed` is told whether free disk is below the limit, when that changes. No free disk
        is below every limit."""
        self.limit_bytes = limit_bytes
        self._free_bytes = free_bytes
        self._changed = changed
        self._below = False
        self._unchecked = 0

    def received(self, count: int) -> None:
        """Note that bytes were received, and look at the disk if they are many."""
        self._unchecked += count
        if self._unchecked >= CHECK_EVERY_BYTES:
            self.check()

    def check(self) -> None:
        """Look at the disk, and raise or clear the alarm."""
        self._unchecked = 0
        below = self._free_bytes() < max(self.limit_bytes, 1)
        if below != self._below:
            self._below = below
            self._changed(below)

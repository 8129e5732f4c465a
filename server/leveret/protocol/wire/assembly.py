"""Octets that arrive in parts and are joined once: a frame that was split, the body of a message.

A large part is referred to rather than copied. That keeps the chunk in memory in which it arrived,
so a part that is less than a quarter of its chunk is copied, and small parts are joined at once:
the memory stays in proportion to the octets, however they were cut.
"""

from typing import Final, TypeAlias

from mypy_extensions import i64

Octets: TypeAlias = bytes | memoryview

SMALL_PART_BYTES: Final = 4096
"""Bytes below which a part is copied: that takes less time than the reference."""

CHUNK_SHARE: Final = 4
"""A part that is referred to is at least this fraction of its chunk."""


class Assembly:
    """The parts of one frame or body, until it is complete."""

    def __init__(self) -> None:
        self.size: i64 = 0
        """Octets of all parts."""
        self._parts: list[Octets] = []

    def add(self, data: bytes, start: i64, stop: i64) -> None:
        """Add `data[start:stop]`, where `data` is what arrived at once."""
        size = stop - start
        self.size += size
        parts = self._parts
        if size >= SMALL_PART_BYTES:
            if size == len(data):
                parts.append(data)
            elif size * CHUNK_SHARE >= len(data):
                parts.append(memoryview(data)[start:stop])
            else:
                parts.append(data[start:stop])
        elif size != 0:
            last = parts[-1] if parts else None
            if isinstance(last, bytes) and len(last) < SMALL_PART_BYTES:
                parts[-1] = last + data[start:stop]
            else:
                parts.append(data[start:stop])

    def take(self) -> bytes:
        """Take all that was added, as one object."""
        parts = self._parts
        self._parts = []
        self.size = 0
        return b"".join(parts)

    def discard(self) -> None:
        """Drop all that was added."""
        self._parts = []
        self.size = 0

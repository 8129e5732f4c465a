"""Output that leaves by a gathering write: large bodies by reference, and frames between them.

Most output is small frames, which are copied into one buffer, the writer, and leave in one write.
A large body is not copied: what the writer has, and then the body itself, become parts, and the
writer begins again behind them. The parts and the rest of the writer are one output, in this order.
"""

from typing import Final, TypeAlias

from librt.strings import BytesWriter
from mypy_extensions import i64

Part: TypeAlias = bytes | memoryview

REFERRED_BODY_BYTES: Final = 8 * 1024
"""Bytes of a body from which on it is referred to. Copying a smaller one takes less time than
another part of the write."""


class OutputParts:
    """The parts of one output, before what is still in its writer."""

    def __init__(self) -> None:
        self.size: i64 = 0
        """Bytes of all parts."""
        self._parts: list[Part] = []

    def refer(self, writer: BytesWriter, part: Part) -> None:
        """Add what the writer has, which is empty then, and a part that is not copied."""
        frames = writer.getvalue()
        writer.truncate(0)
        self._parts.append(frames)
        self._parts.append(part)
        self.size += len(frames) + len(part)

    def take(self, writer: BytesWriter) -> list[Part]:
        """Take the whole output, of all parts and of the writer, which is empty then."""
        parts = self._parts
        self._parts = []
        self.size = 0
        parts.append(writer.getvalue())
        writer.truncate(0)
        return parts

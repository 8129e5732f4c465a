"""Where the frames of one direction of a connection end (AMQP 0-9-1, section 4.2.3).

It reads envelopes only: what is no frame is for the frame reader to refuse.
"""

import struct
from typing import Final

HEARTBEAT_KIND: Final = 8
ENVELOPE_BYTES: Final = 7
"""Octets of a frame before its payload: type, channel and size."""

FRAME_END_BYTES: Final = 1

_SIZE: Final = struct.Struct(">3xI")


class FrameCount:
    """Follows the octets of one direction from its beginning, or from the beginning of a frame."""

    def __init__(self, before: int = 0) -> None:
        """:param before: octets before the first frame: those of the protocol header."""
        self._missing = before
        """Octets of the current frame, or before the first one, that have not come."""
        self._counts = False
        """Whether the current frame is counted."""
        self._envelope = b""
        """What has come of an envelope that is not complete."""

    def ends(self, data: bytes) -> list[int]:
        """Take the next octets.

        :returns: for each frame that they complete, and that is no heartbeat, how many of them
            there are up to its end.
        """
        before = len(self._envelope)
        octets = self._envelope + data if before else data
        self._envelope = b""
        end = len(octets)
        position = self._missing
        found: list[int] = []
        if position > end:
            self._missing = position - end
            return found
        if position and self._counts:
            found.append(position)
        self._missing = 0
        while position < end:
            if end - position < ENVELOPE_BYTES:
                self._envelope = octets[position:]
                break
            self._counts = octets[position] != HEARTBEAT_KIND
            (size,) = _SIZE.unpack_from(octets, position)
            position += ENVELOPE_BYTES + size + FRAME_END_BYTES
            if position > end:
                self._missing = position - end
            elif self._counts:
                found.append(position - before)
        return found

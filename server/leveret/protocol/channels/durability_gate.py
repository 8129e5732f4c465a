"""Output that has to wait for the store: replies that say that something is kept.

Such a reply leaves its connection when the batch that has what it speaks of is safe, and whatever
its channel says behind it leaves after it. The other channels go on, and so do heartbeats and
connection.blocked, which promise nothing: a disk that is full or stuck holds up who asked it to
keep something, and nobody else. connection.close and its reply are the last that a peer hears, so
they wait for everything.

The output is taken apart into frames here, which costs what is waited for only.
"""

from collections import deque
from typing import Final

from librt.strings import BytesWriter, read_i16_be, read_i32_be
from mypy_extensions import i64

from leveret.protocol.wire.frames import CONNECTION_CLOSE, CONNECTION_CLOSE_OK, FRAME_METHOD

FRAME_HEADER_BYTES: Final = 7
"""Octets of a frame before its payload: type, channel, size."""


class Stretch:
    """Frames of one channel that wait for one batch."""

    def __init__(self, batch: i64) -> None:
        self.batch = batch
        self.frames = BytesWriter()


class Withheld:
    """What one connection keeps back."""

    def __init__(self) -> None:
        self.bytes: i64 = 0
        """Bytes of the frames kept back."""
        self._marks: deque[tuple[int, int, int]] = deque()
        """Offsets in the output to come, in order, with the channel that says something from there
        on which has to wait, and the batch it waits for."""
        self._channels: dict[int, deque[Stretch]] = {}

    def mark(self, offset: int, channel: int, batch: int) -> None:
        """What a channel says from an offset of the output on waits for a batch."""
        self._marks.append((offset, channel, batch))

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._channels and not self._marks

    def leave(self, output: bytes, synced: i64) -> bytes:
        """What may leave now that batches up to `synced` are safe: of what was kept back, and of
        the output that came since, whose rest is kept back."""
        leaving = BytesWriter()
        for channel in list(self._channels):
            stretches = self._channels[channel]
            while stretches and stretches[0].batch <= synced:
                frames = stretches.popleft().frames.getvalue()
                self.bytes -= len(frames)
                leaving.write(frames)
            if not stretches:
                del self._channels[channel]
        self._sift(output, synced, leaving)
        return leaving.getvalue()

    def drop(self, output: bytes, synced: i64) -> bytes:
        """Keep nothing back any more: what may leave is returned, all else is gone."""
        leaving = self.leave(output, synced)
        self._channels = {}
        self.bytes = 0
        return leaving

    def _sift(self, output: bytes, synced: i64, leaving: BytesWriter) -> None:
        """Take an output apart."""
        at: i64 = 0
        end: i64 = len(output)
        marks = self._marks
        while at < end:
            while marks and marks[0][0] <= at:
                _, marked, batch = marks.popleft()
                self._wait(marked, batch, synced)
            if not self._channels and not marks:
                leaving.write(output[at:])
                return
            size = i64(read_i32_be(output, at + 3)) & 0xFFFFFFFF
            behind = at + FRAME_HEADER_BYTES + size + 1
            frame = output[at:behind]
            channel = int(read_i16_be(output, at + 1)) & 0xFFFF
            if channel == 0 and self._channels and _is_last(frame):
                self._wait(0, self._last_batch(), synced)
            stretches = self._channels.get(channel)
            if stretches is None:
                leaving.write(frame)
            else:
                stretches[-1].frames.write(frame)
                self.bytes += behind - at
            at = behind
        marks.clear()

    def _wait(self, channel: int, batch: i64, synced: i64) -> None:
        """What a channel says from now on waits for a batch, unless that is safe already."""
        stretches = self._channels.get(channel)
        if stretches is None:
            if batch <= synced:
                return
            stretches = deque()
            self._channels[channel] = stretches
        if not stretches or stretches[-1].batch < batch:
            stretches.append(Stretch(batch))

    def _last_batch(self) -> i64:
        """The batch with which everything that waits will have left."""
        return max([stretches[-1].batch for stretches in self._channels.values()])


def _is_last(frame: bytes) -> bool:
    """Whether a frame of channel 0 is connection.close or its reply."""
    return frame[0] == FRAME_METHOD and read_i32_be(frame, FRAME_HEADER_BYTES) in (
        CONNECTION_CLOSE,
        CONNECTION_CLOSE_OK,
    )

"""The durability gate: frames that promise durability wait for the commit of their batch.

A reply such as queue.declare-ok says that something is durable. It leaves its connection once the
batch with that definition or message is synced, and whatever its channel sends behind it leaves
after it. Other channels are not held, and neither are heartbeats and connection.blocked on channel
0, which promise nothing: a full or slow disk delays those channels only that asked for durability.
connection.close and connection.close-ok are the last a peer reads, so they wait for everything.

Publisher confirms do not pass through the gate: they are written when their batch is synced
(confirms.py).

Output is split into frames here, at a cost that only a connection with held frames pays.
"""

from collections import deque

from librt.strings import BytesWriter, read_i16_be, read_i32_be
from mypy_extensions import i64

from leveret.protocol.wire.frames import (
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    ENVELOPE_BYTES,
    FRAME_METHOD,
)


class _HeldFrames:
    """Frames of one channel that wait for the same batch."""

    def __init__(self, batch: i64) -> None:
        self.batch = batch
        self.frames = BytesWriter()


class DurabilityGate:
    """The frames that one connection holds."""

    def __init__(self) -> None:
        self.held_bytes: i64 = 0
        """Octets of all held frames."""
        self._holds: deque[tuple[int, int, int]] = deque()
        """Holds on output that `release` has not seen yet: offset, channel and batch, by offset."""
        self._channels: dict[int, deque[_HeldFrames]] = {}
        """The held frames of each channel, by batch."""

    def hold_until(self, batch: int, channel: int, offset: int) -> None:
        """Hold what a channel sends from an offset of the current output on until a batch is
        synced."""
        self._holds.append((offset, channel, batch))

    def is_empty(self) -> bool:
        """Whether nothing is held, and nothing of the current output will be."""
        return not self._channels and not self._holds

    def release(self, synced: i64, output: bytes) -> bytes:
        """The frames that may leave: held ones, and those of `output`, whose rest is held.

        :param synced: the last batch that is synced.
        :param output: what was written since the last call.
        """
        leaving = BytesWriter()
        for channel in list(self._channels):
            held = self._channels[channel]
            while held and held[0].batch <= synced:
                frames = held.popleft().frames.getvalue()
                self.held_bytes -= len(frames)
                leaving.write(frames)
            if not held:
                del self._channels[channel]
        self._split(output, synced, leaving)
        return leaving.getvalue()

    def discard(self, synced: i64, output: bytes) -> bytes:
        """As `release`, but what would be held is dropped: its batch will never be synced."""
        leaving = self.release(synced, output)
        self._channels = {}
        self.held_bytes = 0
        return leaving

    def _split(self, output: bytes, synced: i64, leaving: BytesWriter) -> None:
        """Hold the frames of an output that have to wait, and write all others to `leaving`."""
        position: i64 = 0
        end: i64 = len(output)
        holds = self._holds
        while position < end:
            while holds and holds[0][0] <= position:
                _, channel_to_hold, batch = holds.popleft()
                self._hold(channel_to_hold, batch, synced)
            if not self._channels and not holds:
                leaving.write(output[position:])
                return
            size = i64(read_i32_be(output, position + 3)) & 0xFFFFFFFF
            behind = position + ENVELOPE_BYTES + size + 1
            frame = output[position:behind]
            channel = int(read_i16_be(output, position + 1)) & 0xFFFF
            if channel == 0 and self._channels and _ends_connection(frame):
                self._hold(0, self._last_batch(), synced)
            held = self._channels.get(channel)
            if held is None:
                leaving.write(frame)
            else:
                held[-1].frames.write(frame)
                self.held_bytes += behind - position
            position = behind
        holds.clear()

    def _hold(self, channel: int, batch: i64, synced: i64) -> None:
        """Hold the next frames of a channel, unless the batch is synced and none is held."""
        held = self._channels.get(channel)
        if held is None:
            if batch <= synced:
                return
            held = deque()
            self._channels[channel] = held
        if not held or held[-1].batch < batch:
            held.append(_HeldFrames(batch))

    def _last_batch(self) -> i64:
        """The last batch that any held frame waits for."""
        return max([held[-1].batch for held in self._channels.values()])


def _ends_connection(frame: bytes) -> bool:
    """Whether a frame of channel 0 is connection.close or connection.close-ok."""
    return frame[0] == FRAME_METHOD and read_i32_be(frame, ENVELOPE_BYTES) in (
        CONNECTION_CLOSE,
        CONNECTION_CLOSE_OK,
    )

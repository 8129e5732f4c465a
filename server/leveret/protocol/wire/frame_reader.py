"""The frame reader: cuts what a peer sends into whole frames (AMQP 0-9-1, section 4.2.3).

Input arrives in chunks of any size. It is read in place, in slices that are bounded by octets and
by time, so that one busy publisher cannot starve the others; only a frame that was split between
chunks is copied, once, and its handler gets the payload as an object of its own. The reader knows
the protocol header, the frame envelope and the size limit. What a frame means is its handler's
business, and so is closing the connection after an error.

The handler is passed to each call and never stored: the reader and the connection that owns it
would otherwise be a reference cycle.
"""

from abc import ABC, abstractmethod
from typing import Final

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64

from leveret.engine.values.field_table import describe
from leveret.engine.values.time_slice import TimeSlice
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import FRAME_MIN_SIZE, FRAME_OVERHEAD, INITIAL_FRAME_BYTES_MAX
from leveret.protocol.wire.assembly import Assembly
from leveret.protocol.wire.frames import ENVELOPE_BYTES, FRAME_END
from leveret.protocol.wire.greeting import PROTOCOL_HEADER

ERROR_OCTETS_MAX: Final = 64
"""Octets of a frame that an error text shows: a reply text has at most 255."""

LARGE_FRAME_BYTES: Final = FRAME_MIN_SIZE
"""Octets of a payload from which on it is large."""

COUNTED_OCTETS: Final = 128
COUNTED_SHARE: Final = 32
"""Octets of a payload that count in a slice, and the fraction of the further ones that counts: a
long payload takes hardly more time than a short one."""

PROTOCOL_HEADER_BYTES: Final = len(PROTOCOL_HEADER)

FRAMES_PER_READING: Final = 128
"""Frames between two readings of the clock: some 20 us of small publishes, a tenth of a millisecond
of acknowledgements. After a frame that may take longer the handler looks at the clock itself."""


class FrameHandler(ABC):
    """Receives what the reader finds. Any of the calls may close the reader."""

    @abstractmethod
    def on_protocol_header(self, header: bytes) -> bool:
        """Receive the first octets, no more of them than a protocol header has.

        Called again with more octets for as long as it returns False and does not close the reader.

        :returns: whether this is a whole, accepted protocol header, which frames follow.
        """

    @abstractmethod
    def on_frame(self, kind: i64, channel: i64, data: bytes, start: i64, stop: i64) -> bool:
        """Handle one frame, whose payload is `data[start:stop]`.

        :returns: whether the reader may go on to the next frame of the slice. If not, the rest
            waits for the next slice.
        :raises AmqpError: for an error of the peer; `on_frame_error` receives it.
        """

    @abstractmethod
    def on_frame_error(self, error: AmqpError) -> bool:
        """Close the channel or the connection: `on_frame` raised this for the last frame.

        :returns: as `on_frame`.
        """

    @abstractmethod
    def on_malformed_frame(self, error: AmqpError) -> None:
        """Close the connection: these octets are no frame, so they belong to no channel."""


class FrameReader:
    """The input of one connection."""

    def __init__(self, time_slice: TimeSlice) -> None:
        self.payload_max: i64 = INITIAL_FRAME_BYTES_MAX
        """The longest payload that is accepted: the negotiated frame-max, which RabbitMQ compares
        with the payload, too, rather than with the whole frame."""
        self._closed = False
        self._input = b""
        self._position: i64 = 0
        """Where in the input the next frame begins."""
        self._header_read = False
        """Whether the protocol header was accepted."""
        self._split = Assembly()
        """What arrived of the payload of a frame that was split between chunks."""
        self._split_envelope = b""
        self._missing: i64 = 0
        """Octets of that frame that have not arrived; 0 if there is none."""
        self._time_slice = time_slice

    def is_closed(self) -> bool:
        """Whether all further input is ignored."""
        return self._closed

    def is_in_large_frame(self) -> bool:
        """Whether the input ends within a large frame."""
        return self._missing != 0 and self._split.size + self._missing > LARGE_FRAME_BYTES

    def close(self) -> None:
        """Drop the input, and ignore what is still to come."""
        self._closed = True
        self._input = b""
        self._position = 0
        self._split.discard()
        self._missing = 0

    def feed(self, handler: FrameHandler, data: bytes, slice_bytes: int) -> bool:
        """Append received octets to the input, and read a first slice of it.

        :returns: whether more input can be read; if so, call `read` until it returns False before
            the next `feed`.
        """
        if self._closed:
            return False
        missing = self._missing
        if missing != 0:
            if missing > len(data):
                self._split.add(data, 0, len(data))
                self._missing = missing - len(data)
                return False
            self._position = missing
            self._input = data
            if not self._read_split(handler, data, missing):
                return missing < len(data) and not self.is_closed()
        elif self._position < len(self._input):
            self._input = self._input[self._position :] + data
            self._position = 0
        else:
            self._input = data
            self._position = 0
        return self.read(handler, slice_bytes)

    def append(self, data: bytes) -> None:
        """Append received octets to the input, and read none of it."""
        if not self._closed:
            self._input = self._input[self._position :] + data
            self._position = 0

    def take_rest(self) -> bytes:
        """Take the input that is not read yet, after a frame that has ended its slice, and ignore
        what is still to come."""
        rest = self._input[self._position :]
        self.close()
        return rest

    def _read_split(self, handler: FrameHandler, data: bytes, missing: i64) -> bool:
        """Handle the frame that was split, which `data[:missing]` completes.

        :returns: whether the reader may go on to the next frame of the slice.
        """
        self._split.add(data, 0, missing - 1)
        self._missing = 0
        payload = self._split.take()
        envelope = self._split_envelope
        kind: i64 = envelope[0]
        end = data[missing - 1]
        try:
            if end != FRAME_END:
                wrong = f"{{invalid_frame_end_marker,{end}}}"
                handler.on_malformed_frame(malformed_frame(kind, payload, wrong))
                return True
            channel = i64(read_i16_be(envelope, 1)) & 0xFFFF
            return handler.on_frame(kind, channel, payload, 0, len(payload))
        except AmqpError as error:
            return handler.on_frame_error(error)

    def read(self, handler: FrameHandler, slice_bytes: int) -> bool:
        """Read about `slice_bytes` of the input: frames that begin within them are handled whole.
        Of a long payload few octets count.

        The slice ends earlier when the handler says so, or when its time is over.

        :returns: whether more input can be read.
        """
        if self._closed or not (self._header_read or self._read_header(handler)):
            return False
        slice_end: i64 = self._position + slice_bytes
        while True:
            try:
                return self._read_frames(handler, slice_end)
            except AmqpError as error:
                if not handler.on_frame_error(error) or self.is_closed():
                    return self._position < len(self._input)

    def _read_header(self, handler: FrameHandler) -> bool:
        self._header_read = handler.on_protocol_header(self._input[:PROTOCOL_HEADER_BYTES])
        if self._header_read:
            self._position = PROTOCOL_HEADER_BYTES
        return self._header_read

    def _read_frames(self, handler: FrameHandler, slice_end: i64) -> bool:
        """Handle frames up to the end of the slice; whether more input can be read."""
        data = self._input
        end: i64 = len(data)
        position = self._position
        frames: i64 = FRAMES_PER_READING
        while position < slice_end:
            if end - position < ENVELOPE_BYTES:
                return self._await_rest(position)
            size = i64(read_i32_be(data, position + 3)) & 0xFFFFFFFF
            kind: i64 = data[position]
            if size > COUNTED_OCTETS:
                if size > self.payload_max:
                    return self._refuse_size(handler, kind, size)
                further = size - COUNTED_OCTETS
                slice_end += further - further // COUNTED_SHARE
            start = position + ENVELOPE_BYTES
            stop = start + size
            if stop >= end:
                return self._await_rest(position)
            position = stop + 1
            self._position = position
            if data[stop] != FRAME_END:
                wrong = f"{{invalid_frame_end_marker,{data[stop]}}}"
                handler.on_malformed_frame(malformed_frame(kind, data[start:stop], wrong))
            elif not handler.on_frame(
                kind, i64(read_i16_be(data, start - 6)) & 0xFFFF, data, start, stop
            ):
                break
            if self._closed:
                return False
            frames -= 1
            if frames == 0:
                if self._time_slice.is_over_now():
                    break
                frames = FRAMES_PER_READING
        return position < end and not self._closed

    def _refuse_size(self, handler: FrameHandler, kind: i64, size: i64) -> bool:
        """Where the next frame begins cannot be trusted, so this is the end of the input."""
        wrong = f"{{frame_too_large,{size},{self.payload_max - FRAME_OVERHEAD}}}"
        error = malformed_frame(kind, b"", wrong)
        while not self._closed:
            # The first call sends connection.close, the second one cuts a connection that is being
            # closed.
            handler.on_malformed_frame(error)
        return False

    def _await_rest(self, position: i64) -> bool:
        """Keep the incomplete frame alone until the rest of it arrives."""
        data = self._input
        size: i64 = len(data) - position
        self._position = 0
        if size < ENVELOPE_BYTES:
            self._input = data[position:]
            return False
        start = position + ENVELOPE_BYTES
        self._input = b""
        self._split_envelope = data[position:start]
        self._missing = FRAME_OVERHEAD + (i64(read_i32_be(data, position + 3)) & 0xFFFFFFFF) - size
        self._split.add(data, start, len(data))
        return False


def malformed_frame(kind: i64, payload: bytes, wrong: str) -> AmqpError:
    """The error of octets that are no frame; `wrong` is a term as RabbitMQ prints it."""
    octets = describe(payload[:ERROR_OCTETS_MAX])
    return AmqpError(ReplyCode.FRAME_ERROR, f"type {kind}, all octets = {octets}: {wrong}")


def unexpected_frame(kind: i64, payload: bytes) -> AmqpError:
    """The error of a whole frame that may not come at this point."""
    octets = describe(payload[:ERROR_OCTETS_MAX])
    return AmqpError(ReplyCode.UNEXPECTED_FRAME, f"type {kind}, all octets = {octets}")

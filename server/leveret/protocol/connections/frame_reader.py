"""What a peer sends, cut into whole frames (AMQP 0-9-1, section 4.2.3).

The octets come in pieces of any size and are worked through in place, a bounded slice at a time, so
that one busy publisher cannot hold up the others. Nothing is copied but a frame that was cut.
"""

from typing import Final

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64

from leveret.engine.values.field_table import describe
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import INITIAL_FRAME_BYTES_MAX, OUTPUT_REPLIES_BYTES_MAX
from leveret.protocol.channels.session import Session
from leveret.protocol.wire.frames import FRAME_END
from leveret.protocol.wire.greeting import PROTOCOL_HEADER

NO_METHOD: Final = 0

OCTETS_TOLD_MAX: Final = 64
"""Octets of a frame that an error text shows: it has no room for more."""

PROTOCOL_HEADER_BYTES: Final = len(PROTOCOL_HEADER)


class Input:
    """The input of one connection, which derives from it and handles what it finds."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._input = b""
        self._at: i64 = 0
        """Where in the input it goes on."""
        self._greeted = False
        """Whether the protocol header was read."""
        self._payload_max: i64 = INITIAL_FRAME_BYTES_MAX
        self._heard_since = False
        """Whether anything came since the connection last looked (heartbeats)."""
        self._deaf = False
        """Whether nothing is listened to any more."""
        self._number: i64 = 0
        """The channel of the frame at hand, for an error in it."""
        self._index: i64 = NO_METHOD
        """The class and method id an error in the frame at hand is about."""

    def feed(self, data: bytes, slice_bytes: int) -> bool:
        """Take what was received, and work through a first slice of it.

        :returns: whether there is more to work through; if so, call `work` before `feed`.
        """
        if self._deaf:
            return False
        self._heard_since = True
        rest = self._input[self._at :]
        missing = _octets_missing(rest)
        if 0 < missing <= len(data) and self._greeted:
            # Only the frame that was cut is put together; the rest is worked through in place.
            self._input = rest + data[:missing]
            self._at = 0
            self.work(len(self._input))
            self._input = data
            self._at = missing
        else:
            self._input = rest + data if rest else data
            self._at = 0
        return self.work(slice_bytes)

    def work(self, slice_bytes: int) -> bool:
        """Work through about `slice_bytes` of what was received.

        :returns: whether there is more to work through.
        """
        if self._deaf or not (self._greeted or self._greets()):
            return False
        expires_at: i64 = self._at + slice_bytes
        while True:
            try:
                return self._frames(expires_at)
            except AmqpError as error:
                self._fail(error)

    def _greets(self) -> bool:
        """Read the protocol header; whether there was a whole and right one."""
        self._greeted = self._protocol_header(self._input[:PROTOCOL_HEADER_BYTES])
        if self._greeted:
            self._at = PROTOCOL_HEADER_BYTES
        return self._greeted

    def _frames(self, expires_at: i64) -> bool:
        """Handle whole frames up to about a position; whether there are more."""
        data = self._input
        end: i64 = len(data)
        at = self._at
        while at < expires_at:
            if end - at < 7:
                return self._wait(at)
            size = i64(read_i32_be(data, at + 3)) & 0xFFFFFFFF
            kind: i64 = data[at]
            if size > self._payload_max:
                self._about_nothing()
                raise broken(kind, b"", f"{{frame_too_large,{size},{self._payload_max - 8}}}")
            start = at + 7
            stop = start + size
            if stop >= end:
                return self._wait(at)
            at = stop + 1
            self._at = at
            if data[stop] != FRAME_END:
                self._about_nothing()
                raise broken(kind, data[start:stop], f"{{invalid_frame_end_marker,{data[stop]}}}")
            self._frame(kind, i64(read_i16_be(data, start - 6)) & 0xFFFF, data, start, stop)
            if self._deaf:
                self._forget_input()
                return False
            if len(self.session.output) > OUTPUT_REPLIES_BYTES_MAX:
                break
        return at < end

    def _wait(self, at: i64) -> bool:
        """The rest is no whole frame: let go of everything before it."""
        self._input = self._input[at:]
        self._at = 0
        return False

    def _forget_input(self) -> None:
        self._input = b""
        self._at = 0

    def _about_nothing(self) -> None:
        """What is said next is not about a method or a channel of the peer."""
        self._number = 0
        self._index = NO_METHOD

    # --- what the connection makes of it ----------------------------------------------------

    def _protocol_header(self, header: bytes) -> bool:
        """The first octets, up to those of a protocol header; whether they are a right one."""
        raise NotImplementedError

    def _frame(self, kind: i64, number: i64, data: bytes, start: i64, stop: i64) -> None:
        """Handle one frame of a channel with the payload `data[start:stop]`.

        :raises AmqpError: for what the peer does wrong.
        """
        raise NotImplementedError

    def _fail(self, error: AmqpError) -> None:
        """Close what the error of the frame at hand says."""
        raise NotImplementedError


def broken(kind: i64, payload: bytes, what: str) -> AmqpError:
    """The error of a frame that is none."""
    octets = describe(payload[:OCTETS_TOLD_MAX])
    return AmqpError(ReplyCode.FRAME_ERROR, f"type {kind}, all octets = {octets}: {what}")


def unexpected(kind: i64, payload: bytes) -> AmqpError:
    """The error of a whole frame that has no place where it came."""
    octets = describe(payload[:OCTETS_TOLD_MAX])
    return AmqpError(ReplyCode.UNEXPECTED_FRAME, f"type {kind}, all octets = {octets}")


def _octets_missing(frame: bytes) -> i64:
    """Octets a frame lacks to be whole; not above 0 if none, or if its size is not here."""
    if len(frame) < 7:
        return 0
    return 8 + (i64(read_i32_be(frame, 3)) & 0xFFFFFFFF) - len(frame)

"""Content on its way in: basic.publish, a content header and body frames become one message.

(AMQP 0-9-1, section 4.2.6.) One object a channel, used again for each content. It checks the
order of the frames, sizes and the form of the properties; what the properties say is checked by
published_properties.py, and where the message goes is the channel's business.
"""

from typing import Final

from librt.strings import read_i16_be, read_i64_be
from mypy_extensions import i32, i64

from leveret.engine.values.encoded_table import HEADER_PREFIX_BYTES, check_properties, delivery_mode
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import REMEMBERED_HEADER_BYTES_MAX
from leveret.protocol.channels.published_properties import PERSISTENT, needs_check
from leveret.protocol.channels.session import Session
from leveret.protocol.states import EXPECT_BODY, EXPECT_HEADER, EXPECT_METHOD
from leveret.protocol.wire import methods
from leveret.protocol.wire.assembly import Assembly

BASIC_CLASS: Final = 60
HEADER_BYTES_MIN: Final = 14
"""Octets of a content header: class, weight, body size and property flags."""


class IncomingContent:
    """The content that a channel receives. Its attributes describe the last one when complete."""

    def __init__(self, session: Session, message_bytes_max: i64) -> None:
        self.expecting: i32 = EXPECT_METHOD
        """The frame that has to come next: one of the constants in `states.py`."""
        self.raw_route = b""
        """Exchange and routing key, as two short strings."""
        self.mandatory = False
        self.header = b""
        """The payload of the content header: the same object for as long as equal ones come, except
        for large ones."""
        self.persistent = False
        self.needs_check = False
        """Whether the header has properties that the broker must check before it routes."""
        self._session = session
        self._body = Assembly()
        self._missing: i64 = 0
        """Octets of the body that have not arrived."""
        self._message_bytes_max: i64 = message_bytes_max

    def begin(self, data: bytes, start: i64, stop: i64) -> None:
        """Receive basic.publish, whose payload is `data[start:stop]`."""
        exchange = start + 6
        key = exchange + 1 + data[exchange] if exchange < stop else stop
        bits = key + 1 + data[key] if key < stop else stop
        if bits + 1 != stop:
            raise methods.undecodable(data[start:stop])
        flags = data[bits]
        if flags & 2:
            raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "immediate=true")
        self.raw_route = data[exchange:bits]
        self.mandatory = (flags & 1) != 0
        self._session.has_published = True
        self.expecting = EXPECT_HEADER

    def add_header(self, data: bytes, start: i64, stop: i64) -> bytes | None:
        """Receive a content header, whose payload is `data[start:stop]`: `HEADER_BYTES_MIN` octets
        or more.

        :returns: the body if that completes the content, else None.
        """
        if self.expecting != EXPECT_HEADER:
            raise self.unexpected_frame()
        header = data[start:stop]
        # Publishers mostly send the same properties again, so the last header is remembered.
        if header != self.header:
            self._check_header(header)
        size = read_i64_be(header, 4)
        if size < 0 or size > self._message_bytes_max:
            self.expecting = EXPECT_METHOD
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"message size {int(size) & 0xFFFFFFFFFFFFFFFF} is larger than configured max "
                f"size {self._message_bytes_max}",
            )
        if size == 0:
            self.expecting = EXPECT_METHOD
            return b""
        self._missing = size
        self.expecting = EXPECT_BODY
        return None

    def _check_header(self, header: bytes) -> None:
        """Check that the header is well-formed, before a consumer has to read it."""
        if read_i16_be(header, 2) != 0:
            raise self.unexpected_frame()
        if read_i16_be(header, 0) != BASIC_CLASS:
            raise AmqpError(
                ReplyCode.UNEXPECTED_FRAME,
                f"expected content header for class {BASIC_CLASS}, got one for class "
                f"{int(read_i16_be(header, 0)) & 0xFFFF} instead",
            )
        try:
            flags = check_properties(header, HEADER_PREFIX_BYTES, len(header))
        except ValueError as error:
            raise AmqpError(ReplyCode.SYNTAX_ERROR, f"malformed properties: {error}") from None
        # The check forgets a header that is too large to be remembered.
        large = len(header) > REMEMBERED_HEADER_BYTES_MAX
        self.needs_check = large or needs_check(header, flags)
        self.persistent = delivery_mode(header, HEADER_PREFIX_BYTES, flags) == PERSISTENT
        self.header = header

    def add_body(self, data: bytes, start: i64, stop: i64) -> bytes | None:
        """Receive a body frame, whose payload is `data[start:stop]`.

        :returns: the body if that completes the content, else None.
        """
        if self.expecting != EXPECT_BODY:
            raise self.unexpected_frame()
        missing = self._missing - (stop - start)
        if missing == 0 and self._body.size == 0:
            self.expecting = EXPECT_METHOD
            # The payload of a frame that was split is an object of its own, and need not be copied.
            return data if stop - start == len(data) else data[start:stop]
        if missing < 0:
            raise AmqpError(
                ReplyCode.FRAME_ERROR,
                "content body frame exceeds remaining content size",
            )
        self._body.add(data, start, stop)
        self._missing = missing
        self._session.has_published = True
        if missing != 0:
            return None
        self.expecting = EXPECT_METHOD
        return self._body.take()

    def incomplete_bytes(self) -> int:
        """Bytes of the header and of the body that have arrived, while others are missing."""
        return int(self._body.size) + (len(self.header) if self.expecting == EXPECT_BODY else 0)

    def forget_large_header(self) -> bool:
        """Forget the header, whose content is complete, if it is too large to be remembered."""
        if len(self.header) <= REMEMBERED_HEADER_BYTES_MAX:
            return False
        self.header = b""
        return True

    def discard(self) -> None:
        """Drop what has arrived of a content: its channel closes."""
        self._body.discard()
        self.header = b""

    def unexpected_frame(self) -> AmqpError:
        """The error of a frame that is not the one that had to come."""
        if self.expecting == EXPECT_HEADER:
            text = f"content header for class {BASIC_CLASS}, got non content header"
        elif self.expecting == EXPECT_BODY:
            text = "content body, got non content body"
        else:
            text = "method frame, got non method"
        return AmqpError(ReplyCode.UNEXPECTED_FRAME, f"expected {text} frame instead")

"""The AMQP reply codes, and the exception that carries them.

Every error of a peer has a reply code, and the code alone decides what is closed: a soft code
closes the channel, a hard one the connection (AMQP 0-9-1, section 1.2; RabbitMQ uses the same
division). The code that finds an error raises `AmqpError`; `protocol/connections/connection.py` is
the one place that turns it into a close method.
"""

from enum import IntEnum
from typing import Final


class ReplyCode(IntEnum):
    """A reply code; its name starts the reply text on the wire."""

    SUCCESS = 200
    CONTENT_TOO_LARGE = 311
    NO_ROUTE = 312
    NO_CONSUMERS = 313
    CONNECTION_FORCED = 320
    INVALID_PATH = 402
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    RESOURCE_ERROR = 506
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541


CHANNEL_CODES: Final = frozenset(
    {
        ReplyCode.CONTENT_TOO_LARGE,
        ReplyCode.NO_ROUTE,
        ReplyCode.NO_CONSUMERS,
        ReplyCode.ACCESS_REFUSED,
        ReplyCode.NOT_FOUND,
        ReplyCode.RESOURCE_LOCKED,
        ReplyCode.PRECONDITION_FAILED,
    }
)
"""The soft codes. All others close the connection, as every code does on channel 0."""

SHUTDOWN_REASON: Final = "broker forced connection closure with reason 'shutdown'"
"""Text of connection.close when the broker stops, as in RabbitMQ."""

REPLY_TEXT_BYTES_MAX: Final = 255
"""Bytes of a reply text, which is a short string (AMQP 0-9-1, section 4.2.5.3)."""

ELLIPSIS: Final = "..."
"""The end of a truncated reply text, as in RabbitMQ."""


class AmqpError(Exception):
    """An error of a peer: a reply code, and the text after the code's name."""

    def __init__(self, code: ReplyCode, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.reply_text

    @property
    def reply_text(self) -> str:
        """`NAME - text`, truncated between characters to REPLY_TEXT_BYTES_MAX."""
        # Names that are not UTF-8 contain surrogates inside the engine.
        full = f"{self.code.name} - {self.text}".encode("utf-8", "replace")
        if len(full) <= REPLY_TEXT_BYTES_MAX:
            return full.decode()
        return full[: REPLY_TEXT_BYTES_MAX - len(ELLIPSIS)].decode("utf-8", "ignore") + ELLIPSIS

    @property
    def closes_connection(self) -> bool:
        """Whether the code closes the connection, on every channel."""
        return self.code not in CHANNEL_CODES

"""The properties of a published message that the broker checks or acts on.

They are user-id, expiration and delivery-mode, which have to be valid, the headers CC and BCC,
which are further routing keys (RabbitMQ: Sender-selected Distribution), and a reply-to that means
the publishing channel (RabbitMQ: Direct Reply-to). All other properties are passed on unread.
"""

import re
from typing import Final, NamedTuple

from pamqp.common import FieldTable

from leveret.engine.lifecycle.argument_checks import expiry_error
from leveret.engine.values import encoded_table
from leveret.engine.values.properties import expiration, flags_of, with_headers
from leveret.engine.values.settings import NONE
from leveret.engine.values.text import text_of
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.wire import methods

TRANSIENT: Final = 1
PERSISTENT: Final = 2
"""The two values of delivery-mode."""

ROUTING_HEADERS: Final = ("CC", "BCC")
HIDDEN_HEADER: Final = "BCC"
"""The one that is removed before delivery."""

REPLY_TO: Final = "amq.rabbitmq.reply-to"
"""The reply-to that means the publishing channel; a channel consumes from it to get replies."""

_WIRE_REPLY_TO: Final = bytes([len(REPLY_TO)]) + REPLY_TO.encode()
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_ROUTING_HEADER_NAMES: Final = [bytes([len(name)]) + name.encode() for name in ROUTING_HEADERS]


def needs_check(header: bytes, flags: int) -> bool:
    """Whether a checked content header with these flags has properties for `check`."""
    if flags & encoded_table.EXPIRATION or asks_for_replies(header, flags):
        return True
    return _needs_decoding(header, flags)


def asks_for_replies(header: bytes, flags: int) -> bool:
    """Whether the reply-to in a checked content header with these flags means the channel."""
    if not flags & encoded_table.REPLY_TO:
        return False
    at = encoded_table.property_offset(
        header, encoded_table.HEADER_PREFIX_BYTES, flags, encoded_table.REPLY_TO
    )
    return header[at : at + len(_WIRE_REPLY_TO)] == _WIRE_REPLY_TO


def _needs_decoding(header: bytes, flags: int) -> bool:
    """Whether the properties have to be decoded, which takes long, to be checked."""
    if flags & encoded_table.USER_ID:
        return True
    if flags & encoded_table.DELIVERY_MODE:
        mode = encoded_table.delivery_mode(header, encoded_table.HEADER_PREFIX_BYTES, flags)
        if mode not in (TRANSIENT, PERSISTENT):
            return True
    if flags & encoded_table.HEADERS:
        return any(name in header for name in _ROUTING_HEADER_NAMES)
    return False


class CheckedProperties(NamedTuple):
    """The result of a check."""

    header: bytes
    """The payload of the content header, without BCC, and with the name for replies."""
    keys: list[str]
    """The routing keys in CC and BCC."""
    ttl: int
    """The time to live in milliseconds, or `NONE`."""


def check(header: bytes, user: str | None, reply_to: bytes) -> CheckedProperties:
    """Check the properties of a content header.

    :param reply_to: the name by which replies reach the channel, empty if it consumes none.
    :raises AmqpError: PRECONDITION_FAILED for a request without a consumer of replies, a user-id
        that is not the user's (RabbitMQ: Validated User-ID), an expiration that is no number of
        milliseconds, an unknown delivery-mode, or a CC or BCC that is no array.
    """
    flags = flags_of(header)
    if asks_for_replies(header, flags):
        header = _with_reply_to(header, flags, reply_to)
    if not _needs_decoding(header, flags):
        return CheckedProperties(header, [], _time_to_live(header))
    properties = methods.properties(header)
    if user is not None and properties.user_id is not None and properties.user_id != user:
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"user_id property set to '{properties.user_id}' but authenticated user was '{user}'",
        )
    ttl = _time_to_live(header)
    mode = properties.delivery_mode
    if mode is not None and mode not in (TRANSIENT, PERSISTENT):
        raise _invalid_message(f"delivery_mode_unknown,{mode}")
    headers = properties.headers or {}
    keys = _routing_keys(header, headers)
    if HIDDEN_HEADER in headers:
        header = with_headers(header, {HIDDEN_HEADER.encode(): None})
    return CheckedProperties(header, keys, ttl)


class PropertyChecks:
    """The checks of one channel. The last result is kept, as the next header mostly is the same."""

    def __init__(self) -> None:
        self._header = b""
        self._reply_to = b""
        self._checked: CheckedProperties | None = None

    def check(self, header: bytes, user: str | None, reply_to: bytes) -> CheckedProperties:
        """As the function `check`. A header that is the same object is not checked again."""
        checked = self._checked
        if checked is None or self._header is not header or self._reply_to != reply_to:
            checked = check(header, user, reply_to)
            self._checked = checked
            self._header = header
            self._reply_to = reply_to
        return checked

    def forget(self) -> None:
        """Do not keep the last result."""
        self._header = b""
        self._checked = None


def _time_to_live(header: bytes) -> int:
    octets = expiration(header)
    return NONE if octets is None else time_to_live(encoded_table.name_text(octets))


def time_to_live(text: str) -> int:
    """An expiration, which is milliseconds in decimal (RabbitMQ: Time-To-Live and Expiration).

    :raises AmqpError: PRECONDITION_FAILED if it is not.
    """
    number = _INTEGER.match(text)
    if number is None:
        wrong: str | None = "no_integer"
    elif number.end() < len(text):
        wrong = f'{{leftover_string,"{text[number.end() :]}"}}'
    else:
        wrong = expiry_error(int(number[0]))
    if wrong is not None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"invalid expiration '{text}': {wrong}")
    return int(text)


def _routing_keys(header: bytes, headers: FieldTable) -> list[str]:
    """The keys in CC and BCC. Values that are no text are ignored, as in RabbitMQ."""
    keys: list[str] = []
    for name in ROUTING_HEADERS:
        if name in headers:
            values = headers[name]
            if not isinstance(values, list):
                kind = encoded_table.table_types(header, _headers_at(header))[name]
                raise _invalid_message(f'unacceptable_type_in_header,"{name}",{kind}')
            keys += [_key(value) for value in values if isinstance(value, str | bytes)]
    return keys


def _key(value: str | bytes) -> str:
    # A routing key may be any bytes; surrogates carry what is not UTF-8 through the engine.
    return value if isinstance(value, str) else text_of(value)


def _invalid_message(what: str) -> AmqpError:
    return AmqpError(ReplyCode.PRECONDITION_FAILED, f"invalid message: {{{what}}}")


def _with_reply_to(header: bytes, flags: int, reply_to: bytes) -> bytes:
    """A content header with the name for replies as reply-to; all other octets are unchanged."""
    if not reply_to:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "fast reply consumer does not exist")
    at = encoded_table.property_offset(
        header, encoded_table.HEADER_PREFIX_BYTES, flags, encoded_table.REPLY_TO
    )
    behind = at + len(_WIRE_REPLY_TO)
    return b"".join((header[:at], bytes([len(reply_to)]), reply_to, header[behind:]))


def _headers_at(header: bytes) -> int:
    """The offset of the table of headers in a content header that has one."""
    start = encoded_table.HEADER_PREFIX_BYTES
    return encoded_table.property_offset(header, start, flags_of(header), encoded_table.HEADERS)

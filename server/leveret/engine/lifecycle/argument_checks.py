"""Checks of the arguments of queues and consumers, with RabbitMQ's error texts.

A check takes all arguments and the name of the one to check. It returns the error, as RabbitMQ
writes it, or None (RabbitMQ: Queues, Optional Arguments). Which argument has which check is in the
tables of `queue_arguments.py`.
"""

from collections.abc import Callable
from typing import Final

from pamqp.common import FieldValue

from leveret.engine.values.arguments import Arguments
from leveret.engine.values.deduplication import KEYS_MAX
from leveret.engine.values.field_table import describe
from leveret.engine.values.settings import OVERFLOWS, RETRY_TYPES
from leveret.engine.values.text import octets_of_text
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import SHORT_STRING_BYTES_MAX

INTEGER_TYPES: Final = frozenset(
    {"byte", "unsignedbyte", "short", "unsignedshort", "signedint", "unsignedint", "long"}
)
EXPIRY_MS_MAX: Final = 315_360_000_000
"""Milliseconds: ten years, RabbitMQ's longest timer."""

PRIORITY_MAX: Final = 255
QUEUE_MODES: Final = ("default", "lazy")
QUEUE_VERSIONS: Final = (1, 2)
QUEUE_TYPES: Final = ("classic", "quorum")

DEAD_LETTER_EXCHANGE: Final = "x-dead-letter-exchange"
QUEUE_TYPE: Final = "x-queue-type"

Check = Callable[[Arguments, str], str | None]
"""Takes all arguments and the name of the one to check; returns the error, or None."""


def expiry_error(milliseconds: int) -> str | None:
    """The error of a time to live, in milliseconds; None if it is valid."""
    if milliseconds < 0:
        return f"{{value_negative,{milliseconds}}}"
    if milliseconds > EXPIRY_MS_MAX:
        return f"{{value_too_large,{milliseconds}}}"
    return None


def integer(arguments: Arguments, name: str) -> str | None:
    type_name = arguments.types[name]
    return None if type_name in INTEGER_TYPES else f'"expected integer, got {type_name}"'


def _number(arguments: Arguments, name: str) -> int:
    value = arguments[name]
    return value if isinstance(value, int) else 0


def not_negative(arguments: Arguments, name: str) -> str | None:
    wrong = integer(arguments, name)
    value = _number(arguments, name)
    return f"{{value_negative,{value}}}" if wrong is None and value < 0 else wrong


def positive(arguments: Arguments, name: str) -> str | None:
    wrong = not_negative(arguments, name)
    return "{value_zero,0}" if wrong is None and _number(arguments, name) == 0 else wrong


def milliseconds(arguments: Arguments, name: str) -> str | None:
    return integer(arguments, name) or expiry_error(_number(arguments, name))


def expires(arguments: Arguments, name: str) -> str | None:
    wrong = milliseconds(arguments, name)
    return "{value_zero,0}" if wrong is None and _number(arguments, name) == 0 else wrong


def max_priority(arguments: Arguments, name: str) -> str | None:
    wrong = not_negative(arguments, name)
    value = _number(arguments, name)
    return f"{{max_value_exceeded,{value}}}" if wrong is None and value > PRIORITY_MAX else wrong


def _type(arguments: Arguments, name: str, expected: str) -> str | None:
    type_name = arguments.types[name]
    return None if type_name == expected else f"{{unacceptable_type,{type_name}}}"


def text(arguments: Arguments, name: str) -> str | None:
    return _type(arguments, name, "longstr")


def boolean(arguments: Arguments, name: str) -> str | None:
    return _type(arguments, name, "bool")


def short_text(arguments: Arguments, name: str) -> str | None:
    """As `text`, for a value that becomes a short string in a method."""
    value = arguments[name]
    size = len(octets_of_text(value)) if isinstance(value, str) else 0
    if size > SHORT_STRING_BYTES_MAX:
        return f"{{max_value_exceeded,{size}}}"
    return text(arguments, name)


def routing_key(arguments: Arguments, name: str) -> str | None:
    wrong = short_text(arguments, name)
    if wrong is None and DEAD_LETTER_EXCHANGE not in arguments:
        return "routing_key_but_no_dlx_defined"
    return wrong


def overflow(arguments: Arguments, name: str) -> str | None:
    wrong = text(arguments, name)
    return "invalid_overflow" if wrong is None and arguments[name] not in OVERFLOWS else wrong


def retry_type(arguments: Arguments, name: str) -> str | None:
    wrong = text(arguments, name)
    return wrong or _unsupported(arguments, name, "delayed retry type", RETRY_TYPES)


def queue_mode(arguments: Arguments, name: str) -> str | None:
    return text(arguments, name) or _unsupported(arguments, name, "queue mode", QUEUE_MODES)


def queue_version(arguments: Arguments, name: str) -> str | None:
    wrong = integer(arguments, name)
    return wrong or _unsupported(arguments, name, "queue version", QUEUE_VERSIONS)


def queue_type(arguments: Arguments, name: str) -> str | None:
    if arguments[name] == "stream":
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "queue type 'stream' is not supported")
    return text(arguments, name) or _unsupported(arguments, name, "queue type", QUEUE_TYPES)


def cache_size(arguments: Arguments, name: str) -> str | None:
    wrong = positive(arguments, name)
    value = _number(arguments, name)
    return f"{{value_too_large,{value}}}" if wrong is None and value > KEYS_MAX else wrong


def _unsupported(
    arguments: Arguments, name: str, what: str, supported: tuple[object, ...]
) -> str | None:
    value = arguments[name]
    return None if value in supported else f"\"unsupported {what} '{plain(value)}'\""


def plain(value: FieldValue) -> str:
    """A value as an error text quotes it: text as it is, everything else as a term."""
    return value if isinstance(value, str) else describe(value)

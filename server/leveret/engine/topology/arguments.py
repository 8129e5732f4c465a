"""The arguments of a queue and of a consumer: what each accepts, and when two sets are the same.

Two tables, `QUEUE_ARGUMENTS` and `CONSUMER_ARGUMENTS`. Texts are RabbitMQ's (RabbitMQ: Queues,
Optional Arguments). What is not in a table is accepted and kept, and plays no part in a
redeclaration.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pamqp.common import FieldValue

from leveret.engine.arguments import CONSUMER_TIMEOUT, PRIORITY, SINGLE_ACTIVE_CONSUMER, Arguments
from leveret.engine.deduplication import KEYS_MAX
from leveret.engine.settings import OVERFLOWS, RETRY_TYPES
from leveret.engine.table import describe
from leveret.engine.topology.names import Typed, inequivalent_argument
from leveret.errors import AmqpError, ReplyCode

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
"""Takes arguments and the name of one of them; what is wrong with it, as a term of RabbitMQ's."""


def expiry_error(milliseconds: int) -> str | None:
    """What is wrong with a time to live, as a term of RabbitMQ's."""
    if milliseconds < 0:
        return f"{{value_negative,{milliseconds}}}"
    if milliseconds > EXPIRY_MS_MAX:
        return f"{{value_too_large,{milliseconds}}}"
    return None


def _integer(arguments: Arguments, name: str) -> str | None:
    type_name = arguments.types[name]
    return None if type_name in INTEGER_TYPES else f'"expected integer, got {type_name}"'


def _number(arguments: Arguments, name: str) -> int:
    value = arguments[name]
    return value if isinstance(value, int) else 0


def _not_negative(arguments: Arguments, name: str) -> str | None:
    wrong = _integer(arguments, name)
    value = _number(arguments, name)
    return f"{{value_negative,{value}}}" if wrong is None and value < 0 else wrong


def _positive(arguments: Arguments, name: str) -> str | None:
    wrong = _not_negative(arguments, name)
    return "{value_zero,0}" if wrong is None and _number(arguments, name) == 0 else wrong


def _milliseconds(arguments: Arguments, name: str) -> str | None:
    return _integer(arguments, name) or expiry_error(_number(arguments, name))


def _expires(arguments: Arguments, name: str) -> str | None:
    wrong = _milliseconds(arguments, name)
    return "{value_zero,0}" if wrong is None and _number(arguments, name) == 0 else wrong


def _max_priority(arguments: Arguments, name: str) -> str | None:
    wrong = _not_negative(arguments, name)
    value = _number(arguments, name)
    return f"{{max_value_exceeded,{value}}}" if wrong is None and value > PRIORITY_MAX else wrong


def _type(arguments: Arguments, name: str, expected: str) -> str | None:
    type_name = arguments.types[name]
    return None if type_name == expected else f"{{unacceptable_type,{type_name}}}"


def _text(arguments: Arguments, name: str) -> str | None:
    return _type(arguments, name, "longstr")


def _boolean(arguments: Arguments, name: str) -> str | None:
    return _type(arguments, name, "bool")


def _routing_key(arguments: Arguments, name: str) -> str | None:
    wrong = _text(arguments, name)
    if wrong is None and DEAD_LETTER_EXCHANGE not in arguments:
        return "routing_key_but_no_dlx_defined"
    return wrong


def _overflow(arguments: Arguments, name: str) -> str | None:
    wrong = _text(arguments, name)
    return "invalid_overflow" if wrong is None and arguments[name] not in OVERFLOWS else wrong


def _retry_type(arguments: Arguments, name: str) -> str | None:
    wrong = _text(arguments, name)
    return wrong or _unsupported(arguments, name, "delayed retry type", RETRY_TYPES)


def _queue_mode(arguments: Arguments, name: str) -> str | None:
    return _text(arguments, name) or _unsupported(arguments, name, "queue mode", QUEUE_MODES)


def _queue_version(arguments: Arguments, name: str) -> str | None:
    wrong = _integer(arguments, name)
    return wrong or _unsupported(arguments, name, "queue version", QUEUE_VERSIONS)


def _queue_type(arguments: Arguments, name: str) -> str | None:
    if arguments[name] == "stream":
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "queue type 'stream' is not supported")
    return _text(arguments, name) or _unsupported(arguments, name, "queue type", QUEUE_TYPES)


def _cache_size(arguments: Arguments, name: str) -> str | None:
    wrong = _positive(arguments, name)
    value = _number(arguments, name)
    return f"{{value_too_large,{value}}}" if wrong is None and value > KEYS_MAX else wrong


def _unsupported(
    arguments: Arguments, name: str, what: str, supported: tuple[object, ...]
) -> str | None:
    value = arguments[name]
    return None if value in supported else f"\"unsupported {what} '{plain(value)}'\""


@dataclass(frozen=True, slots=True)
class Known:
    """An argument of the tables: what it accepts."""

    check: Check


QUEUE_ARGUMENTS: Final[Mapping[str, Known]] = {
    "x-expires": Known(_expires),
    "x-message-ttl": Known(_milliseconds),
    DEAD_LETTER_EXCHANGE: Known(_text),
    "x-dead-letter-routing-key": Known(_routing_key),
    "x-max-length": Known(_not_negative),
    "x-max-length-bytes": Known(_not_negative),
    "x-max-priority": Known(_max_priority),
    "x-overflow": Known(_overflow),
    "x-queue-mode": Known(_queue_mode),
    "x-queue-version": Known(_queue_version),
    SINGLE_ACTIVE_CONSUMER: Known(_boolean),
    CONSUMER_TIMEOUT: Known(_milliseconds),
    QUEUE_TYPE: Known(_queue_type),
    "x-delivery-limit": Known(_integer),
    "x-delayed-retry-type": Known(_retry_type),
    "x-delayed-retry-min": Known(_not_negative),
    "x-delayed-retry-max": Known(_not_negative),
    "x-delayed-retry-multiplier": Known(_positive),
    "x-message-deduplication": Known(_boolean),
    "x-cache-size": Known(_cache_size),
    "x-cache-ttl": Known(_positive),
    "x-deduplication-header": Known(_text),
}
"""In the order in which RabbitMQ compares them: a redeclaration is told of the first that differs.
`x-queue-mode` and `x-queue-version` say how RabbitMQ keeps messages, which is no affair of a client
here."""

ADOPTABLE: Final = frozenset(
    {
        "x-expires",
        "x-message-ttl",
        DEAD_LETTER_EXCHANGE,
        "x-dead-letter-routing-key",
        "x-max-length",
        "x-max-length-bytes",
        "x-overflow",
        "x-delivery-limit",
        "x-delayed-retry-type",
        "x-delayed-retry-min",
        "x-delayed-retry-max",
        "x-delayed-retry-multiplier",
        CONSUMER_TIMEOUT,
    }
)
"""What a redeclaration may change where the configuration lets it: it does not change the nature of
a queue."""

CONSUMER_ARGUMENTS: Final[Mapping[str, Known]] = {
    PRIORITY: Known(_integer),
    CONSUMER_TIMEOUT: Known(_milliseconds),
}


def check_queue_arguments(what: str, arguments: Arguments) -> None:
    """See that the known arguments of a new queue have values they can have.

    :raises AmqpError: PRECONDITION_FAILED, in RabbitMQ's words.
    """
    type_name = arguments.types.get(DEAD_LETTER_EXCHANGE, "longstr")
    if type_name != "longstr":
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"invalid type '{type_name}' for arg '{DEAD_LETTER_EXCHANGE}' in {what}",
        )
    if QUEUE_TYPE in arguments:
        _check(what, arguments, QUEUE_TYPE, QUEUE_ARGUMENTS[QUEUE_TYPE])
    check_arguments(what, arguments, QUEUE_ARGUMENTS)


def check_arguments(what: str, arguments: Arguments, table: Mapping[str, Known]) -> None:
    """See that every known argument has a value it can have.

    :raises AmqpError: PRECONDITION_FAILED, in RabbitMQ's words.
    """
    for name, known in table.items():
        if name in arguments:
            _check(what, arguments, name, known)


def _check(what: str, arguments: Arguments, name: str, known: Known) -> None:
    wrong = known.check(arguments, name)
    if wrong is not None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"invalid arg '{name}' for {what}: {wrong}")


def check_equivalent(
    what: str, received: Arguments, current: Arguments, adopted: frozenset[str] = frozenset()
) -> bool:
    """See that a redeclaration has the same known arguments; integers compare by value.

    :param adopted: those that may differ.
    :returns: whether any of these does.
    :raises AmqpError: PRECONDITION_FAILED, in RabbitMQ's words.
    """
    differs = False
    for name in QUEUE_ARGUMENTS:
        default = "classic" if name == QUEUE_TYPE else None
        ours, theirs = current.get(name, default), received.get(name, default)
        if ours != theirs or isinstance(ours, bool) != isinstance(theirs, bool):
            if name not in adopted:
                typed = _typed(received, name), _typed(current, name)
                raise inequivalent_argument(what, name, *typed)
            differs = True
    return differs


def is_quorum(arguments: Arguments) -> bool:
    """Whether a queue is declared as a quorum queue, of which there is one copy here."""
    return arguments.get(QUEUE_TYPE) == "quorum"


def plain(value: FieldValue) -> str:
    """A value as an error text quotes it: text as it is, everything else as a term."""
    return value if isinstance(value, str) else describe(value)


def _typed(arguments: Arguments, name: str) -> Typed | None:
    if name not in arguments:
        return None
    return plain(arguments[name]), arguments.types[name]

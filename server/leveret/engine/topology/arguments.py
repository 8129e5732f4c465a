"""The arguments of a queue: which are known, what each accepts, and when two sets are the same.

One table, `QUEUE_ARGUMENTS`. Texts are RabbitMQ's (RabbitMQ: Queues, Optional Arguments). What is
not in the table is accepted and kept, and plays no part in a redeclaration.
"""

from collections.abc import Callable
from typing import Final

from pamqp.common import FieldValue

from leveret.engine.arguments import Arguments
from leveret.engine.table import describe
from leveret.engine.topology.names import inequivalent
from leveret.errors import AmqpError, ReplyCode

INTEGER_TYPES: Final = frozenset(
    {"byte", "unsignedbyte", "short", "unsignedshort", "signedint", "unsignedint", "long"}
)
EXPIRY_MS_MAX: Final = 4_294_967_295
"""Milliseconds: RabbitMQ's longest timer, kept so that what is refused there is refused here."""

PRIORITY_MAX: Final = 255
OVERFLOWS: Final = ("drop-head", "reject-publish", "reject-publish-dlx")
QUEUE_MODES: Final = ("default", "lazy")
QUEUE_VERSIONS: Final = (1, 2)

Check = Callable[[object, str], str | None]
"""Takes a value and its AMQP type; returns what is wrong with it, in RabbitMQ's words."""


def _integer(value: object, type_name: str) -> str | None:
    if type_name not in INTEGER_TYPES:
        return f"{{unacceptable_type,{type_name}}}"
    return None


def _not_negative(value: object, type_name: str) -> str | None:
    wrong = _integer(value, type_name)
    if wrong is None and isinstance(value, int) and value < 0:
        return f"{{value_negative,{value}}}"
    return wrong


def _milliseconds(value: object, type_name: str) -> str | None:
    wrong = _not_negative(value, type_name)
    if wrong is None and isinstance(value, int) and value > EXPIRY_MS_MAX:
        return f"{{value_too_large,{value}}}"
    return wrong


def _expires(value: object, type_name: str) -> str | None:
    if type_name in INTEGER_TYPES and value == 0:
        return "{value_zero,0}"
    return _milliseconds(value, type_name)


def _priority(value: object, type_name: str) -> str | None:
    wrong = _not_negative(value, type_name)
    if wrong is None and isinstance(value, int) and value > PRIORITY_MAX:
        return f"{{max_value_exceeded,{value}}}"
    return wrong


def _text(value: object, type_name: str) -> str | None:
    return None if type_name == "longstr" else f"{{unacceptable_type,{type_name}}}"


def _boolean(value: object, type_name: str) -> str | None:
    return None if type_name == "bool" else f"{{unacceptable_type,{type_name}}}"


def _overflow(value: object, type_name: str) -> str | None:
    wrong = _text(value, type_name)
    return wrong if wrong is not None or value in OVERFLOWS else "invalid_overflow"


def _queue_mode(value: object, type_name: str) -> str | None:
    wrong = _text(value, type_name)
    return wrong if wrong is not None or value in QUEUE_MODES else "invalid_queue_mode"


def _queue_version(value: object, type_name: str) -> str | None:
    wrong = _integer(value, type_name)
    if wrong is None and value not in QUEUE_VERSIONS:
        return f"{{unsupported_queue_version,{value}}}"
    return wrong


QUEUE_ARGUMENTS: Final[dict[str, Check]] = {
    "x-dead-letter-exchange": _text,
    "x-dead-letter-routing-key": _text,
    "x-expires": _expires,
    "x-max-length": _not_negative,
    "x-max-length-bytes": _not_negative,
    "x-max-priority": _priority,
    "x-message-ttl": _milliseconds,
    "x-overflow": _overflow,
    "x-queue-mode": _queue_mode,
    "x-queue-type": _text,
    "x-queue-version": _queue_version,
    "x-single-active-consumer": _boolean,
}


def check_arguments(what: str, arguments: Arguments) -> None:
    """See that every known argument has a value it can have.

    :raises AmqpError: PRECONDITION_FAILED, in RabbitMQ's words.
    """
    for name, check in QUEUE_ARGUMENTS.items():
        if name in arguments:
            wrong = check(arguments[name], arguments.types[name])
            if wrong is not None:
                raise AmqpError(
                    ReplyCode.PRECONDITION_FAILED, f"invalid arg '{name}' for {what}: {wrong}"
                )
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"invalid arg 'x-dead-letter-routing-key' for {what}: routing_key_but_no_dlx_defined",
        )


def check_equivalent(what: str, received: Arguments, current: Arguments) -> None:
    """See that a redeclaration has the same known arguments; integers compare by value.

    :raises AmqpError: PRECONDITION_FAILED, in RabbitMQ's words.
    """
    for name in QUEUE_ARGUMENTS:
        default = "classic" if name == "x-queue-type" else None
        ours, theirs = current.get(name, default), received.get(name, default)
        if ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool):
            continue
        if name in received and name in current:
            raise inequivalent(what, name, f"'{plain(theirs)}'", f"'{plain(ours)}'")
        raise inequivalent(what, name, _described(name, received), _described(name, current))


def plain(value: FieldValue) -> str:
    """A value as an error text quotes it: text as it is, everything else as a term."""
    return value if isinstance(value, str) else describe(value)


def _described(name: str, arguments: Arguments) -> str:
    if name not in arguments:
        return "none"
    return f"the value '{plain(arguments[name])}' of type '{arguments.types[name]}'"

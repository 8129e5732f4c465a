"""The arguments of queues and of consumers: the values of each, and when two sets are equivalent.

There are two tables, `QUEUE_ARGUMENTS` and `CONSUMER_ARGUMENTS`. Texts are RabbitMQ's (RabbitMQ:
Queues, Optional Arguments). Arguments that are not in a table are accepted and stored, and not
compared in a redeclaration. The tables of `docs/features.md` are made from these
(`reference/features.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from leveret.engine.lifecycle import argument_checks as checks
from leveret.engine.lifecycle.argument_checks import DEAD_LETTER_EXCHANGE, QUEUE_TYPE, Check, plain
from leveret.engine.lifecycle.names import Typed, inequivalent_argument
from leveret.engine.values.arguments import (
    ANY_QUEUE,
    CONSUMER_TIMEOUT,
    DEDUPLICATION_PLUGIN,
    LAVINMQ,
    PRIORITY,
    RABBITMQ,
    RABBITMQ_QUORUM,
    SINGLE_ACTIVE_CONSUMER,
    ArgumentDoc,
    Arguments,
    one_of,
)
from leveret.engine.values.deduplication import (
    CACHE_SIZE,
    CACHE_TTL,
    HEADER,
    KEYS_DEFAULT,
    KEYS_MAX,
)
from leveret.engine.values.settings import OVERFLOWS, RETRY_TYPES
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import SHORT_STRING_BYTES_MAX

SHORT_TEXT: Final = f"text of up to {SHORT_STRING_BYTES_MAX} bytes"
MILLISECONDS: Final = "milliseconds, 0 to ten years"
RABBITMQ_RETRY: Final = f"{RABBITMQ_QUORUM}, from 4.3"
RABBITMQ_TIMEOUT: Final = f"{RABBITMQ}, from 3.11.15"


@dataclass(frozen=True, slots=True)
class CheckedArgument:
    """An argument, with the check of its values."""

    check: Check
    doc: ArgumentDoc
    adoptable: bool = False
    """Whether a redeclaration may change it, if the configuration allows it: it is a setting, and
    not the type of the queue."""


QUEUE_ARGUMENTS: Final[Mapping[str, CheckedArgument]] = {
    "x-expires": CheckedArgument(
        checks.expires,
        ArgumentDoc(
            "milliseconds, 1 to ten years",
            "The queue is deleted when it had no consumer, declaration or `basic.get` for so long.",
        ),
        adoptable=True,
    ),
    "x-message-ttl": CheckedArgument(
        checks.milliseconds,
        ArgumentDoc(
            MILLISECONDS,
            "Messages expire so long after they came, or after their own `expiration` if that is"
            " sooner.",
        ),
        adoptable=True,
    ),
    DEAD_LETTER_EXCHANGE: CheckedArgument(
        checks.short_text,
        ArgumentDoc(
            SHORT_TEXT,
            "The exchange that gets what expires, is rejected, is too many, or failed too often.",
            differs="no dead letter is lost or doubled by a crash",
        ),
        adoptable=True,
    ),
    "x-dead-letter-routing-key": CheckedArgument(
        checks.routing_key,
        ArgumentDoc(
            f"{SHORT_TEXT}; only with `{DEAD_LETTER_EXCHANGE}`",
            "The routing key of dead letters.",
            default="their own",
        ),
        adoptable=True,
    ),
    "x-max-length": CheckedArgument(
        checks.not_negative,
        ArgumentDoc(
            "number from 0",
            "Messages that may be ready.",
            differs="messages in a delayed retry count, too",
        ),
        adoptable=True,
    ),
    "x-max-length-bytes": CheckedArgument(
        checks.not_negative,
        ArgumentDoc(
            "number from 0",
            "Bytes that the bodies of ready messages may have.",
            differs="as `x-max-length`",
        ),
        adoptable=True,
    ),
    "x-max-priority": CheckedArgument(
        checks.max_priority,
        ArgumentDoc(
            f"number from 0 to {checks.PRIORITY_MAX}; not for a quorum queue",
            "The highest priority: messages of a higher `priority` are delivered first.",
            differs="messages expire in every priority, also behind messages of a higher one",
        ),
    ),
    "x-overflow": CheckedArgument(
        checks.overflow,
        ArgumentDoc(
            one_of(OVERFLOWS),
            "What a full queue does: drop the oldest message, or refuse the new one"
            " (`basic.nack` to publishers with confirms), which may be a dead letter then.",
            default=f"`{OVERFLOWS[0]}`",
            differs="a quorum queue does as all three say",
        ),
        adoptable=True,
    ),
    "x-queue-mode": CheckedArgument(
        checks.queue_mode,
        ArgumentDoc(
            one_of(checks.QUEUE_MODES),
            "None: the broker decides where it stores messages.",
            differs="it has no effect",
        ),
    ),
    "x-queue-version": CheckedArgument(
        checks.queue_version,
        ArgumentDoc("1 or 2", "None, as with `x-queue-mode`.", differs="it has no effect"),
    ),
    SINGLE_ACTIVE_CONSUMER: CheckedArgument(
        checks.boolean,
        ArgumentDoc(
            "truth value",
            "One consumer gets messages at a time.",
            default="false",
            differs="no consumer may be exclusive, of a quorum queue either; the next one gets at"
            " once what waited for one that was full",
        ),
    ),
    CONSUMER_TIMEOUT: CheckedArgument(
        checks.milliseconds,
        ArgumentDoc(
            f"{MILLISECONDS}; 0 is no limit",
            "Time its consumers have to acknowledge.",
            default="`consumer.timeout`",
            origin=RABBITMQ_TIMEOUT,
            differs="there is no limit by default (RabbitMQ: 30 minutes); the delivery goes back"
            " to its queue, and neither consumer nor channel is closed",
        ),
        adoptable=True,
    ),
    QUEUE_TYPE: CheckedArgument(
        checks.queue_type,
        ArgumentDoc(
            one_of(checks.QUEUE_TYPES),
            "The type. A quorum queue must be durable, shared, named and not auto-delete.",
            default=f"`{checks.QUEUE_TYPES[0]}`",
            differs="a quorum queue is one copy, but in a cluster; `stream` is refused with 540",
        ),
    ),
    "x-delivery-limit": CheckedArgument(
        checks.integer,
        ArgumentDoc(
            "number; below 0 is no limit",
            "How often a message may fail before it is a dead letter.",
            origin=RABBITMQ_QUORUM,
            differs=f"{ANY_QUEUE}; there is no limit by default (RabbitMQ 4: 20)",
        ),
        adoptable=True,
    ),
    "x-delayed-retry-type": CheckedArgument(
        checks.retry_type,
        ArgumentDoc(
            one_of(RETRY_TYPES),
            "Which requeued messages are delayed before they are delivered again.",
            default=f"`{RETRY_TYPES[0]}`, or `{RETRY_TYPES[1]}` with `x-delayed-retry-min`",
            origin=RABBITMQ_RETRY,
            differs=ANY_QUEUE,
        ),
        adoptable=True,
    ),
    "x-delayed-retry-min": CheckedArgument(
        checks.not_negative,
        ArgumentDoc(
            "milliseconds from 0",
            "The first delay. Without it no message is delayed.",
            origin=RABBITMQ_RETRY,
            differs=ANY_QUEUE,
        ),
        adoptable=True,
    ),
    "x-delayed-retry-max": CheckedArgument(
        checks.not_negative,
        ArgumentDoc(
            "milliseconds from 0",
            "The longest delay.",
            default="49 days",
            origin=RABBITMQ_RETRY,
            differs=ANY_QUEUE,
        ),
        adoptable=True,
    ),
    "x-delayed-retry-multiplier": CheckedArgument(
        checks.positive,
        ArgumentDoc(
            "number from 1",
            "How the delay grows: constant with 1, exponential from 2.",
            default="none: linear",
            origin=f"{LAVINMQ} 2.11",
        ),
        adoptable=True,
    ),
    "x-message-deduplication": CheckedArgument(
        checks.boolean,
        ArgumentDoc(
            "truth value",
            "A message with a key that the queue has seen lately is dropped.",
            default="false",
            origin=f"{DEDUPLICATION_PLUGIN}; {LAVINMQ}",
            differs="a key counts, too, when its message is not in the queue any more (as with"
            " LavinMQ), and after a crash",
        ),
    ),
    CACHE_SIZE: CheckedArgument(
        checks.cache_size,
        ArgumentDoc(
            f"number from 1 to {KEYS_MAX:,}",
            "Keys that the queue remembers.",
            default=str(KEYS_DEFAULT),
            origin=LAVINMQ,
        ),
    ),
    CACHE_TTL: CheckedArgument(
        checks.positive,
        ArgumentDoc(
            "milliseconds from 1",
            "Time for which the queue remembers a key, unless newer keys push it out.",
            default="none: keys do not expire",
            origin=LAVINMQ,
        ),
    ),
    HEADER: CheckedArgument(
        checks.text,
        ArgumentDoc(
            "name of a header",
            "The header of a message that has its key.",
            default=f"`{HEADER}`",
            origin=LAVINMQ,
        ),
    ),
}
"""In the order in which RabbitMQ compares them: the error of a redeclaration names the first that
differs. `x-queue-mode` and `x-queue-version` say how RabbitMQ stores messages; they have no effect
here."""

ADOPTABLE: Final = frozenset(name for name, known in QUEUE_ARGUMENTS.items() if known.adoptable)
"""The arguments that a redeclaration may change, if the configuration allows it."""

CONSUMER_ARGUMENTS: Final[Mapping[str, CheckedArgument]] = {
    PRIORITY: CheckedArgument(
        checks.integer,
        ArgumentDoc(
            "number",
            "The consumer with the highest priority that can accept a message gets it; "
            "equal ones are served round-robin.",
            default="0",
        ),
    ),
    CONSUMER_TIMEOUT: CheckedArgument(
        checks.milliseconds,
        ArgumentDoc(
            f"{MILLISECONDS}; 0 is no limit",
            "Time the consumer has to acknowledge.",
            default="that of the queue",
            origin=RABBITMQ_TIMEOUT,
            differs="as with that of a queue",
        ),
    ),
}


def check_queue_arguments(what: str, arguments: Arguments) -> None:
    """Check that the known arguments of a new queue have values they can have.

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


def check_arguments(what: str, arguments: Arguments, table: Mapping[str, CheckedArgument]) -> None:
    """Check that every known argument has a value it can have.

    :raises AmqpError: PRECONDITION_FAILED, in RabbitMQ's words.
    """
    for name, known in table.items():
        if name in arguments:
            _check(what, arguments, name, known)


def _check(what: str, arguments: Arguments, name: str, known: CheckedArgument) -> None:
    wrong = known.check(arguments, name)
    if wrong is not None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"invalid arg '{name}' for {what}: {wrong}")


def check_equivalent(
    what: str, received: Arguments, current: Arguments, adopted: frozenset[str] = frozenset()
) -> bool:
    """Check that a redeclaration has the same known arguments; integers compare by value.

    :param adopted: those that may differ.
    :returns: whether any of these does.
    :raises AmqpError: PRECONDITION_FAILED, in RabbitMQ's words.
    """
    differs = False
    for name in QUEUE_ARGUMENTS:
        default = "classic" if name == QUEUE_TYPE else None
        ours, theirs = current.get(name, default), received.get(name, default)
        if ours != theirs or type(ours) is not type(theirs):
            if name not in adopted:
                typed = _typed(received, name), _typed(current, name)
                raise inequivalent_argument(what, name, *typed)
            differs = True
    return differs


def is_quorum(arguments: Arguments) -> bool:
    """Whether a queue is declared as a quorum queue. It is replicated if its store is."""
    return arguments.get(QUEUE_TYPE) == "quorum"


def _typed(arguments: Arguments, name: str) -> Typed | None:
    if name not in arguments:
        return None
    return plain(arguments[name]), arguments.types[name]

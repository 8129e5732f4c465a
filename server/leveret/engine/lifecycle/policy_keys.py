"""The keys of policies, each with the check of its values. They mirror the arguments of queues.

This is the only list: checks and documentation are made of it (RabbitMQ: Policies).
"""

from collections.abc import Mapping
from typing import Any, Final

from leveret.engine.lifecycle.queue_arguments import QUEUE_ARGUMENTS
from leveret.engine.routing.exchanges.base import ALTERNATE_EXCHANGE
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.settings import ARGUMENT_PREFIX, LIMITS
from leveret.errors import AmqpError

OVERFLOW: Final = "overflow"

QUEUE_KEYS: Final = tuple(
    name.removeprefix(ARGUMENT_PREFIX)
    for name, argument in QUEUE_ARGUMENTS.items()
    if argument.adoptable
)
"""Keys that set what the argument of the same name sets."""

EXCHANGE_KEYS: Final = (ALTERNATE_EXCHANGE,)

OPERATOR_KEYS: Final = (*sorted(LIMITS), OVERFLOW)
"""Keys that an operator policy may have."""

WITHOUT_EFFECT: Final = frozenset(
    {
        "queue-mode",
        "queue-version",
        "ha-mode",
        "ha-params",
        "ha-sync-mode",
        "ha-sync-batch-size",
        "ha-promote-on-shutdown",
        "ha-promote-on-failure",
        "queue-master-locator",
        "queue-leader-locator",
        "initial-cluster-size",
        "target-group-size",
        "max-in-memory-length",
        "max-in-memory-bytes",
        "dead-letter-strategy",
        "federation-upstream",
        "federation-upstream-set",
        "max-age",
        "stream-max-segment-size-bytes",
        "stream-filter-size-bytes",
    }
)
"""Keys of RabbitMQ for mirrors, clusters and streams: accepted, and kept for an export."""


class PolicyError(ValueError):
    """A definition that cannot be; the text is one line for the operator."""


def check_definition(definition: Mapping[str, Any], *, operator: bool = False) -> None:
    """Check the definition of a policy.

    :param operator: whether it is that of an operator policy.
    :raises PolicyError: for no key, an unknown one, or a value that cannot be.
    """
    if not definition:
        raise PolicyError("a policy needs at least one key")
    for key, value in definition.items():
        if key in WITHOUT_EFFECT:
            continue
        if operator and key not in OPERATOR_KEYS:
            raise PolicyError(f"an operator policy cannot have '{key}': {', '.join(OPERATOR_KEYS)}")
        if key == ALTERNATE_EXCHANGE:
            if not isinstance(value, str):
                raise PolicyError(f"'{key}' must be a text, not {value!r}")
        elif key in QUEUE_KEYS:
            _check(definition, key)
        else:
            raise PolicyError(f"unknown key '{key}'")


def _check(definition: Mapping[str, Any], key: str) -> None:
    values = {f"{ARGUMENT_PREFIX}{name}": value for name, value in definition.items()}
    types = {name: type_name(value) for name, value in values.items()}
    name = f"{ARGUMENT_PREFIX}{key}"
    try:
        wrong = QUEUE_ARGUMENTS[name].check(Arguments(values, types), name)
    except AmqpError as error:
        wrong = error.text
    if wrong is not None:
        raise PolicyError(f"'{key}' cannot be {definition[key]!r}: {wrong}")


def type_name(value: object) -> str:
    """The AMQP type that a value of JSON has as an argument."""
    if value is None:
        return "void"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "long"
    if isinstance(value, float):
        return "double"
    if isinstance(value, str):
        return "longstr"
    return "array" if isinstance(value, list) else "table"

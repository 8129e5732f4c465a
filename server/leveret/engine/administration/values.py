"""Checks of what operators give: names and limits."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from leveret.engine.administration.operator import Refused
from leveret.limits import SHORT_STRING_BYTES_MAX

LIMIT_MAX: Final = 2**31 - 1

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
"""The integers that a field table can have (RabbitMQ: AMQP 0-9-1 Errata, section 3)."""

DEPTH_MAX: Final = 32
"""Tables and arrays in each other."""


def check_name(what: str, name: str) -> None:
    """Check that a name can be sent as a short string of AMQP.

    :raises Refused: for one that is empty or too long.
    """
    if not name:
        raise Refused(f"the name of a {what} must not be empty")
    check_short(f"the name of a {what}", name)


def check_short(what: str, text: str) -> None:
    """Check that a text can be sent as a short string of AMQP.

    :raises Refused: for one that is too long.
    """
    if len(text.encode("utf-8", "surrogateescape")) > SHORT_STRING_BYTES_MAX:
        raise Refused(f"{what} must not be longer than {SHORT_STRING_BYTES_MAX} bytes")


def check_value(what: str, value: Any, depth: int = 0) -> None:
    """Check that a value of JSON can be a value of a field table.

    :raises Refused: if an integer or a name is too large, or the value is too deep.
    """
    if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise Refused(f"{what}: the integer {value} has more than 64 bits")
    if not isinstance(value, dict | list):
        return
    if depth == DEPTH_MAX:
        raise Refused(f"{what}: more than {DEPTH_MAX} tables and arrays in each other")
    if isinstance(value, dict):
        for name in value:
            check_short(f"{what}: a name", name)
    for each in value.values() if isinstance(value, dict) else value:
        check_value(what, each, depth + 1)


def check_limits(limits: Mapping[str, Any], known: Collection[str]) -> None:
    """Check limits of a user or a virtual host: whole numbers, a negative one being none.

    :raises Refused: for an unknown name or another value.
    """
    for name, value in limits.items():
        if name not in known:
            raise Refused(f"unknown limit '{name}'; known: {', '.join(known)}")
        if not isinstance(value, int) or isinstance(value, bool) or value > LIMIT_MAX:
            raise Refused(f"the limit '{name}' must be a whole number, not {value!r}")

"""Checks of what operators give: names and limits."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from leveret.engine.administration.operator import Refused
from leveret.limits import SHORT_STRING_BYTES_MAX

LIMIT_MAX: Final = 2**31 - 1


def check_name(what: str, name: str) -> None:
    """Check that a name can be sent as a short string of AMQP.

    :raises Refused: for one that is empty or too long.
    """
    if not name:
        raise Refused(f"the name of a {what} must not be empty")
    if len(name.encode("utf-8", "surrogateescape")) > SHORT_STRING_BYTES_MAX:
        raise Refused(
            f"the name of a {what} must not be longer than {SHORT_STRING_BYTES_MAX} bytes"
        )


def check_limits(limits: Mapping[str, Any], known: Collection[str]) -> None:
    """Check limits of a user or a virtual host: whole numbers, a negative one being none.

    :raises Refused: for an unknown name or another value.
    """
    for name, value in limits.items():
        if name not in known:
            raise Refused(f"unknown limit '{name}'; known: {', '.join(known)}")
        if not isinstance(value, int) or isinstance(value, bool) or value > LIMIT_MAX:
            raise Refused(f"the limit '{name}' must be a whole number, not {value!r}")

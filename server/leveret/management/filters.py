"""The filters of a list: by name as in RabbitMQ, and by any column.

An expression has conditions separated by spaces, all of which have to hold: `ready>1000
consumers=0 name~mail`. A word alone is part of the name. A value with spaces is put in quotes.

(RabbitMQ: HTTP API Reference, "Pagination and filtering".)
"""

import operator
import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from leveret.engine.access.patterns import Pattern, PatternError
from leveret.management.columns import Columns

R = TypeVar("R")

Test = Callable[[object], bool]

CONDITIONS_MAX: Final = 16
"""Conditions of an expression."""

ALIASES: Final = {
    "ready": "messages_ready",
    "unacked": "messages_unacknowledged",
    "total": "messages",
}
"""Short names of columns in expressions, if the noun has the column and none of the short name."""

_CONDITION: Final = re.compile(
    r"""(?:(?P<path>[\w.-]+)(?P<operator>!=|!~|<=|>=|=|<|>|~))?(?P<value>"[^"]*"|[^\s"]\S*)(?:\s+|$)"""
)

_COMPARE: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class FilterError(ValueError):
    """An expression that cannot be used; the text says why."""


class Condition(NamedTuple):
    """What has to hold for one column."""

    path: str
    holds: Test


def name_condition(name: str, use_regex: bool) -> Condition:
    """A part of the name, or a regular expression found in it, in any case of letters.

    :raises FilterError: if it is no regular expression.
    """
    if not use_regex:
        return Condition("name", _contains(name))
    try:
        pattern = Pattern(f"(?i){name}")
    except PatternError as error:
        raise FilterError(f"name: {error}") from None

    def holds(value: object) -> bool:
        found = pattern.matches(str(value))
        if pattern.slow:
            raise FilterError("name: this regular expression takes too long")
        return found

    return Condition("name", holds)


def conditions(expression: str, columns: Columns[R]) -> list[Condition]:
    """The conditions of an expression.

    :raises FilterError: if it is not understood, or names a column that the noun does not have.
    """
    found: list[Condition] = []
    rest = expression.strip()
    while rest:
        match = _CONDITION.match(rest)
        if match is None:
            raise FilterError(f"filter: cannot read {rest[:40]!r}")
        rest = rest[match.end() :].lstrip()
        path, comparison = match["path"], match["operator"]
        value = match["value"].strip('"')
        if path is None:
            path, comparison = "name", "~"
        if path not in columns.by_name and ALIASES.get(path) in columns.by_name:
            path = ALIASES[path]
        if path.partition(".")[0] not in columns.by_name:
            raise FilterError(f"filter: no column {path!r}")
        found.append(Condition(path, _test(comparison, value)))
        if len(found) > CONDITIONS_MAX:
            raise FilterError(f"filter: more than {CONDITIONS_MAX} conditions")
    return found


def _test(comparison: str, text: str) -> Test:
    if comparison == "~":
        return _contains(text)
    if comparison == "!~":
        contains = _contains(text)
        return lambda value: not contains(value)
    if comparison == "=":
        return lambda value: _equals(value, text)
    if comparison == "!=":
        return lambda value: not _equals(value, text)
    try:
        number = float(text)
    except ValueError:
        raise FilterError(f"filter: {text!r} is no number") from None
    compare = _COMPARE[comparison]
    return lambda value: isinstance(value, int | float) and bool(compare(value, number))


def _contains(text: str) -> Test:
    folded = text.casefold()
    return lambda value: value is not None and folded in str(value).casefold()


def _equals(value: object, text: str) -> bool:
    """Whether a value is what was written: `true`, a number, or a text; nothing is an empty one."""
    if value is None:
        return not text
    if isinstance(value, bool):
        return text.casefold() == str(value).casefold()
    if isinstance(value, int | float):
        try:
            return value == float(text)
        except ValueError:
            return False
    return str(value) == text

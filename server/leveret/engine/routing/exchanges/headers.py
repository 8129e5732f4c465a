"""The headers exchange: the arguments of a binding are conditions on the headers of a message.

The argument `x-match` says how many of the others must match: `all` (the default) or `any`. Both
ignore arguments whose name starts with `x-`; `all-with-x` and `any-with-x` ignore only `x-match`
itself. An argument without a value matches if the message has a header of that name, any other if
the message has that header with the same value (`_value`). Without conditions, `all` matches every
message and `any` none (RabbitMQ, "Exchanges", headers exchange).

Each condition is a criterion: the name of a header, or a name with a frozen value. A message is
turned into the set of criteria it meets, of those that any binding has. A binding that needs one of
its criteria is indexed by each of them: one of the `any` kinds, or of an `all` kind with a single
criterion. One that needs several is indexed by the criterion that has the fewest bindings, so a
message is compared only with bindings that share a criterion with it.
"""

from collections.abc import Hashable
from datetime import datetime
from typing import Final

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.targets import (
    TargetIndex,
    Targets,
    append_targets,
    with_target,
    without_target,
)
from leveret.engine.values.field_table import (
    FieldValue,
    Table,
    describe,
    freeze,
    headers_of,
    time_number,
    type_name,
)
from leveret.engine.values.message import Message
from leveret.engine.values.text import text_of
from leveret.engine.values.time_slice import ENDLESS, TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode

_EMPTY: Final = ("empty",)

CRITERIA_UNIT: Final = 32
"""Criteria of a binding up to which comparing it takes some microseconds at most."""


class _Candidate:
    """A binding that needs several criteria."""

    def __init__(self, binding: Binding, criteria: tuple[Hashable, ...]) -> None:
        self.binding = binding
        self.criteria = criteria


_Candidates = _Candidate | dict[Binding, _Candidate]
"""What is indexed by one criterion: mostly a single candidate, which needs no dictionary."""


class _Comparison(Work):
    """Compares a message with the bindings that need several criteria, and share one with it."""

    def __init__(
        self, candidates: list[_Candidate], met: set[Hashable], into: list[Destination]
    ) -> None:
        self._candidates = candidates
        self._met = met
        self._into = into
        self._next = 0

    def run(self, time_slice: TimeSlice) -> bool:
        candidates, met = self._candidates, self._met
        while self._next < len(candidates):
            candidate = candidates[self._next]
            self._next += 1
            if met.issuperset(candidate.criteria):
                self._into.append(candidate.binding.destination)
            if len(candidate.criteria) > CRITERIA_UNIT:
                if time_slice.is_over_now():
                    break
            elif time_slice.is_over():
                break
        return self._next == len(candidates)


class HeadersExchange(Exchange):
    """AMQP 0-9-1, section 3.1.3.4, with the `-with-x` kinds of RabbitMQ."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.needs_message = True
        self._names: dict[str, int] = {}
        self._always: Targets | None = None
        self._needing_one = TargetIndex()
        self._needing_several: dict[Hashable, _Candidates] = {}

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        self.begin_match(routing_key, message, into, ENDLESS)

    def begin_match(
        self,
        routing_key: str,
        message: Message | None,
        into: list[Destination],
        time_slice: TimeSlice,
    ) -> Work | None:
        append_targets(self._always, into)
        if message is None or not self._names:
            return None
        met = self._met(message)
        candidates: list[_Candidate] = []
        for criterion in met:
            self._needing_one.append(criterion, into)
            indexed = self._needing_several.get(criterion)
            if isinstance(indexed, dict):
                candidates.extend(indexed.values())
            elif indexed is not None:
                candidates.append(indexed)
        if not candidates:
            return None
        comparison = _Comparison(candidates, met, into)
        return None if comparison.run(time_slice) else comparison

    def _met(self, message: Message) -> set[Hashable]:
        """The criteria that a message meets, of those with a name that any binding has."""
        met: set[Hashable] = set()
        for name, value in headers_of(message.header).items():
            if name in self._names:
                met.add(name)
                met.add((name, _value(value)))
        return met

    def validate(self, routing_key: str, arguments: Table) -> None:
        """Check that `x-match` is one of the four.

        :raises AmqpError: PRECONDITION_FAILED.
        """
        kind = arguments.get("x-match", "all")
        if not isinstance(kind, str | bytes):
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"Invalid x-match field type {type_name(kind)} (value {describe(kind)}); "
                "expected longstr",
            )
        if kind not in ("all", "any", "all-with-x", "any-with-x"):
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"Invalid x-match field value {describe(kind)}; "
                "expected all, any, all-with-x, or any-with-x",
            )

    def _add(self, binding: Binding) -> None:
        destination = binding.destination
        arguments = binding.arguments
        criteria = _criteria(arguments)
        for criterion in criteria:
            name = _name(criterion)
            self._names[name] = self._names.get(name, 0) + 1
        if len(criteria) == 1 or _is_any(arguments):
            for criterion in criteria:
                self._needing_one.add(criterion, destination)
        elif not criteria:
            self._always = with_target(self._always, destination)
        else:
            self._add_candidate(_Candidate(binding, tuple(criteria)))

    def _remove(self, binding: Binding) -> None:
        destination = binding.destination
        arguments = binding.arguments
        criteria = _criteria(arguments)
        for criterion in criteria:
            name = _name(criterion)
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
        if len(criteria) == 1 or _is_any(arguments):
            for criterion in criteria:
                self._needing_one.remove(criterion, destination)
        elif not criteria:
            self._always = without_target(self._always, destination)
        else:
            self._remove_candidate(binding, criteria)

    def _add_candidate(self, candidate: _Candidate) -> None:
        criterion = self._least_used(candidate.criteria)
        indexed = self._needing_several.get(criterion)
        if indexed is None:
            self._needing_several[criterion] = candidate
        elif isinstance(indexed, dict):
            indexed[candidate.binding] = candidate
        else:
            both = {indexed.binding: indexed, candidate.binding: candidate}
            self._needing_several[criterion] = both

    def _remove_candidate(self, binding: Binding, criteria: list[Hashable]) -> None:
        # By which criterion it is indexed is not noted: there are few, and a note takes memory.
        for criterion in criteria:
            indexed = self._needing_several.get(criterion)
            if isinstance(indexed, dict):
                if indexed.pop(binding, None) is not None:
                    if not indexed:
                        del self._needing_several[criterion]
                    return
            elif indexed is not None and indexed.binding is binding:
                del self._needing_several[criterion]
                return

    def _least_used(self, criteria: tuple[Hashable, ...]) -> Hashable:
        best = criteria[0]
        fewest = self._indexed_by(best)
        for criterion in criteria:
            used = self._indexed_by(criterion)
            if used < fewest:
                best = criterion
                fewest = used
        return best

    def _indexed_by(self, criterion: Hashable) -> int:
        """How many bindings that need several criteria are indexed by this one."""
        indexed = self._needing_several.get(criterion)
        if isinstance(indexed, dict):
            return len(indexed)
        return 0 if indexed is None else 1


def _criteria(arguments: Table) -> list[Hashable]:
    with_x = str(arguments.get("x-match", "all")).endswith("-with-x")
    criteria: list[Hashable] = []
    for name, value in arguments.items():
        if name == "x-match" or (name.startswith("x-") and not with_x):
            continue
        criteria.append(name if value is None else (name, _value(value)))
    return criteria


def _value(value: FieldValue) -> Hashable:
    """A value as criteria have it: equal ones are equal values to RabbitMQ.

    It compares values and not types: numbers of all types and times are numbers, text and byte
    arrays are octets (`text_of` is here the text of both), an empty table equals an empty array.
    But inside of tables and arrays it compares types, too, and the order of entries.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return text_of(bytes(value))
    if isinstance(value, datetime):
        return time_number(value)
    if isinstance(value, float) and value == value:
        return value
    if isinstance(value, list | dict) and not value:
        return _EMPTY
    return _nested_value(value)


def _nested_value(value: FieldValue) -> Hashable:
    """A value inside of a table or an array."""
    if isinstance(value, dict):
        return ("table", tuple([(name, _nested_value(item)) for name, item in value.items()]))
    if isinstance(value, list):
        return ("array", tuple([_nested_value(item) for item in value]))
    return freeze(value)


def _is_any(arguments: Table) -> bool:
    return str(arguments.get("x-match", "all")).startswith("any")


def _name(criterion: Hashable) -> str:
    return criterion[0] if isinstance(criterion, tuple) else str(criterion)

"""The protocol's exchange types, by themselves, against their definitions.

Bindings come and go between messages.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from leveret.engine.routing.exchanges import Destination
from leveret.engine.values.field_table import Table
from tests.support.examples import examples
from tests.unit.engine.routing.exchanges.naive import (
    binding_arguments,
    bindings_to,
    drop,
    exchange,
    matched,
    matches,
    patterns,
    routing_keys,
    same,
    tables,
)

DESTINATIONS = 4

few_arguments: st.SearchStrategy[Table] = st.just({}) | binding_arguments
destinations = st.integers(0, DESTINATIONS - 1)


class Routing(RuleBasedStateMachine):
    """An exchange beside the list of the bindings it ought to have."""

    @initialize(kind=st.sampled_from(["direct", "fanout", "headers", "topic"]))
    def declare(self, kind: str) -> None:
        self.kind = kind
        self.exchange = exchange(kind)
        self.destinations = [Destination(f"q{number}") for number in range(DESTINATIONS)]
        self.expected: list[tuple[Destination, str, Table]] = []

    def find(self, destination: Destination, key: str, arguments: Table) -> int:
        for index, (bound, bound_key, bound_arguments) in enumerate(self.expected):
            if bound is destination and bound_key == key and same(bound_arguments, arguments):
                return index
        return -1

    @rule(number=destinations, key=patterns, arguments=few_arguments)
    def bind(self, number: int, key: str, arguments: Table) -> None:
        destination = self.destinations[number]
        is_new = self.find(destination, key, arguments) < 0
        assert self.exchange.bind(destination, key, arguments) is is_new
        if is_new:
            self.expected.append((destination, key, arguments))

    @rule(choice=st.integers(min_value=0))
    def bind_the_same_again(self, choice: int) -> None:
        if self.expected:
            destination, key, arguments = self.expected[choice % len(self.expected)]
            reversed_arguments = dict(reversed(arguments.items()))
            assert self.exchange.bind(destination, key, reversed_arguments) is False

    @rule(choice=st.integers(min_value=0))
    def unbind(self, choice: int) -> None:
        if self.expected:
            destination, key, arguments = self.expected.pop(choice % len(self.expected))
            assert self.exchange.unbind(destination, key, arguments) is True
            assert self.exchange.unbind(destination, key, arguments) is False

    @rule(number=destinations, key=patterns, arguments=few_arguments)
    def unbind_what_may_not_be_bound(self, number: int, key: str, arguments: Table) -> None:
        destination = self.destinations[number]
        index = self.find(destination, key, arguments)
        assert self.exchange.unbind(destination, key, arguments) is (index >= 0)
        if index >= 0:
            del self.expected[index]

    @rule(number=destinations)
    def delete_a_destination(self, number: int) -> None:
        deleted = self.destinations[number]
        remaining = [entry for entry in self.expected if entry[0] is not deleted]
        assert len(drop(deleted)) == len(self.expected) - len(remaining)
        assert deleted.sources() == []
        self.expected = remaining

    @rule()
    def delete_the_exchange(self) -> None:
        assert len(drop(self.exchange)) == len(self.expected)
        self.expected = []

    @rule(routing_key=routing_keys, headers=st.none() | tables)
    def publish(self, routing_key: str, headers: Table | None) -> None:
        expected = {
            destination
            for destination, key, arguments in self.expected
            if matches(self.kind, key, arguments, routing_key, headers)
        }
        assert set(matched(self.exchange, routing_key, headers)) == expected
        assert set(matched(self.exchange, routing_key, headers)) == expected

    @invariant()
    def both_ends_know_the_same_bindings(self) -> None:
        known = [(b.destination, b.routing_key, b.arguments) for b in self.exchange.bindings()]
        assert known == self.expected
        assert self.exchange.is_bound() is bool(self.expected)
        for destination in self.destinations:
            incoming = bindings_to(destination)
            assert incoming == [b for b in self.exchange.bindings() if b.destination is destination]
            assert destination.sources() == ([self.exchange] if incoming else [])


Routing.TestCase.settings = settings(
    max_examples=examples(200), stateful_step_count=40, deadline=None
)
TestRouting = Routing.TestCase

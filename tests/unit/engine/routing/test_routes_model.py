"""Every exchange type against its naive definition, with bindings coming and going in between.

Messages go the whole way through the virtual host, routes that are remembered included: from an
exchange of the type to queues, to another exchange with a queue behind it, and to the alternate
exchange where nothing matches.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from leveret.engine.lifecycle.bindings import (
    bind_exchange,
    bind_queue,
    unbind_exchange,
    unbind_queue,
)
from leveret.engine.lifecycle.exchanges import declare_exchange, predeclare
from leveret.engine.lifecycle.queues import declare_queue, remove_queue
from leveret.engine.routing.exchanges import EXCHANGE_TYPES
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.routing.exchanges.hashing import hash_key, hash_octets
from leveret.engine.routing.sink import Sink
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.field_table import FieldValue, Table
from leveret.engine.values.message import Message, short_strings
from leveret.engine.vhost import VirtualHost
from tests.support.examples import examples
from tests.unit.engine.routing.exchanges.naive import (
    binding_arguments,
    matches,
    message,
    rendezvous,
    same,
)

SOMEBODY = object()
QUEUES = ("a", "b", "c")
ONWARD = "onward"
"""An exchange that is bound as queues are, with the queue `behind` behind it."""

BEHIND = "behind"
REST = "rest"
"""The alternate exchange, and its queue."""

HISTORY_LENGTH = 3
DECLARATIONS: list[tuple[str, Table]] = [
    *((kind, {}) for kind in sorted(EXCHANGE_TYPES)),
    ("x-consistent-hash", {"hash-header": "a"}),
    ("x-recent-history", {"x-recent-history-length": HISTORY_LENGTH}),
]

Bound = tuple[str, str, Table]
"""The name of a destination, the key and the arguments of a binding."""

destinations = st.sampled_from([*QUEUES, ONWARD])
weights = st.sampled_from(["1", "2"])
keys = st.sampled_from(["1", "2", "a", "a.b", "a.*", "#", ""])
headers = st.none() | st.dictionaries(
    st.sampled_from(["a", "b", "x-a"]), st.sampled_from([None, True, 1, 1.0, "1", "a"]), max_size=3
)


def in_order(bound: list[Bound]) -> list[str]:
    """The destination of each binding, a queue before an exchange of its name."""
    return sorted(name for name, _, _ in bound)


def by_weight(bound: list[Bound], hashed: int) -> str | None:
    """Where a hash leads with all these weights."""
    weights: dict[str, int] = {}
    for name, key, _ in bound:
        label = f"{'exchange' if name == ONWARD else 'queue'} {name}"
        weights[label] = weights.get(label, 0) + int(key)
    found = rendezvous(weights, hashed)
    return None if found is None else found.partition(" ")[2]


def hashed(value: FieldValue) -> bytes:
    """What is hashed of a header."""
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int | str):
        return str(value).encode()
    return b"V" if value is None else b"d\x3f\xf0\0\0\0\0\0\0"


class Routes(RuleBasedStateMachine):
    """One exchange, and what should be in all queues by now."""

    @initialize(declaration=st.sampled_from(DECLARATIONS))
    def begin(self, declaration: tuple[str, Table]) -> None:
        self.kind, self.arguments = declaration
        self.vhost = VirtualHost("/")
        predeclare(self.vhost)
        self.declare("x", self.kind, {**self.arguments, "alternate-exchange": REST})
        self.declare(ONWARD, "fanout", {})
        self.declare(REST, "fanout", {})
        self.contents: dict[str, list[int]] = {}
        for name in (*QUEUES, BEHIND, REST):
            self.declare_queue(name)
        bind_queue(self.vhost, BEHIND, ONWARD, "", {}, SOMEBODY)
        bind_queue(self.vhost, REST, REST, "", {}, SOMEBODY)
        self.bound: list[Bound] = []
        self.history: list[int] = []
        self.published = 0

    def declare(self, name: str, kind: str, arguments: Table) -> None:
        declare_exchange(
            self.vhost,
            ExchangeDeclaration(
                kind, name, durable=False, auto_delete=False, internal=False, arguments=arguments
            ),
        )

    def declare_queue(self, name: str) -> None:
        declare_queue(
            self.vhost,
            name,
            durable=False,
            auto_delete=False,
            owner=None,
            connection=SOMEBODY,
            arguments=Arguments({}, {}),
        )
        self.contents[name] = []

    # --- bindings ------------------------------------------------------------------------------

    @rule(name=destinations, key=keys, weight=weights, arguments=st.just({}) | binding_arguments)
    def bind(self, name: str, key: str, weight: str, arguments: Table) -> None:
        if self.kind == "x-consistent-hash":
            key = weight
        if name == ONWARD:
            bind_exchange(self.vhost, name, "x", key, arguments)
        else:
            bind_queue(self.vhost, name, "x", key, arguments, SOMEBODY)
        if not any(
            (name, key) == (other, its_key) and same(arguments, its_arguments)
            for other, its_key, its_arguments in self.bound
        ):
            self.bound.append((name, key, arguments))
            self.contents[BEHIND if name == ONWARD else name] += self.history

    @rule(choice=st.integers(min_value=0))
    def unbind(self, choice: int) -> None:
        if self.bound:
            name, key, arguments = self.bound.pop(choice % len(self.bound))
            if name == ONWARD:
                unbind_exchange(self.vhost, name, "x", key, arguments)
            else:
                unbind_queue(self.vhost, name, "x", key, arguments, SOMEBODY)

    @rule(name=st.sampled_from(QUEUES))
    def delete_a_queue_and_make_it_again(self, name: str) -> None:
        remove_queue(self.vhost, self.vhost.queues[name])
        self.bound = [each for each in self.bound if each[0] != name]
        self.declare_queue(name)

    # --- messages ------------------------------------------------------------------------------

    @rule(key=keys, headers=headers)
    def publish(self, key: str, headers: Table | None) -> None:
        self.published += 1
        published = message(headers, b"%d" % self.published, short_strings(b"x", key.encode()))
        sinks = self.route(key, published)
        for sink in sinks:
            sink.publish(published)
        reached = {sink.name for sink in sinks}
        assert len(reached) == len(sinks)
        assert reached in self.possible(key, headers or {})
        for name in reached:
            self.contents[name].append(self.published)
        if self.kind == "x-recent-history":
            length = self.arguments.get("x-recent-history-length", 20)
            assert isinstance(length, int)
            self.history = [*self.history, self.published][-length:]

    def route(self, key: str, published: Message) -> list[Sink]:
        route = self.vhost.router.route(published.route)
        if route.needs_message:
            return self.vhost.router.sinks_for(route.exchange, [key], published)
        assert self.vhost.router.route(route.raw) is route, "it is remembered"
        return route.sinks

    def possible(self, key: str, headers: Table) -> list[set[str]]:
        """The sets of queues that a message may go to, of which only `x-random` has several."""
        if self.kind == "x-random":
            choices = [{name} for name in in_order(self.bound)] or [set[str]()]
        else:
            choices = [self.destinations(key, headers)]
        return [
            {BEHIND if name == ONWARD else name for name in choice} or {REST} for choice in choices
        ]

    def destinations(self, key: str, headers: Table) -> set[str]:
        if self.kind == "x-modulus-hash":
            ordered = in_order(self.bound)
            return {ordered[hash_key(key) % len(ordered)]} if ordered else set()
        if self.kind == "x-consistent-hash":
            number = hash_key(key)
            if self.arguments:
                number = hash_octets(hashed(headers["a"]) if "a" in headers else b"")
            found = by_weight(self.bound, number)
            return set() if found is None else {found}
        return {
            name
            for name, its_key, arguments in self.bound
            if self.kind == "x-recent-history"
            or matches(self.kind, its_key, arguments, key, headers)
        }

    # --- what has to be there ------------------------------------------------------------------

    @invariant()
    def queues_have_as_many_messages_as_they_should(self) -> None:
        for name, expected in self.contents.items():
            assert self.vhost.queues[name].message_count() == len(expected)

    def teardown(self) -> None:
        for name, expected in self.contents.items():
            found = []
            while (taken := self.vhost.queues[name].take()) is not None:
                found.append(int(taken[0].body))
            assert found == expected


Routes.TestCase.settings = settings(
    max_examples=examples(100), stateful_step_count=30, deadline=None
)
TestRoutes = Routes.TestCase

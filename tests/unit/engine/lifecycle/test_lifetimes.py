"""Deleting queues, exchanges and bindings deletes what depends on them, and nothing else."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from leveret.engine.lifecycle.bindings import bind_exchange, bind_queue, unbind_queue
from leveret.engine.lifecycle.exchanges import (
    PREDECLARED,
    declare_exchange,
    delete_exchange,
    predeclare,
)
from leveret.engine.lifecycle.queues import declare_queue, remove_consumer, remove_queue
from leveret.engine.routing.exchanges.base import Destination, ExchangeDeclaration
from leveret.engine.values.arguments import Arguments
from leveret.engine.vhost import VirtualHost
from tests.support.examples import examples
from tests.unit.engine.queues.consumers import Recorder
from tests.unit.engine.routing.exchanges.naive import bindings_to

NAMES = ("a", "b", "c")
KEYS = ("", "k")

names = st.sampled_from(NAMES)
keys = st.sampled_from(KEYS)
SOMEBODY = object()


class Topology(RuleBasedStateMachine):
    """Declares, binds, unbinds and deletes at random; a model of sets knows what has to be left."""

    @initialize()
    def begin(self) -> None:
        self.vhost = VirtualHost("v")
        predeclare(self.vhost)
        self.queues: set[str] = set()
        self.consumed: dict[str, Recorder] = {}
        self.auto_delete: dict[str, bool] = {}
        """Exchanges, and whether each goes with its last binding."""
        self.bindings: set[tuple[str, str, str]] = set()
        """Source, destination with its kind in front (`q:` or `x:`), and routing key."""

    # --- the model ---------------------------------------------------------------------------

    def drop(self, gone: set[tuple[str, str, str]]) -> None:
        """Bindings go, and the auto-delete exchanges with them that had no other."""
        self.bindings -= gone
        for source in {source for source, _, _ in gone}:
            left = any(each == source for each, _, _ in self.bindings)
            if self.auto_delete.get(source) and not left:
                self.drop_exchange(source)

    def drop_exchange(self, name: str) -> None:
        del self.auto_delete[name]
        self.bindings = {each for each in self.bindings if each[0] != name}
        self.drop({each for each in self.bindings if each[1] == f"x:{name}"})

    # --- what is done ------------------------------------------------------------------------

    @rule(name=names)
    def declare_a_queue(self, name: str) -> None:
        declare_queue(
            self.vhost,
            name,
            durable=False,
            auto_delete=name == "a",
            owner=None,
            connection=SOMEBODY,
            arguments=Arguments({}, {}),
        )
        self.queues.add(name)

    @rule(name=names, auto_delete=st.booleans())
    def declare_an_exchange(self, name: str, auto_delete: bool) -> None:
        if name in self.auto_delete:
            return
        declare_exchange(
            self.vhost,
            ExchangeDeclaration(
                "direct", name, durable=False, auto_delete=auto_delete, internal=False, arguments={}
            ),
        )
        self.auto_delete[name] = auto_delete

    @rule(source=names, queue=names, key=keys)
    def bind_a_queue(self, source: str, queue: str, key: str) -> None:
        if source in self.auto_delete and queue in self.queues:
            bind_queue(self.vhost, queue, source, key, {}, SOMEBODY)
            self.bindings.add((source, f"q:{queue}", key))

    @rule(source=names, destination=names, key=keys)
    def bind_an_exchange(self, source: str, destination: str, key: str) -> None:
        if {source, destination} <= set(self.auto_delete):
            bind_exchange(self.vhost, destination, source, key, {})
            self.bindings.add((source, f"x:{destination}", key))

    @rule(source=names, queue=names, key=keys)
    def unbind_a_queue(self, source: str, queue: str, key: str) -> None:
        unbind_queue(self.vhost, queue, source, key, {}, SOMEBODY)
        self.drop({(source, f"q:{queue}", key)} & self.bindings)

    @rule(name=names)
    def delete_a_queue(self, name: str) -> None:
        if name in self.queues:
            remove_queue(self.vhost, self.vhost.queues[name])
            self.forget_queue(name)

    @rule(name=names)
    def delete_an_exchange(self, name: str) -> None:
        delete_exchange(self.vhost, name, if_unused=False)
        if name in self.auto_delete:
            self.drop_exchange(name)

    @rule(name=names)
    def begin_or_end_consuming(self, name: str) -> None:
        if name not in self.queues:
            return
        queue = self.vhost.queues[name]
        if name not in self.consumed:
            self.consumed[name] = Recorder(queue)
            queue.add_consumer(self.consumed[name].consumer)
            return
        remove_consumer(self.vhost, queue, self.consumed.pop(name).consumer)
        if queue.auto_delete:
            self.forget_queue(name)

    def forget_queue(self, name: str) -> None:
        self.queues.discard(name)
        self.consumed.pop(name, None)
        self.drop({each for each in self.bindings if each[1] == f"q:{name}"})

    # --- what has to be left -----------------------------------------------------------------

    @invariant()
    def queues_and_exchanges_are_those_of_the_model(self) -> None:
        assert set(self.vhost.queues) == self.queues
        predeclared = {name for name, _, _ in PREDECLARED}
        assert set(self.vhost.exchanges) - predeclared == set(self.auto_delete)

    @invariant()
    def bindings_are_those_of_the_model_at_both_ends(self) -> None:
        leaving = {
            (exchange.name, self.label(binding.destination), binding.routing_key)
            for exchange in self.vhost.exchanges.values()
            for binding in exchange.bindings()
        }
        arriving = {
            (binding.source.name, self.label(destination), binding.routing_key)
            for destination in self.destinations()
            for binding in bindings_to(destination)
        }
        assert leaving == arriving == self.bindings

    def destinations(self) -> list[Destination]:
        """All queues, then all exchanges."""
        queues = [queue.destination for queue in self.vhost.queues.values()]
        return [*queues, *self.vhost.exchanges.values()]

    def label(self, destination: object) -> str:
        """Its kind and name; what is no longer there is neither."""
        for name, queue in self.vhost.queues.items():
            if queue.destination is destination:
                return f"q:{name}"
        for name, exchange in self.vhost.exchanges.items():
            if exchange is destination:
                return f"x:{name}"
        return "gone"

    @invariant()
    def routes_lead_where_bindings_say(self) -> None:
        for source in self.auto_delete:
            for key in KEYS:
                octets = b"\x01" + source.encode() + bytes((len(key),)) + key.encode()
                reached = {queue.name for queue in self.vhost.router.route(octets).sinks}
                assert reached == self.reachable(source, key)

    def reachable(self, source: str, key: str) -> set[str]:
        seen, to_visit, found = {source}, [source], set()
        while to_visit:
            visited = to_visit.pop()
            for start, destination, bound in self.bindings:
                kind, name = destination.split(":")
                if (start, bound) != (visited, key):
                    continue
                if kind == "q":
                    found.add(name)
                elif name not in seen:
                    seen.add(name)
                    to_visit.append(name)
        return found


TestTopology = Topology.TestCase
TestTopology.settings = settings(max_examples=examples(100), stateful_step_count=40, deadline=None)

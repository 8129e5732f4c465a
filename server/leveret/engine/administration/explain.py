"""Where a message would go: which queues it would reach, and through which bindings.

The walk is that of `routing/walk.py`, with every exchange asked what it matches. Which binding it
was is found by asking an exchange of the same type with that binding only: so each type says for
itself what matches. Nothing is published, recorded or counted. A random exchange has all its
destinations shown, each as one that may be chosen.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.consistent_hash import ConsistentHashExchange
from leveret.engine.routing.exchanges.delayed import DelayedExchange
from leveret.engine.routing.exchanges.modulus_hash import ModulusHashExchange
from leveret.engine.routing.exchanges.random import RandomExchange
from leveret.engine.routing.exchanges.types import create
from leveret.engine.values import properties
from leveret.engine.values.delay import delay_of
from leveret.engine.values.message import Message, exchange_and_key
from leveret.engine.values.text import text_of
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps
from leveret.engine.vhost import VirtualHost

QUEUES_MAX: Final = 1_000
"""Queues that are shown."""

BINDINGS_MAX: Final = 10
"""Bindings that are shown between an exchange and one destination."""

BINDING: Final = "binding"
ALTERNATE: Final = "alternate"
RANDOM: Final = "random"
HASH: Final = "hash"
"""Why a step is taken: its binding matches; nothing else does; the binding may be chosen at random;
the hash of the message chooses it."""


class Step(NamedTuple):
    """One step of the way, from an exchange to a queue or another exchange."""

    source: str
    destination: str
    destination_type: str
    why: str = BINDING
    routing_key: str = ""
    arguments: dict[str, Any] | None = None
    delayed_ms: int = 0
    """For how long the source delays the message before."""


class Reached(NamedTuple):
    """A queue that the message would reach."""

    queue: str
    ways: list[list[Step]]
    """Each way there, which has no step from the default exchange."""


class Explanation(Work):
    """Finds where a message would go."""

    def __init__(self, vhost: VirtualHost, exchange: str, message: Message) -> None:
        self.reached: dict[str, Reached] = {}
        """By the name of the queue."""
        self.is_complete = True
        """Whether all queues are shown."""
        self._vhost = vhost
        self._message = message
        key = exchange_and_key(message.route)[1]
        self._keys = [text_of(each) for each in [key, *properties.copy_keys(message.header)]]
        self._steps = self._walk(exchange) if exchange else self._default()

    def run(self, time_slice: TimeSlice) -> bool:
        return run_steps(self._steps, time_slice)

    def _default(self) -> Iterator[None]:
        for key in self._keys:
            if key in self._vhost.queues:
                self.reached[key] = Reached(key, [[]])
        yield

    def _walk(self, start: str) -> Iterator[None]:
        to_visit: list[tuple[str, list[Step]]] = [(start, [])]
        seen = {start}
        while to_visit:
            name, way = to_visit.pop()
            exchange = self._vhost.exchanges.get(name)
            if exchange is None:
                continue
            leads_on = False
            matched: list[Destination] = []
            yield from self._match(exchange, matched)
            for destination in dict.fromkeys(matched):
                yield
                if destination.deleted:
                    continue
                leads_on = True
                steps = self._bindings(exchange, destination)
                if not isinstance(destination, Exchange):
                    self._add(destination.name, [[*way, step] for step in steps])
                elif destination.name not in seen:
                    seen.add(destination.name)
                    to_visit.append((destination.name, [*way, *steps[:1]]))
            alternate = exchange.alternate
            if not leads_on and alternate and alternate not in seen:
                seen.add(alternate)
                to_visit.append((alternate, [*way, Step(name, alternate, "exchange", ALTERNATE)]))
            yield

    def _add(self, queue: str, ways: list[list[Step]]) -> None:
        if queue not in self._vhost.queues:
            return
        found = self.reached.get(queue)
        if found is not None:
            found.ways.extend(ways[: BINDINGS_MAX - len(found.ways)])
        elif len(self.reached) < QUEUES_MAX:
            self.reached[queue] = Reached(queue, ways)
        else:
            self.is_complete = False

    def _match(self, exchange: Exchange, into: list[Destination]) -> Iterator[None]:
        """Append what an exchange leads to, some of it more than once."""
        if isinstance(_routed_by(exchange), RandomExchange):
            into += [each.destination for each in exchange.bindings()]
            return
        time_slice = self._vhost.time_slice
        for key in self._keys if exchange.uses_all_keys else self._keys[:1]:
            work = exchange.begin_match(key, self._message, into, time_slice)
            while work is not None and not work.run(time_slice):
                yield

    def _bindings(self, exchange: Exchange, destination: Destination) -> list[Step]:
        """The bindings by which an exchange leads to a destination."""
        kind = _routed_by(exchange)
        why = BINDING
        if isinstance(kind, RandomExchange):
            why = RANDOM
        elif isinstance(kind, ConsistentHashExchange | ModulusHashExchange):
            why = HASH
        delayed = 0
        if isinstance(exchange, DelayedExchange):
            delayed = int(delay_of(self._message.header))
        steps: list[Step] = []
        for binding in destination.incoming():
            if binding.source is exchange and (why != BINDING or self._matches(binding)):
                steps.append(
                    Step(
                        exchange.name,
                        destination.name,
                        "exchange" if isinstance(destination, Exchange) else "queue",
                        why,
                        binding.routing_key,
                        dict(binding.arguments),
                        delayed,
                    )
                )
                if len(steps) == BINDINGS_MAX:
                    break
        return steps

    def _matches(self, binding: Binding) -> bool:
        """Whether a binding alone would match the message."""
        kind = _routed_by(binding.source)
        alone = create(_declared(kind))
        target = Destination(binding.destination.name)
        alone.bind(target, binding.routing_key, binding.arguments)
        matched: list[Destination] = []
        for key in self._keys if alone.uses_all_keys else self._keys[:1]:
            alone.match(key, self._message, matched)
        return bool(matched)


def _routed_by(exchange: Exchange) -> Exchange:
    """The exchange that routes: itself, or the one in a delayed exchange."""
    return exchange.inner if isinstance(exchange, DelayedExchange) else exchange


def _declared(exchange: Exchange) -> ExchangeDeclaration:
    return ExchangeDeclaration(
        exchange.type,
        exchange.name,
        durable=False,
        auto_delete=False,
        internal=False,
        arguments=exchange.arguments,
    )

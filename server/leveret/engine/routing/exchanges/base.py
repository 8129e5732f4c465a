"""What all exchange types share: their declaration, and bindings with their destinations.

A binding is identified by its source, destination, routing key and arguments; binding the same
again changes nothing. It is indexed at both ends, in the order of making. So deleting a destination
takes no walk over all exchanges, and an exchange drops the bindings to it without a walk over its
others.

An exchange type adds an index of its own, in `_add` and `_remove`. Both take about the same time
whatever the number of bindings, because bindings may come and go often in a large set.

A virtual host may have hundreds of thousands of bindings, so what each of them takes is kept small:
arguments are a tuple and the same names in it one object, an index has no dictionary for one entry,
and a binding is the key that it is found by.
"""

import sys
from abc import abstractmethod
from typing import Final, NamedTuple, cast

from mypy_extensions import i64

from leveret.engine.routing.sink import Sink
from leveret.engine.values.counters import ExchangeCounters
from leveret.engine.values.field_table import FieldValue, Table, freeze_table
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work

ALTERNATE_EXCHANGE: Final = "alternate-exchange"
"""The argument that every exchange type has."""


class Destination:
    """What a binding leads to: an exchange, or the queue that has this one for its `destination`.

    Two are the same only if identical.
    """

    def __init__(self, name: str, durable: bool = False) -> None:
        self.name = name
        self.durable = durable
        """Whether it survives a restart."""
        self.deleted = False
        """Whether it was deleted. Bindings to it lead nowhere, and are removed soon."""
        self._incoming: Binding | dict[Binding, None] | None = None
        """The bindings to it, the oldest first."""

    def incoming(self) -> "list[Binding]":
        """The bindings that lead here, the oldest first."""
        incoming = self._incoming
        if incoming is None:
            return []
        return list(incoming) if isinstance(incoming, dict) else [incoming]

    def is_led_to(self) -> bool:
        """Whether any binding leads here."""
        return self._incoming is not None

    def sources(self) -> "list[Exchange]":
        """The exchanges with at least one binding to this destination."""
        return list(dict.fromkeys([binding.source for binding in self.incoming()]))

    def add_incoming(self, binding: "Binding") -> None:
        """Note a new binding that leads here."""
        incoming = self._incoming
        if incoming is None:
            self._incoming = binding
        elif isinstance(incoming, dict):
            incoming[binding] = None
        else:
            self._incoming = {incoming: None, binding: None}

    def remove_incoming(self, binding: "Binding") -> None:
        """Forget a binding that led here."""
        incoming = self._incoming
        if isinstance(incoming, dict):
            del incoming[binding]
            if incoming:
                return
        self._incoming = None

    def drop_newest_incoming(self) -> "Binding | None":
        """Remove the newest of the bindings that lead here, and return it; None if there is none.

        A deleted destination is left by all of them one after the other, in constant time each.
        """
        incoming = self._incoming
        if incoming is None:
            return None
        if isinstance(incoming, dict):
            # Finding the last entry of a dictionary takes constant time only if it is popped.
            binding = incoming.popitem()[0]
            if not incoming:
                self._incoming = None
        else:
            binding = incoming
            self._incoming = None
        binding.source.forget(binding)
        return binding


class Binding:
    """A binding of a destination to an exchange. Two are equal if they are the same to AMQP."""

    def __init__(
        self, source: "Exchange", destination: Destination, routing_key: str, arguments: Table
    ) -> None:
        self.source = source
        self.destination = destination
        self.routing_key = routing_key
        self._arguments = _flat(arguments) if arguments else ()
        frozen = freeze_table(arguments) if arguments else None
        self._hash: i64 = hash((destination, routing_key, frozen))

    @property
    def arguments(self) -> Table:
        """The arguments of the binding, a new table at each call."""
        flat = self._arguments
        return {cast("str", flat[at]): flat[at + 1] for at in range(0, len(flat), 2)}

    def __hash__(self) -> int:
        return int(self._hash)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Binding)
            and self._hash == other._hash
            and self.source is other.source
            and self.destination is other.destination
            and self.routing_key == other.routing_key
            and freeze_table(self.arguments) == freeze_table(other.arguments)
        )


def _flat(arguments: Table) -> tuple[FieldValue, ...]:
    """The names and values of a table in turn, which take a third of its memory."""
    flat: list[FieldValue] = []
    for name, value in arguments.items():
        flat.append(sys.intern(name))
        flat.append(value)
    return tuple(flat)


class ExchangeDeclaration(NamedTuple):
    """What a client declares of an exchange (exchange.declare)."""

    type: str
    name: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: Table


class Exchange(Destination):
    """What every exchange can do; `EXCHANGE_TYPES` has the classes that can be made.

    It is abstract, but no `ABC`, for the reason that `Sink` gives.
    """

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared.name, declared.durable)
        self.type = declared.type
        self.auto_delete = declared.auto_delete
        self.internal = declared.internal
        self.arguments = declared.arguments
        self.alternate = alternate_of(declared.arguments)
        """The name of the exchange that gets what this one cannot route; "" is none."""
        self.needs_message = False
        """Whether it has to see every message, so that no route over it is cached: the match
        depends on more than the routing key, or `intercept` or `record` are to be called."""
        self.records = False
        """Whether `record` is to be called."""
        self.uses_all_keys = False
        """Whether a message with several routing keys is matched with each of them; otherwise only
        with the one it was published with."""
        self.counters = ExchangeCounters()
        """What clients have published to it."""
        self._bindings: dict[Binding, Binding] = {}
        """Every binding of a destination to this exchange, by itself, the oldest first."""

    def bind(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Add a binding.

        :returns: False if there is one with this destination, key and arguments already.
        :raises AmqpError: PRECONDITION_FAILED if the exchange type cannot take it.
        """
        self.validate(routing_key, arguments)
        binding = Binding(self, destination, routing_key, arguments)
        if binding in self._bindings:
            return False
        self._bindings[binding] = binding
        destination.add_incoming(binding)
        self._add(binding)
        return True

    def has_binding(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Whether there is a binding with this destination, key and arguments."""
        return Binding(self, destination, routing_key, arguments) in self._bindings

    def unbind(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Remove a binding.

        :returns: False if there is none with this destination, key and arguments.
        """
        binding = self._bindings.get(Binding(self, destination, routing_key, arguments))
        if binding is None:
            return False
        self.remove(binding)
        return True

    def remove(self, binding: Binding) -> None:
        """Remove a binding of this exchange."""
        binding.destination.remove_incoming(binding)
        self.forget(binding)

    def forget(self, binding: Binding) -> None:
        """Forget a binding whose destination has forgotten it."""
        del self._bindings[binding]
        self._remove(binding)

    def drop_newest_binding(self) -> Binding | None:
        """Remove the newest binding, and return it; None if there is none.

        An exchange that is deleted loses all of them one after the other, in constant time each.
        """
        if not self._bindings:
            return None
        binding = self._bindings.popitem()[0]
        binding.destination.remove_incoming(binding)
        self._remove(binding)
        return binding

    def bindings(self) -> list[Binding]:
        """Every binding of a destination to this exchange, the oldest first."""
        return list(self._bindings)

    def binding_count(self) -> int:
        """Number of bindings of destinations to this exchange."""
        return len(self._bindings)

    def is_bound(self) -> bool:
        """Whether anything is bound to this exchange."""
        return len(self._bindings) > 0

    @abstractmethod
    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        """Append every destination a message goes to. One may be appended more than once.

        It has no effect that a client could see; a type that remembers messages does so in
        `record`.

        :param message: None where a route is to be cached; never None for an exchange that
            `needs_message`.
        """

    def begin_match(
        self,
        routing_key: str,
        message: Message | None,
        into: list[Destination],
        time_slice: TimeSlice,
    ) -> Work | None:
        """Match as `match` does, as far as it comes in a time slice.

        :returns: the work that goes on with the match, or None if the match is complete.
        """
        self.match(routing_key, message, into)
        return None

    def intercept(self, message: Message) -> Sink | None:
        """The sink that takes a message in place of what it matches; None for most messages.

        Called only if the exchange `needs_message`. It has no effect that a client could see.
        """
        return None

    def record(self, message: Message) -> None:
        """Note a message that was published to this exchange; called only if the type `records`."""

    def recent(self) -> list[Message]:
        """The messages that the destination of a new binding gets at once, the oldest first: none,
        for most types."""
        return []

    def validate(self, routing_key: str, arguments: Table) -> None:
        """Check that the exchange type can take a binding.

        :raises AmqpError: PRECONDITION_FAILED.
        """

    @abstractmethod
    def _add(self, binding: Binding) -> None:
        """Add a new binding to the index of the type."""

    @abstractmethod
    def _remove(self, binding: Binding) -> None:
        """Remove a binding from the index of the type."""


def alternate_of(arguments: Table) -> str:
    """The name of the alternate exchange in the arguments of an exchange; "" is none."""
    alternate = arguments.get(ALTERNATE_EXCHANGE)
    return alternate if isinstance(alternate, str) else ""

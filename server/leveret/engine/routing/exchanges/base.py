"""What all exchange types share: their declaration, and bindings with their destinations.

A binding is identified by its source, destination, routing key and arguments; binding the same
again changes nothing. It is indexed at both ends: at the exchange in the order of making, and at
the destination by exchange. So deleting a destination takes no walk over all exchanges, and an
exchange drops the bindings to it without a walk over its others.

An exchange type adds an index of its own, in `_add` and `_remove`. Both take about the same time
whatever the number of bindings, because bindings may come and go often in a large set.
"""

from abc import abstractmethod
from collections.abc import Hashable
from typing import Final, NamedTuple

from leveret.engine.routing.sink import Sink
from leveret.engine.values.field_table import Table, freeze_table
from leveret.engine.values.message import Message

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
        self.incoming: dict[Exchange, dict[Hashable, Binding]] = {}

    def sources(self) -> list["Exchange"]:
        """The exchanges with at least one binding to this destination."""
        return list(self.incoming)


class Binding:
    """A binding of a destination to an exchange."""

    def __init__(
        self, source: "Exchange", destination: Destination, routing_key: str, arguments: Table
    ) -> None:
        self.source = source
        self.destination = destination
        self.routing_key = routing_key
        self.arguments = arguments


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
        self._bindings: dict[Binding, None] = {}

    def bind(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Add a binding.

        :returns: False if there is one with this destination, key and arguments already.
        :raises AmqpError: PRECONDITION_FAILED if the exchange type cannot take it.
        """
        self.validate(routing_key, arguments)
        identity = _identity(routing_key, arguments)
        known = destination.incoming.get(self)
        if known is None:
            known = {}
            destination.incoming[self] = known
        elif identity in known:
            return False
        binding = Binding(self, destination, routing_key, arguments)
        known[identity] = binding
        self._bindings[binding] = None
        self._add(binding)
        return True

    def has_binding(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Whether there is a binding with this destination, key and arguments."""
        known = destination.incoming.get(self)
        return known is not None and _identity(routing_key, arguments) in known

    def unbind(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Remove a binding.

        :returns: False if there is none with this destination, key and arguments.
        """
        known = destination.incoming.get(self)
        if known is None:
            return False
        binding = known.pop(_identity(routing_key, arguments), None)
        if binding is None:
            return False
        if not known:
            del destination.incoming[self]
        del self._bindings[binding]
        self._remove(binding)
        return True

    def drop(self, destination: Destination) -> int:
        """Remove every binding to a destination, which is being deleted; return their number."""
        known = destination.incoming.pop(self, None)
        if known is None:
            return 0
        for binding in known.values():
            del self._bindings[binding]
            self._remove(binding)
        return len(known)

    def drop_all(self) -> list[Binding]:
        """Remove every binding of this exchange, which is being deleted; return them."""
        bindings = list(self._bindings)
        for binding in bindings:
            self.drop(binding.destination)
        return bindings

    def bindings(self) -> list[Binding]:
        """Every binding of a destination to this exchange, the oldest first."""
        return list(self._bindings)

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


Targets = dict[Destination, int]
"""The destinations of bindings with one key, and the number of bindings to each."""


def add_target(targets: Targets, destination: Destination) -> None:
    """Count one more binding to a destination."""
    targets[destination] = targets.get(destination, 0) + 1


def remove_target(targets: Targets, destination: Destination) -> None:
    """Count one binding less to a destination, and remove it with the last one."""
    count = targets[destination] - 1
    if count:
        targets[destination] = count
    else:
        del targets[destination]


def _identity(routing_key: str, arguments: Table) -> Hashable:
    if not arguments:
        return routing_key
    return (routing_key, freeze_table(arguments))

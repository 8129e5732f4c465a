"""The modulus hash exchange: the hash of the key, modulo the number of bindings, chooses one.

A key leads to the same queue as long as the bindings are the same. Adding or removing a binding
moves most keys, which the consistent hash exchange avoids. A queue bound twice counts twice; the
keys of bindings do not matter (RabbitMQ: Modulus Hash Exchange).

Bindings are in the order of the names of their destinations, so a key leads to the same queue
whatever the order in which they were made, and after a restart.
"""

from bisect import bisect_left, insort

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.hashing import hash_key
from leveret.engine.values.message import Message


class ModulusHashExchange(Exchange):
    """The type `x-modulus-hash`."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self._destinations: list[Destination] = []
        """The destination of each binding, in order."""

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        if self._destinations:
            into.append(self._destinations[hash_key(routing_key) % len(self._destinations)])

    def _add(self, binding: Binding) -> None:
        insort(self._destinations, binding.destination, key=_order)

    def _remove(self, binding: Binding) -> None:
        place = bisect_left(self._destinations, _order(binding.destination), key=_order)
        while self._destinations[place] is not binding.destination:
            place += 1
        del self._destinations[place]


def _order(destination: Destination) -> tuple[str, bool]:
    return destination.name, isinstance(destination, Exchange)

"""What a broker keeps over a restart: definitions, and who waits for them to be safe.

A definition is what was declared, bound, unbound or deleted, as one small msgpack array whose first
item says which. Read in order they make the same exchanges, queues and bindings again, as is done
in `definitions.py`. Only what is durable is kept: a binding is if both its ends are.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import msgspec
from mypy_extensions import i64

from leveret.engine.persistence.field_values import to_plain
from leveret.engine.queues.redelivery import DeliveryCounts
from leveret.engine.routing.exchanges.base import Binding, Exchange
from leveret_storage.store.store import Store

if TYPE_CHECKING:
    from leveret.engine.queues.delayed_store import DelayedStore
    from leveret.engine.queues.queue import Queue

EXCHANGE: Final = "exchange"
EXCHANGE_GONE: Final = "exchange gone"
QUEUE: Final = "queue"
QUEUE_CHANGED: Final = "queue changed"
QUEUE_GONE: Final = "queue gone"
RETURNED: Final = "returned"
BIND: Final = "bind"
UNBIND: Final = "unbind"
DELAYS: Final = "delays"
SORTED_RUN: Final = "strand"
SEEN: Final = "seen"
"""What a definition can say."""


class CommitWaiter(ABC):
    """Somebody who waits for the store."""

    @abstractmethod
    def store_synced(self) -> None:
        """Told that another batch is safe."""


class DefinitionLog:
    """Writes definitions to the store, and tells who waits when the store has got further."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.definitions: i64 = 0
        """How many were written: whoever sees it change has something to wait for."""
        self.defined: i64 = 0
        """The batch of the last definition: until it is safe, nobody may be told that something
        durable is there or gone, whoever made it so."""
        self._waiters: list[CommitWaiter] = []

    def wait(self, waiter: CommitWaiter) -> None:
        """Be told at the next batch that is safe."""
        self._waiters.append(waiter)

    def synced(self) -> None:
        """A batch is safe."""
        waiters = self._waiters
        self._waiters = []
        for waiter in waiters:
            waiter.store_synced()

    def define(self, definition: bytes) -> None:
        """Write a definition."""
        self.definitions += 1
        self.store.define(definition)
        self.defined = self.store.batch


def exchange(vhost: str, made: Exchange) -> bytes:
    """An exchange was declared."""
    return _encode(
        EXCHANGE, vhost, made.name, made.type, made.auto_delete, made.internal, made.arguments
    )


def exchange_gone(vhost: str, name: str) -> bytes:
    """An exchange was deleted, with all its bindings."""
    return _encode(EXCHANGE_GONE, vhost, name)


def queue(vhost: str, made: "Queue", number: int) -> bytes:
    """A queue was declared; the store calls it `number`."""
    arguments, types = made.arguments, made.arguments.types
    return _encode(
        QUEUE,
        vhost,
        made.name,
        number,
        made.auto_delete,
        arguments,
        types,
        made.declared_by,
        int(made.declared_at),
    )


def queue_changed(vhost: str, changed: "Queue") -> bytes:
    """A queue was declared with other arguments than before, and goes by them."""
    arguments = changed.arguments
    return _encode(QUEUE_CHANGED, vhost, changed.name, arguments, arguments.types)


def returned(vhost: str, queue: str, position: int, returns: DeliveryCounts) -> bytes:
    """A message came back to its queue so often, and is held back until then."""
    return _encode(RETURNED, vhost, queue, position, *returns)


def queue_gone(vhost: str, name: str) -> bytes:
    """A queue was deleted, with all its bindings."""
    return _encode(QUEUE_GONE, vhost, name)


def delays(vhost: str, waiting: "DelayedStore") -> bytes:
    """Where the messages of a durable delayed exchange wait: what the store calls it, what it calls
    its strands, and the positions at which those begin."""
    journal, sorted_runs = waiting.journal, waiting.sorted_runs
    number = 0 if journal is None else journal.number
    sorted_runs_number = 0 if sorted_runs.journal is None else sorted_runs.journal.number
    return _encode(
        DELAYS, vhost, waiting.exchange, number, sorted_runs_number, sorted_runs.starts()
    )


def sorted_run(vhost: str, exchange: str, first: int) -> bytes:
    """Among the messages of a delayed exchange, a strand begins at a position."""
    return _encode(SORTED_RUN, vhost, exchange, first)


def seen(vhost: str, by_exchange: bool, name: str, keys: list[tuple[bytes, int]]) -> bytes:
    """An exchange or a queue that deduplicates has seen keys, which count until some time."""
    return _encode(SEEN, vhost, by_exchange, name, [list(each) for each in keys])


def bind(vhost: str, made: Binding) -> bytes:
    """A binding was made."""
    return _binding(BIND, vhost, made)


def unbind(vhost: str, gone: Binding) -> bytes:
    """A binding was removed by itself, not with one of its ends."""
    return _binding(UNBIND, vhost, gone)


def _binding(what: str, vhost: str, binding: Binding) -> bytes:
    destination = binding.destination
    to_exchange = isinstance(destination, Exchange)
    return _encode(
        what,
        vhost,
        binding.source.name,
        to_exchange,
        destination.name,
        binding.routing_key,
        binding.arguments,
    )


def _encode(*items: object) -> bytes:
    return msgspec.msgpack.encode([to_plain(item) for item in items])

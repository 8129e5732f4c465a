"""Makes the definitions of virtual hosts, exchanges, queues, bindings and delayed stores."""

from leveret.engine.persistence.definitions import (
    Bound,
    DelayedStoreCreated,
    ExchangeDeclared,
    QueueArgumentsChanged,
    QueueDeclared,
    QueuePauseChanged,
    Unbound,
    VirtualHostCreated,
)
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Binding, Exchange
from leveret.engine.values.field_table import Table
from leveret.engine.vhost import VirtualHost


def virtual_host_created(vhost: VirtualHost) -> VirtualHostCreated:
    """The record of a virtual host, and of its clock."""
    return VirtualHostCreated(vhost.name, int(vhost.clock.behind), vhost.uid)


def exchange_declared(vhost: str, exchange: Exchange) -> ExchangeDeclared:
    """The record of a durable exchange."""
    return ExchangeDeclared(
        vhost,
        exchange.name,
        exchange.type,
        exchange.auto_delete,
        exchange.internal,
        exchange.arguments,
    )


def queue_declared(vhost: str, queue: Queue, number: int) -> QueueDeclared:
    """The record of a durable queue, whose journal has this number."""
    arguments = queue.arguments
    return QueueDeclared(
        vhost,
        queue.name,
        number,
        queue.auto_delete,
        dict(arguments),
        arguments.types,
        queue.declared_by,
        int(queue.declared_at),
    )


def queue_arguments_changed(vhost: str, queue: Queue) -> QueueArgumentsChanged:
    """The record of the arguments that a durable queue has adopted."""
    arguments = queue.arguments
    return QueueArgumentsChanged(vhost, queue.name, dict(arguments), arguments.types)


def queue_pause_changed(vhost: str, queue: Queue) -> QueuePauseChanged:
    """The record of a durable queue that was paused or resumed."""
    return QueuePauseChanged(vhost, queue.name, queue.paused)


def delayed_store_created(vhost: str, delayed: DelayedStore) -> DelayedStoreCreated:
    """The record of the delayed store of a durable exchange."""
    journal, sorted_runs = delayed.journal, delayed.sorted_runs
    return DelayedStoreCreated(
        vhost,
        delayed.exchange,
        0 if journal is None else journal.number,
        0 if sorted_runs.journal is None else sorted_runs.journal.number,
        sorted_runs.starts(),
    )


def bound(vhost: str, binding: Binding) -> Bound:
    """The record of a binding between durable ends."""
    return Bound(vhost, *_fields(binding))


def unbound(vhost: str, binding: Binding) -> Unbound:
    """The record of a binding between durable ends that was removed by itself."""
    return Unbound(vhost, *_fields(binding))


def _fields(binding: Binding) -> tuple[str, str, bool, str, Table]:
    """What both records say of a binding, in the order of their fields."""
    return (
        binding.source.name,
        binding.destination.name,
        isinstance(binding.destination, Exchange),
        binding.routing_key,
        binding.arguments,
    )

"""Binding a queue or an exchange to an exchange, and unbinding it."""

from leveret.engine.exchanges.base import Destination
from leveret.engine.table import Table
from leveret.engine.topology.exchanges import delete_if_unbound
from leveret.engine.topology.names import find_exchange, find_queue, refuse_default_exchange
from leveret.engine.vhost import VirtualHost


def bind_queue(
    vhost: VirtualHost,
    queue_name: str,
    exchange_name: str,
    routing_key: str,
    arguments: Table,
    owner: object,
) -> None:
    """Bind a queue; a binding that is there already is no error.

    :raises AmqpError: NOT_FOUND, RESOURCE_LOCKED, ACCESS_REFUSED for the default exchange,
        PRECONDITION_FAILED for arguments the exchange's type refuses.
    """
    refuse_default_exchange(exchange_name)
    queue = find_queue(vhost, queue_name, owner)
    _bind(vhost, exchange_name, queue, routing_key, arguments)


def unbind_queue(
    vhost: VirtualHost,
    queue_name: str,
    exchange_name: str,
    routing_key: str,
    arguments: Table,
) -> None:
    """Unbind a queue. What is not there, be it queue, exchange or binding, is no error."""
    refuse_default_exchange(exchange_name)
    _unbind(vhost, exchange_name, vhost.queues.get(queue_name), routing_key, arguments)


def bind_exchange(
    vhost: VirtualHost,
    destination_name: str,
    source_name: str,
    routing_key: str,
    arguments: Table,
) -> None:
    """Bind an exchange to another (RabbitMQ: Exchange to Exchange Bindings).

    :raises AmqpError: as `bind_queue`.
    """
    refuse_default_exchange(source_name)
    refuse_default_exchange(destination_name)
    destination = find_exchange(vhost, destination_name)
    _bind(vhost, source_name, destination, routing_key, arguments)


def unbind_exchange(
    vhost: VirtualHost,
    destination_name: str,
    source_name: str,
    routing_key: str,
    arguments: Table,
) -> None:
    """Unbind an exchange from another; what is not there is no error."""
    refuse_default_exchange(source_name)
    refuse_default_exchange(destination_name)
    _unbind(vhost, source_name, vhost.exchanges.get(destination_name), routing_key, arguments)


def _bind(
    vhost: VirtualHost,
    source_name: str,
    destination: Destination,
    routing_key: str,
    arguments: Table,
) -> None:
    source = find_exchange(vhost, source_name)
    if source.bind(destination, routing_key, arguments):
        vhost.changed()


def _unbind(
    vhost: VirtualHost,
    source_name: str,
    destination: Destination | None,
    routing_key: str,
    arguments: Table,
) -> None:
    source = vhost.exchanges.get(source_name)
    if source is None or destination is None:
        return
    if source.unbind(destination, routing_key, arguments):
        vhost.changed()
        delete_if_unbound(vhost, source)

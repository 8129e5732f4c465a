"""Binding a queue or an exchange to an exchange, and unbinding it."""

from collections import deque
from collections.abc import Callable

from leveret.engine.lifecycle.exchanges import delete_if_unbound
from leveret.engine.lifecycle.names import (
    check_owner,
    find_exchange,
    find_queue,
    refuse_default_exchange,
)
from leveret.engine.lifecycle.records import bound, unbound
from leveret.engine.persistence.definitions import Bound, Unbound
from leveret.engine.routing.exchanges.base import Binding, Destination, Exchange
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message, arriving
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError
from leveret.limits import REPLAYED_MESSAGES_MIN


def bind_queue(
    vhost: VirtualHost,
    queue_name: str,
    exchange_name: str,
    routing_key: str,
    arguments: Table,
    owner: object,
) -> bool:
    """Bind a queue; a binding that exists already is no error.

    :returns: whether the binding survives a restart.
    :raises AmqpError: NOT_FOUND, RESOURCE_LOCKED, ACCESS_REFUSED for the default exchange,
        PRECONDITION_FAILED for arguments the exchange's type refuses.
    """
    refuse_default_exchange(exchange_name)
    source = find_exchange(vhost, exchange_name)
    queue = find_queue(vhost, queue_name, owner)
    return _bind(vhost, source, queue.destination, routing_key, arguments)


def unbind_queue(
    vhost: VirtualHost,
    queue_name: str,
    exchange_name: str,
    routing_key: str,
    arguments: Table,
    owner: object,
) -> None:
    """Unbind a queue. If the queue, the exchange or the binding does not exist, that is no error.

    :raises AmqpError: RESOURCE_LOCKED for a binding of another connection's exclusive queue,
        ACCESS_REFUSED for the default exchange.
    """
    refuse_default_exchange(exchange_name)
    queue = vhost.queues.get(queue_name)
    source = vhost.exchanges.get(exchange_name)
    if (
        queue is None
        or source is None
        or not source.has_binding(queue.destination, routing_key, arguments)
    ):
        return
    check_owner(vhost, queue, owner)
    _unbind(vhost, source, queue.destination, routing_key, arguments)


def bind_exchange(
    vhost: VirtualHost,
    destination_name: str,
    source_name: str,
    routing_key: str,
    arguments: Table,
) -> bool:
    """Bind an exchange to another (RabbitMQ: Exchange to Exchange Bindings).

    :returns: as `bind_queue`.
    :raises AmqpError: as `bind_queue`.
    """
    refuse_default_exchange(source_name)
    refuse_default_exchange(destination_name)
    source = find_exchange(vhost, source_name)
    destination = find_exchange(vhost, destination_name)
    return _bind(vhost, source, destination, routing_key, arguments)


def unbind_exchange(
    vhost: VirtualHost,
    destination_name: str,
    source_name: str,
    routing_key: str,
    arguments: Table,
) -> None:
    """Unbind an exchange from another; a binding that does not exist is no error."""
    refuse_default_exchange(source_name)
    refuse_default_exchange(destination_name)
    source = vhost.exchanges.get(source_name)
    destination = vhost.exchanges.get(destination_name)
    if source is not None and destination is not None:
        _unbind(vhost, source, destination, routing_key, arguments)


def _bind(
    vhost: VirtualHost,
    source: Exchange,
    destination: Destination,
    routing_key: str,
    arguments: Table,
) -> bool:
    if source.bind(destination, routing_key, arguments):
        try:
            vhost.memory.admit("a binding")
        except AmqpError:
            source.unbind(destination, routing_key, arguments)
            raise
        vhost.memory.added(arguments)
        _changed(vhost, Binding(source, destination, routing_key, arguments), bound)
        recent = source.recent()
        if recent:
            vhost.begin(_HistoryReplay(vhost, destination, recent))
    return source.durable and destination.durable


def _unbind(
    vhost: VirtualHost,
    source: Exchange,
    destination: Destination,
    routing_key: str,
    arguments: Table,
) -> None:
    if source.unbind(destination, routing_key, arguments):
        vhost.memory.removed(arguments)
        _changed(vhost, Binding(source, destination, routing_key, arguments), unbound)
        delete_if_unbound(vhost, source)


class _HistoryReplay(Work):
    """Publishes the history of an exchange to the destination of a new binding, the oldest message
    first.

    Each is published anew, so it has all the time to live that it had.
    """

    def __init__(
        self, vhost: VirtualHost, destination: Destination, messages: list[Message]
    ) -> None:
        self._vhost = vhost
        self._destination = destination
        self._messages = deque(messages)

    def run(self, time_slice: TimeSlice) -> bool:
        vhost, destination = self._vhost, self._destination
        published = 0
        while self._messages and not destination.deleted:
            again = arriving(self._messages.popleft(), int(vhost.clock.now))
            vhost.publisher.publish(again, vhost.router.sinks_behind(destination, again))
            published += 1
            if published >= REPLAYED_MESSAGES_MIN and time_slice.is_over_now():
                return not self._messages
        return True


def _changed(
    vhost: VirtualHost, binding: Binding, record: Callable[[str, Binding], Bound | Unbound]
) -> None:
    """Note that a binding was made or removed; it is persisted if both ends are durable."""
    vhost.router.invalidate()
    if vhost.definition_log is not None and binding.source.durable and binding.destination.durable:
        vhost.definition_log.write(record(vhost.name, binding))

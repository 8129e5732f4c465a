"""Definitions, read back: the exchanges, queues and bindings a start found, and all there are now.

`keeper.py` writes what is read here. Whatever is found was accepted once, so it is made without the
checks a client's declaration goes through.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from leveret.engine.lifecycle.attachment import attach, deduplicating
from leveret.engine.lifecycle.exchanges import is_predeclared, remove_exchange
from leveret.engine.lifecycle.queues import change_arguments, remove_queue, set_expiry
from leveret.engine.persistence import definition_log
from leveret.engine.persistence.field_values import from_plain
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.redelivery import DeliveryCounts
from leveret.engine.routing.exchanges import create
from leveret.engine.routing.exchanges.base import Destination
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.deduplication import DeduplicationWindow
from leveret.engine.vhost import VirtualHost


def snapshot(vhosts: dict[str, VirtualHost]) -> list[bytes]:
    """Every durable exchange, queue and binding, in an order in which they can be made."""
    exchanges: list[bytes] = []
    queues: list[bytes] = []
    bindings: list[bytes] = []
    returns: list[bytes] = []
    seen: list[bytes] = []
    for vhost in vhosts.values():
        for exchange in vhost.exchanges.values():
            if exchange.durable:
                if not is_predeclared(exchange.name):
                    exchanges.append(definition_log.exchange(vhost.name, exchange))
                delayed = vhost.delayed_stores.get(exchange.name)
                if delayed is not None:
                    exchanges.append(definition_log.delays(vhost.name, delayed))
                deduplicates = deduplicating(exchange)
                if deduplicates is not None:
                    keys = deduplicates.window.entries()
                    seen.append(definition_log.seen(vhost.name, True, exchange.name, keys))
                bindings += [
                    definition_log.bind(vhost.name, binding)
                    for binding in exchange.bindings()
                    if binding.destination.durable
                ]
        queues += [
            definition_log.queue(vhost.name, queue, queue.journal.number)
            for queue in vhost.queues.values()
            if queue.journal is not None
        ]
        for queue in vhost.queues.values():
            if queue.journal is not None and queue.redeliveries is not None:
                returns += [
                    definition_log.returned(vhost.name, queue.name, position, each)
                    for position, each in queue.redeliveries.counts.items()
                ]
            if queue.journal is not None and queue.deduplication_window is not None:
                seen.append(
                    definition_log.seen(
                        vhost.name, False, queue.name, queue.deduplication_window.entries()
                    )
                )
    return exchanges + queues + bindings + returns + seen


def restore(
    vhosts: dict[str, VirtualHost], definitions: list[bytes]
) -> dict[int, Queue | DelayedStore]:
    """Make everything again.

    :returns: the queues, by the numbers the store has for them, one for each level of priority;
        those deleted later, too, and those in which delayed messages wait.
    """
    numbers: dict[int, Queue | DelayedStore] = {}
    for definition in definitions:
        what, vhost_name, *rest = msgspec.msgpack.decode(definition)
        vhost = vhosts.get(vhost_name)
        if vhost is not None:
            _RESTORERS[what](vhost, numbers, *[from_plain(item) for item in rest])
    return numbers


def _exchange(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    name: str,
    type_name: str,
    auto_delete: bool,
    internal: bool,
    arguments: Any,
) -> None:
    exchange = create(type_name, name, True, auto_delete, internal, arguments, vhost.name)
    vhost.exchanges[name] = exchange
    attach(vhost, exchange)


def _exchange_gone(vhost: VirtualHost, numbers: dict[int, Queue | DelayedStore], name: str) -> None:
    exchange = vhost.exchanges.get(name)
    if exchange is not None:
        remove_exchange(vhost, exchange)


def _delays(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    name: str,
    number: int,
    sorted_runs_number: int,
    starts: list[int],
) -> None:
    delayed = vhost.delayed_stores.get(name)
    if delayed is not None:
        numbers[number] = delayed
        numbers[sorted_runs_number] = delayed
        delayed.sorted_runs.found(starts)


def _sorted_run(
    vhost: VirtualHost, numbers: dict[int, Queue | DelayedStore], name: str, first: int
) -> None:
    delayed = vhost.delayed_stores.get(name)
    if delayed is not None:
        delayed.sorted_runs.found([first])


def _queue(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    name: str,
    number: int,
    auto_delete: bool,
    arguments: Any,
    types: dict[str, str],
    declared_by: str,
    declared_at: int,
) -> None:
    queue = Queue(
        name,
        durable=True,
        auto_delete=auto_delete,
        arguments=Arguments(arguments, types),
        host=vhost,
    )
    queue.declared_by = declared_by
    queue.declared_at = declared_at
    set_expiry(vhost, queue)
    vhost.queues[name] = queue
    for level in range(queue.priority_levels):
        numbers[number + level] = queue


def _queue_changed(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    name: str,
    arguments: Any,
    types: dict[str, str],
) -> None:
    queue = vhost.queues.get(name)
    if queue is not None:
        change_arguments(vhost, queue, Arguments(arguments, types))


def _returned(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    name: str,
    position: int,
    acquired: int,
    failed: int,
    due: int,
) -> None:
    queue = vhost.queues.get(name)
    if queue is not None and queue.redeliveries is not None:
        queue.redeliveries.counts[position] = DeliveryCounts(acquired, failed, due)


def _seen(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    by_exchange: bool,
    name: str,
    keys: list[tuple[bytes, int]],
) -> None:
    window: DeduplicationWindow | None = None
    if by_exchange:
        exchange = deduplicating(vhost.exchanges.get(name))
        window = None if exchange is None else exchange.window
    else:
        queue = vhost.queues.get(name)
        window = None if queue is None else queue.deduplication_window
    if window is not None:
        for key, expires_at in keys:
            window.put(key, expires_at)


def _queue_gone(vhost: VirtualHost, numbers: dict[int, Queue | DelayedStore], name: str) -> None:
    queue = vhost.queues.get(name)
    if queue is not None:
        remove_queue(vhost, queue)


def _ends(
    vhost: VirtualHost, source: str, to_exchange: bool, destination: str
) -> tuple[Any, Destination | None]:
    found: Destination | None = vhost.exchanges.get(destination)
    if not to_exchange:
        queue = vhost.queues.get(destination)
        found = None if queue is None else queue.destination
    return vhost.exchanges.get(source), found


def _bind(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    source_name: str,
    to_exchange: bool,
    destination_name: str,
    routing_key: str,
    arguments: Any,
) -> None:
    source, destination = _ends(vhost, source_name, to_exchange, destination_name)
    if source is not None and destination is not None:
        source.bind(destination, routing_key, arguments)


def _unbind(
    vhost: VirtualHost,
    numbers: dict[int, Queue | DelayedStore],
    source_name: str,
    to_exchange: bool,
    destination_name: str,
    routing_key: str,
    arguments: Any,
) -> None:
    source, destination = _ends(vhost, source_name, to_exchange, destination_name)
    if source is not None and destination is not None:
        source.unbind(destination, routing_key, arguments)


_RESTORERS: Final[dict[str, Callable[..., None]]] = {
    definition_log.EXCHANGE: _exchange,
    definition_log.EXCHANGE_GONE: _exchange_gone,
    definition_log.QUEUE: _queue,
    definition_log.QUEUE_CHANGED: _queue_changed,
    definition_log.QUEUE_GONE: _queue_gone,
    definition_log.RETURNED: _returned,
    definition_log.BIND: _bind,
    definition_log.UNBIND: _unbind,
    definition_log.DELAYS: _delays,
    definition_log.SORTED_RUN: _sorted_run,
    definition_log.SEEN: _seen,
}

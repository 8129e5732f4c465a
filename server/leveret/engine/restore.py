"""Virtual hosts and their definitions: definitions of virtual hosts, and back.

`snapshot` makes the definitions of a checkpoint. `restore` makes exchanges, queues and bindings of
the definitions that a start, `leveret log` or a salvage has read. These were accepted when they
were declared, so most checks of a declaration are not repeated; a value that this program would
refuse was written by a newer one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final

from leveret.engine.lifecycle import records
from leveret.engine.lifecycle.attachment import attach, deduplicating_part
from leveret.engine.lifecycle.exchanges import is_predeclared, remove_exchange
from leveret.engine.lifecycle.names import the_queue
from leveret.engine.lifecycle.queue_arguments import check_queue_arguments
from leveret.engine.lifecycle.queues import change_arguments, remove_queue, set_expiry
from leveret.engine.lifecycle.removal import remove_contents
from leveret.engine.metadata.entities import Entity, EntityDeleted, VirtualHostEntity, kind_of
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.persistence.definitions import (
    BindingDefinition,
    Bound,
    Definition,
    DelayedStoreCreated,
    ExchangeDeclared,
    ExchangeDeleted,
    KeysSeen,
    MessageReturned,
    QueueArgumentsChanged,
    QueueDeclared,
    QueueDeleted,
    QueuePauseChanged,
    SortedRunBegun,
    Unbound,
    VirtualHostCreated,
    decode,
    encode,
)
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.queues.delivery_counts import DeliveryCounts
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges import create
from leveret.engine.routing.exchanges.base import Destination, Exchange, ExchangeDeclaration
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.deduplication import DeduplicationWindow
from leveret.engine.values.work import RUN_ALL_SLICE_NS
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError
from leveret_storage.errors import Damaged, UnknownFormat, not_known
from leveret_storage.format.entries import StoredDefinition

KEYS_OF_DEFINITION: Final = 256
"""Keys of deduplication in one definition of a snapshot: some microseconds of encoding."""

SinksByNumber = dict[int, Queue | DelayedStore]
"""Queues and delayed stores by the numbers of their journals."""


class Restored(ABC):
    """What definitions are restored to."""

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata

    @abstractmethod
    def vhost_named(self, name: str) -> VirtualHost:
        """The virtual host of a name, which is created where there is none."""

    @abstractmethod
    def vhost_deleted(self, name: str) -> VirtualHost | None:
        """The virtual host of a name that was deleted, which the next of this name is not."""


def snapshot(metadata: Metadata, vhosts: dict[str, VirtualHost]) -> Iterator[bytes]:
    """The definitions of every entity, virtual host, durable exchange, queue and binding, in an
    order in which they can be restored.

    All of them may change while they are iterated over, if the definition of each change is put
    between those that were returned before and those that follow: the first ones said what was
    before, the following ones say what is.
    """
    for record in metadata.records():
        yield encode(record)
    hosts = list(vhosts.values())
    for part in (_created, _exchanges, _queues, _bindings, _returns_and_keys):
        for vhost in hosts:
            for definition in part(vhost):
                if vhosts.get(vhost.name) is not vhost:
                    # It was deleted meanwhile, and what follows must not bring it back.
                    break
                yield definition


def _created(vhost: VirtualHost) -> Iterator[bytes]:
    yield encode(records.virtual_host_created(vhost))


def _exchanges(vhost: VirtualHost) -> Iterator[bytes]:
    for exchange in list(vhost.exchanges.values()):
        if exchange.durable and vhost.exchanges.get(exchange.name) is exchange:
            yield from _exchange(vhost, exchange)


def _queues(vhost: VirtualHost) -> Iterator[bytes]:
    for queue in list(vhost.queues.values()):
        if queue.journal is not None and not queue.deleted:
            yield encode(records.queue_declared(vhost.name, queue, queue.journal.number))
            if queue.paused and not queue.deleted:
                yield encode(records.queue_pause_changed(vhost.name, queue))


def _exchange(vhost: VirtualHost, exchange: Exchange) -> Iterator[bytes]:
    if not is_predeclared(exchange.name):
        yield encode(records.exchange_declared(vhost.name, exchange))
    delayed = vhost.delayed_stores.get(exchange.name)
    if delayed is not None:
        yield encode(records.delayed_store_created(vhost.name, delayed))
    part = deduplicating_part(exchange)
    if part is not None:
        yield from _keys_of(vhost, exchange.name, True, part.window)


def _bindings(vhost: VirtualHost) -> Iterator[bytes]:
    for exchange in list(vhost.exchanges.values()):
        for binding in exchange.bindings() if exchange.durable else ():
            if binding.destination.durable and exchange.has_binding(
                binding.destination, binding.routing_key, binding.arguments
            ):
                yield encode(records.bound(vhost.name, binding))


def _returns_and_keys(vhost: VirtualHost) -> Iterator[bytes]:
    for queue in list(vhost.queues.values()):
        if queue.journal is None or queue.deleted:
            continue
        redeliveries = queue.redeliveries
        if redeliveries is not None:
            for position, each in redeliveries.counts.entries():
                yield encode(MessageReturned(vhost.name, queue.name, position, *each))
        if queue.deduplication_window is not None:
            yield from _keys_of(vhost, queue.name, False, queue.deduplication_window)


def _keys_of(
    vhost: VirtualHost, name: str, by_exchange: bool, window: DeduplicationWindow
) -> Iterator[bytes]:
    # Those that are added meanwhile have definitions in front of older ones, and follow again.
    for keys in window.listed(KEYS_OF_DEFINITION):
        yield encode(KeysSeen(vhost.name, name, by_exchange, keys))


def rewritten(found: list[StoredDefinition]) -> list[bytes]:
    """The same definitions in the current version.

    :raises StorageError: as `restore`.
    """
    return [encode(decode(each)) for each in found]


def restore(
    target: Restored, found: Iterable[StoredDefinition], sinks: SinksByNumber
) -> Generator[None, Any, None]:
    """Restore the metadata, exchanges, queues and bindings, in steps. A virtual host exists because
    a definition names it, so nothing that was found is left out.

    What exists is not made anew: definitions that a checkpoint has twice end in the same state.

    :param sinks: gets queues and delayed stores by the numbers of their journals, of which a queue
        has one for each priority; those that were deleted by a later definition are included.
    :raises UnknownFormat: if a newer program wrote any of it, naming blob and offset.
    :raises Damaged: if any of it is no definition, naming the same.
    """
    for stored in found:
        yield None
        record = decode(stored)
        if not isinstance(record, Definition):
            _restore_entity(target, record)
            continue
        vhost = target.vhost_named(record.vhost)
        try:
            _RESTORERS[type(record)](vhost, sinks, record)
        except AmqpError as error:
            what = not_known(f"a definition that cannot be made ({error.text})")
            raise UnknownFormat(what).at(stored.blob, stored.offset) from None
        except Damaged as error:
            raise Damaged(f"{stored.blob}: offset {stored.offset}: {error}") from None
        # Bindings that a deletion has left are removed before the next record is applied.
        while not vhost.work.is_empty():
            vhost.time_slice.begin(RUN_ALL_SLICE_NS)
            vhost.work.run_next(vhost.time_slice)
            yield None


def _restore_entity(target: Restored, record: Entity | EntityDeleted) -> None:
    target.metadata.restore(record)
    if isinstance(record, EntityDeleted) and record.entity == kind_of(VirtualHostEntity):
        vhost = target.vhost_deleted(*record.key)
        if vhost is not None:
            remove_contents(vhost)


def _arguments_of(record: QueueDeclared | QueueArgumentsChanged) -> Arguments:
    """The arguments of a queue.

    :raises Damaged: if the type of one is missing.
    """
    for name in record.arguments:
        if name not in record.argument_types:
            raise Damaged(f"a definition that cannot be read: no type of the argument {name!r}")
    return Arguments(record.arguments, record.argument_types)


def _virtual_host_created(
    vhost: VirtualHost, sinks: SinksByNumber, record: VirtualHostCreated
) -> None:
    """`restore` has created it to find it."""
    vhost.clock.resume(record.clock_behind)
    vhost.uid = record.uid


def _exchange_declared(vhost: VirtualHost, sinks: SinksByNumber, record: ExchangeDeclared) -> None:
    declared = ExchangeDeclaration(
        record.type,
        record.name,
        durable=True,
        auto_delete=record.auto_delete,
        internal=record.internal,
        arguments=record.arguments,
    )
    if record.name in vhost.exchanges:
        return
    exchange = create(declared, vhost.name)
    vhost.exchanges[record.name] = exchange
    attach(vhost, exchange)


def _exchange_deleted(vhost: VirtualHost, sinks: SinksByNumber, record: ExchangeDeleted) -> None:
    exchange = vhost.exchanges.get(record.name)
    if exchange is not None:
        remove_exchange(vhost, exchange)


def _delayed_store_created(
    vhost: VirtualHost, sinks: SinksByNumber, record: DelayedStoreCreated
) -> None:
    delayed = vhost.delayed_stores.get(record.exchange)
    if delayed is not None:
        sinks[record.number] = delayed
        sinks[record.sorted_runs_number] = delayed
        delayed.sorted_runs.add_starts(record.sorted_runs)


def _sorted_run_begun(vhost: VirtualHost, sinks: SinksByNumber, record: SortedRunBegun) -> None:
    delayed = vhost.delayed_stores.get(record.exchange)
    if delayed is not None:
        delayed.sorted_runs.add_starts([record.first])


def _queue_declared(vhost: VirtualHost, sinks: SinksByNumber, record: QueueDeclared) -> None:
    known = sinks.get(record.number)
    if known is not None and vhost.queues.get(record.name) is known:
        return
    arguments = _arguments_of(record)
    check_queue_arguments(the_queue(vhost, record.name), arguments)
    queue = Queue(
        record.name, durable=True, auto_delete=record.auto_delete, arguments=arguments, host=vhost
    )
    queue.declared_by = record.declared_by
    queue.declared_at = record.declared_at
    set_expiry(vhost, queue)
    vhost.queues[record.name] = queue
    for level in range(queue.priority_levels):
        sinks[record.number + level] = queue


def _queue_arguments_changed(
    vhost: VirtualHost, sinks: SinksByNumber, record: QueueArgumentsChanged
) -> None:
    queue = vhost.queues.get(record.name)
    if queue is not None:
        arguments = _arguments_of(record)
        check_queue_arguments(the_queue(vhost, record.name), arguments)
        change_arguments(vhost, queue, arguments)


def _queue_pause_changed(
    vhost: VirtualHost, sinks: SinksByNumber, record: QueuePauseChanged
) -> None:
    queue = vhost.queues.get(record.name)
    if queue is not None:
        queue.set_paused(record.paused)


def _queue_deleted(vhost: VirtualHost, sinks: SinksByNumber, record: QueueDeleted) -> None:
    queue = vhost.queues.get(record.name)
    if queue is not None:
        remove_queue(vhost, queue)


def _message_returned(vhost: VirtualHost, sinks: SinksByNumber, record: MessageReturned) -> None:
    queue = vhost.queues.get(record.queue)
    if queue is not None and queue.redeliveries is not None:
        counts = DeliveryCounts(record.acquired, record.failed, record.retry_at)
        queue.redeliveries.counts.set(record.position, counts)


def _keys_seen(vhost: VirtualHost, sinks: SinksByNumber, record: KeysSeen) -> None:
    window: DeduplicationWindow | None = None
    if record.by_exchange:
        exchange = deduplicating_part(vhost.exchanges.get(record.name))
        window = None if exchange is None else exchange.window
    else:
        queue = vhost.queues.get(record.name)
        window = None if queue is None else queue.deduplication_window
    if window is not None:
        for key, expires_at in record.keys:
            window.put(key, expires_at)


def _ends(
    vhost: VirtualHost, record: BindingDefinition
) -> tuple[Exchange | None, Destination | None]:
    destination: Destination | None = vhost.exchanges.get(record.destination)
    if not record.destination_is_exchange:
        queue = vhost.queues.get(record.destination)
        destination = None if queue is None else queue.destination
    return vhost.exchanges.get(record.source), destination


def _bound(vhost: VirtualHost, sinks: SinksByNumber, record: Bound) -> None:
    source, destination = _ends(vhost, record)
    if source is not None and destination is not None:
        source.bind(destination, record.routing_key, record.arguments)


def _unbound(vhost: VirtualHost, sinks: SinksByNumber, record: Unbound) -> None:
    source, destination = _ends(vhost, record)
    if source is not None and destination is not None:
        source.unbind(destination, record.routing_key, record.arguments)


_RESTORERS: Final[dict[type[Definition], Callable[[VirtualHost, SinksByNumber, Any], None]]] = {
    VirtualHostCreated: _virtual_host_created,
    ExchangeDeclared: _exchange_declared,
    ExchangeDeleted: _exchange_deleted,
    QueueDeclared: _queue_declared,
    QueueArgumentsChanged: _queue_arguments_changed,
    QueuePauseChanged: _queue_pause_changed,
    QueueDeleted: _queue_deleted,
    Bound: _bound,
    Unbound: _unbound,
    DelayedStoreCreated: _delayed_store_created,
    SortedRunBegun: _sorted_run_begun,
    KeysSeen: _keys_seen,
    MessageReturned: _message_returned,
}

"""Attaching an exchange to its virtual host, and detaching it.

A deduplicating exchange gets the clock and a function that persists keys, a delayed exchange a
delayed store; the former and a recent history exchange get their share of the memory. Other types
need nothing.
"""

from functools import partial

from leveret.engine.lifecycle.records import delayed_store_created
from leveret.engine.persistence.definition_log import DefinitionLog
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.routing.exchanges.deduplicating import DeduplicatingExchange
from leveret.engine.routing.exchanges.delayed import DelayedExchange
from leveret.engine.routing.exchanges.recent_history import RecentHistoryExchange
from leveret.engine.vhost import VirtualHost


def attach(vhost: VirtualHost, exchange: Exchange) -> None:
    """Give an exchange what its type needs in its virtual host.

    If the exchange is durable, its own definition has to be written before.
    """
    part = deduplicating_part(exchange)
    if part is not None:
        part.attach(vhost.clock, partial(vhost.persist_exchange_key, exchange.name))
        part.window.attach(vhost.memory.windows)
    recording = _recording_part(exchange)
    if recording is not None:
        recording.history.attach(vhost.memory.histories)
    if isinstance(exchange, DelayedExchange):
        delayed = DelayedStore(exchange.name, vhost)
        exchange.delayed = delayed
        vhost.delayed_stores[exchange.name] = delayed
        if vhost.definition_log is not None:
            _attach_store(vhost, vhost.definition_log, delayed, exchange.durable)


def _attach_store(
    vhost: VirtualHost,
    log: DefinitionLog,
    delayed: DelayedStore,
    durable: bool,
) -> None:
    store = log.store
    if not durable:
        delayed.attach_store(store, None)
        return
    delayed.attach_store(store, store.add_queue(True))
    delayed.sorted_runs.attach_store(store, store.add_queue(True))
    log.write(delayed_store_created(vhost.name, delayed))


def deduplicating_part(exchange: Exchange | None) -> DeduplicatingExchange | None:
    """The deduplicating part of an exchange: itself, or the inner exchange of a delayed one."""
    if isinstance(exchange, DelayedExchange):
        exchange = exchange.inner
    return exchange if isinstance(exchange, DeduplicatingExchange) else None


def _recording_part(exchange: Exchange) -> RecentHistoryExchange | None:
    """The recent history exchange that an exchange is, or that a delayed one has inside."""
    if isinstance(exchange, DelayedExchange):
        exchange = exchange.inner
    return exchange if isinstance(exchange, RecentHistoryExchange) else None


def detach(vhost: VirtualHost, exchange: Exchange) -> None:
    """Take from an exchange that was removed what `attach` gave it."""
    part = deduplicating_part(exchange)
    if part is not None:
        part.window.delete()
    recording = _recording_part(exchange)
    if recording is not None:
        recording.history.delete()
    delayed = vhost.delayed_stores.pop(exchange.name, None)
    if delayed is not None:
        delayed.delete()

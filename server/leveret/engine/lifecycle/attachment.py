"""What an exchange gets from the virtual host it moves into, if its type needs anything there."""

from leveret.engine.flow.duplicates import Duplicates
from leveret.engine.persistence import definition_log
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.routing.exchanges.deduplicating import DeduplicatingExchange
from leveret.engine.routing.exchanges.delayed import DelayedExchange
from leveret.engine.vhost import VirtualHost


def attach(vhost: VirtualHost, exchange: Exchange) -> None:
    """Give an exchange what it needs in its virtual host. If that is durable it is kept, which
    takes that the exchange is known by then."""
    deduplicates = deduplicating(exchange)
    if deduplicates is not None:
        deduplicates.duplicates = Duplicates(vhost, deduplicates)
    if isinstance(exchange, DelayedExchange):
        waiting = DelayedStore(vhost, exchange)
        exchange.waiting = waiting
        if vhost.definition_log is not None:
            store = vhost.definition_log.store
            if not exchange.durable:
                waiting.attach_store(store, None)
                return
            waiting.attach_store(store, store.add_queue(True))
            waiting.sorted_runs.attach_store(store, store.add_queue(True))
            vhost.definition_log.define(definition_log.delays(vhost.name, waiting))


def deduplicating(exchange: Exchange | None) -> DeduplicatingExchange | None:
    """The part of an exchange that deduplicates: itself, or what routes for a delayed one."""
    if isinstance(exchange, DelayedExchange):
        exchange = exchange.inner
    return exchange if isinstance(exchange, DeduplicatingExchange) else None


def detach(exchange: Exchange) -> None:
    """Drop what an exchange had in its virtual host, which it is no longer in."""
    if isinstance(exchange, DelayedExchange) and exchange.waiting is not None:
        exchange.waiting.delete()

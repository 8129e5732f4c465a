"""What an exchange gets from the virtual host it moves into, if its type needs anything there."""

from leveret.engine import keeper
from leveret.engine.delayed_queue import DelayedQueue
from leveret.engine.duplicates import Duplicates
from leveret.engine.exchanges.base import Exchange
from leveret.engine.exchanges.deduplicating import DeduplicatingExchange
from leveret.engine.exchanges.delayed import DelayedExchange
from leveret.engine.vhost import VirtualHost


def move_in(vhost: VirtualHost, exchange: Exchange) -> None:
    """Give an exchange what it needs in its virtual host. If that is durable it is kept, which
    takes that the exchange is known by then."""
    deduplicates = deduplicating(exchange)
    if deduplicates is not None:
        deduplicates.duplicates = Duplicates(vhost, deduplicates)
    if isinstance(exchange, DelayedExchange):
        waiting = DelayedQueue(vhost, exchange)
        exchange.waiting = waiting
        if vhost.keeper is not None:
            store = vhost.keeper.store
            if not exchange.durable:
                waiting.keep(store, None)
                return
            waiting.keep(store, store.add_queue(True))
            waiting.strands.keep(store, store.add_queue(True))
            vhost.keeper.define(keeper.delays(vhost.name, waiting))


def deduplicating(exchange: Exchange | None) -> DeduplicatingExchange | None:
    """The part of an exchange that deduplicates: itself, or what routes for a delayed one."""
    if isinstance(exchange, DelayedExchange):
        exchange = exchange.inner
    return exchange if isinstance(exchange, DeduplicatingExchange) else None


def move_out(exchange: Exchange) -> None:
    """Drop what an exchange had in its virtual host, which it is no longer in."""
    if isinstance(exchange, DelayedExchange) and exchange.waiting is not None:
        exchange.waiting.delete()

"""What may explain that a queue does not have the messages that a test expects, in words.

It says what has happened since the broker began, or was reset, as its counters have it: that is
what a test did, or the application that it tests.
"""

from typing import Final

from leveret.engine.broker import Broker
from leveret.engine.queues.queue import Queue
from leveret.engine.values.counters import queue_acknowledged, queue_deliver_get
from leveret.engine.vhost import VirtualHost
from leveret.testing.inspection import find_vhost
from leveret.testing.values import exchange_in_words
from leveret.testing.words import counted, listed

NAMES_SHOWN: Final = 10
"""Names of queues, or of virtual hosts, that a text lists."""

KEYS_SHOWN: Final = 3
"""Routing keys that a text lists."""

OTHERS_SHOWN: Final = 3
"""Other queues of which a text says what they have."""


def missing_queue(broker: Broker, vhost: str, name: str) -> str:
    """What is there in place of a queue."""
    names = sorted(find_vhost(broker, vhost).queues)
    if not names:
        there = "there is no queue"
    else:
        there = f"there {'is' if len(names) == 1 else 'are'} {listed(names, NAMES_SHOWN)}"
    elsewhere = [each.name for each in broker.vhosts.values() if name in each.queues]
    if elsewhere:
        return f"{there}; virtual host {listed(elsewhere, NAMES_SHOWN)} has a queue of that name"
    return there + (_meant(name, names) if len(names) > 1 else "")


def explained(broker: Broker, vhost: str, name: str) -> list[str]:
    """What has happened to messages of a queue, and to those that may have been meant for it: some
    clauses, the most telling ones first."""
    found = find_vhost(broker, vhost)
    queue = found.queues.get(name)
    clauses = [] if queue is None else _of_queue(queue)
    clauses += _unroutable(found, None)
    if queue is None or queue.counters.publish == 0:
        clauses += _elsewhere(found)
    clauses += _held(found)
    return clauses + _clients(broker)


def explained_publishes(broker: Broker, exchange: str | None) -> list[str]:
    """What has happened to what was published to an exchange, or to any: some clauses."""
    clauses: list[str] = []
    if exchange and not any(exchange in vhost.exchanges for vhost in broker.vhosts.values()):
        names = sorted({name for vhost in broker.vhosts.values() for name in vhost.exchanges})
        clauses.append(f"there is no exchange {exchange!r}{_meant(exchange, names)}")
    for vhost in broker.vhosts.values():
        clauses += _unroutable(vhost, exchange)
    return clauses + _clients(broker)


def _meant(name: str, names: list[str]) -> str:
    """Which of some names was meant, as a clause; "" if none is near."""
    # Imported late: only a test that fails needs it.
    from difflib import get_close_matches

    close = get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _clients(broker: Broker) -> list[str]:
    """Why clients may publish nothing."""
    if len(broker.connections) == 0:
        return ["no connection is open"]
    return [f"publishers are blocked: {broker.alarm}"] if broker.alarm else []


def _of_queue(queue: Queue) -> list[str]:
    counters, drops = queue.counters, queue.contents.drops
    routed = int(counters.publish)
    if routed == 0:
        clauses = ["no message was routed to it"]
    else:
        clauses = [f"{counted(routed, 'message was', 'messages were')} routed to it in all"]
    if queue_deliver_get(counters):
        clauses[0] += f", {queue_acknowledged(counters)} acknowledged"
    if drops is not None:
        for number, what in (
            (drops.expired, "expired"),
            (drops.maxlen, "exceeded its length limit"),
            (drops.rejected, "rejected by a client"),
            (drops.delivery_limit, "delivered too often"),
        ):
            if number:
                clauses[0] += f", {int(number)} {what}"
        if drops.dead_lettered:
            exchange = exchange_in_words(queue.settings.dead_letter_exchange or "")
            clauses[0] += f" ({int(drops.dead_lettered)} of these dead-lettered to {exchange})"
    delayed = int(queue.retry_delayed_count())
    if delayed:
        clauses.append(f"{counted(delayed, 'message waits', 'messages wait')} there for a retry")
    if queue.paused:
        clauses.append("it is paused")
    return clauses


def _unroutable(vhost: VirtualHost, exchange: str | None) -> list[str]:
    """What clients have published to an exchange, or to any, that reached no queue."""
    by_exchange = {"": vhost.router.default_counters}
    by_exchange |= {name: exchange.counters for name, exchange in vhost.exchanges.items()}
    clauses: list[str] = []
    for name, counters in by_exchange.items():
        number = int(counters.drop_unroutable + counters.return_unroutable)
        if number and exchange in (None, name):
            keys = list(dict.fromkeys(sample.routing_key for sample in counters.samples))
            clause = f"{counted(number, 'message', 'messages')} to {exchange_in_words(name)}"
            word = "key" if len(keys) == 1 else "keys"
            clauses.append(f"{clause} reached no queue (routing {word} {listed(keys, KEYS_SHOWN)})")
    return clauses


def _elsewhere(vhost: VirtualHost) -> list[str]:
    """The queues that have messages, those with the most first."""
    ready = {name: int(queue.message_count()) for name, queue in vhost.queues.items()}
    most = sorted((name for name in ready if ready[name]), key=lambda name: -ready[name])
    return [
        f"queue {name!r} has {counted(ready[name], 'ready message', 'ready messages')}"
        for name in most[:OTHERS_SHOWN]
    ]


def _held(vhost: VirtualHost) -> list[str]:
    """What delayed exchanges hold back."""
    clauses: list[str] = []
    for name, store in vhost.delayed_stores.items():
        number = int(store.message_count())
        if number:
            wait = counted(number, "message waits", "messages wait")
            clauses.append(f"{wait} in {exchange_in_words(name)} for the end of the delay")
    return clauses

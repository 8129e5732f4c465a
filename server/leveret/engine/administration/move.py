"""Moving messages of a queue to another queue, or to an exchange.

Each message is published and settled in one batch, so a crash neither loses nor doubles it. It
keeps its properties and the time at which it expires. A message that no queue takes returns to its
place, and ends the move. Retry-delayed and unacknowledged messages stay where they are.
"""

from typing import Final

from leveret.engine.administration.operator import Refused
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import ACCEPTED, DEAD_LETTERED, Sink
from leveret.engine.values.message import Message, exchange_and_key, short_strings
from leveret.engine.values.text import octets_of_text, text_of
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost

MOVED_AT_ONCE_BYTES: Final = 16 * 1024 * 1024
"""Bytes of bodies that one batch moves, at most."""


class Target:
    """Where messages are moved to."""

    def __init__(self, exchange: str, routing_key: str | None, queue: Queue | None = None) -> None:
        """
        :param routing_key: None for that of each message.
        :param queue: the only sink, whatever the exchange's routes are.
        """
        self.exchange = exchange
        self.routing_key = routing_key
        self.queue = queue


def to_queue(vhost: VirtualHost, source: Queue, name: str) -> Target:
    """The queue of that name as a target.

    :raises Refused: if there is none, or if it is the source.
    """
    queue = vhost.queues.get(name)
    if queue is None:
        raise Refused(f"queue '{name}' does not exist in virtual host '{vhost.name}'")
    if queue is source:
        raise Refused("a queue's messages cannot be moved to itself")
    return Target("", name, queue)


def to_exchange(vhost: VirtualHost, name: str, routing_key: str | None) -> Target:
    """The exchange of that name as a target.

    :raises Refused: if there is none.
    """
    if name not in vhost.exchanges:
        raise Refused(f"exchange '{name}' does not exist in virtual host '{vhost.name}'")
    return Target(name, routing_key)


class Move(Work):
    """Moves messages from the head of a queue."""

    def __init__(self, vhost: VirtualHost, source: Queue, target: Target, most: int) -> None:
        """
        :param most: how many messages, if there are so many.
        """
        self.moved = 0
        self.is_done = False
        """Whether it has ended; if it has not, it waits for the disk: call `run` again later."""
        self.refused_key: str | None = None
        """The routing key of a message that no queue took, which ended the move."""
        self._vhost = vhost
        self._source = source
        self._target = target
        self._most = most
        self._bytes = 0

    def run(self, time_slice: TimeSlice) -> bool:
        source, publisher = self._source, self._vhost.publisher
        store = publisher.store
        while True:
            if self._has_ended():
                self.is_done = True
                source.deliver_ready()
                return True
            # A message of a transaction that is being committed must not be durable before it.
            if publisher.has_transaction() or publisher.has_too_many_dead_letters():
                return True
            if store is not None and store.needs_backpressure():
                return True
            if not source.drop_before_take():
                return False
            if not source.request_next():
                return True
            taken = source.take()
            if taken is None:
                self._most = self.moved
                continue
            message, position, _ = taken
            if self._publish(message):
                source.settle(position)
                self.moved += 1
                self._bytes += len(message.body)
            else:
                source.requeue(message, position)
            if time_slice.is_over_now():
                return False

    def _has_ended(self) -> bool:
        target = self._target.queue
        return (
            self.moved >= self._most
            or self._bytes >= MOVED_AT_ONCE_BYTES
            or self.refused_key is not None
            or self._source.deleted
            or (target is not None and target.deleted)
        )

    def _publish(self, message: Message) -> bool:
        """Publish a message to the target; whether a queue took it."""
        vhost, target = self._vhost, self._target
        key = target.routing_key
        if key is None:
            key = text_of(exchange_and_key(message.route)[1])
        route = short_strings(octets_of_text(target.exchange), octets_of_text(key))
        copy = Message(
            route,
            message.header,
            message.body,
            message.persistent,
            vhost.clock.now,
            message.expires_at,
        )
        sinks: list[Sink]
        if target.queue is not None:
            sinks = [target.queue]
        else:
            sinks = vhost.router.sinks_for(target.exchange, [key], copy)
        outcome = vhost.publisher.publish(copy, sinks)
        if outcome & (ACCEPTED | DEAD_LETTERED) != 0:
            return True
        self.refused_key = key
        return False

"""Moving and copying messages of a queue: to another queue, to an exchange, back to where they were
dead-lettered from, or away.

Each message is published and settled in one batch, so a crash neither loses nor doubles it. It
keeps its properties and the time at which it expires. One that no queue would take stays in its
place, and ends the move. Retry-delayed and unacknowledged messages stay where they are.
"""

from abc import ABC, abstractmethod
from typing import Final

from leveret.engine.access.rights import ALL_RIGHTS, WRITE, Rights
from leveret.engine.administration.operator import Refused
from leveret.engine.administration.reader import Found, Reader
from leveret.engine.queues.dead_letter import DEATHS
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import ACCEPTED, DEAD_LETTERED, Sink
from leveret.engine.values import properties
from leveret.engine.values.message import Message, exchange_and_key, short_strings
from leveret.engine.values.settings import REJECT_PUBLISH_DLX
from leveret.engine.values.text import octets_of_text, text_of
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError

MOVED_AT_ONCE_MAX: Final = 1_000
MOVED_AT_ONCE_BYTES: Final = 16 * 1024 * 1024
"""Messages, and bytes of their bodies, that one move takes at most; a client asks for the next."""


class Target(ABC):
    """Where messages go."""

    @abstractmethod
    def address(self, message: Message) -> tuple[str, str] | None:
        """Exchange and routing key that a message gets; None if it is to be left out."""

    @abstractmethod
    def sinks(self, vhost: VirtualHost, address: tuple[str, str], message: Message) -> list[Sink]:
        """The sinks of a message that has that address."""


class _ToQueue(Target):
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def address(self, message: Message) -> tuple[str, str] | None:
        return "", self._queue.name

    def sinks(self, vhost: VirtualHost, address: tuple[str, str], message: Message) -> list[Sink]:
        return [] if self._queue.deleted else [self._queue]


class _ToExchange(Target):
    def __init__(self, exchange: str, routing_key: str | None, rights: Rights) -> None:
        self._exchange = exchange
        self._routing_key = routing_key
        self._rights = rights

    def address(self, message: Message) -> tuple[str, str] | None:
        key = self._routing_key
        if key is None:
            key = text_of(exchange_and_key(message.route)[1])
        return self._exchange, key

    def sinks(self, vhost: VirtualHost, address: tuple[str, str], message: Message) -> list[Sink]:
        exchange, key = address
        if exchange and exchange not in vhost.exchanges:
            return []
        if self._rights.has_topics and vhost.router.is_topic(exchange):
            try:
                self._rights.check_topic(WRITE, exchange, key)
            except AmqpError:
                return []
        return vhost.router.sinks_for(exchange, [key], message)


class _ToOrigin(Target):
    """The queue in which each message died last."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights

    def address(self, message: Message) -> tuple[str, str] | None:
        queue = died_in(message.header)
        return None if queue is None else ("", queue)

    def sinks(self, vhost: VirtualHost, address: tuple[str, str], message: Message) -> list[Sink]:
        queue = vhost.queues.get(address[1])
        may = queue is not None and self._rights.allows(WRITE, queue.name)
        return [queue] if queue is not None and may else []


def died_in(header: bytes) -> str | None:
    """The queue in which a message with this content header died last; None if it is no dead
    letter. It is in the first entry of `x-death` (RabbitMQ: Dead Letter Exchanges)."""
    deaths = properties.array_values(properties.header_value(header, DEATHS) or b"")
    if not deaths:
        return None
    fields = dict(properties.table_entries(deaths[0]))
    return text_of(properties.string_octets(fields.get(b"queue", b"")))


def to_queue(vhost: VirtualHost, source: Queue, name: str, rights: Rights = ALL_RIGHTS) -> Target:
    """The queue of that name as a target.

    :raises Refused: if there is none, or if it is the source.
    :raises AmqpError: ACCESS_REFUSED without the right to write to it.
    """
    rights.check_queue(WRITE, name)
    queue = vhost.queues.get(name)
    if queue is None:
        raise Refused(f"queue '{name}' does not exist in virtual host '{vhost.name}'")
    if queue is source:
        raise Refused("a queue's messages cannot be moved to itself")
    return _ToQueue(queue)


def to_exchange(
    vhost: VirtualHost, name: str, routing_key: str | None, rights: Rights = ALL_RIGHTS
) -> Target:
    """The exchange of that name as a target; "" is the default exchange.

    :param routing_key: None for that of each message.
    :raises Refused: if there is none.
    :raises AmqpError: ACCESS_REFUSED without the right to write to it.
    """
    rights.check_exchange(WRITE, name)
    if name and name not in vhost.exchanges:
        raise Refused(f"exchange '{name}' does not exist in virtual host '{vhost.name}'")
    return _ToExchange(name, routing_key, rights)


def to_origin(rights: Rights = ALL_RIGHTS) -> Target:
    """The queue in which each message died last, if there is the right to write to it.

    Not the exchange that the message was published to first, which may lead to queues that have had
    it.
    """
    return _ToOrigin(rights)


class Selection:
    """Which messages of a queue are meant."""

    def __init__(
        self, count: int = MOVED_AT_ONCE_MAX, positions: list[int] | None = None, offset: int = 0
    ) -> None:
        """
        :param count: how many messages, if there are so many.
        :param positions: these messages instead.
        :param offset: how many are left out before them.
        """
        self.count = min(count, MOVED_AT_ONCE_MAX)
        self.positions = positions
        self.offset = offset


class Move(Work):
    """Moves or copies messages; while it is not done, it waits for its reader to read, or for the
    disk: call `run` again a little later."""

    def __init__(
        self,
        vhost: VirtualHost,
        source: Queue,
        target: Target | None,
        selected: Selection,
        *,
        copies: bool = False,
    ) -> None:
        """
        :param target: None to discard the messages, without dead-lettering.
        :param copies: whether they stay in the source, too.
        """
        self.is_done = False
        self.moved = 0
        """How many were moved, copied or discarded."""
        self.left_out = 0
        """How many the target has no address for."""
        self.refused_key: str | None = None
        """The routing key of a message that no queue takes, which ended the move."""
        self.reader = Reader(source.backlog, selected.offset, selected.count, selected.positions)
        self._vhost = vhost
        self._source = source
        self._target = target
        self._copies = copies
        self._next: Found | None = None
        self._bytes = 0

    def run(self, time_slice: TimeSlice) -> bool:
        while not self.is_done:
            if self._source.deleted:
                self.is_done = True
                return True
            if self._has_to_wait():
                return True
            found = self._next or self.reader.next()
            self._next = found
            if found is None:
                self.is_done = self.reader.ended
                if self.reader.has_to_read():
                    return True
            elif not self._copies and self._source.backlog.is_packed(found.position):
                return True
            else:
                self._next = None
                self._pass_on(found)
                self.is_done = self.refused_key is not None or self._bytes >= MOVED_AT_ONCE_BYTES
            if time_slice.is_over_now():
                break
        # The next message of the source may have expired.
        self._source.deliver_ready()
        return self.is_done

    def _has_to_wait(self) -> bool:
        publisher = self._vhost.publisher
        store = publisher.store
        # A message of a transaction that is being committed must not be durable before it.
        if publisher.has_transaction() or publisher.has_too_many_dead_letters():
            return True
        return store is not None and store.needs_backpressure()

    def _pass_on(self, found: Found) -> None:
        """Move or copy one message, in the open batch."""
        vhost, source, target = self._vhost, self._source, self._target
        position, message, _ = found
        size = len(message.body)
        if target is None:
            if source.backlog.extract(position, size):
                source.settle(position)
                self.moved += 1
            return
        address = target.address(message)
        if address is None:
            self.left_out += 1
            return
        copy = _readdressed(message, address, int(vhost.clock.now))
        sinks = target.sinks(vhost, address, copy)
        if not any(_takes(sink, size) for sink in sinks):
            self.refused_key = address[1]
            return
        # Before it is published: it might be published to its own queue, which has a limit.
        if not self._copies and not source.backlog.extract(position, size):
            return
        outcome = vhost.publisher.publish_again(copy, sinks)
        if not self._copies:
            if outcome & (ACCEPTED | DEAD_LETTERED) == 0:
                source.requeue(message, position)
                self.refused_key = address[1]
                return
            source.settle(position)
        self.moved += 1
        self._bytes += size


def _readdressed(message: Message, address: tuple[str, str], now: int) -> Message:
    exchange, key = address
    return Message(
        short_strings(octets_of_text(exchange), octets_of_text(key)),
        message.header,
        message.body,
        message.persistent,
        now,
        message.expires_at,
    )


def _takes(sink: Sink, size: int) -> bool:
    """Whether a sink takes a message with a body of `size` bytes, or makes a dead letter of it."""
    if not isinstance(sink, Queue) or not sink.refuses(size):
        return True
    settings = sink.settings
    return settings.overflow == REJECT_PUBLISH_DLX and settings.dead_letter_exchange is not None

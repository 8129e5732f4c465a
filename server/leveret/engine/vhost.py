"""A virtual host: exchanges, queues and bindings under one roof, and the way of a message.

Routing walks exchanges from the one published to: exchange-to-exchange bindings are followed,
cycles are cut, a queue is named once however many ways lead to it, and an exchange that leads
nowhere hands over to its alternate exchange (RabbitMQ: Exchange to Exchange Bindings, Alternate
Exchanges). What a key led to is remembered until anything that routing depends on changes.

Declaring, binding and deleting, with all that may be refused, are in `lifecycle/`.
"""

from typing import Final

from leveret.engine.flow.dead_letters import DeadLetters
from leveret.engine.flow.persist import persist
from leveret.engine.persistence import definition_log
from leveret.engine.persistence.definition_log import DefinitionLog
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.queues.redelivery import DeliveryCounts
from leveret.engine.routing.exchanges.base import Destination, Exchange
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message, arriving, short_strings
from leveret.engine.values.settings import QueueSettings
from leveret.engine.values.timers import Timers
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import ROUTE_CACHE_ENTRIES_MAX

DEFAULT_EXCHANGE: Final = ""


class Route:
    """Where messages of one exchange and routing key go.

    `raw` is the key it is remembered by, exchange and routing key as two short strings; messages
    share this one object instead of keeping the slice they came with.
    """

    def __init__(
        self, raw: bytes, exchange: str, routing_key: str, queues: list[Queue], per_message: bool
    ) -> None:
        self.raw = raw
        self.exchange = exchange
        self.routing_key = routing_key
        self.queues = queues
        self.persists = per_message or any(queue.persists for queue in queues)
        """Whether even a message that is not persistent may have to be kept."""
        self.stale = False
        """Whether what routing depends on has changed since: find the route anew."""
        self.per_message = per_message
        """The queues depend on the message: ask `VirtualHost.queues_for` for each."""


class VirtualHost(QueueHost):
    """One virtual host. Whoever changes `exchanges`, `queues` or a binding calls `changed`."""

    def __init__(
        self,
        name: str,
        clock: Clock | None = None,
        timers: Timers | None = None,
    ) -> None:
        super().__init__(clock or Clock(), timers or Timers())
        self.name = name
        self.dead_letters = DeadLetters(self)
        self.adopts = False
        """Whether a queue that is declared with other arguments than before goes by them."""
        self.definition_log: DefinitionLog | None = None
        """Where what is durable is written down; None where nothing outlives the process."""
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        self.replies: dict[str, Route] = {}
        """The ways to those who wait for replies, by routing key (RabbitMQ: Direct Reply-to). They
        come and go with every client, so the routes that are remembered have no part in it."""
        self._routes: dict[bytes, Route] = {}
        self._inner_routes: dict[bytes, Route] = {}
        """The same for dead letters, which go to exchanges that no client may publish to."""

    def changed(self) -> None:
        """Forget where keys led: what routing depends on is no longer what it was."""
        for route in self._routes.values():
            route.stale = True
        self._routes.clear()
        self._inner_routes.clear()

    def add_replies(self, queue: Queue) -> None:
        """Lead to a queue of replies, whose name nobody had before."""
        name = queue.name.encode()
        raw = bytes([0, len(name)]) + name
        self.replies[queue.name] = Route(raw, DEFAULT_EXCHANGE, queue.name, [queue], False)

    def remove_replies(self, queue: Queue) -> None:
        """Lead to a queue of replies no more."""
        self.replies.pop(queue.name).stale = True

    def route(self, raw: bytes) -> Route:
        """Where a message goes, by its exchange and routing key as two short strings.

        :raises AmqpError: NOT_FOUND for an unknown exchange, ACCESS_REFUSED for an internal one.
        """
        route = self._routes.get(raw)
        if route is not None:
            return route
        length = raw[0]
        exchange, routing_key = _text(raw[1 : 1 + length]), _text(raw[2 + length :])
        if exchange == DEFAULT_EXCHANGE:
            route = self.replies.get(routing_key)
            if route is not None:
                return route
        route = self._find_route(raw, exchange, routing_key)
        if len(self._routes) >= ROUTE_CACHE_ENTRIES_MAX:
            self.changed()
        self._routes[raw] = route
        return route

    def queues_within(
        self, exchange: bytes, routing_keys: list[bytes], message: Message
    ) -> list[Queue]:
        """Where a message goes that the broker publishes: nowhere if there is no such exchange."""
        if len(routing_keys) == 1:
            raw = short_strings(exchange, routing_keys[0])
            route = self._inner_routes.get(raw)
            if route is None:
                route = self._walk_route(raw, _text(exchange), _text(routing_keys[0]))
                if len(self._inner_routes) >= ROUTE_CACHE_ENTRIES_MAX:
                    self._inner_routes.clear()
                self._inner_routes[raw] = route
            if not route.per_message:
                return route.queues
        return self.queues_for(_text(exchange), [_text(key) for key in routing_keys], message)

    def dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        self.dead_letters.add(queue, settings, message, reason)

    def pass_on_dead_letters(self) -> None:
        self.dead_letters.pass_on()

    def note_key(self, queue: str, key: bytes, expires_at: int) -> None:
        if self.definition_log is not None:
            self.definition_log.define(
                definition_log.seen(self.name, False, queue, [(key, expires_at)])
            )

    def note_delivery_counts(self, queue: str, position: int, returns: DeliveryCounts) -> None:
        if self.definition_log is not None:
            self.definition_log.store.define(
                definition_log.returned(self.name, queue, position, returns)
            )

    def queues_for(self, exchange: str, routing_keys: list[str], message: Message) -> list[Queue]:
        """Where a message goes whose route is not remembered: it depends on more than one key.

        :param routing_keys: the one it was published with, and those in CC and BCC.
        """
        reached: dict[Queue, None] = {}
        self._walk(exchange, routing_keys, message, reached)
        return list(reached)

    def publish_again(self, destination: Destination, message: Message) -> None:
        """Put a message that was published before into a queue, or where an exchange leads.

        It arrives anew, so it has all the time to live that it had.
        """
        again = arriving(message, int(self.clock.now))
        route = again.route
        if isinstance(destination, Queue):
            queues = [destination]
        else:
            queues = self.queues_for(destination.name, [_text(route[2 + route[0] :])], again)
        for queue in queues:
            queue.publish(again)
        if again.persistent and self.definition_log is not None:
            persist(self.definition_log.store, again, queues)
        if self.dead_letters.waiting:
            self.dead_letters.pass_on()

    def _find_route(self, raw: bytes, exchange: str, routing_key: str) -> Route:
        if exchange != DEFAULT_EXCHANGE:
            found = self.exchanges.get(exchange)
            if found is None:
                raise AmqpError(
                    ReplyCode.NOT_FOUND, f"no exchange '{exchange}' in vhost '{self.name}'"
                )
            if found.internal:
                raise AmqpError(
                    ReplyCode.ACCESS_REFUSED,
                    f"cannot publish to internal exchange '{exchange}' in vhost '{self.name}'",
                )
        return self._walk_route(raw, exchange, routing_key)

    def _walk_route(self, raw: bytes, exchange: str, routing_key: str) -> Route:
        """The route from an exchange, if it is there."""
        reached: dict[Queue, None] = {}
        if self._walk(exchange, [routing_key], None, reached):
            return Route(raw, exchange, routing_key, list(reached), False)
        return Route(raw, exchange, routing_key, [], True)

    def _walk(
        self,
        start: str,
        routing_keys: list[str],
        message: Message | None,
        reached: dict[Queue, None],
    ) -> bool:
        """Add every queue reached from an exchange.

        :returns: False if that takes a message and there is none.
        """
        if start == DEFAULT_EXCHANGE:
            for key in routing_keys:
                queue = self.queues.get(key)
                reply = self.replies.get(key)
                if queue is not None:
                    reached[queue] = None
                elif reply is not None:
                    reached[reply.queues[0]] = None
            return True
        seen = {start}
        waiting = [start]
        while waiting:
            exchange = self.exchanges.get(waiting.pop())
            if exchange is None:
                continue
            if exchange.per_message and message is None:
                return False
            matched: list[Destination] = []
            for key in routing_keys if exchange.by_each_key else routing_keys[:1]:
                exchange.match(key, message, matched)
            onward: list[str] = []
            for destination in matched:
                if isinstance(destination, Queue):
                    reached[destination] = None
                else:
                    onward.append(destination.name)
            if not matched and exchange.alternate:
                onward.append(exchange.alternate)
            for name in onward:
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        return True


def _text(octets: bytes) -> str:
    """A name or a routing key, which may be any bytes: surrogates carry what is not UTF-8."""
    return octets.decode("utf-8", "surrogateescape")

"""Routes: from an exchange and a routing key to the sinks that take the message.

Routing walks exchanges from the one published to: exchange-to-exchange bindings are followed,
cycles are cut, a sink is found once however many paths lead to it, and a message that an exchange
does not match goes to its alternate exchange (RabbitMQ: Exchange to Exchange Bindings, Alternate
Exchanges). Routes are cached until anything that routing depends on changes.
"""

from collections.abc import Mapping
from typing import Final

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import Destination, Exchange
from leveret.engine.routing.sink import Sink
from leveret.engine.values.message import Message, exchange_and_key, short_strings
from leveret.engine.values.text import octets_of_text, text_of
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import ROUTE_CACHE_ENTRIES_MAX

DEFAULT_EXCHANGE: Final = ""


class Route:
    """Where messages of one exchange and routing key go.

    `raw` is the key it is cached by, exchange and routing key as two short strings; messages share
    this one object instead of the slices that they came with.
    """

    def __init__(
        self, raw: bytes, exchange: str, routing_key: str, sinks: list[Sink], needs_message: bool
    ) -> None:
        self.raw = raw
        self.exchange = exchange
        self.routing_key = routing_key
        self.sinks = sinks
        self.stale = False
        """Whether routing has changed since: the route has to be found anew."""
        self.needs_message = needs_message
        """Whether the sinks depend on the message: ask `Router.sinks_for` for each."""


class Router:
    """The exchanges and queues of one virtual host by name, and where messages go.

    Call `invalidate` after a change of `exchanges`, `queues` or a binding.
    """

    def __init__(self, vhost: str, queues: Mapping[str, Sink]) -> None:
        """`queues` are those that the default exchange and bindings lead to, by name."""
        self.exchanges: dict[str, Exchange] = {}
        self.reply_routes: dict[str, Route] = {}
        """The routes to direct reply-to consumers, by routing key (RabbitMQ: Direct Reply-to). They
        come and go with every client, so they are not in the cache of routes."""
        self._vhost = vhost
        self._queues = queues
        self._routes: dict[bytes, Route] = {}
        self.misses: i64 = 0
        """How often `route` did not find a route in the cache, which may have taken long."""
        self._broker_routes: dict[bytes, Route] = {}
        """Routes of messages that the broker publishes, to internal exchanges too."""

    def invalidate(self) -> None:
        """Drop all cached routes: something that routing depends on has changed."""
        for route in self._routes.values():
            route.stale = True
        self._routes.clear()
        self._broker_routes.clear()

    def add_reply_sink(self, sink: Sink) -> None:
        """Add the route to a sink of replies, whose name was never used before."""
        raw = short_strings(b"", octets_of_text(sink.name))
        self.reply_routes[sink.name] = Route(raw, DEFAULT_EXCHANGE, sink.name, [sink], False)

    def remove_reply_sink(self, sink: Sink) -> None:
        """Remove the route to a sink of replies."""
        self.reply_routes.pop(sink.name).stale = True

    def route(self, raw: bytes) -> Route:
        """The route of a client's message, by exchange and routing key as two short strings.

        :raises AmqpError: NOT_FOUND for an unknown exchange, ACCESS_REFUSED for an internal one.
        """
        route = self._routes.get(raw)
        if route is not None:
            return route
        self.misses += 1
        octets, key_octets = exchange_and_key(raw)
        exchange, routing_key = text_of(octets), text_of(key_octets)
        if exchange == DEFAULT_EXCHANGE:
            route = self.reply_routes.get(routing_key)
            if route is not None:
                return route
        self._check_exchange(exchange)
        route = self._find_route(raw, exchange, routing_key)
        if len(self._routes) >= ROUTE_CACHE_ENTRIES_MAX:
            self.invalidate()
        self._routes[raw] = route
        return route

    def sinks_for(self, exchange: str, routing_keys: list[str], message: Message) -> list[Sink]:
        """The sinks of one message, where no route is cached: they depend on more than one key.

        :param routing_keys: the one it was published with, and those in CC and BCC.
        """
        reached: dict[Sink, None] = {}
        self._walk(exchange, routing_keys, message, reached)
        return list(reached)

    def sinks_of_broker(
        self, exchange: bytes, routing_keys: list[bytes], message: Message
    ) -> list[Sink]:
        """The sinks of a message that the broker publishes: none if there is no such exchange."""
        if len(routing_keys) == 1:
            raw = short_strings(exchange, routing_keys[0])
            route = self._broker_routes.get(raw)
            if route is None:
                route = self._find_route(raw, text_of(exchange), text_of(routing_keys[0]))
                if len(self._broker_routes) >= ROUTE_CACHE_ENTRIES_MAX:
                    self._broker_routes.clear()
                self._broker_routes[raw] = route
            if not route.needs_message:
                return route.sinks
        return self.sinks_for(text_of(exchange), [text_of(key) for key in routing_keys], message)

    def sinks_behind(self, destination: Destination, message: Message) -> list[Sink]:
        """The sinks of a message that is given to the destination of a binding."""
        if isinstance(destination, Exchange):
            key = exchange_and_key(message.route)[1]
            return self.sinks_for(destination.name, [text_of(key)], message)
        sink = self._queues.get(destination.name)
        return [] if sink is None else [sink]

    def _check_exchange(self, name: str) -> None:
        """Check that clients may publish to an exchange.

        :raises AmqpError: NOT_FOUND for an unknown exchange, ACCESS_REFUSED for an internal one.
        """
        if name == DEFAULT_EXCHANGE:
            return
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise AmqpError(ReplyCode.NOT_FOUND, f"no exchange '{name}' in vhost '{self._vhost}'")
        if exchange.internal:
            raise AmqpError(
                ReplyCode.ACCESS_REFUSED,
                f"cannot publish to internal exchange '{name}' in vhost '{self._vhost}'",
            )

    def _find_route(self, raw: bytes, exchange: str, routing_key: str) -> Route:
        """The route from an exchange; without sinks if there is no such exchange."""
        reached: dict[Sink, None] = {}
        if self._walk(exchange, [routing_key], None, reached):
            return Route(raw, exchange, routing_key, list(reached), False)
        return Route(raw, exchange, routing_key, [], True)

    def _walk(
        self,
        start: str,
        routing_keys: list[str],
        message: Message | None,
        reached: dict[Sink, None],
    ) -> bool:
        """Add every sink that is reached from an exchange.

        :returns: False if the sinks depend on the message, and there is none.
        """
        if start == DEFAULT_EXCHANGE:
            self._add_named(routing_keys, reached)
            return True
        seen = {start}
        to_visit = [start]
        while to_visit:
            exchange = self.exchanges.get(to_visit.pop())
            if exchange is None:
                continue
            if exchange.needs_message:
                if message is None:
                    return False
                sink = exchange.intercept(message)
                if sink is not None:
                    reached[sink] = None
                    continue
            matched: list[Destination] = []
            for key in routing_keys if exchange.uses_all_keys else routing_keys[:1]:
                exchange.match(key, message, matched)
            if exchange.records and message is not None:
                exchange.record(message)
            for name in self._visit(exchange, matched, reached):
                if name not in seen:
                    seen.add(name)
                    to_visit.append(name)
        return True

    def _visit(
        self, exchange: Exchange, matched: list[Destination], reached: dict[Sink, None]
    ) -> list[str]:
        """Add the queues among what an exchange matched; the names of the exchanges to visit."""
        onward: list[str] = []
        any_left = False
        for destination in matched:
            if destination.deleted:
                continue
            any_left = True
            if isinstance(destination, Exchange):
                onward.append(destination.name)
            else:
                queue = self._queues.get(destination.name)
                if queue is not None:
                    reached[queue] = None
        if not any_left and exchange.alternate:
            onward.append(exchange.alternate)
        return onward

    def _add_named(self, routing_keys: list[str], reached: dict[Sink, None]) -> None:
        """Add the sinks that the default exchange leads to."""
        for key in routing_keys:
            queue = self._queues.get(key)
            reply = self.reply_routes.get(key)
            if queue is not None:
                reached[queue] = None
            elif reply is not None:
                reached[reply.sinks[0]] = None

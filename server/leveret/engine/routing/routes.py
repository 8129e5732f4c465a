"""Routes: from an exchange and a routing key to the sinks that take the message.

`walk.py` finds them. Routes are cached until anything that routing depends on changes; a change
takes the same time however many are cached.
"""

from collections.abc import Mapping
from typing import Final

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import Destination, Exchange
from leveret.engine.routing.observer import Origin, PublishObserver
from leveret.engine.routing.sink import Sink
from leveret.engine.routing.walk import RouteWalk
from leveret.engine.values.counters import ExchangeCounters
from leveret.engine.values.message import Message, exchange_and_key, short_strings
from leveret.engine.values.text import octets_of_text, text_of
from leveret.engine.values.time_slice import ENDLESS, TimeSlice
from leveret.engine.values.work import Work, WorkQueue
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import (
    ROUTE_CACHE_ENTRIES_MAX,
    ROUTES_DROPPED_AT_ONCE,
    WIDE_ROUTE_SINKS,
    WIDE_ROUTES_SINKS_MAX,
)

DEFAULT_EXCHANGE: Final = ""


class Route:
    """Where messages of one exchange and routing key go.

    `raw` is the key it is cached by, exchange and routing key as two short strings; messages share
    this one object instead of the slices that they came with.
    """

    def __init__(
        self,
        raw: bytes,
        exchange: str,
        routing_key: str,
        sinks: list[Sink],
        needs_message: bool,
        counters: ExchangeCounters,
    ) -> None:
        """:param counters: of the exchange."""
        self.raw = raw
        self.exchange = exchange
        self.routing_key = routing_key
        self.sinks = sinks
        self.counters = counters
        self.generation: i64 = 0
        """The generation of its router that it was found in. If it is not the current one, routing
        has changed since, and the route has to be found anew."""
        self.needs_message = needs_message
        """Whether the sinks depend on the message: ask `Router.sinks_for` for each."""
        self.walk: RouteWalk | None = None
        """The walk that has to be done before the route can be used: then call `Router.complete`.
        Such a route is not cached."""
        self.observed_keys: list[str] | None = None
        """The routing keys of the one message that it is the route of, if the observer is to be
        told when that is published. Such a route is not cached."""

    def to(self, sinks: list[Sink]) -> "Route":
        """The route of one message, which goes from here to these sinks."""
        return Route(self.raw, self.exchange, self.routing_key, sinks, False, self.counters)


class RouteCache:
    """Routes by what they are cached by. It is bounded in routes, and in the sinks of wide ones:
    of a fanout to very many queues each routing key is a route with as many sinks."""

    def __init__(self, work: WorkQueue) -> None:
        """`work` drops caches that are large."""
        self._work = work
        self._routes: dict[bytes, Route] = {}
        self._wide: dict[bytes, Route] = {}
        self._wide_sinks: i64 = 0
        """Sinks of the wide routes, together."""

    def get(self, raw: bytes) -> Route | None:
        """The route that is cached by `raw`."""
        route = self._routes.get(raw)
        if route is None and self._wide:
            return self._wide.get(raw)
        return route

    def add(self, route: Route) -> None:
        """Cache a route that is not cached; if there is no room for it, all of its kind are dropped
        before."""
        sinks = len(route.sinks)
        if sinks >= WIDE_ROUTE_SINKS:
            if self._wide_sinks + sinks > WIDE_ROUTES_SINKS_MAX:
                self._drop_wide()
            self._wide[route.raw] = route
            self._wide_sinks += sinks
            return
        if len(self._routes) >= ROUTE_CACHE_ENTRIES_MAX:
            self._drop_narrow()
        self._routes[route.raw] = route

    def pop(self, raw: bytes) -> Route | None:
        """Remove the route that is cached by `raw`, of the default exchange: it is never wide."""
        return self._routes.pop(raw, None)

    def clear(self) -> None:
        """Remove all routes."""
        if self._routes:
            self._drop_narrow()
        if self._wide:
            self._drop_wide()

    def _drop_narrow(self) -> None:
        if len(self._routes) > ROUTES_DROPPED_AT_ONCE:
            self._work.add(_RoutesDropped(self._routes))
        self._routes = {}

    def _drop_wide(self) -> None:
        if self._wide_sinks > ROUTES_DROPPED_AT_ONCE:
            self._work.add(_RoutesDropped(self._wide))
        self._wide = {}
        self._wide_sinks = 0


class Router:
    """The exchanges and queues of one virtual host by name, and where messages go.

    Call `invalidate` after a change of `exchanges`, `queues` or a binding, or `invalidate_queue` if
    nothing is bound to the queue.
    """

    def __init__(self, vhost: str, queues: Mapping[str, Sink], work: WorkQueue) -> None:
        """
        :param queues: those that the default exchange and bindings lead to, by name.
        :param work: drops caches that are out of date.
        """
        self.generation: i64 = 1
        """Changes with everything that routing depends on."""
        self.exchanges: dict[str, Exchange] = {}
        self.default_counters = ExchangeCounters()
        """What clients have published to the default exchange."""
        self.reply_routes: dict[str, Route] = {}
        """The routes to direct reply-to consumers, by routing key (RabbitMQ: Direct Reply-to). They
        come and go with every client, so they are not in the cache of routes."""
        self._vhost = vhost
        self._queues = queues
        self._routes = RouteCache(work)
        self.misses: i64 = 0
        """How often `route` did not find a route in the cache, which may have taken long."""
        self._broker_routes = RouteCache(work)
        """Routes of messages that the broker publishes, to internal exchanges too."""
        self.observer: PublishObserver | None = None
        """Is told of every publish; set it by `observe_with`. Looked at only where no route is
        cached, because with an observer every route `needs_message`, and where the broker itself
        publishes."""

    def observe_with(self, observer: PublishObserver | None) -> None:
        """Tell an observer of every publish from now on; None ends that."""
        self.observer = observer
        self.invalidate()

    def tell(
        self,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
        origin: Origin,
    ) -> None:
        """Tell the observer, if there is one, of a message that is published now."""
        observer = self.observer
        if observer is not None:
            observer.published(self._vhost, exchange, routing_keys, message, sinks, origin)

    def tell_of_client(self, message: Message, route: Route) -> None:
        """Tell the observer of a client's message that is published now, if its route says so."""
        keys = route.observed_keys
        if keys is not None:
            self.tell(route.exchange, keys, message, route.sinks, Origin.CLIENT)

    def tell_refused(self, message: Message) -> None:
        """Tell the observer, if there is one, that a sink has refused a message."""
        observer = self.observer
        if observer is not None:
            observer.refused(message)

    def refuses(self, message: Message, route: Route) -> bool:
        """Whether the observer has a message refused that would be confirmed."""
        observer, keys = self.observer, route.observed_keys
        if observer is None or keys is None:
            return False
        return observer.refuses(self._vhost, route.exchange, keys, message, route.sinks)

    def invalidate(self) -> None:
        """Drop all cached routes: something that routing depends on has changed."""
        self.generation += 1
        self._routes.clear()
        self._broker_routes.clear()

    def invalidate_queue(self, name: str) -> None:
        """Drop the cached routes that a queue of that name changes to which nothing is bound: those
        of the default exchange."""
        raw = short_strings(b"", octets_of_text(name))
        route = self._routes.pop(raw)
        if route is not None:
            route.generation = 0
        self._broker_routes.pop(raw)

    def add_reply_sink(self, sink: Sink) -> None:
        """Add the route to a sink of replies, whose name was never used before."""
        raw = short_strings(b"", octets_of_text(sink.name))
        route = Route(raw, DEFAULT_EXCHANGE, sink.name, [sink], False, self.default_counters)
        self.reply_routes[sink.name] = route

    def remove_reply_sink(self, sink: Sink) -> None:
        """Remove the route to a sink of replies."""
        self.reply_routes.pop(sink.name).generation = 0

    def route(self, raw: bytes, time_slice: TimeSlice = ENDLESS) -> Route:
        """The route of a client's message, by exchange and routing key as two short strings.

        :returns: a route with a `walk`, if the slice was over before it was found.
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
                if self.observer is not None:
                    return self._observed_reply(route)
                route.generation = self.generation
                return route
        self._check_exchange(exchange)
        route = self._find_route(raw, exchange, routing_key, time_slice)
        if route.walk is None:
            self._routes.add(route)
        return route

    def complete(self, route: Route) -> None:
        """Make a route usable whose walk is done."""
        walk = route.walk
        if walk is None:
            return
        route.walk = None
        route.needs_message = walk.needs_message or self.observer is not None
        if not walk.needs_message:
            route.sinks = list(walk.reached)
        if route.generation == self.generation:
            self._routes.add(route)

    def walk(self, exchange: str, routing_keys: list[str], message: Message | None) -> RouteWalk:
        """The walk of one message from an exchange, which is to be run; its sinks depend on more
        than one key.

        :param routing_keys: the one it was published with, and those in CC and BCC.
        :param message: None for all messages with one key.
        """
        walk = RouteWalk(self.exchanges, self._queues, exchange, routing_keys, message)
        if exchange == DEFAULT_EXCHANGE:
            walk.reached = dict.fromkeys(self._named(routing_keys))
        return walk

    def sinks_for(self, exchange: str, routing_keys: list[str], message: Message) -> list[Sink]:
        """The sinks of one message, where no route is cached: they depend on more than one key.

        :param routing_keys: the one it was published with, and those in CC and BCC.
        """
        walk = self.walk(exchange, routing_keys, message)
        walk.run(ENDLESS)
        return list(walk.reached)

    def route_of_broker(self, exchange: bytes, routing_key: bytes) -> Route | None:
        """The cached route of messages that the broker publishes; None if there is none, or their
        sinks depend on the message."""
        route = self._broker_routes.get(short_strings(exchange, routing_key))
        return None if route is None or route.needs_message else route

    def depends_on_message(self, exchange: bytes, routing_key: bytes) -> bool:
        """Whether the sinks of messages that the broker publishes are known to depend on each."""
        route = self._broker_routes.get(short_strings(exchange, routing_key))
        return route is not None and route.needs_message

    def cache_of_broker(
        self, exchange: bytes, routing_key: bytes, walk: RouteWalk, generation: i64
    ) -> None:
        """Cache what a walk without a message has found.

        :param generation: that in which the walk began.
        """
        raw = short_strings(exchange, routing_key)
        if generation != self.generation or self._broker_routes.get(raw) is not None:
            return
        name, key = text_of(exchange), text_of(routing_key)
        found = Route(raw, name, key, [], walk.needs_message, self._counters_of(name))
        if not walk.needs_message:
            found.sinks = list(walk.reached)
        self._broker_routes.add(found)

    def sinks_behind(self, destination: Destination, message: Message) -> list[Sink]:
        """The sinks of a message that is given to the destination of a binding."""
        if isinstance(destination, Exchange):
            key = exchange_and_key(message.route)[1]
            return self.sinks_for(destination.name, [text_of(key)], message)
        sink = self._queues.get(destination.name)
        return [] if sink is None else [sink]

    def is_topic(self, name: str) -> bool:
        """Whether there is a topic exchange of that name."""
        exchange = self.exchanges.get(name)
        return exchange is not None and exchange.type == "topic"

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

    def _find_route(
        self, raw: bytes, exchange: str, routing_key: str, time_slice: TimeSlice
    ) -> Route:
        """The route from an exchange; without sinks if there is no such exchange."""
        counters = self._counters_of(exchange)
        route = Route(raw, exchange, routing_key, [], False, counters)
        route.generation = self.generation
        route.needs_message = self.observer is not None
        if exchange == DEFAULT_EXCHANGE:
            route.sinks = self._named([routing_key])
            return route
        walk = RouteWalk(self.exchanges, self._queues, exchange, [routing_key], None)
        if not walk.run(time_slice):
            route.walk = walk
        elif walk.needs_message:
            route.needs_message = True
        else:
            route.sinks = list(walk.reached)
        return route

    def _observed_reply(self, route: Route) -> Route:
        """The route to a direct reply-to consumer, for a publisher that is observed."""
        observed = Route(
            route.raw, route.exchange, route.routing_key, route.sinks, True, route.counters
        )
        observed.generation = self.generation
        return observed

    def _counters_of(self, exchange: str) -> ExchangeCounters:
        """The counters of an exchange; nobody's if there is none of that name."""
        found = self.exchanges.get(exchange)
        if found is not None:
            return found.counters
        return self.default_counters if exchange == DEFAULT_EXCHANGE else ExchangeCounters()

    def _named(self, routing_keys: list[str]) -> list[Sink]:
        """The sinks that the default exchange leads to."""
        reached: dict[Sink, None] = {}
        for key in routing_keys:
            queue = self._queues.get(key)
            reply = self.reply_routes.get(key)
            if queue is not None:
                reached[queue] = None
            elif reply is not None:
                reached[reply.sinks[0]] = None
        return list(reached)


class BrokerSinks(Work):
    """Finds the sinks of a message that the broker publishes: none if there is no such exchange."""

    def __init__(
        self, router: Router, exchange: bytes, routing_keys: list[bytes], message: Message
    ) -> None:
        self._router = router
        self._exchange = exchange
        self._keys = routing_keys
        self._message = message
        self._generation = router.generation
        texts = [text_of(key) for key in routing_keys]
        of_all = len(routing_keys) == 1 and not router.depends_on_message(exchange, routing_keys[0])
        self._walk = router.walk(text_of(exchange), texts, None if of_all else message)
        self._of_all = of_all
        """Whether the walk is that of all messages with this key, so that it is cached."""

    def run(self, time_slice: TimeSlice) -> bool:
        if not self._walk.run(time_slice):
            return False
        if not self._of_all:
            return True
        self._of_all = False
        self._router.cache_of_broker(self._exchange, self._keys[0], self._walk, self._generation)
        if not self._walk.needs_message:
            return True
        exchange, key = text_of(self._exchange), text_of(self._keys[0])
        self._walk = self._router.walk(exchange, [key], self._message)
        return self._walk.run(time_slice)

    def sinks(self) -> list[Sink]:
        """The sinks, once they are found. Those that were deleted meanwhile are left out."""
        return [sink for sink in self._walk.reached if not sink.deleted]


class _RoutesDropped(Work):
    """Drops the routes of a cache that is out of date; one takes 0.2 us."""

    def __init__(self, routes: dict[bytes, Route]) -> None:
        self._routes = routes

    def run(self, time_slice: TimeSlice) -> bool:
        while self._routes:
            self._routes.popitem()
            if time_slice.is_over():
                return not self._routes
        return True

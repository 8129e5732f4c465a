"""Routing: a message reaches each queue once, however many paths lead to it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.engine.lifecycle.exchanges import predeclare
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges import create
from leveret.engine.routing.exchanges.base import Destination, ExchangeDeclaration
from leveret.engine.routing.routes import Route
from leveret.engine.routing.walk import RouteWalk
from leveret.engine.values.field_table import Table
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import (
    ROUTE_CACHE_ENTRIES_MAX,
    ROUTES_DROPPED_AT_ONCE,
    WIDE_ROUTE_SINKS,
    WIDE_ROUTES_SINKS_MAX,
)
from tests.unit.engine.routing.exchanges.naive import message


def raw(exchange: str, routing_key: str) -> bytes:
    """Exchange and routing key as two short strings."""
    names = [exchange.encode(), routing_key.encode("utf-8", "surrogateescape")]
    return b"".join(bytes((len(name),)) + name for name in names)


def is_stale(setting: "Setting", route: Route) -> bool:
    """Whether who holds a route can see that it does not count any more."""
    return int(route.generation) != int(setting.vhost.router.generation)


class Setting:
    """A virtual host `v` that is quickly filled."""

    def __init__(self) -> None:
        self.vhost = VirtualHost("v")
        predeclare(self.vhost)

    def queue(self, name: str) -> Queue:
        queue = Queue(name)
        self.vhost.queues[name] = queue
        self.vhost.router.invalidate()
        return queue

    def exchange(self, name: str, kind: str = "fanout", **arguments: str) -> None:
        table: Table = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.vhost.exchanges[name] = create(
            ExchangeDeclaration(kind, name, False, False, False, table)
        )
        self.vhost.router.invalidate()

    def bind(self, source: str, destination: str, key: str = "", **arguments: str) -> None:
        exchange = self.vhost.exchanges.get(destination)
        to: Destination = exchange or self.vhost.queues[destination].destination
        table: Table = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.vhost.exchanges[source].bind(to, key, table)
        self.vhost.router.invalidate()

    def route(self, exchange: str, key: str = "") -> list[str]:
        return sorted(sink.name for sink in self.vhost.router.route(raw(exchange, key)).sinks)

    def routed(self, exchange: str, *keys: str) -> list[str]:
        """The queues a message with several routing keys goes to."""
        queues = self.vhost.router.sinks_for(exchange, list(keys), message())
        return sorted(queue.name for queue in queues)


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_the_default_exchange_leads_to_the_queue_of_that_name(setting: Setting) -> None:
    setting.queue("q")
    assert setting.route("", "q") == ["q"]
    assert setting.route("", "r") == []


def test_a_way_over_many_exchanges_is_followed(setting: Setting) -> None:
    setting.queue("q")
    names = [f"x{number}" for number in range(300)]
    for name in names:
        setting.exchange(name)
    for source, destination in zip(names, [*names[1:], "q"], strict=True):
        setting.bind(source, destination)
    assert setting.route("x0") == ["q"]


@settings(deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=15),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=10),
    st.integers(0, 4),
)
def test_every_queue_that_can_be_reached_is_reached_once(
    onward: set[tuple[int, int]], ends: set[tuple[int, int]], start: int
) -> None:
    setting = Setting()
    for number in range(5):
        setting.exchange(f"x{number}")
    for number in range(4):
        setting.queue(f"q{number}")
    for source, destination in onward:
        setting.bind(f"x{source}", f"x{destination}")
    for source, destination in ends:
        setting.bind(f"x{source}", f"q{destination}")
    reached, to_visit = {start}, [start]
    while to_visit:
        visited = to_visit.pop()
        found = {to for source, to in onward if source == visited} - reached
        reached |= found
        to_visit.extend(found)
    expected = sorted({f"q{queue}" for source, queue in ends if source in reached})
    assert setting.route(f"x{start}") == expected


def test_an_alternate_exchange_takes_what_matches_nothing(setting: Setting) -> None:
    setting.queue("q")
    setting.queue("other")
    setting.exchange("x", "direct", alternate_exchange="rest")
    setting.bind("x", "q", "k")
    assert setting.route("x", "unknown") == [], "the alternate exchange is not there yet"
    setting.exchange("rest")
    setting.bind("rest", "other")
    assert setting.route("x", "k") == ["q"]
    assert setting.route("x", "unknown") == ["other"]


def test_alternate_exchanges_in_a_circle_lead_nowhere(setting: Setting) -> None:
    setting.exchange("x", "direct", alternate_exchange="y")
    setting.exchange("y", "direct", alternate_exchange="x")
    assert setting.route("x", "k") == []


def test_a_route_says_if_it_depends_on_the_message(setting: Setting) -> None:
    setting.queue("q")
    setting.exchange("x")
    setting.bind("x", "q")
    assert [setting.vhost.router.route(raw("x", "k")).needs_message] == [False]
    setting.bind("x", "amq.headers")
    setting.bind("amq.headers", "q", a="1")
    assert [setting.vhost.router.route(raw("x", "k")).needs_message] == [True]


def test_a_message_with_several_keys_goes_where_any_of_them_leads(setting: Setting) -> None:
    for name in ("q", "r", "s"):
        setting.queue(name)
    setting.bind("amq.direct", "q", "k")
    setting.bind("amq.direct", "r", "l")
    setting.bind("amq.topic", "s", "*")
    setting.bind("amq.topic", "amq.direct", "#")
    assert setting.routed("amq.topic", "none", "l", "k") == ["q", "r", "s"]
    assert setting.routed("", "none", "s", "q") == ["q", "s"]


def test_the_alternate_exchange_is_asked_only_if_no_key_leads_anywhere(setting: Setting) -> None:
    setting.queue("q")
    setting.queue("other")
    setting.exchange("rest")
    setting.exchange("x", "direct", alternate_exchange="rest")
    setting.bind("x", "q", "k")
    setting.bind("rest", "other")
    assert setting.routed("x", "none", "k") == ["q"]
    assert setting.routed("x", "none", "neither") == ["other"]


def test_a_route_is_remembered_until_something_changes(setting: Setting) -> None:
    setting.queue("q")
    setting.bind("amq.direct", "q", "k")
    route = setting.vhost.router.route(raw("amq.direct", "k"))
    assert setting.vhost.router.route(raw("amq.direct", "k")) is route
    assert not is_stale(setting, route)
    setting.vhost.router.invalidate()
    assert setting.vhost.router.route(raw("amq.direct", "k")) is not route
    assert is_stale(setting, route), "who holds it can see that it no longer counts"


def test_routes_are_remembered_in_bounded_memory(setting: Setting) -> None:
    first = setting.vhost.router.route(raw("", "0"))
    for number in range(1, ROUTE_CACHE_ENTRIES_MAX):
        setting.vhost.router.route(raw("", str(number)))
    assert setting.vhost.router.route(raw("", "0")) is first
    setting.vhost.router.route(raw("", "one more"))
    assert setting.vhost.router.route(raw("", "0")) is not first


def test_wide_routes_are_remembered_in_bounded_memory(setting: Setting) -> None:
    """A fanout to many queues has a route of as many sinks for each routing key."""
    for number in range(WIDE_ROUTE_SINKS):
        setting.queue(f"q{number}")
    for number in range(WIDE_ROUTE_SINKS):
        setting.bind("amq.fanout", f"q{number}")
    router = setting.vhost.router
    narrow = router.route(raw("", "q0"))
    wide = router.route(raw("amq.fanout", "0"))
    for number in range(1, WIDE_ROUTES_SINKS_MAX // WIDE_ROUTE_SINKS):
        router.route(raw("amq.fanout", str(number)))
    assert router.route(raw("amq.fanout", "0")) is wide
    router.route(raw("amq.fanout", "one more"))
    assert router.route(raw("amq.fanout", "0")) is not wide
    assert router.route(raw("", "q0")) is narrow


def test_a_change_drops_a_large_cache_in_slices(setting: Setting) -> None:
    router, work = setting.vhost.router, setting.vhost.work
    routes = [router.route(raw("", str(number))) for number in range(3 * ROUTES_DROPPED_AT_ONCE)]
    router.invalidate()
    assert not work.is_empty()
    assert all(is_stale(setting, route) for route in routes)
    assert router.route(raw("", "0")) is not routes[0]
    work.run_next(setting.vhost.time_slice)
    assert not work.is_empty()
    work.run_all(setting.vhost.time_slice)
    assert work.is_empty()


def test_a_walk_that_is_interrupted_finds_the_same_sinks(setting: Setting) -> None:
    setting.queue("q")
    for number in range(20):
        setting.exchange(f"x{number}", "topic")
        setting.bind(f"x{number}", "q", "#.a.#.*")
    for number in range(19):
        setting.bind(f"x{number}", f"x{number + 1}", "#")
    router = setting.vhost.router
    walk = RouteWalk(router.exchanges, setting.vhost.queues, "x0", ["a.b", "b.a.c"], message())
    over = TimeSlice()
    slices = 1
    while not walk.run(over):
        slices += 1
    assert slices > 40
    assert list(walk.reached) == router.sinks_for("x0", ["a.b", "b.a.c"], message())


def test_a_walk_along_a_chain_of_alternate_exchanges_is_cut_at_each_of_them(
    setting: Setting,
) -> None:
    for number in range(10):
        setting.exchange(f"x{number}", "direct", alternate_exchange=f"x{number + 1}")
    setting.exchange("x10", "fanout")
    setting.queue("q")
    setting.bind("x10", "q", "")
    router = setting.vhost.router
    walk = RouteWalk(router.exchanges, setting.vhost.queues, "x0", ["k"], None)
    over = TimeSlice()
    slices = 1
    while not walk.run(over):
        slices += 1
    assert slices > 10
    assert [sink.name for sink in walk.reached] == ["q"]


@pytest.mark.parametrize(
    ("exchange", "code", "text"),
    [
        ("none", ReplyCode.NOT_FOUND, "no exchange 'none' in vhost 'v'"),
        (
            "amq.rabbitmq.trace",
            ReplyCode.ACCESS_REFUSED,
            "cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost 'v'",
        ),
    ],
)
def test_what_cannot_be_published_to_is_refused_every_time(
    setting: Setting, exchange: str, code: ReplyCode, text: str
) -> None:
    for _ in range(2):
        with pytest.raises(AmqpError) as raised:
            setting.route(exchange, "k")
        assert (raised.value.code, raised.value.text) == (code, text)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_a_routing_key_may_be_any_octets(key: bytes) -> None:
    setting = Setting()
    setting.queue("q")
    text = key.decode("utf-8", "surrogateescape")
    setting.bind("amq.direct", "q", text)
    assert setting.route("amq.direct", text) == ["q"]


def test_replies_come_and_go_without_a_route_being_forgotten() -> None:
    setting = Setting()
    setting.queue("q")
    remembered = setting.vhost.router.route(raw("", "q"))
    queue = Queue("replies")

    setting.vhost.router.add_reply_sink(queue)
    found = setting.vhost.router.route(raw("", "replies"))
    assert found.sinks == [queue]
    assert found.raw == raw("", "replies")
    assert setting.vhost.router.sinks_for("", ["unknown", "replies"], message()) == [queue]

    setting.vhost.router.remove_reply_sink(queue)
    assert is_stale(setting, found)
    assert setting.route("", "replies") == []
    assert setting.vhost.router.route(raw("", "q")) is remembered
    assert not is_stale(setting, remembered)


def test_replies_are_reached_through_the_default_exchange_only() -> None:
    setting = Setting()
    setting.vhost.router.add_reply_sink(Queue("replies"))
    assert setting.route("amq.direct", "replies") == []


def test_an_exchange_remembers_a_message_only_when_its_walk_is_done(setting: Setting) -> None:
    setting.queue("q")
    setting.exchange("x0", "x-recent-history")
    for name in ("x1", "x2", "x3"):
        setting.exchange(name)
        setting.bind("x0", name)
        setting.bind(name, "q")
    history = setting.vhost.exchanges["x0"]
    walk = setting.vhost.router.walk("x0", ["k"], message())
    over = TimeSlice()
    slices = 1
    while not walk.run(over):
        slices += 1
        assert history.recent() == []
    assert slices > 2
    assert len(history.recent()) == 1

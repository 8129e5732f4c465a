"""Permissions: every method against every kind of object, with each right missing in turn."""

from typing import NamedTuple

import pytest
from pamqp import commands
from pamqp.base import Frame
from pamqp.commands import Basic, Exchange, Queue

from leveret.engine.metadata.entities import (
    Permission,
    TopicPermission,
    User,
    VirtualHostEntity,
)
from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, start_ok

ANY = ".*"
NONE = "^$"


class Need(NamedTuple):
    """A right that a method asks for."""

    right: str
    kind: str
    name: str

    @property
    def refusal(self) -> str:
        shown = self.name or "amq.default"
        return f"{self.right} access to {self.kind} '{shown}' in vhost '/' refused for user 'guest'"


def queue(right: str, name: str = "q") -> Need:
    return Need(right, "queue", name)


def exchange(right: str, name: str = "x") -> Need:
    return Need(right, "exchange", name)


class Row(NamedTuple):
    """A method, the reply to it, and the rights it needs in the order in which they are checked."""

    method: Frame
    reply: type[Frame] | None
    needs: tuple[Need, ...] = ()


def declare(**how: object) -> Frame:
    return wire.unvalidated(Queue.Declare, **how)


ROWS = {
    "declare an exchange": Row(
        Exchange.Declare(exchange="new"), Exchange.DeclareOk, (exchange("configure", "new"),)
    ),
    "declare an exchange again": Row(
        Exchange.Declare(exchange="x"), Exchange.DeclareOk, (exchange("configure"),)
    ),
    "declare an exchange with an alternate": Row(
        Exchange.Declare(exchange="new", arguments={"alternate-exchange": "x"}),
        Exchange.DeclareOk,
        (exchange("configure", "new"), exchange("read", "new"), exchange("write", "x")),
    ),
    "look for an exchange": Row(Exchange.Declare(exchange="x", passive=True), Exchange.DeclareOk),
    "delete an exchange": Row(
        Exchange.Delete(exchange="x"), Exchange.DeleteOk, (exchange("configure"),)
    ),
    "bind an exchange": Row(
        Exchange.Bind(destination="x", source="amq.direct"),
        Exchange.BindOk,
        (exchange("write"), exchange("read", "amq.direct")),
    ),
    "unbind an exchange": Row(
        Exchange.Unbind(destination="x", source="amq.direct"),
        Exchange.UnbindOk,
        (exchange("write"), exchange("read", "amq.direct")),
    ),
    "declare a queue": Row(declare(queue="new"), Queue.DeclareOk, (queue("configure", "new"),)),
    "declare a queue again": Row(declare(queue="q"), Queue.DeclareOk, (queue("configure"),)),
    "declare a queue with dead letters": Row(
        declare(queue="new", arguments={"x-dead-letter-exchange": "x"}),
        Queue.DeclareOk,
        (queue("configure", "new"), queue("read", "new"), exchange("write")),
    ),
    "look for a queue": Row(declare(queue="q", passive=True), Queue.DeclareOk),
    "delete a queue": Row(Queue.Delete(queue="q"), Queue.DeleteOk, (queue("configure"),)),
    "purge a queue": Row(Queue.Purge(queue="q"), Queue.PurgeOk, (queue("read"),)),
    "bind a queue": Row(
        Queue.Bind(queue="q", exchange="x"),
        Queue.BindOk,
        (queue("write"), exchange("read")),
    ),
    "unbind a queue": Row(
        Queue.Unbind(queue="q", exchange="x"),
        Queue.UnbindOk,
        (queue("write"), exchange("read")),
    ),
    "consume": Row(Basic.Consume(queue="q", consumer_tag="c"), Basic.ConsumeOk, (queue("read"),)),
    "get": Row(Basic.Get(queue="q"), Basic.GetEmpty, (queue("read"),)),
    "publish": Row(Basic.Publish(exchange="x", routing_key="k"), None, (exchange("write"),)),
    "publish to a queue": Row(
        Basic.Publish(exchange="", routing_key="q"), None, (exchange("write", ""),)
    ),
    "set the prefetch": Row(Basic.Qos(prefetch_count=1), Basic.QosOk),
    "recover": Row(Basic.Recover(requeue=True), Basic.RecoverOk),
    "select transactions": Row(commands.Tx.Select(), commands.Tx.SelectOk),
    "select confirms": Row(commands.Confirm.Select(), commands.Confirm.SelectOk),
}


@pytest.fixture
def client(harness: Harness) -> Client:
    client = harness.open_client(1)
    client.call(1, Exchange.Declare(exchange="x"), Exchange.DeclareOk)
    client.declare(1, "q")
    return client


def allow(harness: Harness, configure: str = ANY, write: str = ANY, read: str = ANY) -> None:
    harness.broker.metadata.put(Permission("guest", "/", configure, write, read))


def without(need: Need) -> dict[str, str]:
    """Patterns that allow everything but one thing."""
    name = need.name or "amq.default"
    return {need.right: f"^(?!{name}$)"}


def send(client: Client, method: Frame) -> None:
    if isinstance(method, Basic.Publish):
        client.publish(1, method.routing_key, b"1", exchange=method.exchange)
    else:
        client.send(1, method)


def state(harness: Harness) -> list[object]:
    """All that a method could have changed."""
    vhost = harness.broker.vhosts["/"]
    return [
        {name: (each.type, each.durable, each.arguments) for name, each in vhost.exchanges.items()},
        {name: (each.durable, each.arguments) for name, each in vhost.queues.items()},
        {name: int(each.message_count()) for name, each in vhost.queues.items()},
        {name: each.consumer_count for name, each in vhost.queues.items()},
        {name: each.bindings() for name, each in vhost.exchanges.items()},
        list(harness.broker.metadata.records()),
    ]


CELLS = [(name, need) for name, row in ROWS.items() for need in row.needs]


@pytest.mark.parametrize(
    ("name", "need"), CELLS, ids=[f"{name}, {need.right} {need.kind}" for name, need in CELLS]
)
def test_a_method_needs_each_of_its_rights(
    harness: Harness, client: Client, name: str, need: Need
) -> None:
    row = ROWS[name]
    allow(harness, **without(need))
    before = state(harness)
    send(client, row.method)
    client.expect_error(1, ReplyCode.ACCESS_REFUSED, need.refusal, type(row.method))
    assert state(harness) == before
    client.reopen_channel(1)


@pytest.mark.parametrize("name", ROWS)
def test_a_method_needs_no_other_rights(harness: Harness, client: Client, name: str) -> None:
    row = ROWS[name]
    allowed: dict[str, list[str]] = {"configure": [], "write": [], "read": []}
    for need in row.needs:
        allowed[need.right].append(need.name or "amq.default")
    allow(harness, **{right: f"^({'|'.join(names)})$" for right, names in allowed.items()})
    send(client, row.method)
    if row.reply is not None:
        client.expect_method(1, row.reply)
    client.expect_nothing()
    allow(harness)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.needs])
def test_an_empty_pattern_allows_nothing(harness: Harness, client: Client, name: str) -> None:
    row = ROWS[name]
    allow(harness, "", "", "")
    before = state(harness)
    send(client, row.method)
    client.expect_error(1, ReplyCode.ACCESS_REFUSED, row.needs[0].refusal, type(row.method))
    assert state(harness) == before
    client.reopen_channel(1)


def test_a_name_that_the_broker_makes_needs_a_right(harness: Harness, client: Client) -> None:
    allow(harness, configure="^q$")
    client.send(1, Queue.Declare(queue=""))
    close = client.expect_method(1, commands.Channel.Close)
    assert close.reply_text.startswith("ACCESS_REFUSED - configure access to queue 'amq.gen-")
    client.reopen_channel(1)
    allow(harness, configure="^amq\\.gen")
    client.call(1, Queue.Declare(queue=""), Queue.DeclareOk)


def test_a_change_reaches_the_next_message(harness: Harness, client: Client) -> None:
    client.publish(1, "q", b"1", exchange="x")
    allow(harness, write=NONE)
    client.publish(1, "q", b"2", exchange="x")
    client.expect_error(1, ReplyCode.ACCESS_REFUSED, exchange("write").refusal, Basic.Publish)
    client.reopen_channel(1)
    allow(harness, write="^x$")
    client.publish(1, "q", b"3", exchange="x")
    client.publish(1, "other", b"3", exchange="x")
    client.expect_nothing()
    harness.broker.metadata.delete(Permission, "guest", "/")
    client.publish(1, "q", b"4", exchange="x")
    client.expect_error(1, ReplyCode.ACCESS_REFUSED, exchange("write").refusal, Basic.Publish)


class TestTopics:
    @pytest.fixture
    def topics(self, harness: Harness, client: Client) -> Client:
        client.call(1, Exchange.Declare(exchange="t", exchange_type="topic"), Exchange.DeclareOk)
        harness.broker.metadata.put(
            TopicPermission("guest", "/", "t", r"^{username}\.", r"^(#|{vhost})$")
        )
        return client

    def refusal(self, right: str, key: str) -> str:
        return (
            f"{right} access to topic '{key}' in exchange 't' in vhost '/' refused for user 'guest'"
        )

    def test_the_routing_key_of_a_publish_is_checked(self, topics: Client) -> None:
        for key in ("guest.a", "guest.b", "guest.a"):
            topics.publish(1, key, b"1", exchange="t")
        topics.expect_nothing()
        topics.publish(1, "guests.a", b"1", exchange="t")
        topics.expect_error(
            1, ReplyCode.ACCESS_REFUSED, self.refusal("write", "guests.a"), Basic.Publish
        )
        topics.reopen_channel(1)

    @pytest.mark.parametrize(
        "bind",
        [
            Queue.Bind(queue="q", exchange="t", routing_key="a"),
            Queue.Unbind(queue="q", exchange="t", routing_key="a"),
            Exchange.Bind(destination="x", source="t", routing_key="a"),
            Exchange.Unbind(destination="x", source="t", routing_key="a"),
        ],
    )
    def test_the_routing_key_of_a_binding_is_checked(self, topics: Client, bind: Frame) -> None:
        topics.send(1, bind)
        topics.expect_error(1, ReplyCode.ACCESS_REFUSED, self.refusal("read", "a"), type(bind))
        topics.reopen_channel(1)

    def test_other_exchanges_and_types_are_free(self, harness: Harness, topics: Client) -> None:
        topics.publish(1, "a", b"1", exchange="amq.topic")
        harness.broker.metadata.put(TopicPermission("guest", "/", "x", NONE, NONE))
        topics.publish(1, "a", b"1", exchange="x")
        topics.expect_nothing()

    def test_an_exchange_that_becomes_a_topic_exchange_is_checked(
        self, harness: Harness, topics: Client
    ) -> None:
        harness.broker.metadata.put(TopicPermission("guest", "/", "x", NONE, NONE))
        topics.publish(1, "a", b"1", exchange="x")
        topics.call(1, Exchange.Delete(exchange="x"), Exchange.DeleteOk)
        topics.call(1, Exchange.Declare(exchange="x", exchange_type="topic"), Exchange.DeclareOk)
        topics.publish(1, "a", b"1", exchange="x")
        topics.expect_method(1, commands.Channel.Close)
        topics.reopen_channel(1)


def tuned(harness: Harness) -> Client:
    """A client that has logged in, and has to open its connection."""
    client = harness.connect()
    client.feed(wire.PROTOCOL_HEADER)
    client.expect_method(0, commands.Connection.Start)
    client.call(0, start_ok(), commands.Connection.Tune)
    client.send(0, commands.Connection.TuneOk(2047, 131_072, 0))
    return client


class TestVirtualHosts:
    def test_a_user_needs_a_permission(self, harness: Harness) -> None:
        harness.broker.metadata.put(VirtualHostEntity("shop"))
        client = tuned(harness)
        client.send(0, commands.Connection.Open("shop"))
        client.expect_error(
            0,
            ReplyCode.NOT_ALLOWED,
            "access to vhost 'shop' refused for user 'guest'",
            commands.Connection.Open,
        )
        client.send(0, commands.Connection.CloseOk())

    def test_the_connections_of_a_deleted_user_are_closed(self, harness: Harness) -> None:
        client = harness.open_client(1)
        harness.broker.metadata.delete(User, "guest")
        harness.broker.work.run_all(harness.broker.time_slice)
        client.expect_error(0, ReplyCode.CONNECTION_FORCED, "user 'guest' is deleted")
        client.send(0, commands.Connection.CloseOk())
        client.expect_socket_closed()

    def test_a_deleted_virtual_host_takes_everything_with_it(self, harness: Harness) -> None:
        harness.add_vhost("shop")
        shop = harness.open_client(1, vhost="shop")
        shop.declare(1, "q")
        shop.publish(1, "q", b"1")
        other = harness.open_client(1)
        other.declare(1, "q")
        harness.broker.metadata.delete(VirtualHostEntity, "shop")
        harness.broker.work.run_all(harness.broker.time_slice)
        shop.expect_error(0, ReplyCode.CONNECTION_FORCED, "vhost 'shop' is deleted")
        shop.send(0, commands.Connection.CloseOk())
        harness.add_vhost("shop")
        again = harness.open_client(1, vhost="shop")
        again.send(1, declare(queue="q", passive=True))
        again.expect_error(1, ReplyCode.NOT_FOUND, "no queue 'q' in vhost 'shop'", Queue.Declare)
        again.reopen_channel(1)
        other.declare(1, "q")


class TestLimits:
    def test_queues_of_a_virtual_host(self, harness: Harness, client: Client) -> None:
        harness.broker.metadata.put(VirtualHostEntity("/", limits={"max-queues": 1}))
        client.declare(1, "q")
        client.send(1, declare(queue="new"))
        client.expect_error(
            1,
            ReplyCode.PRECONDITION_FAILED,
            "cannot declare queue 'new': queue limit in vhost '/' (1) is reached",
            Queue.Declare,
        )
        client.reopen_channel(1)

    @pytest.mark.parametrize(
        ("entity", "text"),
        [
            (
                VirtualHostEntity("/", limits={"max-connections": 1}),
                "access to vhost '/' refused for user 'guest': connection limit (1) is reached",
            ),
            (
                User("guest", limits={"max-connections": 1}),
                "connection refused for user 'guest': user connection limit (1) is reached",
            ),
        ],
    )
    def test_connections(
        self, harness: Harness, entity: VirtualHostEntity | User, text: str
    ) -> None:
        first = harness.open_client(1)
        second = tuned(harness)
        harness.broker.metadata.put(entity)
        second.send(0, commands.Connection.Open("/"))
        second.expect_error(0, ReplyCode.NOT_ALLOWED, text, commands.Connection.Open)
        second.send(0, commands.Connection.CloseOk())
        first.declare(1, "q")

    def test_channels_of_a_user(self, harness: Harness, client: Client) -> None:
        user = harness.broker.metadata.get(User, "guest")
        assert user is not None
        harness.broker.metadata.put(User("guest", user.password_hash, limits={"max-channels": 2}))
        client.open_channels(2)
        client.close_channels(2)
        client.open_channels(2)
        client.send(3, commands.Channel.Open())
        client.expect_error(
            0,
            ReplyCode.NOT_ALLOWED,
            "number of channels opened for user 'guest' has reached the maximum allowed user "
            "limit of (2)",
        )
        client.send(0, commands.Connection.CloseOk())


def test_the_default_queue_type_is_that_of_the_virtual_host(
    harness: Harness, client: Client
) -> None:
    harness.broker.metadata.put(VirtualHostEntity("/", default_queue_type="quorum"))
    client.declare(1, "durable", durable=True)
    client.declare(1, "transient")
    client.declare(1, "classic", durable=True, arguments={"x-queue-type": "classic"})
    types = {
        name: each.arguments.get("x-queue-type")
        for name, each in harness.broker.vhosts["/"].queues.items()
    }
    assert types == {"q": None, "durable": "quorum", "transient": None, "classic": "classic"}


def test_an_impersonator_may_set_any_user_id(harness: Harness) -> None:
    user = harness.broker.metadata.get(User, "guest")
    assert user is not None
    harness.broker.metadata.put(User("guest", user.password_hash, tags=("impersonator",)))
    client = harness.open_client(1)
    client.publish(1, "q", b"1", properties=commands.Basic.Properties(user_id="somebody"))
    client.expect_nothing()

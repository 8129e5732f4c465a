"""What declaring, binding and deleting is refused for: code, text, scope, and the method named.

Every refusal closes channel 1, and channel 2 of the same connection goes on.
"""

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue

from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import Client, Harness

DEFAULT_EXCHANGE = "operation not permitted on the default exchange"
LOCKED = (
    "cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally "
    "declared on another connection or the exclusive property value does not match that of the "
    "original declaration."
)


@pytest.fixture
def client(harness: Harness) -> Client:
    """A client with an exchange of every kind of interest, and queues `q` and `full`."""
    client = harness.open_client(1, 2)
    for exchange in (
        Exchange.Declare(exchange="x", exchange_type="direct"),
        Exchange.Declare(exchange="inner", exchange_type="fanout", internal=True),
        Exchange.Declare(
            exchange="other", exchange_type="direct", arguments={"alternate-exchange": "amq.fanout"}
        ),
        Exchange.Declare(exchange="bound", exchange_type="topic", durable=True, auto_delete=True),
    ):
        client.call(2, exchange, Exchange.DeclareOk)
    client.declare(2, "q", durable=True)
    client.declare(2, "full", arguments={"x-message-ttl": 20_000})
    client.publish(2, "full", b"1")
    client.call(2, Queue.Bind(queue="q", exchange="bound", routing_key="#"), Queue.BindOk)
    return client


def goes_on(client: Client) -> None:
    """Channel 2 is untouched, and 1 can be opened again."""
    client.send(2, Queue.Declare(queue="q", passive=True))
    client.expect_method(2, Queue.DeclareOk)
    client.reopen_channel(1)


def exchange(name: str, kind: str = "direct", **how: object) -> Exchange.Declare:
    return Exchange.Declare(exchange=name, exchange_type=kind, **how)  # type: ignore[arg-type]


EXCHANGES: list[tuple[Frame, ReplyCode, str]] = [
    (exchange("", passive=True), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
    (exchange(""), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
    (
        exchange("none", passive=True),
        ReplyCode.NOT_FOUND,
        "no exchange 'none' in vhost '/'",
    ),
    (
        exchange("amq.mine"),
        ReplyCode.ACCESS_REFUSED,
        "exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    ),
    (
        exchange("new", "magic"),
        ReplyCode.PRECONDITION_FAILED,
        "unknown exchange type 'magic'",
    ),
    (
        exchange("x", "fanout", durable=True),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'type' for exchange 'x' in vhost '/': "
            "received 'fanout' but current is 'direct'"
        ),
    ),
    (
        exchange("x", durable=True, auto_delete=True),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'durable' for exchange 'x' in vhost '/': "
            "received 'true' but current is 'false'"
        ),
    ),
    (
        exchange("x", auto_delete=True, internal=True),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': "
            "received 'true' but current is 'false'"
        ),
    ),
    (
        exchange("inner", "fanout"),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'internal' for exchange 'inner' in vhost '/': "
            "received 'false' but current is 'true'"
        ),
    ),
    (
        exchange("x", arguments={"alternate-exchange": "amq.fanout"}),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': "
            "received the value 'amq.fanout' of type 'longstr' but current is none"
        ),
    ),
    (Exchange.Delete(exchange=""), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
    (
        Exchange.Delete(exchange="amq.direct"),
        ReplyCode.ACCESS_REFUSED,
        "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    ),
    (
        Exchange.Delete(exchange="bound", if_unused=True),
        ReplyCode.PRECONDITION_FAILED,
        "exchange 'bound' in vhost '/' in use",
    ),
    (
        Exchange.Bind(destination="x", source="none"),
        ReplyCode.NOT_FOUND,
        "no exchange 'none' in vhost '/'",
    ),
    (
        Exchange.Bind(destination="none", source="x"),
        ReplyCode.NOT_FOUND,
        "no exchange 'none' in vhost '/'",
    ),
    (Exchange.Bind(destination="", source="x"), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
    (Exchange.Bind(destination="x", source=""), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
    (Exchange.Unbind(destination="x", source=""), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
]


@pytest.mark.parametrize(("method", "code", "text"), EXCHANGES)
def test_an_exchange_method_is_refused_on_its_channel(
    client: Client, method: Frame, code: ReplyCode, text: str
) -> None:
    client.send(1, method)
    client.expect_error(1, code, text, type(method))
    goes_on(client)


def queue(name: str, **how: object) -> Queue.Declare:
    return Queue.Declare(queue=name, **how)  # type: ignore[arg-type]


NO_QUEUE = "no queue 'none' in vhost '/'"
NO_LAST_QUEUE = "no previously declared queue"

QUEUES: list[tuple[Frame, ReplyCode, str]] = [
    (queue("none", passive=True), ReplyCode.NOT_FOUND, NO_QUEUE),
    (
        queue("amq.mine"),
        ReplyCode.ACCESS_REFUSED,
        "queue name 'amq.mine' contains reserved prefix 'amq.*'",
    ),
    (
        queue("q"),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'durable' for queue 'q' in vhost '/': "
            "received 'false' but current is 'true'"
        ),
    ),
    (
        queue("q", durable=True, auto_delete=True),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': "
            "received 'true' but current is 'false'"
        ),
    ),
    (
        queue("full"),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'x-message-ttl' for queue 'full' in vhost '/': "
            "received none but current is the value '20000' of type 'short'"
        ),
    ),
    (
        queue("full", arguments={"x-message-ttl": 7}),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'x-message-ttl' for queue 'full' in vhost '/': "
            "received '7' but current is '20000'"
        ),
    ),
    (
        queue("full", arguments={"x-message-ttl": 20000.0}),
        ReplyCode.PRECONDITION_FAILED,
        (
            "inequivalent arg 'x-message-ttl' for queue 'full' in vhost '/': "
            "received '20000.0' but current is '20000'"
        ),
    ),
    (
        queue("new", arguments={"x-message-ttl": -5}),
        ReplyCode.PRECONDITION_FAILED,
        "invalid arg 'x-message-ttl' for queue 'new' in vhost '/': {value_negative,-5}",
    ),
    (
        queue("new", arguments={"x-expires": 0}),
        ReplyCode.PRECONDITION_FAILED,
        "invalid arg 'x-expires' for queue 'new' in vhost '/': {value_zero,0}",
    ),
    (
        queue("new", arguments={"x-dead-letter-routing-key": "k"}),
        ReplyCode.PRECONDITION_FAILED,
        (
            "invalid arg 'x-dead-letter-routing-key' for queue 'new' in vhost '/': "
            "routing_key_but_no_dlx_defined"
        ),
    ),
    (queue("q", durable=True, exclusive=True), ReplyCode.RESOURCE_LOCKED, LOCKED),
    (Queue.Bind(queue="none", exchange="x"), ReplyCode.NOT_FOUND, NO_QUEUE),
    (
        Queue.Bind(queue="q", exchange="none"),
        ReplyCode.NOT_FOUND,
        "no exchange 'none' in vhost '/'",
    ),
    (Queue.Bind(queue="q", exchange=""), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
    (Queue.Unbind(queue="q", exchange=""), ReplyCode.ACCESS_REFUSED, DEFAULT_EXCHANGE),
    (
        Queue.Bind(queue="q", exchange="amq.headers", arguments={"x-match": "some"}),
        ReplyCode.PRECONDITION_FAILED,
        'Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x',
    ),
    (Queue.Purge(queue="none"), ReplyCode.NOT_FOUND, NO_QUEUE),
    (
        Queue.Delete(queue="full", if_empty=True),
        ReplyCode.PRECONDITION_FAILED,
        "queue 'full' in vhost '/' not empty",
    ),
    (Queue.Purge(queue=""), ReplyCode.NOT_FOUND, NO_LAST_QUEUE),
    (Queue.Delete(queue=""), ReplyCode.NOT_FOUND, NO_LAST_QUEUE),
    (Queue.Bind(queue="", exchange="x"), ReplyCode.NOT_FOUND, NO_LAST_QUEUE),
    (Basic.Consume(queue=""), ReplyCode.NOT_FOUND, NO_LAST_QUEUE),
    (Basic.Get(queue=""), ReplyCode.NOT_FOUND, NO_LAST_QUEUE),
    (Basic.Consume(queue="none"), ReplyCode.NOT_FOUND, NO_QUEUE),
    (Basic.Get(queue="none"), ReplyCode.NOT_FOUND, NO_QUEUE),
]


@pytest.mark.parametrize(("method", "code", "text"), QUEUES)
def test_a_queue_method_is_refused_on_its_channel(
    client: Client, method: Frame, code: ReplyCode, text: str
) -> None:
    client.send(1, method)
    client.expect_error(1, code, text.replace("'mine'", "'q'"), type(method))
    goes_on(client)


def test_a_queue_in_use_is_not_deleted_if_unused(client: Client) -> None:
    client.consume(2, "q", "c")
    client.send(1, Queue.Delete(queue="q", if_unused=True))
    client.expect_error(
        1, ReplyCode.PRECONDITION_FAILED, "queue 'q' in vhost '/' in use", Queue.Delete
    )
    goes_on(client)


@pytest.mark.parametrize(
    "method",
    [
        queue("mine", exclusive=True),
        queue("mine", passive=True),
        Queue.Bind(queue="mine", exchange="amq.direct"),
        Queue.Purge(queue="mine"),
        Queue.Delete(queue="mine"),
        Basic.Consume(queue="mine"),
        Basic.Get(queue="mine"),
    ],
    ids=lambda method: method.name,
)
def test_an_exclusive_queue_is_locked_to_others(
    harness: Harness, bob: Client, method: Frame
) -> None:
    bob.declare(1, "mine", exclusive=True)
    client = harness.open_client(1)
    client.send(1, method)
    client.expect_error(1, ReplyCode.RESOURCE_LOCKED, LOCKED, type(method))
    bob.send(1, queue("mine", passive=True))
    bob.expect(1, Queue.DeclareOk("mine", 0, 0))


def test_anybody_may_publish_to_an_exclusive_queue(alice: Client, bob: Client) -> None:
    bob.declare(1, "mine", exclusive=True)
    alice.publish(1, "mine", b"for bob")
    bob.consume(1, "mine", "c", no_ack=True)
    bob.expect_delivery(1, "c", 1, b"for bob", key="mine")


# --- what is no error ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        (exchange("x"), Exchange.DeclareOk()),
        (exchange("x", "whatever", passive=True), Exchange.DeclareOk()),
        (exchange("amq.topic", "topic", durable=True), Exchange.DeclareOk()),
        (Exchange.Delete(exchange="none"), Exchange.DeleteOk()),
        (Exchange.Delete(exchange="x", if_unused=True), Exchange.DeleteOk()),
        (Exchange.Delete(exchange="bound"), Exchange.DeleteOk()),
        (Exchange.Unbind(destination="none", source="nor me"), Exchange.UnbindOk()),
        (Exchange.Unbind(destination="x", source="bound"), Exchange.UnbindOk()),
        (queue("q", durable=True), Queue.DeclareOk("q", 0, 0)),
        (queue("full", passive=True), Queue.DeclareOk("full", 1, 0)),
        (queue("new", arguments={"x-unknown": {"any": 1}}), Queue.DeclareOk("new", 0, 0)),
        (Queue.Bind(queue="q", exchange="bound", routing_key="#"), Queue.BindOk()),
        (Queue.Unbind(queue="none", exchange="x"), Queue.UnbindOk()),
        (Queue.Unbind(queue="q", exchange="none"), Queue.UnbindOk()),
        (Queue.Unbind(queue="q", exchange="x", routing_key="none"), Queue.UnbindOk()),
        (Queue.Purge(queue="full"), Queue.PurgeOk(1)),
        (Queue.Delete(queue="full"), Queue.DeleteOk(1)),
        (Queue.Delete(queue="none", if_unused=True, if_empty=True), Queue.DeleteOk(0)),
        (Queue.Delete(queue="q", if_unused=True, if_empty=True), Queue.DeleteOk(0)),
    ],
)
def test_a_request_that_changes_nothing_or_may_is_answered(
    client: Client, method: Frame, reply: Frame
) -> None:
    client.send(1, method)
    client.expect(1, reply)


@pytest.mark.parametrize(
    "method",
    [
        exchange("y", nowait=True),
        Exchange.Delete(exchange="x", nowait=True),
        Exchange.Bind(destination="x", source="bound", nowait=True),
        Exchange.Unbind(destination="x", source="bound", nowait=True),
        queue("new", nowait=True),
        Queue.Bind(queue="q", exchange="x", nowait=True),
        Queue.Purge(queue="full", nowait=True),
        Queue.Delete(queue="full", nowait=True),
        Basic.Consume(queue="q", consumer_tag="c", nowait=True),
        Basic.Cancel(consumer_tag="c", nowait=True),
    ],
    ids=lambda method: method.name,
)
def test_nowait_is_not_answered_but_done(client: Client, method: Frame) -> None:
    client.send(1, method)
    client.expect_nothing()


def test_nowait_has_its_effect(harness: Harness, alice: Client) -> None:
    alice.send(1, exchange("y", nowait=True), queue("new", nowait=True))
    alice.send(1, Queue.Bind(queue="new", exchange="y", routing_key="k", nowait=True))
    alice.publish(1, "k", b"1", exchange="y")
    assert harness.queue("new").message_count() == 1
    alice.send(1, Queue.Purge(queue="new", nowait=True))
    assert harness.queue("new").message_count() == 0
    alice.send(1, Queue.Delete(queue="new", nowait=True))
    alice.send(1, Exchange.Delete(exchange="y", nowait=True))
    assert not harness.has_queue("new")
    assert not harness.has_exchange("y")


def test_nowait_is_refused_all_the_same(client: Client) -> None:
    client.send(1, queue("none", passive=True, nowait=True))
    client.expect_error(1, ReplyCode.NOT_FOUND, NO_QUEUE, Queue.Declare)


# --- names -----------------------------------------------------------------------------------


def test_a_queue_without_a_name_is_given_one(alice: Client) -> None:
    alice.send(1, queue(""), queue(""))
    names = [alice.expect_method(1, Queue.DeclareOk).queue or "" for _ in range(2)]
    assert all(name.startswith("amq.gen-") and len(name) == 30 for name in names)
    assert names[0] != names[1]
    alice.send(1, queue(names[0], passive=True))
    alice.expect(1, Queue.DeclareOk(names[0], 0, 0))
    alice.send(1, Queue.Delete(queue=names[0]), Queue.Delete(queue=names[1]))
    alice.expect(1, Queue.DeleteOk(0), Queue.DeleteOk(0))


def test_an_empty_name_is_the_queue_declared_last_on_the_channel(harness: Harness) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "first", "last")
    client.declare(2, "of another channel")
    client.publish(1, "last", b"1", b"2")
    client.send(1, Basic.Get(queue="", no_ack=True))
    assert client.expect_content(1).body == b"1"
    client.send(1, Queue.Bind(queue="", exchange="amq.direct", routing_key="k"))
    client.expect(1, Queue.BindOk())
    client.publish(1, "k", b"3", exchange="amq.direct")
    client.send(1, Queue.Purge(queue=""))
    client.expect(1, Queue.PurgeOk(2))
    client.consume(1, "", "c")
    client.send(1, queue("first", passive=True))
    client.expect(1, Queue.DeclareOk("first", 0, 0))
    client.send(1, Queue.Delete(queue=""))
    client.expect(1, Queue.DeleteOk(0))
    assert not harness.has_queue("first")
    client.send(1, Queue.Purge(queue=""))
    client.expect_error(1, ReplyCode.NOT_FOUND, "no queue 'first' in vhost '/'", Queue.Purge)


def test_a_binding_of_the_last_queue_without_a_key_has_its_name_as_the_key(
    harness: Harness,
) -> None:
    client = harness.open_client(1)
    client.declare(1, "last")
    client.call(1, Queue.Bind(queue="", exchange="amq.direct", routing_key=""), Queue.BindOk)
    client.publish(1, "last", b"1", exchange="amq.direct")
    client.publish(1, "", b"2", exchange="amq.direct")
    assert harness.queue("last").message_count() == 1
    client.call(1, Queue.Unbind(queue="", exchange="amq.direct", routing_key=""), Queue.UnbindOk)
    client.publish(1, "last", b"3", exchange="amq.direct")
    assert harness.queue("last").message_count() == 1


def test_line_ends_are_left_out_of_names(harness: Harness, alice: Client) -> None:
    alice.send(1, wire.unvalidated(Queue.Declare, queue="\nq\r\nq\r"))
    alice.expect(1, Queue.DeclareOk("qq", 0, 0))
    alice.call(
        1,
        wire.unvalidated(Exchange.Declare, exchange="x\n", exchange_type="direct"),
        Exchange.DeclareOk,
    )
    assert harness.has_exchange("x")


@pytest.mark.parametrize(
    "name", ["ж" * 127 + "x", "[1]{2}*?&%$", "a\tb", "\x00", "line\u2028end", "q" * 255]
)
def test_a_name_may_be_any_255_octets_of_text(alice: Client, name: str) -> None:
    alice.send(1, wire.unvalidated(Queue.Declare, queue=name))
    alice.expect(
        1, wire.unvalidated(Queue.DeclareOk, queue=name, message_count=0, consumer_count=0)
    )
    alice.publish(1, name, b"1")
    alice.consume(1, name, name, no_ack=True)
    alice.expect_delivery(1, name, 1, b"1", key=name)


def test_a_reply_text_is_cut_to_what_fits(alice: Client) -> None:
    name = "n" * 255
    alice.send(1, queue(name, passive=True))
    text = alice.expect_method(1, Channel.Close).reply_text
    assert text == f"NOT_FOUND - no queue '{name}"[:252] + "..."


# --- exclusive and auto-delete ---------------------------------------------------------------


def test_exclusive_queues_are_gone_before_close_is_answered(harness: Harness, bob: Client) -> None:
    client = harness.open_client(1)
    client.declare(1, "mine", exclusive=True)
    client.publish(1, "mine", b"1")
    client.reads = False
    client.send(0, Connection.Close(200, "", 0, 0))
    bob.declare(1, "mine", exclusive=True)
    client.reads = True
    client.expect(0, Connection.CloseOk())
    client.expect_socket_closed()
    assert harness.queue("mine").message_count() == 0
    assert not harness.queue("mine").deleted, "the queue of that name is bob's now"


def test_exclusive_queues_go_with_the_socket(harness: Harness, alice: Client) -> None:
    alice.declare(1, "mine", exclusive=True)
    alice.call(1, Queue.Bind(queue="mine", exchange="amq.fanout"), Queue.BindOk)
    alice.lose_socket()
    assert not harness.has_queue("mine")
    assert not harness.broker.vhosts["/"].exchanges["amq.fanout"].is_bound()


def test_exclusive_queues_outlive_their_channel(harness: Harness, alice: Client) -> None:
    alice.declare(1, "mine", exclusive=True)
    alice.close_channels(1)
    assert harness.has_queue("mine")


@pytest.mark.parametrize("how", ["deleted", "auto-deleted", "left by its channel"])
def test_exclusive_queues_that_are_gone_are_forgotten(harness: Harness, how: str) -> None:
    """Who makes a queue for each answer it waits for must not grow with their number."""
    client = harness.open_client(1)
    for _ in range(3):
        client.open_channels(2)
        client.declare(2, "mine", exclusive=True, auto_delete=True)
        if how == "deleted":
            client.call(1, Queue.Delete(queue="mine"), Queue.DeleteOk)
        else:
            client.consume(2, "mine", "c")
            if how == "auto-deleted":
                client.call(2, Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
        client.close_channels(2)
    assert not harness.has_queue("mine")
    assert client.connection.session.exclusive_queues == {}


def test_an_auto_delete_queue_goes_with_its_last_consumer(harness: Harness) -> None:
    client = harness.open_client(1, 2, 3)
    client.declare(1, "q", auto_delete=True)
    client.consume(1, "q", "first")
    client.consume(2, "q", "second")
    client.consume(3, "q", "third")
    client.call(1, Basic.Cancel(consumer_tag="first"), Basic.CancelOk)
    client.close_channels(2)
    assert harness.has_queue("q")
    client.close_channels(3)
    assert not harness.has_queue("q")


def test_an_auto_delete_queue_that_was_never_consumed_stays(
    harness: Harness, alice: Client
) -> None:
    alice.declare(1, "q", auto_delete=True)
    alice.send(1, Basic.Get(queue="q"))
    alice.expect_method(1, Basic.GetEmpty)
    alice.lose_socket()
    assert harness.has_queue("q")


def test_an_auto_delete_exchange_goes_with_its_last_binding(
    harness: Harness, alice: Client
) -> None:
    alice.declare(1, "q", "r")
    alice.call(1, exchange("x", auto_delete=True), Exchange.DeclareOk)
    for name in ("q", "r"):
        alice.call(1, Queue.Bind(queue=name, exchange="x", routing_key="k"), Queue.BindOk)
    alice.call(1, Queue.Unbind(queue="q", exchange="x", routing_key="k"), Queue.UnbindOk)
    assert harness.has_exchange("x")
    alice.call(1, Queue.Delete(queue="r"), Queue.DeleteOk)
    assert not harness.has_exchange("x")


def test_auto_deletion_climbs_up_bindings_of_exchanges(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    for name in ("top", "middle", "bottom"):
        alice.call(1, exchange(name, "fanout", auto_delete=True), Exchange.DeclareOk)
    for destination, source in (("middle", "top"), ("bottom", "middle")):
        alice.call(1, Exchange.Bind(destination=destination, source=source), Exchange.BindOk)
    alice.call(1, Queue.Bind(queue="q", exchange="bottom"), Queue.BindOk)
    alice.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    assert not any(harness.has_exchange(name) for name in ("top", "middle", "bottom"))


def test_an_auto_delete_exchange_that_was_never_bound_stays(
    harness: Harness, alice: Client
) -> None:
    alice.call(1, exchange("x", auto_delete=True), Exchange.DeclareOk)
    alice.lose_socket()
    assert harness.has_exchange("x")

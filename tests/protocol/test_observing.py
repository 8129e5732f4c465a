"""What an observer of publishes is told, and that clients see nothing of it."""

from collections.abc import Iterator

import pytest
from pamqp.commands import Basic, Confirm, Exchange, Queue, Tx

from leveret.engine.routing.observer import Origin, PublishObserver
from leveret.engine.routing.sink import Sink
from leveret.engine.values.message import Message
from leveret.limits import FAN_OUT_AT_ONCE
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, returned
from tests.protocol.sessions import SESSION

Told = tuple[str, list[str], bytes, list[str]]
"""Exchange, routing keys, body, and the names of the sinks."""


class Observer(PublishObserver):
    """Notes what it is told, and refuses as many messages as it was asked to."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.origins: list[Origin] = []
        self.vhosts: list[str] = []
        self.refused_bodies: list[bytes] = []
        self.to_refuse = 0

    def published(
        self,
        vhost: str,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
        origin: Origin,
    ) -> None:
        self.told.append((exchange, routing_keys, message.body, [sink.name for sink in sinks]))
        self.origins.append(origin)
        self.vhosts.append(vhost)

    def refused(self, message: Message) -> None:
        self.refused_bodies.append(message.body)

    def refuses(
        self,
        vhost: str,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
    ) -> bool:
        if self.to_refuse == 0:
            return False
        self.to_refuse -= 1
        self.refused_bodies.append(message.body)
        return True


@pytest.fixture
def observer(harness: Harness) -> Observer:
    observer = Observer()
    harness.broker.observe_publishes(observer)
    return observer


def bind(client: Client, queue: str, exchange: str, key: str = "") -> None:
    client.call(1, Queue.Bind(queue=queue, exchange=exchange, routing_key=key), Queue.BindOk)


def declare_exchange(client: Client, name: str, kind: str = "fanout", **arguments: object) -> None:
    table = {name.replace("_", "-"): value for name, value in arguments.items()}
    declare = wire.unvalidated(Exchange.Declare, exchange=name, exchange_type=kind, arguments=table)
    client.call(1, declare, Exchange.DeclareOk)


# --- what it is told -------------------------------------------------------------------------


def test_it_is_told_of_each_message_once(alice: Client, observer: Observer) -> None:
    alice.declare(1, "q", "r")
    for queue in ("q", "r"):
        bind(alice, queue, "amq.topic", "a.#")
    alice.publish(1, "q", b"1", b"2")
    alice.publish(1, "a.b", b"3", b"4", exchange="amq.topic")
    assert observer.told == [
        ("", ["q"], b"1", ["q"]),
        ("", ["q"], b"2", ["q"]),
        ("amq.topic", ["a.b"], b"3", ["q", "r"]),
        ("amq.topic", ["a.b"], b"4", ["q", "r"]),
    ]
    assert set(observer.origins) == {Origin.CLIENT}
    assert set(observer.vhosts) == {"/"}


def test_it_is_told_of_what_a_publisher_sends_that_has_published_before(
    harness: Harness, alice: Client
) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"before")
    observer = Observer()
    harness.broker.observe_publishes(observer)
    alice.publish(1, "q", b"while")
    harness.broker.observe_publishes(None)
    alice.publish(1, "q", b"after")
    assert [body for _, _, body, _ in observer.told] == [b"while"]


def test_it_is_told_of_virtual_hosts_that_are_added(harness: Harness, observer: Observer) -> None:
    harness.add_vhost("other")
    client = harness.open_client(1, vhost="other")
    client.declare(1, "q")
    client.publish(1, "q", b"1")
    assert observer.told == [("", ["q"], b"1", ["q"])]
    assert observer.vhosts == ["other"]


def test_it_is_told_all_routing_keys(alice: Client, observer: Observer) -> None:
    alice.declare(1, "q", "r", "s")
    copies = Basic.Properties(headers={"CC": ["r"], "BCC": ["s"]})
    alice.publish(1, "q", b"1", properties=copies)
    assert observer.told == [("", ["q", "r", "s"], b"1", ["q", "r", "s"])]


def test_an_unroutable_message_has_no_sinks_and_is_returned(
    alice: Client, observer: Observer
) -> None:
    alice.publish(1, "nowhere", b"1", mandatory=True)
    alice.expect(1, returned(b"1", key="nowhere"))
    alice.publish(1, "nowhere", b"2")
    assert observer.told == [("", ["nowhere"], b"1", []), ("", ["nowhere"], b"2", [])]


def test_what_goes_to_an_alternate_exchange_was_published_to_the_first(
    alice: Client, observer: Observer
) -> None:
    alice.declare(1, "q")
    declare_exchange(alice, "x", "direct", alternate_exchange="amq.fanout")
    bind(alice, "q", "amq.fanout")
    alice.publish(1, "k", b"1", exchange="x", mandatory=True)
    assert observer.told == [("x", ["k"], b"1", ["q"])]


def test_a_headers_exchange_routes_as_without_it(alice: Client, observer: Observer) -> None:
    alice.declare(1, "q")
    binding = Queue.Bind(queue="q", exchange="amq.headers", arguments={"x-match": "all", "a": 1})
    alice.call(1, binding, Queue.BindOk)
    for number in (1, 2):
        properties = Basic.Properties(headers={"a": number})
        alice.publish(1, "", b"%d" % number, exchange="amq.headers", properties=properties)
    assert observer.told == [("amq.headers", [""], b"1", ["q"]), ("amq.headers", [""], b"2", [])]


def test_a_dead_letter_is_told_after_the_message_that_displaced_it(
    alice: Client, observer: Observer
) -> None:
    alice.declare(1, "dead")
    arguments = {
        "x-max-length": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
    }
    alice.declare(1, "q", arguments=arguments)
    alice.publish(1, "q", b"1", b"2")
    assert observer.told == [
        ("", ["q"], b"1", ["q"]),
        ("", ["q"], b"2", ["q"]),
        ("", ["dead"], b"1", ["dead"]),
    ]
    assert observer.origins[-1] is Origin.DEAD_LETTER


def test_dead_letters_of_one_kind_are_all_told(alice: Client, observer: Observer) -> None:
    declare_exchange(alice, "dlx", "headers")
    alice.declare(1, "q", arguments={"x-max-length": 1, "x-dead-letter-exchange": "dlx"})
    alice.publish(1, "q", b"1", b"2", b"3", b"4")
    assert [told for told in observer.told if told[0]] == [
        ("dlx", ["q"], b"1", []),
        ("dlx", ["q"], b"2", []),
        ("dlx", ["q"], b"3", []),
    ]


def test_a_delayed_message_is_told_again_when_it_is_released(
    harness: Harness, alice: Client, observer: Observer
) -> None:
    alice.declare(1, "q")
    declare_exchange(alice, "later", "x-delayed-message", x_delayed_type="fanout")
    bind(alice, "q", "later")
    properties = Basic.Properties(headers={"x-delay": 1000})
    alice.publish(1, "k", b"1", exchange="later", properties=properties)
    assert [(told[0], told[1], told[2]) for told in observer.told] == [("later", ["k"], b"1")]
    harness.advance_clock(1001)
    harness.broker.work.run_all(harness.broker.time_slice)
    assert observer.told[1:] == [("later", ["k"], b"1", ["q"])]
    assert observer.origins == [Origin.CLIENT, Origin.DELAY]


def test_a_transaction_is_told_when_it_is_committed(alice: Client, observer: Observer) -> None:
    alice.declare(1, "q")
    alice.call(1, Tx.Select(), Tx.SelectOk)
    copies = Basic.Properties(headers={"BCC": ["r"]})
    alice.publish(1, "q", b"1", properties=copies)
    assert observer.told == []
    alice.call(1, Tx.Commit(), Tx.CommitOk)
    assert observer.told == [("", ["q", "r"], b"1", ["q"])]
    alice.publish(1, "q", b"2")
    alice.call(1, Tx.Rollback(), Tx.RollbackOk)
    assert len(observer.told) == 1


def test_a_queue_that_is_deleted_before_the_commit_is_not_told(
    alice: Client, observer: Observer
) -> None:
    alice.declare(1, "q")
    alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "q", b"1")
    alice.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    alice.call(1, Tx.Commit(), Tx.CommitOk)
    assert observer.told == [("", ["q"], b"1", [])]


@pytest.mark.parametrize("transacts", [False, True])
def test_a_message_to_very_many_queues_is_told_once(
    alice: Client, observer: Observer, transacts: bool
) -> None:
    queues = [f"q{number}" for number in range(FAN_OUT_AT_ONCE + 1)]
    alice.declare(1, *queues)
    for queue in queues:
        bind(alice, queue, "amq.fanout")
    if transacts:
        alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "", b"1", exchange="amq.fanout")
    if transacts:
        alice.call(1, Tx.Commit(), Tx.CommitOk)
    assert observer.told == [("amq.fanout", [""], b"1", queues)]


def test_replies_to_a_direct_reply_to_consumer_are_told(
    harness: Harness, alice: Client, observer: Observer
) -> None:
    alice.declare(1, "q")
    alice.consume(1, "amq.rabbitmq.reply-to", "c", no_ack=True)
    properties = Basic.Properties(reply_to="amq.rabbitmq.reply-to")
    alice.publish(1, "q", b"request", properties=properties)
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    reply_to = alice.expect_content(1).properties.reply_to
    assert reply_to is not None
    alice.publish(1, reply_to, b"1", b"2")
    for number in (1, 2):
        alice.expect_delivery(1, "c", number + 1, b"%d" % number, key=reply_to)
    assert observer.told[1:] == [
        ("", [reply_to], b"1", [reply_to]),
        ("", [reply_to], b"2", [reply_to]),
    ]


# --- refusing --------------------------------------------------------------------------------


def test_a_queue_that_refuses_is_told(alice: Client, observer: Observer) -> None:
    alice.declare(1, "q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    alice.call(1, Confirm.Select(), Confirm.SelectOk)
    alice.publish(1, "q", b"1")
    alice.expect(1, Basic.Ack(1))
    alice.publish(1, "q", b"2")
    alice.expect(1, Basic.Nack(2, requeue=False))
    assert observer.refused_bodies == [b"2"]
    assert len(observer.told) == 2


def test_one_of_very_many_queues_that_refuses_is_told(alice: Client, observer: Observer) -> None:
    queues = [f"q{number}" for number in range(FAN_OUT_AT_ONCE)]
    alice.declare(1, *queues)
    alice.declare(1, "full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    for queue in [*queues, "full"]:
        bind(alice, queue, "amq.fanout")
    alice.publish(1, "", b"1", exchange="amq.fanout")
    assert observer.refused_bodies == [b"1"]


def test_the_observer_has_a_message_refused(
    harness: Harness, alice: Client, observer: Observer
) -> None:
    alice.declare(1, "q")
    alice.call(1, Confirm.Select(), Confirm.SelectOk)
    observer.to_refuse = 1
    alice.publish(1, "q", b"1", mandatory=True)
    alice.expect(1, Basic.Nack(1, requeue=False))
    alice.publish(1, "q", b"2", mandatory=True)
    alice.expect(1, Basic.Ack(2))
    assert observer.told == [("", ["q"], b"2", ["q"])]
    assert observer.refused_bodies == [b"1"]
    assert harness.queue("q").message_count() == 1


def test_only_messages_that_are_confirmed_are_refused(alice: Client, observer: Observer) -> None:
    alice.declare(1, "q")
    observer.to_refuse = 1
    alice.publish(1, "q", b"1")
    assert observer.told == [("", ["q"], b"1", ["q"])]
    assert observer.to_refuse == 1


# --- what clients see ------------------------------------------------------------------------


def replies(observer: PublishObserver | None) -> Iterator[bytes]:
    """What the broker sends in a session in which everything has its place."""
    harness = Harness()
    harness.broker.observe_publishes(observer)
    client = harness.connect()
    client.decodes = False
    for octets in SESSION:
        client.feed_unchecked(octets)
    yield from client.frames
    harness.close()


def test_clients_see_nothing_of_it() -> None:
    assert list(replies(Observer())) == list(replies(None))

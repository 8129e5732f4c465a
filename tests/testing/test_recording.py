"""The record of publishes: what went through exchanges, while it was asked for."""

import json
from base64 import b64encode
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError, UnroutableError

from leveret.testing import Broker, BrokerError, RecordingDropped, UnmetExpectation

SHORT_S = 0.01
"""Seconds for what does not come."""


@pytest.fixture
def channel(broker: Broker) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def unmet(error: pytest.ExceptionInfo[UnmetExpectation]) -> list[str]:
    """The clauses of a text."""
    return str(error.value).split("; ")


def test_what_was_published_is_recorded(broker: Broker, channel: BlockingChannel) -> None:
    channel.exchange_declare("shop", "topic")
    channel.queue_declare("q")
    channel.queue_bind("q", "shop", "order.*")
    broker.record()
    properties = pika.BasicProperties(headers={"a": 1})
    channel.basic_publish("shop", "order.created", b'{"id": 1}', properties)
    channel.basic_publish("", "q", b"2")
    (order,) = broker.published("shop")
    assert order.json() == {"id": 1}
    assert (order.exchange, order.routing_key) == ("shop", "order.created")
    assert (order.headers, order.vhost, order.queues) == ({"a": 1}, "/", ("q",))
    assert (order.origin, order.refused, order.unroutable) == ("client", False, False)
    assert [each.body for each in broker.published()] == [b'{"id": 1}', b"2"]
    assert [each.body for each in broker.published("")] == [b"2"]
    assert [each.body for each in broker.published(routing_key="q")] == [b"2"]
    assert broker.published("shop", "q") == []


def test_copies_are_found_by_each_routing_key(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("a")
    channel.queue_declare("b")
    broker.record()
    copies = pika.BasicProperties(headers={"CC": ["b"]})
    channel.basic_publish("", "a", b"1", copies)
    (published,) = broker.published(routing_key="b")
    assert published.routing_keys == ("a", "b")
    assert set(published.queues) == {"a", "b"}


def test_unroutable_messages_are_seen(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    broker.record()
    channel.basic_publish("", "q", b"1")
    channel.basic_publish("", "nowhere", b"2")
    with pytest.raises(UnroutableError):
        channel.basic_publish("amq.topic", "k", b"3", mandatory=True)
    assert [each.body for each in broker.unroutable()] == [b"2", b"3"]
    assert repr(broker.unroutable()[0]) == (
        "<Published 'nowhere' of the default exchange to no queue: 2>"
    )


def test_refused_messages_are_seen(broker: Broker, channel: BlockingChannel) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    channel.queue_declare("q", arguments=arguments)
    broker.record()
    channel.basic_publish("", "q", b"1")
    with pytest.raises(NackError):
        channel.basic_publish("", "q", b"2")
    assert [(each.body, each.refused) for each in broker.published()] == [
        (b"1", False),
        (b"2", True),
    ]
    assert broker.unroutable() == []


def test_dead_letters_and_delayed_messages_are_seen(
    broker: Broker, channel: BlockingChannel
) -> None:
    channel.exchange_declare("later", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    channel.exchange_declare("dead", "fanout")
    arguments = {"x-message-ttl": 1000, "x-dead-letter-exchange": "dead"}
    channel.queue_declare("q", arguments=arguments)
    channel.queue_bind("q", "later")
    broker.record()
    delayed = pika.BasicProperties(headers={"x-delay": 5000})
    channel.basic_publish("later", "k", b"1", delayed)
    broker.advance(10)
    first, released, dead = broker.published()
    assert first.delayed
    assert not first.unroutable
    assert (released.origin, released.exchange, released.queues) == ("delay", "later", ("q",))
    assert (dead.origin, dead.exchange, dead.queues) == ("dead letter", "dead", ())
    assert dead.unroutable
    assert dead.headers["x-death"][0]["reason"] == "expired"


def test_duplicates_are_seen(broker: Broker, channel: BlockingChannel) -> None:
    deduplicates = {"x-cache-size": 10, "x-cache-ttl": 60_000}
    channel.exchange_declare("once", "x-message-deduplication", arguments=deduplicates)
    channel.queue_declare("q")
    channel.queue_bind("q", "once", "k")
    broker.record()
    properties = pika.BasicProperties(headers={"x-deduplication-header": "same"})
    for body in (b"1", b"2"):
        channel.basic_publish("once", "k", body, properties)
    assert [each.duplicate for each in broker.published()] == [False, True]
    assert broker.unroutable() == []


def test_what_is_published_over_http_is_seen() -> None:
    with Broker(management=True) as broker, broker.record():
        body = {"routing_key": "nowhere", "payload": "1", "properties": {}}
        request = Request(
            f"{broker.management_url}/api/exchanges/%2F/amq.default/publish",
            json.dumps({**body, "payload_encoding": "string"}).encode(),
            {"Authorization": f"Basic {b64encode(b'guest:guest').decode()}"},
        )
        with urlopen(request, timeout=60) as answer:
            assert json.load(answer) == {"routed": False}
        (published,) = broker.unroutable()
        assert (published.exchange, published.routing_key, published.body) == ("", "nowhere", b"1")


def test_recording_ends_with_its_statement(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    channel.basic_publish("", "q", b"before")
    with broker.record() as recording:
        channel.basic_publish("", "q", b"while")
    channel.basic_publish("", "q", b"after")
    assert [each.body for each in recording.published()] == [b"while"]
    assert [each.body for each in broker.published()] == [b"while"]
    broker.record()
    assert broker.published() == []


def test_recording_that_was_not_asked_for_says_how(broker: Broker) -> None:
    for look in (broker.published, broker.unroutable, broker.wait_for_published):
        with pytest.raises(BrokerError) as error:
            look()
        assert str(error.value) == (
            "publishes are not recorded: call broker.record() before the application publishes,"
            " and again after a reset or a restart of the broker"
        )
    broker.record()
    assert broker.published() == []
    broker.reset()
    with pytest.raises(BrokerError, match="publishes are not recorded"):
        broker.published()


def test_a_broker_may_stop_while_it_records() -> None:
    with Broker() as broker, broker.record():
        broker.stop()


def test_the_record_is_bounded_and_says_what_it_dropped(
    broker: Broker, channel: BlockingChannel
) -> None:
    channel.queue_declare("q")
    broker.record(messages_max=2)
    for number in range(3):
        channel.basic_publish("", "q", b"%d" % number)
    with pytest.warns(RecordingDropped, match="the oldest 1 message was dropped"):
        assert [each.body for each in broker.published()] == [b"1", b"2"]
    broker.record(bytes_max=10)
    for size in (6, 4, 5, 20):
        channel.basic_publish("", "q", bytes(size))
    with pytest.warns(RecordingDropped, match="the oldest 3 messages were dropped"):
        assert [each.size for each in broker.published()] == [20]
    with pytest.raises(BrokerError, match="record one message and one byte at least"):
        broker.record(messages_max=0)


def test_publishes_are_waited_for(broker: Broker, channel: BlockingChannel) -> None:
    broker.record()
    channel.basic_publish("amq.fanout", "k", b"1")
    (published,) = broker.wait_for_published(1, "amq.fanout", "k")
    assert published.body == b"1"


def test_publishes_that_do_not_come_are_told(broker: Broker, channel: BlockingChannel) -> None:
    broker.record()
    with pytest.raises(UnmetExpectation) as error:
        broker.wait_for_published(1, "shop", "order", timeout=SHORT_S)
    assert str(error.value) == (
        "0 messages were published to exchange 'shop' with routing key 'order' after 0.01 s, 1 was"
        " expected; nothing was published at all; there is no exchange 'shop'"
    )
    channel.exchange_declare("shops", "fanout")
    channel.basic_publish("shops", "order", b"1")
    with pytest.raises(UnmetExpectation) as error:
        broker.wait_for_published(2, "shop", timeout=SHORT_S)
    assert unmet(error) == [
        "0 messages were published to exchange 'shop' after 0.01 s, 2 were expected",
        "published were 1 to exchange 'shops' with routing key 'order'",
        "there is no exchange 'shop'",
        "did you mean 'shops'?",
    ]
    with pytest.raises(UnmetExpectation) as error:
        broker.wait_for_published(2, timeout=SHORT_S)
    assert unmet(error) == [
        "1 message was published after 0.01 s, 2 were expected",
        "1 message to exchange 'shops' reached no queue (routing key 'order')",
    ]


def test_many_addresses_are_counted(broker: Broker, channel: BlockingChannel) -> None:
    broker.record()
    for number in range(7):
        channel.basic_publish("", f"q{number}", b"")
    with pytest.raises(UnmetExpectation, match="and to 2 more"):
        broker.wait_for_published(1, "amq.topic", timeout=SHORT_S)

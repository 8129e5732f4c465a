"""kombu: connections, declared entities, producers, consumers and its simple queues."""

# mypy: disable-error-code="no-untyped-call"
# (kombu says it is typed, and annotates few of its functions.)

import queue as queues
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.messaging import Consumer, Producer

from tests.support.brokers import Broker

EVENT_DEADLINE_S = 60.0


@pytest.fixture
def connection(broker: Broker) -> Iterator[Connection]:
    """A kombu connection that confirms what it publishes."""
    options = {"confirm_publish": True}
    with Connection(
        broker.url, transport_options=options, connect_timeout=EVENT_DEADLINE_S
    ) as opened:
        yield opened


def consume(connection: Connection, queue: Queue, count: int, **options: Any) -> list[Any]:
    """Take `count` messages from a queue and acknowledge them; returns them with their bodies."""
    received: list[Any] = []

    def on_message(body: Any, message: Any) -> None:
        received.append((body, message))
        message.ack()

    with Consumer(connection, [queue], callbacks=[on_message], **options):
        while len(received) < count:
            connection.drain_events(timeout=EVENT_DEADLINE_S)
    return received


def test_a_producer_declares_and_a_consumer_receives(connection: Connection, name: str) -> None:
    exchange = Exchange(name, type="topic", durable=True)
    queue = Queue(name, exchange, routing_key="hare.*")

    Producer(connection).publish(
        {"leaps": 3}, exchange=exchange, routing_key="hare.leap", declare=[queue], retry=True
    )

    ((body, message),) = consume(connection, queue, 1)
    assert body == {"leaps": 3}
    assert message.delivery_info["routing_key"] == "hare.leap"
    assert message.content_type == "application/json"


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_serialised_and_compressed_bodies_arrive(
    connection: Connection, name: str, serializer: str
) -> None:
    queue = Queue(name, durable=True)

    Producer(connection).publish(
        ["x"] * 1000,
        routing_key=name,
        declare=[queue],
        serializer=serializer,
        compression="zlib",
    )

    ((body, _message),) = consume(connection, queue, 1, accept=[serializer])
    assert body == ["x"] * 1000


def test_a_simple_queue_puts_counts_and_gets(connection: Connection, name: str) -> None:
    with connection.SimpleQueue(name) as simple:
        simple.put({"n": 1})
        simple.put({"n": 2})
        counted = simple.qsize()
        messages = [simple.get(timeout=EVENT_DEADLINE_S) for _ in range(2)]
        for message in messages:
            message.ack()

        assert counted == 2
        assert [message.payload for message in messages] == [{"n": 1}, {"n": 2}]
        with pytest.raises(queues.Empty):
            simple.get(block=False)


def test_a_requeued_message_comes_back(connection: Connection, name: str) -> None:
    with connection.SimpleQueue(name) as simple:
        simple.put("again")
        simple.get(timeout=EVENT_DEADLINE_S).requeue()

        message = simple.get(timeout=EVENT_DEADLINE_S)
        message.ack()

        assert message.payload == "again"
        assert message.delivery_info["redelivered"] is True


def test_a_rejected_message_is_gone(connection: Connection, name: str) -> None:
    queue = Queue(name, channel=connection.default_channel, durable=True)
    queue.declare()
    Producer(connection).publish("unwanted", routing_key=name)
    message = queue.get()
    assert message is not None

    message.reject()

    assert queue.get() is None


def test_a_priority_and_a_queue_with_priorities_are_accepted(
    connection: Connection, name: str
) -> None:
    queue = Queue(name, max_priority=10, durable=True)
    producer = Producer(connection)
    for priority in (1, 9):
        producer.publish(priority, routing_key=name, declare=[queue], priority=priority)

    received = consume(connection, queue, 2)

    assert {body: message.properties["priority"] for body, message in received} == {1: 1, 9: 9}


@pytest.mark.parametrize("apply_global", [False, True])
def test_both_kinds_of_prefetch_bound_the_deliveries(
    connection: Connection, name: str, apply_global: bool
) -> None:
    queue = Queue(name, channel=connection.default_channel, durable=True)
    queue.declare()
    producer = Producer(connection)
    for number in range(4):
        producer.publish(number, routing_key=name)
    seen: list[Any] = []
    consumer = Consumer(
        connection, [queue], callbacks=[lambda body, message: seen.append((body, message))]
    )
    consumer.qos(prefetch_count=1, apply_global=apply_global)

    with consumer:
        while not seen:
            connection.drain_events(timeout=EVENT_DEADLINE_S)
        waiting = queue.queue_declare(passive=True).message_count
        seen[0][1].ack()
        while len(seen) < 2:
            connection.drain_events(timeout=EVENT_DEADLINE_S)

    assert waiting == 3
    assert [body for body, _message in seen] == [0, 1]


def test_a_heartbeat_check_passes_while_the_broker_lives(broker: Broker) -> None:
    with Connection(broker.url, heartbeat=30, connect_timeout=EVENT_DEADLINE_S) as connection:
        connection.connect()

        for _ in range(3):
            connection.heartbeat_check(rate=2)

        assert connection.get_heartbeat_interval() == 30
        assert connection.connected


def test_exchanges_bind_to_exchanges(connection: Connection, name: str) -> None:
    channel = connection.default_channel
    front = Exchange(f"{name}-front", "fanout", channel=channel)
    back = Exchange(f"{name}-back", "direct", channel=channel)
    front.declare()
    back.declare()
    back.bind_to(front)
    queue = Queue(name, back, routing_key="key", channel=channel)
    queue.declare()

    Producer(connection).publish("through", exchange=front, routing_key="key")

    message = queue.get()
    assert message is not None
    assert message.payload == "through"


def test_unroutable_messages_come_back(connection: Connection, name: str) -> None:
    returned: list[tuple[int, str]] = []
    producer = Producer(
        connection,
        on_return=lambda error, _exchange, key, _message: returned.append((error.reply_code, key)),
    )

    producer.publish("anyone?", routing_key=name, mandatory=True)

    assert returned == [(312, name)]


def test_a_consumer_ends_when_its_queue_is_deleted(
    broker: Broker, connection: Connection, name: str
) -> None:
    queue = Queue(name, durable=True)
    with Consumer(connection, [queue], callbacks=[lambda *_: None]):
        with Connection(broker.url, connect_timeout=EVENT_DEADLINE_S) as other:
            queue.bind(other.default_channel).delete()

        with pytest.raises(connection.connection_errors):
            connection.drain_events(timeout=EVENT_DEADLINE_S)

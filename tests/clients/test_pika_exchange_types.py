"""The exchange types that RabbitMQ has in plugins, through pika."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from tests.support.brokers import Leveret

KEYS = [f"order-{number}" for number in range(60)]


@pytest.fixture
def publisher(channel: BlockingChannel) -> BlockingChannel:
    """A channel whose publishes have been routed when they return."""
    channel.confirm_delivery()
    return channel


def bound_queues(
    channel: BlockingChannel, exchange: str, count: int, key: str = "1", **declaration: Any
) -> list[str]:
    """Queues bound to an exchange alike, with names that make their shares the same every time."""
    names = [f"{exchange.rpartition('-')[0]}.{number}" for number in range(count)]
    for name in names:
        channel.queue_declare(name, **(declaration or {"exclusive": True}))
        channel.queue_bind(name, exchange, key)
    return names


def bodies(channel: BlockingChannel, queue: str) -> list[str]:
    """All messages of a queue, taken out."""
    count = channel.queue_declare(queue, passive=True).method.message_count
    return [channel.basic_get(queue, auto_ack=True)[2].decode() for _ in range(count)]


def publish_keys(channel: BlockingChannel, exchange: str) -> None:
    """Publish a message with each of the keys, which is its body, too."""
    for key in KEYS:
        channel.basic_publish(exchange, key, key.encode(), mandatory=True)


@contextmanager
def opened(data_dir: Path) -> Iterator[BlockingChannel]:
    """A channel with confirms to a broker with these data, which is killed in the end."""
    with Leveret(data_dir=data_dir) as broker:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            yield channel
        finally:
            connection.close()
        broker.kill()


class TestConsistentHash:
    """x-consistent-hash."""

    def test_a_key_leads_to_one_queue_and_always_to_the_same(
        self, publisher: BlockingChannel, name: str
    ) -> None:
        publisher.exchange_declare(name, "x-consistent-hash")
        queues = bound_queues(publisher, name, 3)
        publish_keys(publisher, name)
        first = [bodies(publisher, queue) for queue in queues]
        assert sorted(key for keys in first for key in keys) == sorted(KEYS)
        assert all(first)
        publish_keys(publisher, name)
        assert [bodies(publisher, queue) for queue in queues] == first

    @pytest.mark.parametrize(
        ("argument", "property_name"),
        [("hash-header", "headers"), ("hash-property", "correlation_id")],
    )
    def test_an_argument_says_what_is_hashed(
        self, publisher: BlockingChannel, name: str, argument: str, property_name: str
    ) -> None:
        asked = "correlation_id" if argument == "hash-property" else "id"
        publisher.exchange_declare(name, "x-consistent-hash", arguments={argument: asked})
        queues = bound_queues(publisher, name, 3)

        def publish(values: list[str], key: str) -> list[list[str]]:
            for value in values:
                told: Any = {"id": value} if property_name == "headers" else value
                properties = pika.BasicProperties(**{property_name: told})
                publisher.basic_publish(name, key, value.encode(), properties)
            return [bodies(publisher, queue) for queue in queues]

        first = publish(KEYS, "a")
        assert all(first)
        assert publish(KEYS, "b") == first
        for number in range(10):
            publisher.basic_publish(name, KEYS[number], b"without")
        assert sorted(len(bodies(publisher, queue)) for queue in queues) == [0, 0, 10]

    def test_what_is_no_weight_is_refused(self, publisher: BlockingChannel, name: str) -> None:
        publisher.exchange_declare(name, "x-consistent-hash")
        queue = publisher.queue_declare("", exclusive=True).method.queue
        with pytest.raises(ChannelClosedByBroker) as refused:
            publisher.queue_bind(queue, name, "heavy")
        assert (refused.value.reply_code, refused.value.reply_text) == (
            406,
            'PRECONDITION_FAILED - The binding key must be an integer: <<"heavy">>',
        )

    def test_two_things_to_hash_are_refused_for_a_new_exchange_only(
        self, connect: Callable[..., pika.BlockingConnection], name: str
    ) -> None:
        connection = connect()
        both = {"hash-header": "h", "hash-property": "message_id"}
        channel = connection.channel()
        with pytest.raises(ChannelClosedByBroker) as refused:
            channel.exchange_declare(name, "x-consistent-hash", arguments=both)
        assert refused.value.reply_text == (
            "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive"
        )
        channel = connection.channel()
        channel.exchange_declare(name, "x-consistent-hash")
        channel.exchange_declare(name, "x-consistent-hash", arguments=both)

    def test_keys_lead_the_same_way_after_a_restart(self, tmp_path: Path) -> None:
        with opened(tmp_path / "data") as channel:
            channel.exchange_declare("hash-x", "x-consistent-hash", durable=True)
            queues = bound_queues(channel, "hash-x", 5, durable=True)
            channel.queue_delete(queues.pop(1))
            publish_keys(channel, "hash-x")
            before = [bodies(channel, queue) for queue in queues]
        with opened(tmp_path / "data") as channel:
            publish_keys(channel, "hash-x")
            assert [bodies(channel, queue) for queue in queues] == before

    def test_without_a_queue_the_alternate_exchange_gets_it(
        self, publisher: BlockingChannel, name: str
    ) -> None:
        publisher.exchange_declare(f"{name}-other", "fanout", auto_delete=True)
        publisher.exchange_declare(
            name, "x-consistent-hash", arguments={"alternate-exchange": f"{name}-other"}
        )
        with pytest.raises(UnroutableError):
            publisher.basic_publish(name, "k", b"lost", mandatory=True)
        queue = publisher.queue_declare("", exclusive=True).method.queue
        publisher.queue_bind(queue, f"{name}-other", "")
        publisher.basic_publish(name, "k", b"kept", mandatory=True)
        assert bodies(publisher, queue) == ["kept"]

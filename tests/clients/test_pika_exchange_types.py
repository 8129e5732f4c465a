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
from tests.support.channels import confirming_channel

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
        with confirming_channel(broker) as channel:
            yield channel
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
        publisher.basic_publish(name, "k", b"sent", mandatory=True)
        assert bodies(publisher, queue) == ["sent"]


class TestModulusHash:
    """x-modulus-hash."""

    def test_a_key_leads_to_one_queue_and_always_to_the_same(
        self, publisher: BlockingChannel, name: str
    ) -> None:
        publisher.exchange_declare(name, "x-modulus-hash")
        queues = bound_queues(publisher, name, 3, "any key")
        publish_keys(publisher, name)
        first = [bodies(publisher, queue) for queue in queues]
        assert sorted(key for keys in first for key in keys) == sorted(KEYS)
        assert all(first)
        publish_keys(publisher, name)
        assert [bodies(publisher, queue) for queue in queues] == first


@pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash"])
def test_keys_lead_the_same_way_after_a_restart(tmp_path: Path, kind: str) -> None:
    with opened(tmp_path / "data") as channel:
        channel.exchange_declare("hash-x", kind, durable=True)
        queues = bound_queues(channel, "hash-x", 5, durable=True)
        channel.queue_delete(queues.pop(1))
        publish_keys(channel, "hash-x")
        before = [bodies(channel, queue) for queue in queues]
    with opened(tmp_path / "data") as channel:
        publish_keys(channel, "hash-x")
        assert [bodies(channel, queue) for queue in queues] == before


def test_a_random_exchange_gives_every_message_to_one_queue(
    publisher: BlockingChannel, name: str
) -> None:
    publisher.exchange_declare(name, "x-random")
    queues = bound_queues(publisher, name, 2)
    publish_keys(publisher, name)
    publish_keys(publisher, name)
    found = [bodies(publisher, queue) for queue in queues]
    assert sorted(found[0] + found[1]) == sorted(KEYS + KEYS)
    # That one of two gets none of 120 messages happens once in 10**36 times.
    assert all(found)


class TestRecentHistory:
    """x-recent-history."""

    def test_a_new_queue_gets_what_was_published_last(
        self, publisher: BlockingChannel, name: str
    ) -> None:
        publisher.exchange_declare(
            name, "x-recent-history", arguments={"x-recent-history-length": 2}
        )
        for body in (b"one", b"two", b"three"):
            publisher.basic_publish(name, f"key of {body.decode()}", body)
        publisher.basic_publish(
            name,
            "k",
            b"secret",
            pika.BasicProperties(headers={"x-recent-history-no-store": True}),
        )
        queue = bound_queues(publisher, name, 1)[0]
        method, _, body = publisher.basic_get(queue, auto_ack=True)
        assert (method.exchange, method.routing_key, method.redelivered, body) == (
            name,
            "key of two",
            False,
            b"two",
        )
        assert bodies(publisher, queue) == ["three"]
        publisher.queue_bind(queue, name, "1")
        assert bodies(publisher, queue) == []
        publisher.basic_publish(name, "k", b"four")
        assert bodies(publisher, queue) == ["four"]

    def test_a_message_with_copies_is_kept_once(
        self, publisher: BlockingChannel, name: str
    ) -> None:
        publisher.exchange_declare(name, "x-recent-history")
        copied = pika.BasicProperties(headers={"CC": ["a", "b"], "BCC": ["c"]})
        publisher.basic_publish(name, "k", b"once", copied)
        queue = bound_queues(publisher, name, 1)[0]
        _, properties, _ = publisher.basic_get(queue, auto_ack=True)
        assert properties.headers == {"CC": ["a", "b"]}
        assert bodies(publisher, queue) == []

    @pytest.mark.parametrize(("length", "written"), [(0, "0"), ("many", '<<"many">>')])
    def test_a_length_that_is_no_positive_integer_is_refused(
        self, publisher: BlockingChannel, name: str, length: object, written: str
    ) -> None:
        with pytest.raises(ChannelClosedByBroker) as refused:
            publisher.exchange_declare(
                name, "x-recent-history", arguments={"x-recent-history-length": length}
            )
        assert refused.value.reply_code == 406
        assert refused.value.reply_text == (
            f"PRECONDITION_FAILED - Invalid argument {written}, "
            "'x-recent-history-length' must be a positive integer"
        )

    def test_the_history_begins_anew_with_a_restart_and_what_it_led_to_is_kept(
        self, tmp_path: Path
    ) -> None:
        persistent = pika.BasicProperties(delivery_mode=2)
        with opened(tmp_path / "data") as channel:
            channel.exchange_declare("history", "x-recent-history", durable=True)
            channel.basic_publish("history", "k", b"before", persistent)
            channel.queue_declare("q", durable=True)
            channel.queue_bind("q", "history", "")
        with opened(tmp_path / "data") as channel:
            assert bodies(channel, "q") == ["before"]
            channel.basic_publish("history", "k", b"after", persistent)
            assert bodies(channel, "q") == ["after"]
            channel.queue_bind("q", "history", "another key")
            assert bodies(channel, "q") == ["after"]

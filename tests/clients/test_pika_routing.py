"""Exchange types and their bindings, through pika."""

from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel


def bound_queue(
    channel: BlockingChannel, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
) -> str:
    """A new exclusive queue bound to `exchange`."""
    queue: str = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, key, arguments)
    return queue


def bodies(channel: BlockingChannel, queue: str) -> list[bytes]:
    """All messages of a queue, taken out."""
    count = channel.queue_declare(queue, passive=True).method.message_count
    return [channel.basic_get(queue, auto_ack=True)[2] for _ in range(count)]


@pytest.fixture
def publisher(channel: BlockingChannel) -> BlockingChannel:
    """A channel whose publishes have been routed when they return."""
    channel.confirm_delivery()
    return channel


def test_a_direct_exchange_matches_the_whole_key(publisher: BlockingChannel, name: str) -> None:
    publisher.exchange_declare(name, "direct")
    one, two = bound_queue(publisher, name, "a"), bound_queue(publisher, name, "a.b")

    publisher.basic_publish(name, "a", b"for one")
    publisher.basic_publish(name, "a.b", b"for two")
    publisher.basic_publish(name, "a.", b"for none")

    assert (bodies(publisher, one), bodies(publisher, two)) == ([b"for one"], [b"for two"])


def test_a_queue_bound_twice_gets_one_copy(publisher: BlockingChannel, name: str) -> None:
    publisher.exchange_declare(name, "topic")
    queue = bound_queue(publisher, name, "a.#")
    publisher.queue_bind(queue, name, "#.b")

    publisher.basic_publish(name, "a.b", b"once")

    assert bodies(publisher, queue) == [b"once"]


def test_unbinding_stops_the_flow(publisher: BlockingChannel, name: str) -> None:
    publisher.exchange_declare(name, "fanout")
    queue = bound_queue(publisher, name)
    publisher.basic_publish(name, "", b"before")

    publisher.queue_unbind(queue, name, "")
    publisher.basic_publish(name, "", b"after")

    assert bodies(publisher, queue) == [b"before"]


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("#", {"", "a", "a.b", "a.b.c"}),
        ("*", {"a"}),
        ("a.*", {"a.b"}),
        ("a.#", {"a", "a.b", "a.b.c"}),
        ("*.b.#", {"a.b", "a.b.c"}),
        ("#.c", {"a.b.c"}),
        ("a.b", {"a.b"}),
    ],
)
def test_a_topic_pattern_matches_word_by_word(
    publisher: BlockingChannel, name: str, pattern: str, keys: set[str]
) -> None:
    publisher.exchange_declare(name, "topic")
    queue = bound_queue(publisher, name, pattern)

    for key in ("", "a", "a.b", "a.b.c"):
        publisher.basic_publish(name, key, key.encode())

    assert {body.decode() for body in bodies(publisher, queue)} == keys


@pytest.mark.parametrize(
    ("binding", "headers", "matches"),
    [
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 0}, True),
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1}, False),
        ({"a": 1, "b": "x"}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": "x"}, {"a": 2, "b": "x"}, True),
        ({"x-match": "any", "a": 1, "b": "x"}, {"a": 2}, False),
        ({"x-match": "all", "a": None}, {"a": "anything"}, True),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all", "x-a": 1}, {}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
    ],
)
def test_a_headers_exchange_compares_headers(
    publisher: BlockingChannel,
    name: str,
    binding: dict[str, Any],
    headers: dict[str, Any],
    matches: bool,
) -> None:
    publisher.exchange_declare(name, "headers")
    queue = bound_queue(publisher, name, arguments=binding)

    publisher.basic_publish(name, "ignored", b"m", pika.BasicProperties(headers=headers))

    assert bodies(publisher, queue) == ([b"m"] if matches else [])


def test_exchanges_feed_exchanges_and_cycles_are_cut(publisher: BlockingChannel, name: str) -> None:
    front, back = f"{name}-front", f"{name}-back"
    publisher.exchange_declare(front, "topic")
    publisher.exchange_declare(back, "fanout")
    publisher.exchange_bind(destination=back, source=front, routing_key="a.*")
    publisher.exchange_bind(destination=front, source=back)
    queue = bound_queue(publisher, back)

    publisher.basic_publish(front, "a.b", b"through")
    publisher.basic_publish(front, "b.b", b"not through")
    publisher.exchange_unbind(destination=back, source=front, routing_key="a.*")
    publisher.basic_publish(front, "a.b", b"too late")

    assert bodies(publisher, queue) == [b"through"]


def test_an_alternate_exchange_takes_what_finds_no_queue(
    publisher: BlockingChannel, name: str
) -> None:
    publisher.exchange_declare(f"{name}-rest", "fanout")
    publisher.exchange_declare(name, "direct", arguments={"alternate-exchange": f"{name}-rest"})
    wanted, rest = bound_queue(publisher, name, "known"), bound_queue(publisher, f"{name}-rest")

    publisher.basic_publish(name, "known", b"1", mandatory=True)
    publisher.basic_publish(name, "unknown", b"2", mandatory=True)

    assert (bodies(publisher, wanted), bodies(publisher, rest)) == ([b"1"], [b"2"])


@pytest.mark.parametrize(
    ("exchange", "type_"),
    [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_predeclared_exchanges_can_be_declared_again(
    publisher: BlockingChannel, exchange: str, type_: str
) -> None:
    publisher.exchange_declare(exchange, type_, durable=True)

    assert publisher.is_open


def test_an_auto_delete_exchange_goes_with_its_last_binding(
    publisher: BlockingChannel, name: str
) -> None:
    publisher.exchange_declare(name, "fanout", auto_delete=True)
    queue = bound_queue(publisher, name)

    publisher.queue_unbind(queue, name, "")

    publisher.exchange_declare(name, "direct")
    assert publisher.is_open

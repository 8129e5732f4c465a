"""Messages that expire, are too many, are dead letters or fail too often, as pika sees them."""

from collections.abc import Callable, Mapping
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError

from tests.support.brokers import wait_until

Connect = Callable[..., pika.BlockingConnection]


def declare(channel: BlockingChannel, name: str, **more: object) -> str:
    """Declare a queue with further arguments.

    :returns: the name of the queue that gets its dead letters.
    """
    dead = f"{name}-dead"
    arguments = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
        **{f"x-{key.replace('_', '-')}": value for key, value in more.items()},
    }
    channel.queue_declare(dead, exclusive=True)
    channel.queue_declare(name, durable=True, arguments=arguments)
    return dead


def death(channel: BlockingChannel, queue: str) -> tuple[bytes, Mapping[str, Any]]:
    """Wait for a dead letter: its body, and what it died of last."""
    found: list[tuple[bytes, Mapping[str, Any]]] = []

    def arrived() -> bool:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            found.append((body, properties.headers["x-death"][0]))
        return bool(found)

    wait_until(arrived, what="a dead letter")
    return found[0]


@pytest.mark.parametrize("by", ["queue", "message"])
def test_a_message_expires(channel: BlockingChannel, name: str, by: str) -> None:
    dead = declare(channel, name, **({"message_ttl": 50} if by == "queue" else {}))
    properties = pika.BasicProperties(expiration="50" if by == "message" else None)
    channel.basic_publish("", name, b"1", properties)
    body, told = death(channel, dead)
    assert (body, told["reason"], told["queue"], told["count"]) == (b"1", "expired", name, 1)
    assert told.get("original-expiration") == ("50" if by == "message" else None)
    channel.queue_delete(name)


def test_a_queue_that_nobody_uses_goes(connect: Connect, name: str) -> None:
    channel = connect().channel()
    channel.queue_declare(name, arguments={"x-expires": 50})

    def is_deleted() -> bool:
        other = connect().channel()
        try:
            other.queue_bind(name, "amq.direct", "to-see")
        except pika.exceptions.ChannelClosedByBroker as error:
            return bool(error.reply_code == 404)
        return False

    wait_until(is_deleted, what="the queue going")


def test_a_full_queue_drops_its_head(channel: BlockingChannel, name: str) -> None:
    dead = declare(channel, name, max_length=1)
    for body in (b"1", b"2"):
        channel.basic_publish("", name, body)
    body, told = death(channel, dead)
    assert (body, told["reason"]) == (b"1", "maxlen")
    assert channel.basic_get(name, auto_ack=True)[2] == b"2"
    channel.queue_delete(name)


def test_a_full_queue_refuses_with_an_error(channel: BlockingChannel, name: str) -> None:
    declare(channel, name, max_length=1, overflow="reject-publish")
    channel.confirm_delivery()
    channel.basic_publish("", name, b"1")
    with pytest.raises(NackError):
        channel.basic_publish("", name, b"2")
    channel.queue_delete(name)


@pytest.mark.parametrize("give_back", ["basic_reject", "basic_nack", "basic_recover"])
def test_a_message_that_comes_back_too_often_is_a_dead_letter(
    channel: BlockingChannel, name: str, give_back: str
) -> None:
    dead = declare(channel, name, queue_type="quorum", delivery_limit=2)
    channel.basic_publish("", name, b"1")
    counts: list[object] = []
    for method, properties, _ in channel.consume(name, inactivity_timeout=0.1):
        if method is None and len(counts) == 3:
            break
        if method is not None:
            counts.append((properties.headers or {}).get("x-delivery-count") or 0)
            tag = () if give_back == "basic_recover" else (method.delivery_tag,)
            getattr(channel, give_back)(*tag, requeue=True)
    channel.cancel()
    body, told = death(channel, dead)
    assert (body, told["reason"], counts) == (b"1", "delivery_limit", [0, 1, 2])
    channel.queue_delete(name)

"""Deduplication through pika: duplicates are confirmed, and are not there, after a crash either."""

from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from tests.support.brokers import Broker, Leveret, RabbitMQ
from tests.support.channels import confirming_channel

ON = {"x-message-deduplication": True}


def keyed(key: object, mode: int = 2) -> pika.BasicProperties:
    """Properties with a key."""
    return pika.BasicProperties(headers={"x-deduplication-header": key}, delivery_mode=mode)


def bodies(channel: BlockingChannel, queue: str) -> list[bytes]:
    """All messages of a queue, taken out."""
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append(got[2])
    return found


@pytest.fixture(autouse=True)
def _deduplicates(broker: Broker) -> None:
    if isinstance(broker, RabbitMQ):
        pytest.skip("RabbitMQ deduplicates with a plugin that Debian has no package of")


@pytest.fixture(params=["exchange", "queue"])
def place(request: pytest.FixtureRequest, channel: BlockingChannel, name: str) -> str:
    """An exchange with a queue of that name, one of which deduplicates."""
    channel.confirm_delivery()
    declare(channel, name, request.param)
    return name


def declare(channel: BlockingChannel, name: str, kind: str, **queue: Any) -> None:
    """An exchange with a queue of that name, one of which deduplicates."""
    queue = queue or {"exclusive": True}
    durable = "durable" in queue
    type_name = "x-message-deduplication" if kind == "exchange" else "fanout"
    channel.exchange_declare(name, type_name, auto_delete=not durable, durable=durable)
    channel.queue_declare(name, arguments=ON if kind == "queue" else None, **queue)
    channel.queue_bind(name, name)


@pytest.mark.parametrize("key", ["a", 5, -(2**40), True])
def test_a_duplicate_is_confirmed_and_not_there(
    channel: BlockingChannel, place: str, key: object
) -> None:
    for body in (b"1", b"2", b"3"):
        channel.basic_publish(place, "", body, keyed(key), mandatory=True)
    channel.basic_publish(place, "", b"4", keyed("another"), mandatory=True)
    assert bodies(channel, place) == [b"1", b"4"]


def test_only_the_header_makes_a_duplicate(channel: BlockingChannel, place: str) -> None:
    for _ in range(2):
        channel.basic_publish(place, "", b"a", pika.BasicProperties(message_id="same"))
    assert bodies(channel, place) == [b"a", b"a"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({**ON, "x-cache-size": 0}, "invalid arg 'x-cache-size' for queue"),
        ({**ON, "x-cache-ttl": "soon"}, "invalid arg 'x-cache-ttl' for queue"),
        ({"x-message-deduplication": 1}, "invalid arg 'x-message-deduplication' for queue"),
    ],
)
def test_arguments_of_a_queue_that_cannot_be_are_refused(
    channel: BlockingChannel, name: str, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ChannelClosedByBroker) as closed:
        channel.queue_declare(name, arguments=arguments)
    assert closed.value.reply_code == 406
    assert text in closed.value.reply_text


@pytest.mark.parametrize("kind", ["exchange", "queue"])
def test_what_was_confirmed_is_a_duplicate_after_a_crash(tmp_path: Path, kind: str) -> None:
    for life in range(3):
        with Leveret(data_dir=tmp_path / "data") as broker:
            with confirming_channel(broker) as channel:
                declare(channel, "once", kind, durable=True)
                for number in range(100):
                    channel.basic_publish("once", "", b"%d" % number, keyed(number))
                if life == 2:
                    assert bodies(channel, "once") == [b"%d" % number for number in range(100)]
            broker.kill()

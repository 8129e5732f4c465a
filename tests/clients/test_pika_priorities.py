"""Queues with priorities, with a real client, deep on disk, and through kill -9."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.brokers import Leveret

LEVELS = 4
COUNT = 4_000
BODY_BYTES = 2_000
"""More of both than a queue keeps in memory."""

SILENCE_S = 60.0
"""Seconds without a delivery after which no more are to come."""

ARGUMENTS = {"x-max-priority": LEVELS - 1}

Numbers = list[tuple[int, int]]


@pytest.fixture(params=[Leveret.stop, Leveret.kill], ids=["stopped", "killed"])
def end(request: pytest.FixtureRequest) -> Callable[[Leveret], int | None]:
    """Each way to end a broker."""
    ending: Callable[[Leveret], int | None] = request.param
    return ending


@contextmanager
def opened(broker: Leveret) -> Iterator[BlockingChannel]:
    """A channel to a broker, on a connection of its own."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def publish(channel: BlockingChannel, numbers: range) -> None:
    """Publish persistent messages, cycling through the priorities, and wait for their confirms."""
    channel.tx_select()
    for number in numbers:
        properties = pika.BasicProperties(delivery_mode=2, priority=number % LEVELS)
        body = (b"%d " % number).ljust(BODY_BYTES, b".")
        channel.basic_publish("", "ranked", body, properties)
    channel.tx_commit()


def drain(channel: BlockingChannel) -> Numbers:
    """Take every message out of the queue: priorities and numbers."""
    found: Numbers = []
    count = channel.queue_declare("ranked", passive=True).method.message_count
    deliveries = channel.consume("ranked", auto_ack=True, inactivity_timeout=SILENCE_S)
    for _, (method, properties, body) in zip(range(count), deliveries, strict=False):
        assert method is not None, f"silence after {len(found)} messages"
        found.append((properties.priority, int(body.split()[0])))
    channel.cancel()
    assert channel.queue_declare("ranked", passive=True).method.message_count == 0
    return found


def in_order(numbers: Iterator[int]) -> Numbers:
    """Priorities and numbers as they have to be delivered."""
    ranked = [(number % LEVELS, number) for number in numbers]
    return sorted(ranked, key=lambda each: (-each[0], each[1]))


def test_messages_outlive_the_process_with_their_priorities_in_order(
    tmp_path: Path, end: Callable[[Leveret], int | None]
) -> None:
    with Leveret(data_dir=tmp_path) as broker:
        with opened(broker) as channel:
            channel.queue_declare("ranked", durable=True, arguments=ARGUMENTS)
            publish(channel, range(COUNT))
        end(broker)

    with Leveret(data_dir=tmp_path) as broker:
        with opened(broker) as channel:
            declared = channel.queue_declare("ranked", durable=True, arguments=ARGUMENTS)
            assert declared.method.message_count == COUNT
            publish(channel, range(COUNT, COUNT + LEVELS))
        end(broker)

    with Leveret(data_dir=tmp_path) as broker, opened(broker) as channel:
        assert drain(channel) == in_order(iter(range(COUNT + LEVELS)))


def test_acknowledged_messages_are_removed_and_outstanding_ones_are_back_in_their_place(
    tmp_path: Path, end: Callable[[Leveret], int | None]
) -> None:
    with Leveret(data_dir=tmp_path) as broker:
        with opened(broker) as channel:
            channel.queue_declare("ranked", durable=True, arguments=ARGUMENTS)
            publish(channel, range(40))
            delivered = [channel.basic_get("ranked") for _ in range(15)]
            acknowledged = [int(body.split()[0]) for _, _, body in delivered[1::2]]
            for method, _, _ in delivered[1::2]:
                channel.basic_ack(method.delivery_tag)
            # The reply says that the acknowledgements have arrived and are written.
            channel.tx_select()
            channel.tx_commit()
            publish(channel, range(40, 41))
        end(broker)

    with Leveret(data_dir=tmp_path) as broker, opened(broker) as channel:
        assert drain(channel) == in_order(
            number for number in range(41) if number not in acknowledged
        )


def test_a_queue_that_was_deleted_stays_so_and_its_name_begins_anew(tmp_path: Path) -> None:
    with Leveret(data_dir=tmp_path) as broker:
        with opened(broker) as channel:
            channel.queue_declare("ranked", durable=True, arguments=ARGUMENTS)
            publish(channel, range(COUNT))
            channel.queue_delete("ranked")
            channel.queue_declare("ranked", durable=True, arguments=ARGUMENTS)
            publish(channel, range(LEVELS))
        broker.kill()

    with Leveret(data_dir=tmp_path) as broker, opened(broker) as channel:
        assert drain(channel) == in_order(iter(range(LEVELS)))
        channel.queue_purge("ranked")


def test_a_consumer_gets_a_deep_queue_by_priority(tmp_path: Path) -> None:
    with Leveret(data_dir=tmp_path) as broker, opened(broker) as publishing:
        publishing.queue_declare("ranked", durable=True, arguments=ARGUMENTS)
        publish(publishing, range(COUNT))
        channel = publishing.connection.channel()
        channel.basic_qos(prefetch_count=100)
        found: Numbers = []
        for method, properties, body in channel.consume("ranked", inactivity_timeout=SILENCE_S):
            assert method is not None, f"silence after {len(found)} messages"
            found.append((properties.priority, int(body.split()[0])))
            channel.basic_ack(method.delivery_tag)
            if len(found) == COUNT:
                break
        assert found == in_order(iter(range(COUNT)))

"""Clients that ask for too much: they are slowed, memory stays bounded, and others are served."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pamqp.commands import Basic

from tests.clients.peers import MEGABYTE, Peers
from tests.support.brokers import Broker, Leveret, wait_until
from tests.support.wire import connect as connect_wire
from tests.support.wire import marshal_content

Connect = Callable[..., pika.BlockingConnection]
MEMORY_LIMIT = 96 * MEGABYTE
OVERSHOOT_MAX = 64 * MEGABYTE
MESSAGES = 200
DEADLINE_S = 60.0
REQUESTS = 50


class Publisher(threading.Thread):
    """Publishes confirmed messages of a megabyte; `told` is what the broker said in between."""

    def __init__(self, url: str, queue: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._queue = queue
        self.confirmed = 0
        self.told: list[str] = []

    def run(self) -> None:
        """Publish all messages, and wait until the broker takes more."""
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            connection.add_on_connection_blocked_callback(
                lambda _connection, frame: self.told.append(f"blocked: {frame.method.reason}")
            )
            connection.add_on_connection_unblocked_callback(
                lambda _connection, _frame: self.told.append("unblocked")
            )
            channel = connection.channel()
            channel.confirm_delivery()
            for number in range(MESSAGES):
                body = number.to_bytes(4, "big") * (MEGABYTE // 4)
                channel.basic_publish("", self._queue, body, mandatory=True)
                self.confirmed += 1
            while self.told[-1:] != ["unblocked"]:
                connection.process_data_events(time_limit=DEADLINE_S)


@pytest.fixture
def small_broker() -> Iterator[Leveret]:
    """A broker that may take little memory, and has nowhere else to put messages."""
    with Leveret("--memory", env={"LEVERET_MEMORY_LIMIT": str(MEMORY_LIMIT)}) as broker:
        yield broker


def peak_memory(broker: Broker) -> int:
    """The most resident memory the broker's process ever had, in bytes."""
    status = Path(f"/proc/{broker.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_above_the_memory_limit_publishers_wait_while_consumers_drain(
    small_broker: Leveret, name: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(small_broker.url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name)
        publisher = Publisher(small_broker.url, name)
        publisher.start()
        wait_until(
            lambda: "low on memory" in small_broker.log_text(), DEADLINE_S, "the memory alarm"
        )
        confirmed_at_alarm = publisher.confirmed

        drained = channel.consume(name, auto_ack=True, inactivity_timeout=DEADLINE_S)
        for number, (_method, _properties, body) in zip(range(MESSAGES), drained, strict=False):
            assert body == number.to_bytes(4, "big") * (MEGABYTE // 4)
        publisher.join(DEADLINE_S)

    assert confirmed_at_alarm < MESSAGES
    assert publisher.confirmed == MESSAGES
    assert publisher.told[:2] == ["blocked: low on memory", "unblocked"]
    assert publisher.told[-1] == "unblocked"
    assert peak_memory(small_broker) < MEMORY_LIMIT + OVERSHOOT_MAX


def test_what_a_consumer_does_not_read_goes_to_another_after_it(
    connect: Connect, name: str
) -> None:
    stalled = connect()
    stalled_channel = stalled.channel()
    stalled_channel.queue_declare(name)
    stalled_channel.basic_consume(name, lambda *_: None)
    publisher = connect().channel()
    publisher.confirm_delivery()
    for number in range(MESSAGES):
        publisher.basic_publish("", name, number.to_bytes(4, "big") * 25_000, mandatory=True)

    reading = connect().channel()
    seen: set[int] = set()
    reading.basic_consume(name, lambda *arguments: seen.add(note(reading, *arguments)))
    stalled.close()
    while len(seen) < MESSAGES:
        reading.connection.process_data_events(time_limit=DEADLINE_S)

    assert seen == set(range(MESSAGES))


def note(channel: Any, _channel: Any, method: Any, _properties: Any, body: bytes) -> int:
    """Acknowledge a message and return its number."""
    channel.basic_ack(method.delivery_tag)
    return int.from_bytes(body[:4], "big")


def test_a_client_that_does_not_read_its_returns_is_not_read_itself(
    small_broker: Leveret,
) -> None:
    publish = marshal_content(
        Basic.Publish(routing_key="nobody", mandatory=True), 1, b"x" * 100_000
    )
    with Peers(small_broker, buffer_bytes=128 * 1024) as peers:
        sent = peers.log_in().fill(publish, 4 * MEMORY_LIMIT)
        with pika.BlockingConnection(pika.URLParameters(small_broker.url)) as connection:
            assert connection.channel().queue_declare("", exclusive=True).method.queue

    assert sent < MEMORY_LIMIT
    assert peak_memory(small_broker) < MEMORY_LIMIT
    assert "low on memory" not in small_broker.log_text()


def test_requests_are_answered_while_a_saturating_publisher_goes_on(
    broker: Broker, connect: Connect
) -> None:
    stop = threading.Event()
    flood = marshal_content(Basic.Publish(routing_key="nobody"), 1, b"x" * 16) * 10_000
    sent: list[int] = []

    def saturate() -> None:
        with connect_wire(broker.host, broker.port, DEADLINE_S) as wire:
            while not stop.is_set():
                wire.send_bytes(flood)
                sent.append(len(flood))

    channel = connect().channel()
    publisher = threading.Thread(target=saturate)
    publisher.start()
    wait_until(lambda: bool(sent), DEADLINE_S, "the flood")
    sent_before = len(sent)
    try:
        for _ in range(REQUESTS):
            channel.queue_declare("", exclusive=True, auto_delete=True)
        wait_until(lambda: len(sent) > sent_before, DEADLINE_S, "the flood going on")
    finally:
        stop.set()
        publisher.join(DEADLINE_S)

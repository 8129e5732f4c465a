"""Clients that recover by themselves, while the broker has faults on order: aio-pika, kombu."""

# mypy: disable-error-code="no-untyped-call"
# (kombu says it is typed, and annotates few of its functions.)

import asyncio
from collections.abc import Iterator

import aio_pika
import pytest
from aio_pika import Message
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from aiormq.exceptions import ProbableAuthenticationError
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from leveret.testing import Broker
from leveret.testing.waiting import wait_async
from tests.clients.loops import in_loop

SOON_S = 0.01
"""Seconds between two attempts to connect."""


@pytest.fixture(scope="module")
def running() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


async def robust(broker: Broker) -> AbstractRobustConnection:
    return await aio_pika.connect_robust(broker.url, reconnect_interval=SOON_S)


def is_blocked(broker: Broker) -> bool | None:
    """True if a connection was blocked."""
    return any("connection blocked" in line for line in broker.log()) or None


class TestAioPika:
    @in_loop
    async def test_it_comes_back_after_refusals_and_gets_its_deliveries_again(
        self, broker: Broker
    ) -> None:
        received: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        async with await robust(broker) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("q")
            await queue.consume(received.put)
            await channel.default_exchange.publish(Message(b"x"), "q")
            first = await received.get()

            broker.faults.refuse_connections(2)
            broker.faults.drop_connections()

            second = await received.get()
            assert (first.redelivered, second.redelivered, second.body) == (False, True, b"x")
            await second.ack()
            await broker.faults.wait_until_happened_async()

    @in_loop
    async def test_the_next_connection_is_dropped_that_is_not_refused(self, broker: Broker) -> None:
        async with await robust(broker):
            broker.faults.drop_next_connection(3)
            broker.faults.refuse_connections(1)
            broker.faults.drop_connections()
            await broker.faults.wait_until_happened_async()

    @in_loop
    async def test_its_consumers_come_back_when_the_broker_says_goodbye(
        self, broker: Broker
    ) -> None:
        received: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        async with await robust(broker) as connection:
            back = asyncio.Event()
            connection.reconnect_callbacks.add(lambda *_: back.set())
            channel = await connection.channel()
            queue = await channel.declare_queue("q")
            await queue.consume(received.put, no_ack=True)
            broker.faults.close_connections()
            await back.wait()
            await channel.ready()
            await channel.default_exchange.publish(Message(b"x"), "q")
            assert (await received.get()).body == b"x"

    @in_loop
    async def test_it_says_what_is_wrong_with_a_login(self, broker: Broker) -> None:
        broker.faults.refuse_connections(how="login")
        with pytest.raises(ProbableAuthenticationError):
            await aio_pika.connect(broker.url)
        async with await aio_pika.connect(broker.url):
            broker.faults.assert_happened()

    @in_loop
    async def test_a_publisher_waits_out_an_alarm(self, broker: Broker) -> None:
        async with await robust(broker) as connection:
            channel = await connection.channel()
            await channel.declare_queue("q")
            exchange = channel.default_exchange
            async with asyncio.TaskGroup() as tasks:
                with broker.faults.blocked():
                    waiting = tasks.create_task(exchange.publish(Message(b"waits"), "q"))
                    assert await wait_async(lambda: is_blocked(broker), 60)
                    done, _ = await asyncio.wait([waiting], timeout=0.1)
                    assert not done
                    assert broker.queue("q").ready == 0
            assert broker.queue("q").ready == 1


class TestKombu:
    def test_it_connects_as_often_as_it_takes(self, broker: Broker) -> None:
        broker.faults.refuse_connections(3)
        errors: list[Exception] = []
        with Connection(broker.url) as connection:
            connection.ensure_connection(
                errback=lambda error, _: errors.append(error), interval_start=0, interval_step=0
            )
            assert len(errors) == 3
            broker.faults.assert_happened()

    def test_it_gives_up_when_it_was_refused_often_enough(self, broker: Broker) -> None:
        broker.faults.refuse_connections(3)
        with Connection(broker.url) as connection, pytest.raises(OperationalError):
            connection.ensure_connection(max_retries=2, interval_start=0, interval_step=0)

    def test_it_publishes_again_when_the_connection_breaks_down(self, broker: Broker) -> None:
        options = {"confirm_publish": True}
        with Connection(broker.url, transport_options=options) as connection:
            producer = connection.Producer()
            queue = Queue("q", channel=connection.default_channel)
            queue.declare()
            producer.publish("1", routing_key="q")
            # The method of the next one.
            broker.faults.drop_connections(after_frames=1)
            policy = {"interval_start": 0, "interval_step": 0, "max_retries": 3}
            producer.publish("2", routing_key="q", retry=True, retry_policy=policy)
            broker.faults.assert_happened()
            with connection.SimpleQueue("q", no_ack=True) as simple:
                assert [simple.get(timeout=60).payload for _ in range(2)] == ["1", "2"]

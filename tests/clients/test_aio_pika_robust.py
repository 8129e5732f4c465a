"""aio-pika's robust connection: it comes back, and brings its queues and consumers along."""

import asyncio

import aio_pika
import pytest
from aio_pika import Message
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from aio_pika.patterns import RPC, Master
from aiormq.exceptions import ConnectionNotImplemented

from tests.clients.loops import in_loop
from tests.support.brokers import Broker


async def provoke_close(connection: AbstractRobustConnection) -> None:
    """Have the broker close the connection with 540, and wait until it is back."""
    back = asyncio.Event()
    connection.reconnect_callbacks.add(lambda *_: back.set())
    channel = await connection.channel()
    underlay = await channel.get_underlay_channel()
    with pytest.raises(ConnectionNotImplemented):
        await underlay.basic_qos(prefetch_size=1)
    await back.wait()


@in_loop
async def test_a_consumer_survives_the_broker_closing_the_connection(
    broker: Broker, name: str
) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def on_message(message: AbstractIncomingMessage) -> None:
        async with message.process():
            received.put_nowait(message.body)

    connection = await aio_pika.connect_robust(broker.url, reconnect_interval=0.1)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name, auto_delete=True)
        await queue.bind("amq.topic", f"{name}.#")
        await queue.consume(on_message)

        await provoke_close(connection)

        await channel.ready()
        exchange = await channel.get_exchange("amq.topic")
        await exchange.publish(Message(b"still here"), f"{name}.key")
        assert await received.get() == b"still here"


@in_loop
async def test_rpc_answers_and_carries_exceptions(broker: Broker, name: str) -> None:
    async def multiply(*, x: int, y: int) -> int:
        return x * y

    async def divide(*, x: int, y: int) -> float:
        return x / y

    async with await aio_pika.connect_robust(broker.url) as connection:
        rpc = await RPC.create(await connection.channel())
        await rpc.register(f"{name}.multiply", multiply, auto_delete=True)
        await rpc.register(f"{name}.divide", divide, auto_delete=True)

        assert await rpc.call(f"{name}.multiply", {"x": 6, "y": 7}) == 42
        with pytest.raises(ZeroDivisionError):
            await rpc.call(f"{name}.divide", {"x": 1, "y": 0})
        await rpc.close()


@in_loop
async def test_a_master_hands_tasks_to_its_workers(broker: Broker, name: str) -> None:
    done: asyncio.Queue[int] = asyncio.Queue()

    async def work(*, number: int) -> None:
        done.put_nowait(number)

    async with await aio_pika.connect_robust(broker.url) as connection:
        master = Master(await connection.channel())
        worker = await master.create_worker(name, work, auto_delete=True)

        for number in range(3):
            await master.create_task(name, {"number": number})

        assert [await done.get() for _ in range(3)] == [0, 1, 2]
        await worker.close()

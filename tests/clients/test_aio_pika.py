"""aio-pika: its plain connection."""

import asyncio

import aio_pika
import pytest
from aio_pika import ExchangeType, Message
from aio_pika.exceptions import (
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    InvalidFrameError,
    ProbableAuthenticationError,
    QueueEmpty,
)
from aiormq.exceptions import ChannelLockedResource
from pamqp import commands as spec

from tests.clients.loops import in_loop
from tests.support.brokers import Broker


@in_loop
async def test_a_confirmed_message_can_be_got(broker: Broker, name: str) -> None:
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name, auto_delete=True)

        confirmation = await channel.default_exchange.publish(
            Message(b"body", headers={"n": 1, "deep": {"list": ["a", 2]}}, message_id="m"), name
        )
        message = await queue.get()
        await message.ack()

        assert confirmation is not None
        assert (message.body, message.message_id, message.redelivered) == (b"body", "m", False)
        assert message.headers == {"n": 1, "deep": {"list": ["a", 2]}}
        with pytest.raises(QueueEmpty):
            await queue.get()


@in_loop
async def test_the_iterator_yields_in_order_and_acknowledges(broker: Broker, name: str) -> None:
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=2)
        queue = await channel.declare_queue(name)
        for number in range(10):
            await channel.default_exchange.publish(Message(str(number).encode()), name)

        seen = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    seen.append(int(message.body))
                if len(seen) == 10:
                    break

        assert seen == list(range(10))
        assert (
            await channel.declare_queue(name, passive=True)
        ).declaration_result.message_count == 0


@in_loop
async def test_many_publishes_at_once_are_all_confirmed(broker: Broker, name: str) -> None:
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name)
        publishes = [
            channel.default_exchange.publish(Message(str(number).encode()), name)
            for number in range(200)
        ]

        await asyncio.gather(*publishes)

        assert (await queue.purge()).message_count == 200


@in_loop
async def test_an_unroutable_message_raises_a_delivery_error(broker: Broker, name: str) -> None:
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel(on_return_raises=True)

        with pytest.raises(DeliveryError) as raised:
            await channel.default_exchange.publish(Message(b"anyone?"), name)

        returned = raised.value.message
        assert returned is not None
        assert isinstance(returned.delivery, spec.Basic.Return)
        assert (returned.delivery.reply_code, returned.body) == (312, b"anyone?")


@in_loop
async def test_a_processing_failure_requeues_the_message(broker: Broker, name: str) -> None:
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name)
        await channel.default_exchange.publish(Message(b"again"), name)

        with pytest.raises(ZeroDivisionError):
            async with (await queue.get()).process(requeue=True):
                raise ZeroDivisionError

        message = await queue.get(no_ack=True)
        assert (message.body, message.redelivered) == (b"again", True)


@pytest.mark.parametrize(
    ("type_", "key", "binding", "arguments", "headers"),
    [
        (ExchangeType.DIRECT, "a", "a", None, {}),
        (ExchangeType.FANOUT, "whatever", "", None, {}),
        (ExchangeType.TOPIC, "kern.disk", "kern.*", None, {}),
        (ExchangeType.HEADERS, "", "", {"x-match": "any", "a": 1}, {"a": 1}),
    ],
)
def test_every_exchange_type_routes(
    broker: Broker,
    name: str,
    type_: ExchangeType,
    key: str,
    binding: str,
    arguments: dict[str, str | int] | None,
    headers: dict[str, int],
) -> None:
    @in_loop
    async def route() -> None:
        async with await aio_pika.connect(broker.url) as connection:
            channel = await connection.channel()
            front = await channel.declare_exchange(f"{name}-front", ExchangeType.FANOUT)
            exchange = await channel.declare_exchange(name, type_)
            await exchange.bind(front)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, binding, arguments=dict(arguments or {}))

            await front.publish(Message(b"routed", headers=dict(headers)), key)

            assert (await queue.get(no_ack=True)).body == b"routed"

    route()


@in_loop
async def test_a_transaction_commits_or_rolls_back_as_a_whole(broker: Broker, name: str) -> None:
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(name)

        abandoned = channel.transaction()
        await abandoned.select()
        await channel.default_exchange.publish(Message(b"lost"), name)
        await abandoned.rollback()
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"requeued"), name)

        assert (await queue.get(no_ack=True)).body == b"requeued"
        assert await queue.get(no_ack=True, fail=False) is None


@in_loop
async def test_refusals_have_classes_of_their_own(broker: Broker, name: str) -> None:
    async with (
        await aio_pika.connect(broker.url) as owner,
        await aio_pika.connect(broker.url) as other,
    ):
        await (await owner.channel()).declare_queue(name, exclusive=True)

        with pytest.raises(ChannelNotFoundEntity):
            await (await owner.channel()).get_queue(f"{name}-missing")
        with pytest.raises(ChannelPreconditionFailed):
            await (await owner.channel()).declare_exchange("amq.direct", ExchangeType.FANOUT)
        with pytest.raises(ChannelLockedResource):
            await (await other.channel()).declare_queue(name)
        assert (await other.channel()).number is not None


@in_loop
async def test_a_refused_login_is_an_authentication_error(broker: Broker) -> None:
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(host=broker.host, port=broker.port, login="guest", password="wrong")


@in_loop
async def test_a_missing_virtual_host_is_refused(broker: Broker) -> None:
    with pytest.raises(InvalidFrameError, match=r"got <Connection\.Close"):
        await aio_pika.connect(host=broker.host, port=broker.port, virtualhost="nowhere")


@in_loop
async def test_a_secret_can_be_updated(broker: Broker) -> None:
    async with await aio_pika.connect(broker.url) as connection:
        await connection.update_secret("guest", reason="rotation")

        assert (await connection.channel()).number == 1

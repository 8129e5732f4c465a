"""Orders are shipped by a consumer that retries: ten minutes later, and three times in all."""

import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from shop import topology

TRIES_MAX = 3

Ship = Callable[[str], Awaitable[None]]


class Shipping:
    """A consumer of the queue `shipping`, while its `async with` block runs.

    :param ship: what ships an order by its number, and raises an exception if it cannot.
    """

    def __init__(self, url: str, ship: Ship) -> None:
        self._url = url
        self._ship = ship

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect_robust(self._url)
        self._channel = await self._connection.channel()
        await self._channel.set_qos(prefetch_count=10)
        queue = await self._channel.get_queue(topology.SHIPPING)
        await queue.consume(self._receive)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._connection.close()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        number = json.loads(message.body)["number"]
        try:
            await self._ship(number)
        except Exception as error:
            await self._retry_or_give_up(message, error)
        else:
            await message.ack()

    async def _retry_or_give_up(self, message: AbstractIncomingMessage, error: Exception) -> None:
        if tries(message) < TRIES_MAX:
            await message.reject(requeue=False)  # to the queue of retries, by dead-lettering
            return
        await self._channel.default_exchange.publish(
            aio_pika.Message(
                message.body,
                headers={"error": str(error)},
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            ),
            topology.FAILED,
        )
        await message.ack()


def tries(message: AbstractIncomingMessage) -> int:
    """How often shipping was tried, with this time: the broker counts in the header x-death."""
    deaths: Any = message.headers.get("x-death", [])
    return 1 + sum(each["count"] for each in deaths if each["reason"] == "rejected")

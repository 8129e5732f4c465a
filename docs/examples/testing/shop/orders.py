"""Orders are published with publisher confirms: `place` returns when the broker has the order."""

import json
from types import TracebackType
from typing import Self

import pika
from pika.exceptions import AMQPConnectionError, NackError, UnroutableError

from shop import topology

MS_PER_DAY = 86_400_000
PERSISTENT = 2


class NotPlaced(Exception):
    """The broker did not take the order; the customer is asked to try again."""


class Orders:
    """The publisher of orders, with one connection, which is opened again if it was lost."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._connect()

    def _connect(self) -> None:
        self._connection = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        topology.declare(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection.is_open:
            self._connection.close()

    def place(self, number: str, total: int) -> None:
        """Publish a new order, and wait until the broker has it.

        A connection that was lost is opened again, once, and the order is published again: it may
        be there twice then, with the same message id.

        :raises NotPlaced: if the broker refuses it, or cannot be reached.
        """
        try:
            self._publish(number, total)
        except AMQPConnectionError:
            try:
                self._connect()
                self._publish(number, total)
            except AMQPConnectionError as error:
                raise NotPlaced(number) from error

    def await_payment(self, number: str) -> None:
        """Have a reminder sent in 30 days."""
        self._channel.basic_publish(
            "",
            topology.UNPAID,
            json.dumps({"number": number}).encode(),
            pika.BasicProperties(
                delivery_mode=PERSISTENT,
                expiration=str(topology.PAYMENT_DAYS * MS_PER_DAY),
            ),
        )

    def _publish(self, number: str, total: int) -> None:
        try:
            self._channel.basic_publish(
                topology.ORDERS,
                "order.placed",
                json.dumps({"number": number, "total": total}).encode(),
                pika.BasicProperties(
                    delivery_mode=PERSISTENT, content_type="application/json", message_id=number
                ),
                mandatory=True,
            )
        except (NackError, UnroutableError) as error:
            raise NotPlaced(number) from error

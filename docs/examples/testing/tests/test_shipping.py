"""Shipping: every failure is tried again ten minutes later, but not for ever."""

import pytest
from leveret.testing import Broker

from shop.orders import Orders
from shop.shipping import Shipping

pytestmark = pytest.mark.anyio

TEN_MINUTES_S = 600


class Carrier:
    """Ships orders, after a number of failures."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.shipped: list[str] = []

    async def ship(self, number: str) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the carrier does not answer")
        self.shipped.append(number)


async def test_an_order_is_shipped(leveret: Broker, orders: Orders) -> None:
    carrier = Carrier()
    orders.place("A-1", total=4900)
    async with Shipping(leveret.url, carrier.ship):
        await leveret.queue("shipping").wait_until_empty_async()
    assert carrier.shipped == ["A-1"]


async def test_a_failure_is_tried_again_after_ten_minutes(leveret: Broker, orders: Orders) -> None:
    carrier = Carrier(failures=1)
    orders.place("A-1", total=4900)
    async with Shipping(leveret.url, carrier.ship):
        await leveret.queue("shipping.retry").wait_for_async(1)
        assert carrier.shipped == []
        leveret.advance(TEN_MINUTES_S)
        await leveret.queue("shipping").wait_until_empty_async()
    assert carrier.shipped == ["A-1"]


async def test_after_three_failures_somebody_has_to_look(leveret: Broker, orders: Orders) -> None:
    carrier = Carrier(failures=3)
    orders.place("A-1", total=4900)
    async with Shipping(leveret.url, carrier.ship):
        for _ in range(2):
            await leveret.queue("shipping.retry").wait_for_async(1)
            leveret.advance(TEN_MINUTES_S)
        (message,) = await leveret.queue("shipping.failed").wait_for_async(1)
    assert message.json()["number"] == "A-1"
    assert message.headers["error"] == "the carrier does not answer"
    assert carrier.shipped == []

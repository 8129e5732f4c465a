"""Orders: what a publisher has to get right."""

import pika
import pytest
from leveret.testing import Broker

from shop.orders import NotPlaced, Orders

DAY_S = 86_400


def test_an_order_waits_to_be_shipped(leveret: Broker, orders: Orders) -> None:
    orders.place("A-1", total=4900)
    (message,) = leveret.queue("shipping").messages()
    assert message.json() == {"number": "A-1", "total": 4900}
    assert message.properties.delivery_mode == 2


def test_an_order_that_the_broker_refuses_is_not_placed(leveret: Broker, orders: Orders) -> None:
    leveret.faults.nack()
    with pytest.raises(NotPlaced):
        orders.place("A-1", total=4900)
    orders.place("A-2", total=2000)
    leveret.queue("shipping").wait_for(1)


def test_an_order_that_nobody_would_ship_is_not_placed(leveret: Broker, orders: Orders) -> None:
    with pika.BlockingConnection(pika.URLParameters(leveret.url)) as connection:
        connection.channel().queue_unbind("shipping", "orders", "order.placed")
    with pytest.raises(NotPlaced):
        orders.place("A-1", total=4900)


def test_an_order_survives_a_lost_connection(leveret: Broker, orders: Orders) -> None:
    leveret.faults.drop_connections(after_frames=2)  # in the middle of the publish
    orders.place("A-1", total=4900)
    (message,) = leveret.queue("shipping").wait_for(1)
    assert message.json()["number"] == "A-1"


def test_a_reminder_is_sent_after_thirty_days(leveret: Broker, orders: Orders) -> None:
    orders.await_payment("A-1")
    leveret.queue("orders.unpaid").wait_for(1)
    leveret.advance(29 * DAY_S)
    assert leveret.queue("orders.reminders").messages() == []
    leveret.advance(DAY_S)
    (message,) = leveret.queue("orders.reminders").wait_for(1)
    assert message.json() == {"number": "A-1"}
    assert leveret.queue("orders.unpaid").messages() == []

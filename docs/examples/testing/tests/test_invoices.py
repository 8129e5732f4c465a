"""Invoices: the task runs in a worker, which is a thread of the test."""

from collections.abc import Iterator

import pytest
from celery.contrib.testing.worker import start_worker
from leveret.testing import Broker

from shop import invoices


@pytest.fixture
def worker(leveret: Broker) -> Iterator[None]:
    """A worker, which is idle when the test ends, and then looks often whether it is to end."""
    invoices.app.conf.broker_heartbeat_checkrate = 1000
    invoices.sent.clear()
    with start_worker(invoices.app, perform_ping_check=False):
        yield


def test_an_invoice_is_sent(worker: None) -> None:
    result = invoices.send_invoice.delay("A-1", 4900)
    assert result.get(timeout=30) == "Order A-1: please pay 49.00 EUR"
    assert invoices.sent == ["A-1"]


def test_an_invoice_waits_for_a_worker(leveret: Broker) -> None:
    invoices.send_invoice.delay("A-2", 100)
    (message,) = leveret.queue("celery").wait_for(1)
    assert message.headers["task"] == "shop.send_invoice"

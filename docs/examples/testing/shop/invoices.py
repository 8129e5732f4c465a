"""Invoices are sent by a Celery task."""

import os

from celery import Celery

app = Celery("shop", broker=os.environ.get("CELERY_BROKER_URL", "amqp://"), backend="rpc://")

sent: list[str] = []
"""The numbers of the orders whose invoice was sent: where a real shop has its mail server."""


@app.task(name="shop.send_invoice")
def send_invoice(number: str, total: int) -> str:
    """Send the invoice of an order.

    :returns: its text.
    """
    sent.append(number)
    return f"Order {number}: please pay {total / 100:.2f} EUR"

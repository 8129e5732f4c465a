"""A channel of pika to a broker of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.brokers import Broker


@contextmanager
def confirming_channel(broker: Broker) -> Iterator[BlockingChannel]:
    """A channel with confirms, on a connection of its own: a publish returns when it is confirmed.

    The connection is closed, unless the broker has ended.
    """
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        yield channel
    finally:
        if connection.is_open:
            connection.close()

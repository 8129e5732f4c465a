"""Fixtures of the shop's tests. `leveret` and `leveret_url` come with Leveret."""

from collections.abc import Iterator

import pytest
from leveret.testing import Broker

from shop.orders import Orders


@pytest.fixture
def orders(leveret: Broker) -> Iterator[Orders]:
    """A publisher of orders, at a broker that is empty but for the shop's exchanges and queues."""
    with Orders(leveret.url) as orders:
        yield orders


@pytest.fixture
def anyio_backend() -> str:
    """aio-pika needs asyncio."""
    return "asyncio"

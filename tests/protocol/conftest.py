"""Every test of the protocol has a broker of its own, which has to be left empty."""

from collections.abc import Iterator

import pytest

from tests.protocol.harness import Client, Harness


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.close()


@pytest.fixture
def alice(harness: Harness) -> Client:
    """A client with channel 1 open."""
    return harness.open_client(1)


@pytest.fixture
def bob(harness: Harness) -> Client:
    """Another client with channel 1 open."""
    return harness.open_client(1)

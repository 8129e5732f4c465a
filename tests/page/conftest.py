"""One broker with ten thousand queues and one browser for all tests of the folder."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from playwright.sync_api import Browser, sync_playwright

from tests.page.browsing import AXE, CHROMIUM, Viewer, launch, viewer
from tests.page.world import VHOST, definitions
from tests.support.brokers import Leveret, wait_until

IMPORT_DEADLINE_S = 120.0

LOGIN = {"Authorization": f"Basic {b64encode(b'guest:guest').decode()}"}


def import_definitions(broker: Leveret) -> None:
    """Have the broker have what the tests look at."""
    connection = HTTPConnection(broker.host, broker.management_port, timeout=IMPORT_DEADLINE_S)
    connection.request("POST", "/api/definitions", json.dumps(definitions()), LOGIN)
    answer = connection.getresponse()
    assert answer.status in (200, 204), answer.read()
    connection.close()


@pytest.fixture(scope="package")
def broker() -> Iterator[Leveret]:
    """A broker with the HTTP API."""
    with Leveret(management=True) as started:
        import_definitions(started)
        yield started


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser, which ends with this folder: its event loop is in the way of other tests."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make node_modules/.installed")
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@pytest.fixture
def look(browser: Browser, broker: Leveret) -> Iterator[Viewer]:
    """An administrator who looks at the page. Nothing may have gone wrong on it at the end."""
    with viewer(browser, broker.management_url) as found:
        yield found
        assert found.faults == []


@pytest.fixture
def connection(broker: Leveret) -> Iterator[pika.BlockingConnection]:
    """A connection to the virtual host that the tests look at."""
    with ExitStack() as opened:
        yield opened.enter_context(connected(broker))


@pytest.fixture
def channel(connection: pika.BlockingConnection) -> BlockingChannel:
    """A channel of the connection."""
    return connection.channel()


def connected(
    broker: Leveret, user: str = "guest", password: str = "guest", vhost: str = VHOST
) -> pika.BlockingConnection:
    """A connection of a user."""
    credentials = pika.PlainCredentials(user, password)
    return pika.BlockingConnection(
        pika.ConnectionParameters(broker.host, broker.port, vhost, credentials)
    )


def until_messages(channel: BlockingChannel, queue: str, count: int) -> None:
    """Wait until a queue has so many messages."""
    wait_until(
        lambda: channel.queue_declare(queue, passive=True).method.message_count == count,
        what=f"{count} messages in {queue}",
    )

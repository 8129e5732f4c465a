"""Flower, Celery's monitor, unmodified: its page of the broker shows what the HTTP API says."""

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pika
import pytest

from tests.clients.processes import Program
from tests.support.brokers import HOST, Leveret, free_port, wait_until

TIMEOUT_S = 30.0
READY_DEADLINE_S = 120.0
QUEUE = "flower-tasks"
PASSWORD = "monitor"


@pytest.fixture
def broker() -> Iterator[Leveret]:
    with Leveret(management=True) as running:
        running.control("add_user", "flower", PASSWORD)
        running.control("set_user_tags", "flower", "monitoring")
        running.control("set_permissions", "flower", ".*", ".*", ".*")
        yield running


def test_the_page_of_the_broker_shows_a_queue(
    broker: Leveret, start_program: Callable[..., Program]
) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as opened:
        channel = opened.channel()
        channel.queue_declare(QUEUE, durable=True)
        for _ in range(3):
            channel.basic_publish("", QUEUE, b"{}")
        channel.basic_get(QUEUE)
        port = free_port()
        flower = start_program(
            [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "tests.clients.celery_project.app",
                "flower",
                f"--address={HOST}",
                f"--port={port}",
                f"--broker_api=http://flower:{PASSWORD}@{HOST}:{broker.management_port}/api/",
            ],
            {
                "AMQP_URL": broker.url,
                "RESULT_BACKEND": "rpc://",
                "TASK_QUEUE": QUEUE,
            },
        )

        def row() -> list[str]:
            try:
                with urllib.request.urlopen(
                    f"http://{HOST}:{port}/broker", None, TIMEOUT_S
                ) as page:
                    found = re.search(rf'<tr id="{QUEUE}">(.*?)</tr>', page.read().decode(), re.S)
            except (urllib.error.URLError, ConnectionError):
                return []
            return [] if found is None else re.findall(r"<td[^>]*>(.*?)</td>", found[1], re.S)

        try:
            wait_until(lambda: row() != [], READY_DEADLINE_S, "Flower's page of the broker")
        except TimeoutError as error:
            raise AssertionError("\n".join(flower.lines)) from error
        cells = [each.strip() for each in row()]
    assert cells[:5] == [QUEUE, "3", "1", "2", "0"]

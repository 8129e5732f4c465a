"""The broker the client tests talk to: one real process for the whole folder.

LEVERET_TEST_BROKER=rabbitmq runs the same tests against Debian's RabbitMQ, which shows that the
tests are right.
"""

import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.clients.processes import Program
from tests.support.brokers import EXCHANGE_PLUGINS, Broker, Leveret, RabbitMQ, rabbitmq_available

BROKER_VARIABLE = "LEVERET_TEST_BROKER"


@pytest.fixture(scope="package")
def broker() -> Iterator[Broker]:
    """A running broker that all tests of this folder share."""
    choice = os.environ.get(BROKER_VARIABLE, "leveret")
    if choice == "rabbitmq":
        if not rabbitmq_available():
            pytest.skip("rabbitmq-server is not installed")
        with RabbitMQ(plugins=EXCHANGE_PLUGINS) as peer:
            yield peer
    elif choice == "leveret":
        with Leveret() as leveret:
            yield leveret
    else:
        raise ValueError(f"{BROKER_VARIABLE} must be leveret or rabbitmq, not {choice!r}")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A queue or exchange name no other test uses, short and plain enough for every client."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def start_program() -> Iterator[Callable[..., Program]]:
    """Start client programs; all are ended after the test, and a failure shows their output."""
    started: list[Program] = []

    def start(
        command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Program:
        started.append(Program(command, env, cwd))
        return started[-1]

    yield start
    for program in started:
        program.kill()
        sys.stdout.write(f"{program}\n")


@pytest.fixture
def connect(broker: Broker) -> Iterator[Callable[..., pika.BlockingConnection]]:
    """Open blocking connections with the given URL parameters; all are closed after the test."""
    opened: list[pika.BlockingConnection] = []

    def open_connection(**parameters: Any) -> pika.BlockingConnection:
        settings = pika.URLParameters(broker.url)
        for key, value in parameters.items():
            setattr(settings, key, value)
        opened.append(pika.BlockingConnection(settings))
        return opened[-1]

    yield open_connection
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def channel(connect: Callable[..., pika.BlockingConnection]) -> BlockingChannel:
    """A channel on a connection of its own."""
    return connect().channel()

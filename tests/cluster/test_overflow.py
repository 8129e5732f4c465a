"""Queues that do not fit into memory, on a broker whose data are in a database: what need not
survive is on its own disk, and a message that only a database has that is away holds up nobody
else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.brokers import Leveret, wait_until
from tests.support.postgres import PostgresCluster, new_location, paused

BODY = bytes(12_000)
COUNT = 1500
"""Messages of a queue whose middle is on disk."""

LEASE_MS = 120_000
"""So long that the broker is not taken for lost while the database stands still."""


@pytest.fixture(scope="module")
def database(programs_there: None) -> Iterator[PostgresCluster]:
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def local_dir(tmp_path: Path) -> Path:
    return tmp_path / "local"


@pytest.fixture
def broker(database: PostgresCluster, local_dir: Path) -> Iterator[Leveret]:
    """A broker alone in its cluster."""
    variables = {
        "LEVERET_STORAGE_LOCAL_DIR": str(local_dir),
        "LEVERET_CLUSTER_STORES": "1",
        "LEVERET_CLUSTER_LEASE": str(LEASE_MS),
    }
    with Leveret(location=new_location(database), env=variables) as started:
        wait_until(lambda: is_served(started), what="a broker that serves its virtual host")
        yield started


def is_served(broker: Leveret) -> bool:
    try:
        pika.BlockingConnection(pika.URLParameters(broker.url)).close()
    except pika.exceptions.AMQPConnectionError:
        return False
    return True


@contextmanager
def channel_of(broker: Leveret) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        yield connection.channel()


def publish(channel: BlockingChannel, queue: str, mode: int) -> None:
    """Publish numbered messages, and wait until all are confirmed."""
    properties = pika.BasicProperties(delivery_mode=mode)
    for number in range(COUNT):
        if number == COUNT - 1:
            channel.confirm_delivery()
        channel.basic_publish("", queue, b"%d " % number + BODY, properties)


def number_of(body: bytes | None) -> int:
    assert body is not None
    return int(body.split(b" ")[0])


def size_of(database: PostgresCluster) -> int:
    size = database.owner("select pg_database_size(current_database())")[0][0]
    assert isinstance(size, int)
    return size


def local_bytes(local_dir: Path) -> int:
    return sum(path.stat().st_size for path in local_dir.glob("transient-*/blobs/*"))


@pytest.mark.parametrize("durable", [False, True])
def test_transient_messages_are_on_the_local_disk_and_wait_for_no_database(
    broker: Leveret, database: PostgresCluster, local_dir: Path, durable: bool
) -> None:
    with channel_of(broker) as channel:
        channel.queue_declare("q", durable=durable)
        before = size_of(database)
        publish(channel, "q", 1)
        assert local_bytes(local_dir) > COUNT * len(BODY) / 4
        assert size_of(database) - before < COUNT * len(BODY) / 4
        with paused(database.primary):
            for number in range(COUNT):
                assert number_of(channel.basic_get("q", auto_ack=not durable)[2]) == number


class Getter(Thread):
    """Gets all messages of a queue."""

    def __init__(self, broker: Leveret) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self._broker = broker

    def run(self) -> None:
        with channel_of(self._broker) as channel:
            for _ in range(COUNT):
                self.numbers.append(number_of(channel.basic_get("q", auto_ack=True)[2]))


def test_a_get_that_waits_for_the_database_holds_up_nobody_else(
    broker: Leveret, database: PostgresCluster
) -> None:
    with channel_of(broker) as channel:
        channel.queue_declare("q", durable=True)
        channel.queue_declare("other")
        publish(channel, "q", 2)
        getter = Getter(broker)
        with paused(database.primary):
            getter.start()
            before = -1
            while len(getter.numbers) > before:
                before = len(getter.numbers)
                for _ in range(50):
                    channel.queue_declare("other", passive=True)
            assert len(getter.numbers) < COUNT, "the others are in the database only"
        getter.join()
        assert getter.numbers == list(range(COUNT))

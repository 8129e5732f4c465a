"""A database that was restored to an older state: brokers that have seen the newer one refuse it,
until an operator says otherwise."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from leveret.cluster.database_memory import FILE_NAME
from tests.support.brokers import BrokerError, Leveret, wait_until
from tests.support.postgres import (
    DATABASE,
    HOST,
    OWNER,
    PASSWORD,
    PostgresCluster,
    programs,
)

SCHEMA = "restored"


@pytest.fixture
def database(programs_there: None) -> Iterator[PostgresCluster]:
    with PostgresCluster() as cluster:
        yield cluster


def client(database: PostgresCluster, program: str, *arguments: str, given: bytes = b"") -> bytes:
    """Run a program of PostgreSQL on the primary, with something as its input."""
    directory = programs()
    assert directory is not None
    where = ["-h", HOST, "-p", str(database.primary.port), "-U", OWNER, "-d", DATABASE]
    return subprocess.run(
        [str(directory / program), *where, *arguments],
        env={**os.environ, "PGPASSWORD": PASSWORD},
        input=given,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


class Restored:
    """A broker, and backups of its database."""

    def __init__(self, database: PostgresCluster, local_dir: Path) -> None:
        self.database = database
        self.local_dir = local_dir

    def start(self) -> Leveret:
        return Leveret(
            location=self.database.url(schema=SCHEMA),
            env={
                "LEVERET_STORAGE_LOCAL_DIR": str(self.local_dir),
                "LEVERET_CLUSTER_STORES": "1",
            },
        )

    def publish(self, body: bytes) -> None:
        """Start a broker, publish a message, and stop it."""
        with self.start() as broker, served(broker) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("q", durable=True)
            persistent = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish("", "q", body, persistent)

    def bodies(self) -> list[bytes]:
        """Start a broker, and get what is in the queue."""
        found = []
        with self.start() as broker, served(broker) as connection:
            channel = connection.channel()
            while (body := channel.basic_get("q", auto_ack=True)[2]) is not None:
                found.append(body)
        return found

    def back_up(self) -> bytes:
        return client(self.database, "pg_dump", "--schema", SCHEMA)

    def restore(self, backup: bytes) -> None:
        drop = f"set client_min_messages = error; drop schema {SCHEMA} cascade"
        client(self.database, "psql", "-q", "-c", drop)
        client(self.database, "psql", "-q", "-v", "ON_ERROR_STOP=1", given=backup)


def served(broker: Leveret) -> pika.BlockingConnection:
    """A connection, once the broker serves its virtual host."""
    found: list[pika.BlockingConnection] = []

    def connect() -> bool:
        try:
            found.append(pika.BlockingConnection(pika.URLParameters(broker.url)))
        except pika.exceptions.AMQPConnectionError:
            return False
        return True

    wait_until(connect, what="a broker that serves its virtual host")
    return found[0]


def test_it_is_refused_until_an_operator_removes_what_the_broker_remembers(
    database: PostgresCluster, tmp_path: Path
) -> None:
    restored = Restored(database, tmp_path / "local")
    restored.publish(b"in the backup")
    backup = restored.back_up()
    restored.publish(b"not in the backup")

    restored.restore(backup)
    for _ in range(2):
        with pytest.raises(BrokerError, match="an older state was restored"):
            restored.start()
    (restored.local_dir / FILE_NAME).unlink()
    assert restored.bodies() == [b"in the backup"]

"""Two owners of one store in PostgreSQL: after a takeover nothing of the earlier one follows.

Stores are written through the medium, and by a connection of its own that is stopped where a client
can be: between a statement and its commit.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from leveret_storage.errors import LostEpoch
from leveret_storage.media.locations import open_medium
from leveret_storage.media.postgres.medium import PostgresMedium
from leveret_storage.medium import Medium
from tests.storage.append_load import AppendLoad, records_in
from tests.storage.owning import content, put, take
from tests.support.brokers import SOURCE_ROOTS
from tests.support.postgres import DATABASE, HOST, OWNER, PASSWORD, PostgresCluster, new_location


@pytest.fixture
def location(postgres: PostgresCluster) -> str:
    return new_location(postgres)


@pytest.fixture
def first(location: str) -> Iterator[PostgresMedium]:
    medium = open_medium(location)
    assert isinstance(medium, PostgresMedium)
    yield medium
    medium.close()


@pytest.fixture
def second(first: Medium, location: str) -> Iterator[Medium]:
    medium = open_medium(location)
    yield medium
    medium.close()


def rows_by_epoch(cluster: PostgresCluster, location: str) -> list[tuple[object, ...]]:
    """Epoch and count of rows in all tables of a schema, in the order of their offsets."""
    schema = location.rpartition("schema=")[2].partition("&")[0]
    tables = cluster.owner(f"select table_number from {schema}.blob where name is not null")
    rows: list[tuple[object, ...]] = []
    for (table,) in tables:
        rows += cluster.owner(f"select epoch from {schema}.b{table} order by start")
    return rows


def owner_connection(cluster: PostgresCluster) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        f"host={HOST} port={cluster.primary.port} user={OWNER} dbname={DATABASE}"
        f" password='{PASSWORD}'"
    )


def begin_append(
    connection: psycopg.Connection[tuple[object, ...]], location: str, start: int
) -> None:
    """Do what an owner's append does, without its commit."""
    schema = location.rpartition("schema=")[2]
    (epoch, token), *_ = connection.execute(f"select epoch, token from {schema}.head".encode())
    (table,), *_ = connection.execute(
        f"select table_number from {schema}.blob where name = 'a'".encode()
    )
    connection.commit()
    connection.execute(
        f"insert into {schema}.b{table} select %s, %s, %s"
        f" where {schema}.fence(0, %s, %s, 'later')".encode(),
        (start, epoch, b"late", epoch, token),
    )


def test_an_append_stopped_in_front_of_its_commit_never_comes(
    postgres: PostgresCluster, location: str, first: Medium, second: Medium
) -> None:
    take(first)
    put(first, "a", b"first")
    with owner_connection(postgres) as stopped:
        begin_append(stopped, location, 5)
        began = time.monotonic()
        take(second)
        assert time.monotonic() - began < 5
        found = content(second, "a")
        assert found == b"first"
        second.append_synced("a", b"second")
        with pytest.raises(psycopg.OperationalError):
            stopped.commit()
        stopped.close()
    assert content(second, "a") == b"firstsecond"
    assert rows_by_epoch(postgres, location) == [(1,), (2,)]


def test_an_append_that_was_committed_in_time_is_there(
    postgres: PostgresCluster, location: str, first: Medium, second: Medium
) -> None:
    take(first)
    put(first, "a", b"first")
    with owner_connection(postgres) as other:
        begin_append(other, location, 5)
        other.commit()
    take(second)
    assert content(second, "a") == b"firstlate"


def test_the_earlier_owner_loses_its_epoch_in_the_midst_of_appends(
    postgres: PostgresCluster, location: str, first: Medium, second: Medium
) -> None:
    epoch = take(first)
    first.create("a")
    load = AppendLoad(first, "a").start()
    load.await_confirmed(50)
    take(second)
    found = records_in(content(second, "a"))
    assert load.confirmed <= found
    second.append_synced("a", b"the second owner")
    assert isinstance(load.await_error(), LostEpoch)
    assert found >= load.confirmed
    epochs = [each for (each,) in rows_by_epoch(postgres, location)]
    assert epochs == [epoch] * found + [epoch + 1]
    with pytest.raises(LostEpoch):
        first.append("a", b"1")


def test_every_call_that_writes_finds_out(first: Medium, second: Medium) -> None:
    epoch = 0
    changes: list[Callable[[], object]] = [
        lambda: first.append("a", b"1"),
        lambda: first.append_synced("a", b"1"),
        lambda: first.sync("a"),
        lambda: first.create("b"),
        lambda: first.delete("a"),
        lambda: first.set_aside("b", b"1"),
        lambda: first.write_head(epoch, epoch, b"1"),
    ]
    for change in changes:
        epoch = take(first)
        if "a" not in first.list():
            put(first, "a", b"1")
        take(second)
        with pytest.raises(LostEpoch):
            change()
        assert second.list() == {"a"}
        assert second.read_head()[0] == epoch + 1


def start_owner(location: str) -> subprocess.Popen[str]:
    """A process that takes the store, and prints the number of each record that was confirmed."""
    path = os.pathsep.join([*SOURCE_ROOTS, str(Path(__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.append_load", location, "a"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_the_next_owner_has_what_a_killed_one_confirmed(
    postgres: PostgresCluster, location: str, second: Medium
) -> None:
    with start_owner(location) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(100)]
        process.kill()
        take(second)
        found = records_in(content(second, "a"))
        lines += process.stdout.read().splitlines()
    second.append_synced("a", b"second")
    confirmed = len([line for line in lines if line.strip()])
    assert confirmed - 1 <= found
    epochs = [each for (each,) in rows_by_epoch(postgres, location)]
    assert epochs == [1] * found + [2]


def test_an_owner_that_was_stopped_finds_itself_fenced(
    postgres: PostgresCluster, location: str, second: Medium
) -> None:
    with start_owner(location) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(100)]
            process.send_signal(signal.SIGSTOP)
            take(second)
            found = records_in(content(second, "a"))
            second.append_synced("a", b"second")
            process.send_signal(signal.SIGCONT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    lines += output.splitlines()
    assert lines[-1] == "LostEpoch"
    assert int(lines[-2]) < found
    epochs = [each for (each,) in rows_by_epoch(postgres, location)]
    assert epochs == [1] * found + [2]

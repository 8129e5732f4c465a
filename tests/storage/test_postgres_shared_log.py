"""The shared log in PostgreSQL while connections are cut and servers fail: each append happens
once, and who watches is told of it.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import psycopg
import pytest

from leveret_storage.errors import DataLost
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.shared_log import PostgresSharedLog
from leveret_storage.shared_log import SharedRecord
from tests.support.postgres import (
    DATABASE,
    HOST,
    OWNER,
    PASSWORD,
    PostgresCluster,
    await_state,
    new_location,
    paused,
)
from tests.support.tcp_proxy import TcpProxy

RESULT_S = 30.0

A = [SharedRecord(b"a", b"1")]
B = [SharedRecord(b"b", b"2")]


class Logs:
    """Handles of one log, each with a database of its own, and a thread for calls that wait."""

    def __init__(self, resources: ExitStack) -> None:
        self._resources = resources
        self.pool = ThreadPoolExecutor(4)
        resources.callback(self.pool.shutdown)

    def open(self, location: str) -> PostgresSharedLog:
        database = Database(parse_location(location))
        self._resources.callback(database.close)
        log = PostgresSharedLog(database)
        self._resources.callback(log.close)
        return log

    def begin_append(
        self, log: PostgresSharedLog, expected: int, records: list[SharedRecord]
    ) -> "Future[int | None]":
        return self.pool.submit(log.append, expected, records)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with ExitStack() as resources:
        yield Logs(resources)


@pytest.fixture
def proxy(postgres: PostgresCluster) -> Iterator[TcpProxy]:
    with TcpProxy(postgres.primary.port) as proxy:
        yield proxy


def through(proxy: TcpProxy, location: str) -> str:
    """The same log, for a broker that reaches the database by the proxy only."""
    return f"postgresql://{OWNER}@{HOST}:{proxy.port}/{DATABASE}?{location.partition('?')[2]}"


def schema_of(location: str) -> str:
    return location.partition("schema=")[2]


def version_of(cluster: PostgresCluster, location: str) -> object:
    return cluster.owner(f"select version from {schema_of(location)}.shared_log")[0][0]


def await_version(log: PostgresSharedLog, told: Event, version: int) -> None:
    """Wait until the watcher is told of a version."""

    def is_there() -> bool:
        told.clear()
        return log.read(0).version >= version or not told.wait(RESULT_S)

    await_state(is_there, f"version {version} is seen")
    assert log.read(0).version == version


@pytest.mark.parametrize("meanwhile", [False, True])
def test_an_append_that_is_cut_in_mid_commit_happens_once(
    postgres: PostgresCluster, proxy: TcpProxy, logs: Logs, meanwhile: bool
) -> None:
    """Also where others have appended before it is asked again."""
    location = new_location(postgres)
    other = logs.open(location)
    log = logs.open(through(proxy, location))
    proxy.hold_answers()
    append = logs.begin_append(log, 0, A)
    await_state(lambda: version_of(postgres, location) == 1, "it is committed")
    if meanwhile:
        assert other.append(1, B) == 2
    proxy.lose_answers_and_cut()
    assert append.result(RESULT_S) == 1
    assert other.read(0).version == (2 if meanwhile else 1)
    assert log.append(other.read(0).version, [SharedRecord(b"c", b"3")]) == 2 + meanwhile


def test_a_lost_race_that_is_cut_is_a_conflict(
    postgres: PostgresCluster, proxy: TcpProxy, logs: Logs
) -> None:
    location = new_location(postgres)
    other = logs.open(location)
    log = logs.open(through(proxy, location))
    assert other.append(0, B) == 1
    proxy.hold_answers()
    append = logs.begin_append(log, 0, A)
    proxy.lose_answers_and_cut()
    assert append.result(RESULT_S) is None
    assert log.read(0).records == tuple(B)


def test_changes_are_seen_although_the_connection_that_listens_is_cut(
    postgres: PostgresCluster, proxy: TcpProxy, logs: Logs
) -> None:
    location = new_location(postgres)
    writer = logs.open(location)
    reader = logs.open(through(proxy, location))
    told = Event()
    reader.watch(told.set)
    assert told.wait(RESULT_S)
    for version in range(1, 4):
        proxy.cut()
        writer.append(version - 1, A)
        await_version(reader, told, version)


def test_a_change_is_seen_without_a_notification(postgres: PostgresCluster, logs: Logs) -> None:
    location = new_location(postgres)
    reader = logs.open(location)
    told = Event()
    reader.watch(told.set)
    assert told.wait(RESULT_S)
    postgres.owner(f"update {schema_of(location)}.shared_log set version = 1")
    await_version(reader, told, 1)


def test_a_notification_comes_without_waiting_for_the_next_look(
    postgres: PostgresCluster, logs: Logs
) -> None:
    location = new_location(postgres)
    writer = logs.open(location)
    channel = f"{schema_of(location)}_shared_log"
    with psycopg.connect(
        f"host={HOST} port={postgres.primary.port} user={OWNER} dbname={DATABASE}"
        f" password='{PASSWORD}'",
        autocommit=True,
    ) as connection:
        connection.execute(f"listen {channel}")
        writer.append(0, A)
        notified = next(connection.notifies(timeout=RESULT_S))
    assert notified.channel == channel


def test_a_client_that_was_stopped_in_mid_append_does_not_hold_up_the_others(
    postgres: PostgresCluster, logs: Logs
) -> None:
    location = new_location(postgres)
    log = logs.open(location)
    with psycopg.connect(
        f"host={HOST} port={postgres.primary.port} user={OWNER} dbname={DATABASE}"
        f" password='{PASSWORD}'"
    ) as connection:
        connection.execute(f"select * from {schema_of(location)}.shared_log for update")
        append = logs.begin_append(log, 0, A)
        assert append.result(RESULT_S) == 1
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("commit")


def test_an_append_waits_for_a_standby(failing_postgres: PostgresCluster, logs: Logs) -> None:
    location = new_location(failing_postgres)
    log, other = logs.open(location), logs.open(location)
    first, second = failing_postgres.standbys
    with paused(first), paused(second):
        append = logs.begin_append(log, 0, A)
        reading = logs.pool.submit(other.read, 0)
        assert reading.result(RESULT_S).version == 0
        assert not append.done()
    assert append.result(RESULT_S) == 1
    assert other.read(0).records == tuple(A)


def test_appends_go_on_after_a_failover(failing_postgres: PostgresCluster, logs: Logs) -> None:
    location = new_location(failing_postgres)
    log, other = logs.open(location), logs.open(location)
    told = Event()
    other.watch(told.set)
    assert log.append(0, A) == 1
    failing_postgres.primary.kill()
    append = logs.begin_append(log, 1, B)
    failing_postgres.fail_over()
    assert append.result(RESULT_S) == 2
    await_version(other, told, 2)
    assert other.read(0).records == (*A, *B)


def test_a_log_that_is_older_than_what_was_seen_is_refused(
    postgres: PostgresCluster, logs: Logs
) -> None:
    location = new_location(postgres)
    log, other = logs.open(location), logs.open(location)

    def set_version(version: int) -> None:
        postgres.owner(f"update {schema_of(location)}.shared_log set version = {version}")

    log.append(0, [*A, *B])
    set_version(1)
    with pytest.raises(DataLost, match="version 1, which is older than version 2"):
        log.read(2)
    with pytest.raises(DataLost, match="version 1, which is older than version 2"):
        log.append(2, A)
    assert log.append(1, A) is None
    assert version_of(postgres, location) == 1
    assert other.read(0).version == 1
    set_version(2)
    assert log.append(2, A) == 3

"""The stores of a broker share its connections: what ends or hinders one leaves the others alone,
and leaves nothing open."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from leveret_storage.errors import LostEpoch
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.medium import PostgresMedium
from tests.storage.owning import content, put, take
from tests.support.postgres import (
    DATABASE,
    OWNER,
    PASSWORD,
    SUPERUSER,
    PostgresCluster,
    await_state,
    new_location,
)

DEADLINE_S = 60.0
BEGUN = 50
"""Sessions of several attempts."""

SESSIONS_MAX = 12
"""Of a broker with three stores: one for each, one for commits, those that are idle, and those of
an attempt to connect."""


@pytest.fixture
def database(postgres: PostgresCluster) -> Iterator[Database]:
    database = Database(parse_location(new_location(postgres), password=PASSWORD))
    yield database
    database.close()


@pytest.fixture
def stores(database: Database) -> list[PostgresMedium]:
    """Three of one broker."""
    stores = [PostgresMedium(database, number) for number in range(3)]
    for store in stores:
        take(store)
        put(store, "a", b"data")
    return stores


def table_of(cluster: PostgresCluster, database: Database, store: int) -> str:
    schema = database.location.schema
    rows = cluster.owner(
        f"select table_number from {schema}.blob where store = {store} and name = 'a'"
    )
    return f"{schema}.b{rows[0][0]}"


def test_the_end_of_a_store_leaves_the_calls_of_others_alone(
    postgres: PostgresCluster, database: Database, stores: list[PostgresMedium]
) -> None:
    reasons: list[str] = []
    database.watch(reasons.append)
    primary = postgres.primary
    ended, read_on = table_of(postgres, database, 0), table_of(postgres, database, 1)
    with (
        ThreadPoolExecutor() as threads,
        psycopg.connect(
            f"host={primary.directory} port={primary.port} user={SUPERUSER} dbname={DATABASE}"
        ) as stranger,
    ):
        stranger.execute(f"lock table {ended}, {read_on} in access exclusive mode".encode())
        first = threads.submit(content, stores[0], "a")
        second = threads.submit(content, stores[1], "a")
        await_state(lambda: count_waiting(postgres) >= 2, "both calls wait")
        stores[0].give_up(LostEpoch("the lease has run out"))
        with pytest.raises(LostEpoch):
            first.result(DEADLINE_S)
        stranger.rollback()
        assert second.result(DEADLINE_S) == b"data"
    assert not reasons
    stores[1].append_synced("a", b" and more")
    assert content(stores[1], "a") == b"data and more"


def count_waiting(cluster: PostgresCluster) -> int:
    rows = cluster.owner(
        f"select count(*) from pg_stat_activity where usename = '{OWNER}'"
        " and wait_event_type = 'Lock'"
    )
    assert isinstance(rows[0][0], int)
    return rows[0][0]


def test_attempts_to_connect_that_fail_leave_no_session(
    postgres: PostgresCluster, database: Database, stores: list[PostgresMedium]
) -> None:
    """The role has lost a right, so no store can be taken again."""
    reasons: list[str] = []
    database.watch(reasons.append)
    head = f"{database.location.schema}.head"
    gc.disable()
    try:
        postgres.owner(f"alter table {head} owner to {SUPERUSER}")
        postgres.owner(f"revoke all on {head} from {OWNER}")
        terminate_sessions(postgres)
        await_state(lambda: reasons and "permission" in reasons[-1], f"refused: {reasons}")
        before = count_begun(postgres)
        await_state(lambda: count_begun(postgres) - before >= BEGUN, "more attempts")
        await_state(lambda: count_sessions(postgres) <= SESSIONS_MAX, "few sessions", 5)
        postgres.owner(f"alter table {head} owner to {OWNER}")
        stores[0].append_synced("a", b" and more")
        assert content(stores[0], "a") == b"data and more"
    finally:
        gc.enable()


def count_sessions(cluster: PostgresCluster) -> int:
    rows = cluster.owner(f"select count(*) from pg_stat_activity where usename = '{OWNER}'")
    assert isinstance(rows[0][0], int)
    return rows[0][0]


def count_begun(cluster: PostgresCluster) -> int:
    """Sessions in the database, whose number does not grow by asking in another one."""
    rows = cluster.primary.superuser(
        f"select sessions from pg_stat_database where datname = '{DATABASE}'"
    )
    assert isinstance(rows[0][0], int)
    return rows[0][0]


def terminate_sessions(cluster: PostgresCluster) -> None:
    cluster.owner(
        f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{OWNER}'"
    )

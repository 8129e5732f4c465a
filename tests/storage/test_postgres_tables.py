"""Blobs as tables: what is behind a gap, what is dropped and made ahead, and several stores."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from leveret_storage.errors import DataLost, LostEpoch
from leveret_storage.media.locations import open_medium
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.medium import SPARE_TABLES, PostgresMedium
from leveret_storage.medium import Medium
from tests.storage.append_load import AppendLoad
from tests.storage.owning import content, put, take
from tests.support.postgres import DATABASE, PostgresCluster, await_state, new_location

MIB = 1024 * 1024


@pytest.fixture
def location(postgres: PostgresCluster) -> str:
    return new_location(postgres)


@pytest.fixture
def schema(location: str) -> str:
    return location.rpartition("schema=")[2]


@pytest.fixture
def medium(location: str) -> Iterator[Medium]:
    medium = open_medium(location)
    take(medium)
    yield medium
    medium.close()


def table_of(cluster: PostgresCluster, schema: str, name: str) -> str:
    rows = cluster.owner(f"select table_number from {schema}.blob where name = '{name}'")
    return f"{schema}.b{rows[0][0]}"


def count_tables(cluster: PostgresCluster, schema: str) -> int:
    rows = cluster.owner(
        f"select count(*) from pg_tables where schemaname = '{schema}' and tablename ~ '^b[0-9]+$'"
    )
    assert isinstance(rows[0][0], int)
    return rows[0][0]


def terminate_sessions(cluster: PostgresCluster) -> None:
    cluster.owner(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        f" where datname = '{DATABASE}' and usename = 'leveret'"
    )


@pytest.mark.parametrize("start", [4, 2_000_000])
def test_what_is_behind_a_gap_is_not_read_and_makes_way(
    postgres: PostgresCluster, schema: str, medium: Medium, location: str, start: int
) -> None:
    put(medium, "a", b"one")
    table = table_of(postgres, schema, "a")
    postgres.owner(f"insert into {table} values ({start}, 1, 'never confirmed')")
    reader = open_medium(location)
    assert reader.size("a") == 3
    assert reader.read("a", 0, 3_000_000) == b"one"
    assert reader.read("a", start, 10) == b""
    take(reader)
    assert reader.size("a") == 3
    assert reader.append("a", b"two") == 3
    assert content(reader, "a") == b"onetwo"
    assert postgres.owner(f"select count(*) from {table}") == [(2,)]
    reader.close()


def test_a_blob_without_its_beginning_is_empty(
    postgres: PostgresCluster, schema: str, medium: Medium, location: str
) -> None:
    medium.create("a")
    postgres.owner(f"insert into {table_of(postgres, schema, 'a')} values (5, 1, 'x')")
    reader = open_medium(location)
    assert reader.size("a") == 0
    assert reader.read("a", 0, 10) == b""
    reader.close()


def test_a_read_finds_any_range_of_rows_of_any_size(medium: Medium) -> None:
    whole = b""
    medium.create("a")
    for size in (1, 1000, MIB - 1, 1, 3 * MIB, 2, 70_000):
        data = os.urandom(size)
        medium.append("a", data)
        whole += data
    for offset, size in ((0, 1), (1, 1000), (999, 3), (MIB, MIB), (5, len(whole)), (2_097_153, 7)):
        assert medium.read("a", offset, size) == whole[offset : offset + size]


def test_what_can_be_compressed_is(postgres: PostgresCluster, schema: str, medium: Medium) -> None:
    put(medium, "a", b'{"name": "value", "number": 12345}' * 30_000)
    rows = postgres.owner(f"select pg_total_relation_size('{table_of(postgres, schema, 'a')}')")
    assert isinstance(rows[0][0], int)
    assert rows[0][0] < MIB / 4


def test_a_table_that_somebody_reads_is_dropped_later(
    postgres: PostgresCluster, schema: str, medium: Medium
) -> None:
    put(medium, "a", b"1")
    put(medium, "b", b"2")
    table = table_of(postgres, schema, "a")
    with psycopg.connect(
        f"host={postgres.primary.directory} port={postgres.primary.port} user=postgres"
        f" dbname={DATABASE}"
    ) as dump:
        dump.execute(f"lock table {table} in access share mode".encode())
        medium.delete("a")
        assert medium.list() == {"b"}
        assert postgres.owner(f"select count(*) from {table}") == [(1,)]
    medium.delete("b")
    await_state(
        lambda: postgres.owner(f"select to_regclass('{table}')") == [(None,)], "it is dropped"
    )


def test_the_next_owner_drops_what_the_last_one_could_not(
    postgres: PostgresCluster, schema: str, medium: Medium, location: str
) -> None:
    put(medium, "a", b"1")
    table = table_of(postgres, schema, "a")
    postgres.owner(f"update {schema}.blob set name = null, dropped = true where name = 'a'")
    following = open_medium(location)
    take(following)
    await_state(
        lambda: postgres.owner(f"select to_regclass('{table}')") == [(None,)], "it is dropped"
    )
    assert following.list() == frozenset()
    following.close()


def test_tables_made_ahead_are_used_by_the_next_owner(
    postgres: PostgresCluster, schema: str, medium: Medium, location: str
) -> None:
    for number in range(4):
        put(medium, f"blob-{number}", b"1")
        await_state(
            lambda: count_tables(postgres, schema) == number + 1 + SPARE_TABLES,  # noqa: B023
            "spare tables are made",
        )
        medium.close()
        medium = open_medium(location)
        take(medium)
    for number in range(4):
        medium.delete(f"blob-{number}")
    assert count_tables(postgres, schema) == SPARE_TABLES
    medium.close()


def test_what_was_deleted_leaves_no_space_behind(
    postgres: PostgresCluster, schema: str, medium: Medium
) -> None:
    def size() -> int:
        found = postgres.owner(f"select pg_database_size('{DATABASE}')")[0][0]
        assert isinstance(found, int)
        return found

    before = size()
    data = os.urandom(MIB)
    for number in range(24):
        medium.create(f"blob-{number}")
        for _ in range(4):
            medium.append(f"blob-{number}", data)
        medium.sync(f"blob-{number}")
        if number >= 2:
            medium.delete(f"blob-{number - 2}")
    assert size() - before < 2 * 4 * MIB + 16 * MIB


def test_stores_of_one_database_have_owners_of_their_own(
    postgres: PostgresCluster, location: str
) -> None:
    database = Database(parse_location(location))
    stores = [PostgresMedium(database, store) for store in range(4)]
    loads = []
    for store, medium in enumerate(stores):
        assert take(medium, f"store {store}".encode()) == 1
        medium.create("a")
        loads.append(AppendLoad(medium, "a").start())
    for load in loads:
        load.await_confirmed(20)
    usurper = open_medium(f"{location}&store=2")
    assert usurper.read_head() == (1, b"store 2")
    take(usurper)
    assert isinstance(loads[2].await_error(), LostEpoch)
    terminate_sessions(postgres)
    for store, load in enumerate(loads):
        if store != 2:
            load.await_confirmed(20)
            load.stop()
            assert load.check(stores[store]) == load.confirmed
    for medium in stores:
        medium.close()
    database.close()
    usurper.close()


def test_a_schema_that_is_missing_is_waited_for(
    postgres: PostgresCluster, schema: str, medium: Medium
) -> None:
    reasons: list[str] = []
    medium.watch(reasons.append)
    medium.create("a")
    load = AppendLoad(medium, "a").start()
    load.await_confirmed(20)
    postgres.owner(f"alter schema {schema} rename to {schema}_moved")
    await_state(lambda: reasons and "there is no schema" in reasons[-1], f"{reasons}")
    assert postgres.owner(f"select to_regnamespace('{schema}')") == [(None,)]
    postgres.owner(f"alter schema {schema}_moved rename to {schema}")
    load.await_confirmed(20)
    load.stop()
    assert load.check(medium) == load.confirmed


def test_an_older_head_than_was_confirmed_ends_the_owner(
    postgres: PostgresCluster, schema: str, medium: Medium
) -> None:
    epoch, _ = medium.read_head()
    medium.write_head(epoch, epoch, b"older")
    medium.write_head(epoch, epoch, b"confirmed")
    medium.create("a")
    load = AppendLoad(medium, "a").start()
    load.await_confirmed(20)
    postgres.owner(f"update {schema}.head set data = 'older'")
    terminate_sessions(postgres)
    error = load.await_error()
    assert isinstance(error, DataLost)
    assert "the head of store 0 is older" in str(error)

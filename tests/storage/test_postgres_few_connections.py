"""A server that lets in no further connection of Leveret: the stores that have theirs go on."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest

from leveret_storage.errors import MediumFailed, ReadFailed, StorageError
from leveret_storage.media.postgres import database as postgres_database
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.medium import PostgresMedium
from tests.storage.owning import take
from tests.support.postgres import (
    DATABASE,
    OWNER,
    PASSWORD,
    PostgresCluster,
    await_state,
    new_location,
)

ROLES = count(1)


class Role:
    """A role of Leveret, with a limit of its connections."""

    def __init__(self, postgres: PostgresCluster) -> None:
        self.name = f"few_{next(ROLES)}"
        self._postgres = postgres
        postgres.owner(f"create role {self.name} login password '{PASSWORD}' in role pg_monitor")
        postgres.owner(f"grant create on database {DATABASE} to {self.name}")
        self.location = new_location(postgres).replace(OWNER, self.name, 1)

    def connections(self) -> int:
        rows = self._postgres.owner(
            f"select count(*)::int from pg_stat_activity where usename = '{self.name}'"
        )
        found = rows[0][0]
        assert isinstance(found, int)
        return found

    def limit(self, connections: int) -> None:
        """Let no more in; -1 for any number."""
        self._postgres.owner(f"alter role {self.name} connection limit {connections}")

    def end_connections(self) -> None:
        self._postgres.owner(
            f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{self.name}'"
        )


@pytest.fixture
def role(postgres: PostgresCluster) -> Role:
    return Role(postgres)


@pytest.fixture
def database(role: Role) -> Iterator[Database]:
    with closing(Database(parse_location(role.location))) as database:
        yield database


def owned(database: Database, store: int) -> PostgresMedium:
    medium = PostgresMedium(database, store)
    take(medium)
    medium.create("a")
    medium.append_synced("a", b"before")
    return medium


def test_a_store_without_a_connection_cannot_be_taken_and_others_go_on(
    role: Role, database: Database
) -> None:
    reasons: list[str] = []
    database.watch(reasons.append)
    with closing(owned(database, 0)) as medium:
        role.limit(role.connections())
        another = PostgresMedium(database, 1)
        with closing(another), pytest.raises(ReadFailed, match="no further connection"):
            take(another)
        medium.append_synced("a", b" and after")
        assert medium.read("a", 0, 100) == b"before and after"
        assert reasons == []
        role.limit(-1)
        with closing(owned(database, 1)) as another:
            another.append_synced("a", b" and after")


def test_after_a_reconnect_stores_without_a_connection_end_and_others_go_on(
    role: Role, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_database, "NO_ROOM_S", 0.5)
    with closing(owned(database, 0)) as medium, closing(owned(database, 1)) as another:
        ended: list[StorageError] = []
        another.watch_owner(ended.append)
        # One for calls, one for small commits, and one for a store.
        role.limit(3)
        role.end_connections()
        medium.append_synced("a", b" and after")
        assert medium.read("a", 0, 100) == b"before and after"
        await_state(lambda: bool(ended), "the owner of the other store being told")
        assert isinstance(ended[0], MediumFailed)
        assert "no further connection" in str(ended[0])
        with pytest.raises(MediumFailed, match="no further connection"):
            another.append_synced("a", b" and after")
        assert database.reason == ""
    role.limit(-1)
    with closing(PostgresMedium(database, 1)) as another:
        take(another)
        assert another.read("a", 0, 100) == b"before"

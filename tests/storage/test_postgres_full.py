"""A full database: appends are refused or wait, nothing confirmed is lost, and dropping makes room.

The server's disk is made to be full by a library (tests/support/full_disk.py).
"""

from collections.abc import Iterator

import pytest

from leveret_storage.errors import MediumFull
from leveret_storage.media.locations import open_medium
from leveret_storage.medium import Medium
from tests.storage.append_load import AppendLoad
from tests.storage.owning import content, put, take
from tests.support.full_disk import FullDisk
from tests.support.postgres import PostgresCluster, await_state


@pytest.fixture
def disk(failing_postgres: PostgresCluster) -> FullDisk:
    return FullDisk(failing_postgres)


@pytest.fixture
def medium(failing_postgres: PostgresCluster, disk: FullDisk) -> Iterator[Medium]:
    medium = open_medium(failing_postgres.url())
    take(medium)
    yield medium
    medium.close()


def fill_table(medium: Medium, name: str) -> int:
    """Append until the table has no room left; returns how often that worked."""
    for count in range(10_000):
        try:
            medium.append(name, bytes(1000))
        except MediumFull:
            return count
    pytest.fail("it was never full")


def create_until_full(medium: Medium) -> int:
    """Create blobs until there is no room for one more; returns how many were created."""
    for made in range(10_000):
        try:
            medium.create(f"blob-{made}")
        except MediumFull:
            return made
    pytest.fail("it was never full")


def test_an_append_that_was_refused_can_be_tried_again(medium: Medium, disk: FullDisk) -> None:
    put(medium, "a", b"1")
    disk.fill()
    appended = 1 + 1000 * fill_table(medium, "a")
    assert medium.size("a") == appended
    assert medium.free_bytes() == 0
    for append in (medium.append, medium.append_synced):
        with pytest.raises(MediumFull, match="No space left on device"):
            append("a", bytes(3_000_000))
    disk.make_room()
    assert medium.append("a", bytes(3_000_000)) == appended
    assert medium.free_bytes() > 0
    medium.sync("a")
    assert content(medium, "a") == b"1" + bytes(appended - 1 + 3_000_000)


def test_appends_in_flight_wait_for_room(medium: Medium, disk: FullDisk) -> None:
    medium.create("a")
    load = AppendLoad(medium, "a").start()
    load.await_confirmed(50)
    disk.fill()
    await_state(lambda: medium.free_bytes() == 0, "it is full")
    confirmed = load.confirmed
    disk.make_room()
    load.await_confirmed(50)
    load.stop()
    assert load.check(medium) == load.confirmed > confirmed


def test_blobs_are_deleted_while_it_is_full(
    medium: Medium, disk: FullDisk, failing_postgres: PostgresCluster
) -> None:
    for name in ("a", "b"):
        put(medium, name, bytes(1_000_000))
    disk.fill()
    fill_table(medium, "b")
    before = failing_postgres.owner("select pg_database_size('leveret')")[0][0]
    medium.delete("a")
    after = failing_postgres.owner("select pg_database_size('leveret')")[0][0]
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after < before
    assert medium.list() == {"b"}


def test_a_blob_that_finds_no_room_is_not_there(medium: Medium, disk: FullDisk) -> None:
    disk.fill()
    made = create_until_full(medium)
    assert len(medium.list()) == made
    disk.make_room()
    medium.create(f"blob-{made}")
    assert len(medium.list()) == made + 1

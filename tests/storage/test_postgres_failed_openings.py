"""What a PostgreSQL database knows of members that have failed with a store."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from leveret_storage.coordination import Member, StoreLease
from leveret_storage.media.postgres.coordination import PostgresCoordination
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from tests.support.postgres import PostgresCluster, new_location

STORES = 2
LEASE_MS = 600_000
"""So long that no slow machine lets one end."""

Join = Callable[[str], PostgresCoordination]


@pytest.fixture
def location(postgres: PostgresCluster) -> str:
    """The location of a new schema."""
    location = new_location(postgres)
    Database(parse_location(location)).close()
    return location


@pytest.fixture
def join(location: str) -> Iterator[Join]:
    with ExitStack() as opened:

        def join(name: str) -> PostgresCoordination:
            coordination = PostgresCoordination(parse_location(location), "replicated")
            opened.callback(coordination.close)
            member = Member(name, f"{name}-1", f"{name}:1", "1.0", 0, 0, 0, False, False)
            coordination.join(member, STORES, LEASE_MS)
            return coordination

        yield join


def lease_of(coordination: PostgresCoordination, store: int) -> StoreLease:
    return coordination.look().leases[store]


def test_who_has_failed_with_a_store_is_known_until_it_opens_it(join: Join) -> None:
    a, b = join("a"), join("b")
    a.try_take(0)
    b.give_back(0, 1000, "not ours")
    assert lease_of(b, 0).failed == ()
    a.give_back(0, 1000, "no local directory")
    lease = lease_of(b, 0)
    assert lease.owner == ""
    (failed,) = lease.failed
    assert (failed.incarnation, failed.back_off_ms) == ("a-1", 1000)
    assert failed.reason == "no local directory"
    assert 0 <= failed.ago_ms < LEASE_MS
    assert lease_of(b, 1).failed == ()
    for back_off_ms in (2000, 4000):
        a.try_take(0)
        a.give_back(0, back_off_ms, "again")
        (failed,) = lease_of(b, 0).failed
        assert (failed.back_off_ms, failed.reason) == (back_off_ms, "again")
    b.try_take(0)
    b.note_epoch(0, 7)
    assert len(lease_of(b, 0).failed) == 1
    b.release(0)
    a.try_take(0)
    a.note_epoch(0, 8)
    assert lease_of(b, 0).failed == ()


def test_failures_are_forgotten_with_their_process_and_by_an_order(
    join: Join, postgres: PostgresCluster, location: str
) -> None:
    a, b = join("a"), join("b")
    a.try_take(0)
    a.give_back(0, 1000, "no")
    b.try_take(1)
    b.give_back(1, 1000, "no")
    a.move(1, "b")
    assert lease_of(a, 1).failed == ()
    a.leave()
    b.try_take(1)
    b.give_back(1, 1000, "no")
    assert [len(lease_of(b, store).failed) for store in range(2)] == [0, 1]
    # A clock that is set back makes no failure last longer.
    schema = parse_location(location).schema
    postgres.owner(f"update {schema}.failed_opening set failed_at = failed_at + '1 hour'")
    assert lease_of(b, 1).failed == ()

"""Appends that are begun at once, without a thread in between, on a store in PostgreSQL."""

from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from leveret_storage.errors import LostEpoch, StorageError
from leveret_storage.media.locations import open_medium
from leveret_storage.medium import Medium
from tests.storage.owning import content, put, take
from tests.support.brokers import wait_until
from tests.support.postgres import PostgresCluster, new_location, paused
from tests.support.tcp_proxy import TcpProxy

DEADLINE_S = 60.0


class Appends:
    """Appends to one blob, and what the medium has answered."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._answers: SimpleQueue[tuple[bytes, StorageError | None]] = SimpleQueue()

    def at_once(self, data: bytes) -> bool:
        """Begin one at once; whether that was done."""
        return self._medium.append_synced_at_once(
            "a", data, lambda error: self._answers.put((data, error))
        )

    def await_at_once(self, data: bytes) -> None:
        """Begin one at once, as soon as no thread is about to do something."""
        wait_until(lambda: self.at_once(data), what="an append is begun at once")

    def later(self, data: bytes) -> None:
        self._medium.append_synced_later("a", data, lambda error: self._answers.put((data, error)))

    def next_answer(self) -> tuple[bytes, StorageError | None]:
        return self._answers.get(timeout=DEADLINE_S)

    @property
    def any_answered(self) -> bool:
        return not self._answers.empty()


@pytest.fixture
def location(postgres: PostgresCluster) -> str:
    return new_location(postgres)


@pytest.fixture
def medium(location: str) -> Iterator[Medium]:
    medium = open_medium(location)
    take(medium)
    put(medium, "a", b"0")
    yield medium
    medium.close()


def test_an_append_alone_is_begun_at_once_and_is_durable(
    postgres: PostgresCluster, medium: Medium
) -> None:
    appends = Appends(medium)
    for data in (b"1", b"2", b"3"):
        appends.await_at_once(data)
        assert appends.next_answer() == (data, None)
    flushed = postgres.owner(
        "select count(*) from pg_stat_replication where flush_lsn >= pg_current_wal_flush_lsn()"
    )
    assert flushed != [(0,)]
    assert content(medium, "a") == b"0123"


def test_only_one_alone_is_begun_at_once_and_the_order_is_kept(
    postgres: PostgresCluster, medium: Medium
) -> None:
    appends = Appends(medium)
    first, second = postgres.standbys
    with paused(first), paused(second):
        appends.await_at_once(b"1")
        assert not appends.at_once(b"no")
        appends.later(b"2")
        assert not appends.at_once(b"no")
        assert not appends.any_answered
    assert [appends.next_answer() for _ in range(2)] == [(b"1", None), (b"2", None)]
    assert content(medium, "a") == b"012"


def test_after_a_takeover_nothing_that_is_begun_at_once_is_written(
    location: str, medium: Medium
) -> None:
    appends = Appends(medium)
    other = open_medium(location)
    epoch, _ = other.read_head()
    other.write_head(epoch, epoch + 1, b"")
    # The owner learns of it by the answer.
    appends.await_at_once(b"1")
    assert isinstance(appends.next_answer()[1], LostEpoch)
    assert not appends.at_once(b"2")
    with pytest.raises(LostEpoch):
        appends.later(b"2")
    assert content(other, "a") == b"0"
    other.close()


def test_what_was_begun_at_once_when_the_connection_is_cut_is_written_once(
    postgres: PostgresCluster,
) -> None:
    with TcpProxy(postgres.primary.port) as proxy:
        location = new_location(postgres)
        for server in postgres.servers:
            location = location.replace(f":{server.port}", f":{proxy.port}")
        medium = open_medium(location)
        take(medium)
        put(medium, "a", b"0")
        appends = Appends(medium)
        proxy.hold_answers()
        appends.await_at_once(b"1")
        proxy.lose_answers_and_cut()
        assert appends.next_answer() == (b"1", None)
        appends.await_at_once(b"2")
        assert appends.next_answer() == (b"2", None)
        assert content(medium, "a") == b"012"
        medium.close()


def test_who_owns_nothing_begins_nothing(location: str, medium: Medium) -> None:
    reader = open_medium(location)
    assert not Appends(reader).at_once(b"1")
    reader.close()
    assert not Appends(reader).at_once(b"1")
    medium.give_up(LostEpoch("the lease has run out"))
    assert not Appends(medium).at_once(b"1")

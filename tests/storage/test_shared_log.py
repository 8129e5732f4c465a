"""What every shared log does, in memory and in PostgreSQL."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import TypeAlias

import pytest

from leveret_storage.errors import StorageError
from leveret_storage.media.postgres import schema
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.shared_log import PostgresSharedLog
from leveret_storage.shared_log import Reading, SharedLog, SharedRecord
from tests.support.postgres import PostgresCluster, new_location
from tests.support.shared_logs import LogContents, MemorySharedLog

Handles: TypeAlias = Callable[[], SharedLog]

SEEN_WITHIN_S = 10.0


@pytest.fixture(params=["memory", "postgres"])
def another(request: pytest.FixtureRequest) -> Iterator[Handles]:
    """Makes one more handle of the same log."""
    if request.param == "memory":
        contents = LogContents(schema.DELETIONS_MAX)
        yield lambda: MemorySharedLog(contents)
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    location = parse_location(new_location(cluster))
    databases: list[Database] = []
    logs: list[SharedLog] = []

    def make() -> SharedLog:
        databases.append(Database(location))
        logs.append(PostgresSharedLog(databases[-1]))
        return logs[-1]

    yield make
    for log in logs:
        log.close()
    for database in databases:
        database.close()


def put(key: bytes, data: bytes | None) -> SharedRecord:
    return SharedRecord(key, data)


def test_a_new_log_is_empty(another: Handles) -> None:
    assert another().read(0) == Reading(0, (), True)


def test_what_was_appended_is_read_in_its_order(another: Handles) -> None:
    writer, reader = another(), another()
    assert writer.append(0, [put(b"b", b"1"), put(b"a", b"2")]) == 2
    assert writer.append(2, [put(b"c", b"\0\xff'\\")]) == 3
    everything = (put(b"b", b"1"), put(b"a", b"2"), put(b"c", b"\0\xff'\\"))
    assert reader.read(0) == Reading(3, everything, True)
    assert reader.read(2) == Reading(3, everything[2:], False)
    assert reader.read(3) == Reading(3, (), False)


def test_an_append_to_another_version_has_no_effect(another: Handles) -> None:
    first, second = another(), another()
    assert first.append(0, [put(b"a", b"1")]) == 1
    assert second.append(0, [put(b"b", b"2")]) is None
    assert second.read(0) == Reading(1, (put(b"a", b"1"),), True)
    assert second.append(1, [put(b"b", b"2")]) == 2


def test_a_record_replaces_that_of_its_key(another: Handles) -> None:
    log = another()
    log.append(0, [put(b"a", b"1"), put(b"b", b"2")])
    log.append(2, [put(b"a", b"3")])
    assert log.read(0).records == (put(b"b", b"2"), put(b"a", b"3"))
    assert log.read(2).records == (put(b"a", b"3"),)


def test_of_a_key_that_is_twice_in_an_append_the_last_record_counts(another: Handles) -> None:
    log = another()
    assert log.append(0, [put(b"a", b"1"), put(b"a", b"2")]) == 1
    assert log.read(0).records == (put(b"a", b"2"),)


def test_a_deletion_is_read_by_who_has_what_was_before(another: Handles) -> None:
    log = another()
    log.append(0, [put(b"a", b"1")])
    log.append(1, [put(b"a", None)])
    assert log.read(1) == Reading(2, (put(b"a", None),), False)


def test_the_log_is_bounded_and_who_is_behind_reads_everything(another: Handles) -> None:
    log = another()
    count = schema.DELETIONS_MAX
    log.append(0, [put(b"kept", b"1"), put(b"gone", b"2")])
    log.append(2, [put(b"gone", None), put(b"gone too", None)])
    log.append(4, [put(str(number).encode(), None) for number in range(count)])
    reading = log.read(2)
    assert reading.is_everything
    assert [record for record in reading.records if record.data is not None] == [put(b"kept", b"1")]
    assert len(log.read(4).records) == count
    assert not log.read(4).is_everything


def test_who_watches_is_told_of_appends_of_others(another: Handles) -> None:
    writer, reader = another(), another()
    told = Event()
    reader.watch(told.set)
    assert told.wait(SEEN_WITHIN_S)
    told.clear()
    writer.append(0, [put(b"a", b"1")])
    assert told.wait(SEEN_WITHIN_S)
    assert reader.read(0).version == 1


def test_a_log_that_was_closed_refuses(another: Handles) -> None:
    log = another()
    log.close()
    with pytest.raises(StorageError):
        log.read(0)
    with pytest.raises(StorageError):
        log.append(0, [put(b"a", b"1")])

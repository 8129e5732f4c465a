"""Appends to the medium on PostgreSQL: a primary and two synchronous standbys on this machine.

    python -m bench.postgres_medium [SECONDS [DIRECTORY]]

Each row is measured for some seconds: records of one size, appended one at a time or with several in
flight, and durable on two servers. In front of each row is what one connection does that inserts
the same bytes into a table and commits synchronously, one at a time: what the machine can do.
"""

import os
import sys
import time
from pathlib import Path
from threading import Condition
from typing import Final

import psycopg

from leveret_storage.errors import StorageError
from leveret_storage.media.locations import open_medium
from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from leveret_storage.medium import Medium
from tests.storage.owning import take
from tests.support.postgres import DATABASE, HOST, OWNER, PASSWORD, PostgresCluster

SECONDS: Final = 3.0
KIB: Final = 1024
ONE_AT_A_TIME: Final = (100, 16 * KIB, 64 * KIB)
IN_FLIGHT: Final = ((16 * KIB, 8), (16 * KIB, 32), (64 * KIB, 8), (64 * KIB, 32), (256 * KIB, 32))


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1000


def report(name: str, size: int, count: int, seconds: float, times: list[float]) -> None:
    print(
        f"{name:<28} {size / KIB:6.1f} KiB {count / seconds:8.0f}/s"
        f" {count * size / seconds / 1e6:7.1f} MB/s  p50 {percentile(times, 0.5):7.2f} ms"
        f"  p99 {percentile(times, 0.99):7.2f} ms",
        flush=True,
    )


def bare(cluster: PostgresCluster, size: int, seconds: float) -> None:
    times = []
    with psycopg.connect(
        f"host={HOST} port={cluster.primary.port} user={OWNER} dbname={DATABASE}"
        f" password='{PASSWORD}'",
        autocommit=True,
    ) as connection:
        connection.execute(b"drop table if exists bare")
        connection.execute(b"create table bare (start bigint primary key, data bytea)")
        end = time.perf_counter() + seconds
        data = os.urandom(size)
        while (began := time.perf_counter()) < end:
            connection.execute(b"insert into bare values (%s, %b)", (len(times), data))
            times.append(time.perf_counter() - began)
        connection.execute(b"drop table bare")
    report("bare insert and commit", size, len(times), seconds, times)


def one_at_a_time(medium: Medium, size: int, seconds: float) -> None:
    times = []
    medium.create("one")
    data = os.urandom(size)
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        medium.append_synced("one", data)
        times.append(time.perf_counter() - began)
    medium.delete("one")
    report("one at a time", size, len(times), seconds, times)


def in_flight(medium: Medium, size: int, window: int, seconds: float) -> None:
    times: list[float] = []
    changed = Condition()
    under_way = 0
    medium.create("many")
    data = os.urandom(size)

    def begin() -> None:
        began = time.perf_counter()

        def answer(error: StorageError | None) -> None:
            nonlocal under_way
            assert error is None, error
            with changed:
                under_way -= 1
                times.append(time.perf_counter() - began)
                changed.notify()

        medium.append_synced_later("many", data, answer)

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        with changed:
            changed.wait_for(lambda: under_way < window)
            under_way += 1
        begin()
    with changed:
        changed.wait_for(lambda: not under_way)
    report(f"{window} in flight", size, len(times), seconds, times)
    medium.delete("many")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    directory = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("/tmp")
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    with PostgresCluster(directory, max_wal_size="4GB", wal_compression="lz4") as cluster:
        medium = open_medium(cluster.url())
        take(medium)
        for size in ONE_AT_A_TIME:
            bare(cluster, size, seconds)
            one_at_a_time(medium, size, seconds)
        for size, window in IN_FLIGHT:
            in_flight(medium, size, window, seconds)
        medium.close()


if __name__ == "__main__":
    main()

"""Appends to the medium on PostgreSQL: a primary and two synchronous standbys on this machine.

    python -m bench.postgres_medium [SECONDS [DIRECTORY]]

Each row is measured for some seconds: records of one size, appended one at a time or with several
in flight, and durable on two servers. In front of some rows is what one connection does that
inserts the same bytes into a table and commits synchronously, one at a time.
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


class Row:
    """One measurement: its times, and the CPU time that client and servers used meanwhile."""

    def __init__(self, cluster: PostgresCluster, name: str, size: int) -> None:
        self.times: list[float] = []
        self._cluster = cluster
        self._name = name
        self._size = size
        self._began = time.perf_counter()
        self._client_cpu = time.process_time()
        self._server_cpu = self._servers()

    def _servers(self) -> float:
        """CPU seconds of all processes of the servers that there are."""
        ticks = 0
        for server in self._cluster.servers:
            for pid in server.processes():
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def report(self) -> None:
        seconds = time.perf_counter() - self._began
        count = len(self.times)
        client = (time.process_time() - self._client_cpu) / count * 1e6
        servers = (self._servers() - self._server_cpu) / count * 1e6
        print(
            f"{self._name:<24} {self._size / KIB:6.1f} KiB {count / seconds:8.0f}/s"
            f" {count * self._size / seconds / 1e6:7.1f} MB/s"
            f"  p50 {percentile(self.times, 0.5):7.2f} ms"
            f"  p99 {percentile(self.times, 0.99):7.2f} ms"
            f"  CPU of client {client:5.0f} us, of servers {servers:5.0f} us",
            flush=True,
        )


def bare(cluster: PostgresCluster, size: int, seconds: float) -> None:
    with psycopg.connect(
        f"host={HOST} port={cluster.primary.port} user={OWNER} dbname={DATABASE}"
        f" password='{PASSWORD}'",
        autocommit=True,
    ) as connection:
        connection.execute(b"drop table if exists bare")
        connection.execute(b"create table bare (start bigint primary key, data bytea)")
        end = time.perf_counter() + seconds
        data = os.urandom(size)
        row = Row(cluster, "bare insert and commit", size)
        while (began := time.perf_counter()) < end:
            connection.execute(b"insert into bare values (%s, %b)", (len(row.times), data))
            row.times.append(time.perf_counter() - began)
        row.report()
        connection.execute(b"drop table bare")


def one_at_a_time(cluster: PostgresCluster, medium: Medium, size: int, seconds: float) -> None:
    medium.create("one")
    data = os.urandom(size)
    row = Row(cluster, "one at a time", size)
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        medium.append_synced("one", data)
        row.times.append(time.perf_counter() - began)
    row.report()
    medium.delete("one")


def in_flight(
    cluster: PostgresCluster, medium: Medium, size: int, window: int, seconds: float
) -> None:
    changed = Condition()
    under_way = 0
    medium.create("many")
    data = os.urandom(size)
    row = Row(cluster, f"{window} in flight", size)

    def begin() -> None:
        began = time.perf_counter()

        def answer(error: StorageError | None) -> None:
            nonlocal under_way
            assert error is None, error
            with changed:
                under_way -= 1
                row.times.append(time.perf_counter() - began)
                changed.notify()

        medium.append_synced_later("many", data, answer)

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        with changed:
            while under_way == window:
                changed.wait()
            under_way += 1
        begin()
    with changed:
        changed.wait_for(lambda: not under_way)
    row.report()
    medium.delete("many")


def other_calls(cluster: PostgresCluster, medium: Medium, seconds: float) -> None:
    """Making and deleting a blob of 1 MiB, and taking a store in turns."""
    creating, deleting = Row(cluster, "create", 0), Row(cluster, "delete", 0)
    data = os.urandom(1024 * KIB)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        medium.create("blob")
        creating.times.append(time.perf_counter() - began)
        medium.append_synced("blob", data)
        began = time.perf_counter()
        medium.delete("blob")
        deleting.times.append(time.perf_counter() - began)
    creating.report()
    deleting.report()
    owners = [open_medium(cluster.url(store="1")) for _ in range(2)]
    row = Row(cluster, "takeover", 0)
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        take(owners[len(row.times) % 2])
        row.times.append(time.perf_counter() - began)
    row.report()
    for owner in owners:
        owner.close()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    directory = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("/tmp")
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    with PostgresCluster(directory, shared_buffers="256MB", max_wal_size="4GB") as cluster:
        medium = open_medium(cluster.url())
        take(medium)
        for size in ONE_AT_A_TIME:
            bare(cluster, size, seconds)
            one_at_a_time(cluster, medium, size, seconds)
        for size, window in IN_FLIGHT:
            in_flight(cluster, medium, size, window, seconds)
        other_calls(cluster, medium, seconds)
        medium.close()


if __name__ == "__main__":
    main()

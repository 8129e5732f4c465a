"""The resource guard, on a disk: when it measures, and what it reports; file descriptors."""

import io
import sys

import pytest

from leveret.net.resource_guard import (
    DISK_CHECK_BYTES,
    ResourceGuard,
    descriptors_are_short,
    disk_is_short,
)

LIMIT = 1_000


class Disk:
    """A disk whose free bytes are a number."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.free = 10 * LIMIT
        self.measurements = 0
        self.reported: list[bool] = []
        is_short = disk_is_short(limit, self.measure)
        self.guard = ResourceGuard(is_short, DISK_CHECK_BYTES, self.reported.append)

    def measure(self) -> int:
        self.measurements += 1
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_crossing_the_limit_is_reported_once_each_way(disk: Disk) -> None:
    for free in (LIMIT, LIMIT - 1, 0, LIMIT, LIMIT + 1, LIMIT - 1):
        disk.free = free
        disk.guard.check()

    assert disk.reported == [True, False, True]


def test_a_full_disk_is_below_every_limit() -> None:
    disk = Disk(limit=0)
    for free in (1, 0, 1):
        disk.free = free
        disk.guard.check()

    assert disk.reported == [True, False]


def test_the_guard_measures_after_many_bytes(disk: Disk) -> None:
    disk.free = 0
    for _ in range(2):
        disk.guard.received(DISK_CHECK_BYTES // 2 - 1)
    assert disk.measurements == 0

    disk.guard.received(2)

    assert disk.reported == [True]


def test_bytes_are_counted_from_the_last_measurement(disk: Disk) -> None:
    disk.guard.received(DISK_CHECK_BYTES - 1)
    disk.guard.check()
    measurements = disk.measurements

    disk.guard.received(DISK_CHECK_BYTES - 1)

    assert disk.measurements == measurements


def test_descriptors_are_not_short_where_standard_error_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not descriptors_are_short()

"""The disk guard: when it looks, and what it tells."""

import pytest

from leveret.net.disk_guard import CHECK_EVERY_BYTES, DiskGuard

LIMIT = 1_000


class Disk:
    """A disk whose free bytes are a number."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.free = 10 * LIMIT
        self.looks = 0
        self.told: list[bool] = []
        self.guard = DiskGuard(limit, self.look, self.told.append)

    def look(self) -> int:
        self.looks += 1
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_crossing_the_limit_is_told_once_each_way(disk: Disk) -> None:
    for free in (LIMIT, LIMIT - 1, 0, LIMIT, LIMIT + 1, LIMIT - 1):
        disk.free = free
        disk.guard.check()

    assert disk.told == [True, False, True]


def test_a_full_disk_is_below_every_limit() -> None:
    disk = Disk(limit=0)
    for free in (1, 0, 1):
        disk.free = free
        disk.guard.check()

    assert disk.told == [True, False]


def test_many_bytes_are_reason_to_look(disk: Disk) -> None:
    disk.free = 0
    for _ in range(2):
        disk.guard.received(CHECK_EVERY_BYTES // 2 - 1)
    assert disk.looks == 0

    disk.guard.received(2)

    assert disk.told == [True]


def test_bytes_are_counted_from_the_last_look(disk: Disk) -> None:
    disk.guard.received(CHECK_EVERY_BYTES - 1)
    disk.guard.check()
    looks = disk.looks

    disk.guard.received(CHECK_EVERY_BYTES - 1)

    assert disk.looks == looks

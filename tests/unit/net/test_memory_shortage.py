"""The memory guard: when it measures, and what it reports."""

import gc
from itertools import pairwise

import pytest

from leveret.net.memory_shortage import (
    COLLECTION_PAUSE,
    MEMORY_CHECK_BYTES,
    MemoryShortage,
    Reclaimer,
    ResidentMemory,
)
from leveret.net.resource_guard import ResourceGuard

LIMIT = 1_000


class Memory:
    """A process whose memory is a number, part of which is free and can be returned."""

    def __init__(self) -> None:
        self.resident = 0
        self.free = 0
        self.measurements = 0
        self.reclaims = 0
        self.reported: list[bool] = []
        shortage = MemoryShortage(LIMIT, self.measure, self.reclaim)
        self.guard = ResourceGuard(shortage.is_short, MEMORY_CHECK_BYTES, self.reported.append)

    def measure(self) -> int:
        self.measurements += 1
        return self.resident + self.free

    def reclaim(self) -> None:
        self.reclaims += 1
        self.free = 0


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_nothing_is_reported_below_the_limit(memory: Memory) -> None:
    memory.resident = LIMIT
    memory.guard.check()

    assert (memory.reported, memory.reclaims) == ([], 0)


def test_crossing_the_limit_is_reported_once_each_way(memory: Memory) -> None:
    for resident in (LIMIT + 1, LIMIT + 2, LIMIT, LIMIT - 1, LIMIT + 1):
        memory.resident = resident
        memory.guard.check()

    assert memory.reported == [True, False, True]


def test_free_memory_raises_no_alarm(memory: Memory) -> None:
    memory.resident, memory.free = LIMIT - 1, LIMIT
    memory.guard.check()

    assert (memory.reported, memory.reclaims) == ([], 1)


def test_free_memory_does_not_prolong_the_alarm(memory: Memory) -> None:
    memory.resident = LIMIT + 1
    memory.guard.check()
    memory.resident, memory.free = 10, LIMIT
    memory.guard.check()

    assert memory.reported == [True, False]


def test_the_guard_measures_after_many_bytes(memory: Memory) -> None:
    memory.resident = LIMIT + 1
    for _ in range(2):
        memory.guard.received(MEMORY_CHECK_BYTES // 2 - 1)
    assert memory.measurements == 0

    memory.guard.received(2)

    assert memory.reported == [True]


def test_bytes_are_counted_from_the_last_measurement(memory: Memory) -> None:
    memory.guard.received(MEMORY_CHECK_BYTES - 1)
    memory.guard.check()
    measurements = memory.measurements

    memory.guard.received(MEMORY_CHECK_BYTES - 1)

    assert memory.measurements == measurements


def test_full_collections_take_a_bounded_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    collections: list[float] = []

    def collect() -> int:
        collections.append(now[0])
        now[0] += 0.2
        return 0

    monkeypatch.setattr(gc, "collect", collect)
    reclaimer = Reclaimer(lambda: now[0])
    for _ in range(60):
        reclaimer.reclaim()
        now[0] += 20.0

    pauses = [later - earlier for earlier, later in pairwise(collections)]
    assert len(collections) > 1
    assert min(pauses) >= 0.2 * COLLECTION_PAUSE


def test_the_memory_of_this_process_is_read(memory: Memory) -> None:
    resident_bytes = ResidentMemory().resident_bytes
    before = resident_bytes()
    filled = b"." * (32 * 1024 * 1024)

    assert resident_bytes() - before > len(filled) // 2

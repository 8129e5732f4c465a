"""The memory guard: when it looks, and what it tells."""

import gc
from itertools import pairwise

import pytest

from leveret.net.memory_guard import (
    CHECK_EVERY_BYTES,
    COLLECTION_PAUSE,
    MemoryGuard,
    Reclaimer,
    resident_bytes,
)

LIMIT = 1_000


class Memory:
    """A process whose memory is a number, part of which can be given back."""

    def __init__(self) -> None:
        self.resident = 0
        self.kept = 0
        self.looks = 0
        self.reclaims = 0
        self.told: list[bool] = []
        self.guard = MemoryGuard(LIMIT, self.told.append, self.look, self.reclaim)

    def look(self) -> int:
        self.looks += 1
        return self.resident + self.kept

    def reclaim(self) -> None:
        self.reclaims += 1
        self.kept = 0


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_nothing_is_told_below_the_limit(memory: Memory) -> None:
    memory.resident = LIMIT
    memory.guard.check()

    assert (memory.told, memory.reclaims) == ([], 0)


def test_crossing_the_limit_is_told_once_each_way(memory: Memory) -> None:
    for resident in (LIMIT + 1, LIMIT + 2, LIMIT, LIMIT - 1, LIMIT + 1):
        memory.resident = resident
        memory.guard.check()

    assert memory.told == [True, False, True]


def test_memory_that_is_merely_kept_raises_no_alarm(memory: Memory) -> None:
    memory.resident, memory.kept = LIMIT - 1, LIMIT
    memory.guard.check()

    assert (memory.told, memory.reclaims) == ([], 1)


def test_memory_that_is_merely_kept_does_not_hold_the_alarm_up(memory: Memory) -> None:
    memory.resident = LIMIT + 1
    memory.guard.check()
    memory.resident, memory.kept = 10, LIMIT
    memory.guard.check()

    assert memory.told == [True, False]


def test_many_bytes_are_reason_to_look(memory: Memory) -> None:
    memory.resident = LIMIT + 1
    for _ in range(2):
        memory.guard.received(CHECK_EVERY_BYTES // 2 - 1)
    assert memory.looks == 0

    memory.guard.received(2)

    assert memory.told == [True]


def test_bytes_are_counted_from_the_last_look(memory: Memory) -> None:
    memory.guard.received(CHECK_EVERY_BYTES - 1)
    memory.guard.check()
    looks = memory.looks

    memory.guard.received(CHECK_EVERY_BYTES - 1)

    assert memory.looks == looks


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
        now[0] += 0.5

    pauses = [later - earlier for earlier, later in pairwise(collections)]
    assert len(collections) > 1
    assert min(pauses) >= 0.2 * COLLECTION_PAUSE


def test_the_memory_of_this_process_is_read(memory: Memory) -> None:
    before = resident_bytes()
    filled = b"." * (32 * 1024 * 1024)

    assert resident_bytes() - before > len(filled) // 2

"""The memory guard: when it measures, and what it reports."""

import gc
from itertools import pairwise

import pytest

from leveret.engine.queues.message_memory import MemoryLevel
from leveret.net.memory_shortage import (
    COLLECTED_BLOCKS_MAX,
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


def test_each_measurement_tells_how_much_memory_is_taken() -> None:
    sizes = [0, 850, 851, 1_000, 1_001, 1_100, 1_101]
    levels: list[MemoryLevel] = []
    memory = Memory()
    shortage = MemoryShortage(LIMIT, memory.measure, memory.reclaim, levels.append)
    for memory.resident in sizes:
        shortage.is_short()

    near, above = MemoryLevel.NEAR_LIMIT, MemoryLevel.ABOVE_LIMIT
    assert levels[:2] == [MemoryLevel.ENOUGH] * 2
    assert levels[2:] == [near, near, above, above, MemoryLevel.EXHAUSTED]


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

    frozen = [False]

    def collect() -> int:
        if not frozen[0]:
            collections.append(now[0])
            now[0] += 0.2
        return 0

    def freeze() -> None:
        frozen[0] = True

    def unfreeze() -> None:
        frozen[0] = False

    for fake in (collect, freeze, unfreeze):
        monkeypatch.setattr(gc, fake.__name__, fake)
    reclaimer = Reclaimer(lambda: now[0], lambda: now[0])
    for _ in range(60):
        reclaimer.reclaim()
        now[0] += 20.0

    pauses = [later - earlier for earlier, later in pairwise(collections)]
    assert len(collections) > 1
    assert min(pauses) >= 0.2 * COLLECTION_PAUSE


def test_a_process_that_stood_still_in_a_collection_collects_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    collections: list[float] = []

    def collect() -> int:
        collections.append(now[0])
        now[0] += 10.0
        return 0

    monkeypatch.setattr(gc, "collect", collect)
    reclaimer = Reclaimer(lambda: now[0], lambda: 0.0)
    reclaimer.reclaim()
    reclaimer.reclaim()
    assert collections == [100.0, 110.0]


def test_the_memory_of_this_process_is_read(memory: Memory) -> None:
    resident_bytes = ResidentMemory().resident_bytes
    before = resident_bytes()
    filled = b"." * (32 * 1024 * 1024)

    assert resident_bytes() - before > len(filled) // 2


def test_free_objects_are_given_up_each_time_without_a_visit_of_all_others() -> None:
    reclaimer = Reclaimer(lambda: 0.0)
    reclaimer.reclaim()
    reclaimer._collect_from = 1.0
    alive: list[object] = [[] for _ in range(1000)]
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            collected.append(info["generation"])

    gc.callbacks.append(note)
    try:
        reclaimer.reclaim()
    finally:
        gc.callbacks.remove(note)

    # A collection of the oldest generation empties the lists.
    assert 2 in collected
    assert len(alive) == 1000
    assert gc.get_freeze_count() == 0


def test_no_object_is_visited_where_there_are_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[bool] = []
    frozen = [False]

    def freeze(state: bool) -> None:
        frozen[0] = state

    def collect() -> int:
        visited.append(not frozen[0])
        return 0

    monkeypatch.setattr(gc, "freeze", lambda: freeze(True))
    monkeypatch.setattr(gc, "unfreeze", lambda: freeze(False))
    monkeypatch.setattr(gc, "collect", collect)
    blocks = [1000]
    reclaimer = Reclaimer(lambda: 0.0, lambda: 0.0, lambda: blocks[0])
    for blocks[0] in (1000 + COLLECTED_BLOCKS_MAX, 1001 + COLLECTED_BLOCKS_MAX, 1000):
        reclaimer.reclaim()
    assert visited == [True, False, True]

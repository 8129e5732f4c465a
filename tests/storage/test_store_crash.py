"""The store under crashes at every call, power loss, full disks and failing ones.

The promises are those of store_world.py, where a world is a function of its seed.
"""

from collections import Counter

import pytest

from tests.storage.store_world import World
from tests.storage.transacting_world import TransactingWorld
from tests.support.examples import examples

PARTS = 4
"""Tests that the worlds are split into, for the time one test may take."""

WORLDS = examples(110)
"""Worlds of each part."""

DEEP_WORLDS = examples(30)
"""Worlds in which queue segments are compacted."""

UNSYNCED_WORLDS = examples(40)
"""Worlds of each setting that does not sync every batch."""

IN_FLIGHT = 4
"""Commits that may be under way in the worlds that have several."""

LIVES = 25
"""Lives of a world: each ends in a crash point, and the next one finds what is left."""


@pytest.mark.parametrize("part", range(PARTS))
def test_what_was_reported_is_found_after_each_crash_and_the_rest_in_whole_batches(
    part: int,
) -> None:
    kinds: Counter[str] = Counter()
    lives = lost = 0
    for seed in range(part * WORLDS, (part + 1) * WORLDS):
        world = World(seed)
        for _ in range(LIVES):
            world.live()
        kinds.update(world.kinds)
        lives += world.lives
        lost += world.lost
    print(f"{lives} crash points, {lost} batches lost, not reported; {dict(kinds)}")
    assert lives >= WORLDS * LIVES
    assert lost > lives / 15
    for kind in ("crash", "failed", "power lost", "killed"):
        assert kinds[kind] > lives / 30, kind


def test_the_same_is_found_where_segments_are_compacted() -> None:
    moved = 0
    for seed in range(DEEP_WORLDS):
        world = World(seed, deep=True, crash_within=450)
        for _ in range(LIVES):
            world.live()
        moved += world.kinds["moved"]
    print(f"{DEEP_WORLDS * LIVES} crash points, {moved} segments compacted")
    assert moved > DEEP_WORLDS // 3


@pytest.mark.parametrize("deep", [False, True])
def test_the_same_is_found_where_several_commits_are_in_flight(deep: bool) -> None:
    kinds: Counter[str] = Counter()
    lost = 0
    count = DEEP_WORLDS if deep else WORLDS
    for seed in range(count):
        world = World(seed, in_flight=IN_FLIGHT, deep=deep, crash_within=150 if deep else 60)
        for _ in range(LIVES):
            world.live()
        kinds.update(world.kinds)
        lost += world.lost
    print(f"{count * LIVES} crash points, {lost} batches lost, not reported; {dict(kinds)}")
    assert lost > count * LIVES / 15
    assert kinds["several in flight"] > count * LIVES / 15
    assert kinds["failed"] > count


@pytest.mark.parametrize("interval", [True, False])
def test_without_a_sync_a_kill_takes_nothing_and_power_loss_whole_batches_from_the_end(
    interval: bool,
) -> None:
    kinds: Counter[str] = Counter()
    lost = 0
    for seed in range(UNSYNCED_WORLDS):
        world = World(seed, sync=False, interval=interval)
        for _ in range(LIVES):
            world.live()
        kinds.update(world.kinds)
        lost += world.lost
    print(f"{UNSYNCED_WORLDS * LIVES} crash points, {lost} batches lost; {dict(kinds)}")
    assert lost > UNSYNCED_WORLDS * LIVES / 15
    assert kinds["killed"] > UNSYNCED_WORLDS
    assert kinds["power lost"] > UNSYNCED_WORLDS


@pytest.mark.parametrize("in_flight", [1, IN_FLIGHT])
def test_of_a_transaction_in_several_batches_all_or_nothing_is_found(in_flight: int) -> None:
    kinds: Counter[str] = Counter()
    lost = 0
    for seed in range(WORLDS):
        world = TransactingWorld(seed, in_flight=in_flight, crash_within=150)
        for _ in range(LIVES):
            world.live()
        kinds.update(world.kinds)
        lost += world.lost
    print(f"{WORLDS * LIVES} crash points, {lost} batches lost, not reported; {dict(kinds)}")
    assert kinds["transactions"] > WORLDS * LIVES / 4
    assert kinds["parts"] > 2 * kinds["transactions"]
    assert lost > WORLDS * LIVES / 20

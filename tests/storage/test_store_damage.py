"""A bit that is not what it was: in what a sync had covered, and behind that."""

import pytest

from leveret_storage.errors import Damaged
from leveret_storage.format import MARK_BYTES
from leveret_storage.record_reader import RecordReader
from leveret_storage.recovery import recover
from tests.storage.faulty import FaultyMedium
from tests.storage.store_world import World
from tests.storage.test_store import Owner

WORLDS = 150


def ended_world(seed: int) -> World:
    """A world after some lives, whose disk can be read."""
    world = World(seed, crash_within=120)
    for _ in range(3):
        world.live()
    world.medium = world.medium.kill({})
    return world


def durable_bytes(medium: FaultyMedium, name: str) -> int:
    """How many bytes of a blob its marks say to be durable."""
    reader = RecordReader(medium, name)
    for _ in reader:
        continue
    return reader.durable


def test_a_flipped_bit_in_what_was_durable_stops_the_start_and_is_located() -> None:
    flips = 0
    for seed in range(WORLDS):
        world = ended_world(seed)
        medium = world.medium
        stray = set(recover(medium).stray)
        durable = {name: durable_bytes(medium, name) for name in sorted(medium.list() - stray)}
        names = [name for name, size in durable.items() if size]
        if not names:
            continue
        name = world.random.choice(names)
        offset = world.random.randrange(durable[name])
        medium.flip(name, offset, world.random.randrange(8))
        with pytest.raises(
            Damaged, match=rf"{name}: damaged from offset (\d+) to (\d+): "
        ) as caught:
            recover(medium)
        first, _, end = str(caught.value).split("offset ")[1].split(":")[0].partition(" to ")
        assert int(first) <= offset < int(end), (seed, name, offset, caught.value)
        flips += 1
    assert flips > WORLDS / 3


def test_a_flipped_bit_behind_what_was_durable_is_a_torn_end_with_a_line() -> None:
    flips = 0
    for seed in range(WORLDS):
        world = ended_world(seed)
        medium = world.medium
        before = recover(medium)
        name = f"log-{before.log[-1][0]:012d}"
        durable, size = durable_bytes(medium, name), medium.size(name)
        if durable == size:
            continue
        medium.flip(name, world.random.randrange(durable, size), world.random.randrange(8))
        after = recover(medium)
        assert [line for line in after.torn if line.startswith(f"{name}: cut at offset ")], seed
        assert after.definitions == before.definitions[: len(after.definitions)], seed
        flips += 1
    assert flips > WORLDS / 3


def test_no_bit_of_a_finished_log_segment_is_taken_for_a_torn_end() -> None:
    """A new segment makes it finished, and so does the end of the store."""
    for log_segment_bytes in (1, 10**6):
        owner = Owner(FaultyMedium(1), log_segment_bytes=log_segment_bytes)
        owner.publish(owner.store.add_queue(True), 0, 3, b"body")
        owner.commit()
        owner.store.close()
        name = owner.log_blobs()[0]
        for offset in range(owner.medium.size(name) - MARK_BYTES):
            medium = owner.medium.kill()
            medium.flip(name, offset, 3)
            with pytest.raises(Damaged, match=f"{name}: damaged from offset"):
                recover(medium)

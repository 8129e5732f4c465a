"""A bit that is not what it was: in what a sync had covered, and behind that."""

import re

import pytest

from leveret_storage.errors import Damaged
from leveret_storage.format.file_header import MARK_BYTES
from leveret_storage.format.record_reader import RecordReader
from leveret_storage.recovery.recover import recover
from tests.storage.faulty import FaultyMedium
from tests.storage.store_model import read_out
from tests.storage.store_owner import Owner, stored
from tests.storage.store_world import World
from tests.support.examples import examples

WORLDS = examples(150)


def ended_world(seed: int) -> World:
    """A world after some lives, whose disk can be read."""
    world = World(seed, crash_within=120, deep=seed % 2 == 1)
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


def assert_located(error: Damaged, name: str, offset: int) -> None:
    """The text of an error names the blob, and a range of offsets that has this one."""
    match = re.match(rf"{name}: damaged from offset (\d+) to (\d+): ", str(error))
    assert match, error
    assert int(match[1]) <= offset < int(match[2]), (offset, error)


def test_a_flipped_bit_in_what_was_durable_stops_the_start_or_who_reads_it_and_is_located() -> None:
    flips = 0
    for seed in range(WORLDS):
        world = ended_world(seed)
        medium = world.medium
        stray = set(recover(medium).orphaned)
        durable = {name: durable_bytes(medium, name) for name in sorted(medium.list() - stray)}
        names = [name for name, size in durable.items() if size]
        if not names:
            continue
        name = world.random.choice(names)
        offset = world.random.randrange(durable[name])
        before = read_out(medium, recover(medium))
        medium.flip(name, offset, world.random.randrange(8))
        flips += 1
        with pytest.raises(Damaged) as caught:
            recover(medium, thorough=True)
        assert_located(caught.value, name, offset)
        try:
            assert read_out(medium, recover(medium)) == before, (seed, name, offset)
        except Damaged as error:
            assert_located(error, name, offset)
    assert flips > WORLDS / 3


def test_any_flipped_bit_of_a_queue_segment_is_located_by_the_start_or_by_its_reader() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 12, b"body")
    for first in range(0, 12, 4):
        owner.store.write_run(queue, first, stored(4, b"body"))
    owner.commit()
    owner.store.close()
    (name,) = owner.queue_blobs()
    by_reader = 0
    for offset in range(owner.medium.size(name) - MARK_BYTES):
        medium = owner.medium.kill()
        medium.flip(name, offset, offset % 8)
        try:
            found = recover(medium)
        except Damaged as error:
            assert_located(error, name, offset)
            continue
        with pytest.raises(Damaged) as caught:
            read_out(medium, found)
        assert_located(caught.value, name, offset)
        by_reader += 1
    assert by_reader > 100


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
        try:
            after = recover(medium)
        except Damaged as error:
            # Whatever was before the only first record is deleted, so it was durable.
            if "the log has no first record" not in str(error):
                raise
            continue
        assert [line for line in after.torn if line.startswith(f"{name}: cut at offset ")], seed
        left = [each.data for each in after.definitions]
        assert set(left) <= {each.data for each in before.definitions}, seed
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

"""A commit log that was deleted or cut is damage, and nothing is deleted because of it."""

from copy import deepcopy

import pytest

from leveret_storage.errors import Damaged
from leveret_storage.format.record_reader import Damage
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd
from leveret_storage.recovery.recover import recover
from leveret_storage.recovery.salvage import salvage
from leveret_storage.segments.segment_writer import log_name
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.storage.store_owner import Owner, stored

HEADER_BYTES = 25


def stopped() -> tuple[FaultyMedium, LogEnd]:
    """A store that was closed, with messages in a queue segment and in the log, and the last note
    of the log's end."""
    notes: list[LogEnd] = []
    owner = Owner(FaultyMedium(1), note_log_end=notes.append)
    queue = owner.store.add_queue(True)
    owner.store.define(b"a queue")
    owner.publish(queue, 0, 20)
    owner.commit()
    owner.store.write_run(queue, 0, stored(10))
    owner.commit()
    owner.store.close()
    owner.run()
    return owner.medium.kill(), notes[-1]


def cut(medium: FaultyMedium, size: int | None) -> None:
    """Cut the log, or delete it."""
    (name,) = [name for name in medium.list() if name.startswith("log-")]
    if size is None:
        medium.lose(name)
    else:
        medium.truncate(name, size)


@pytest.mark.parametrize("size", [None, 0, HEADER_BYTES, HEADER_BYTES + 9])
def test_a_log_without_a_checkpoint_is_damage_while_there_are_queue_segments(
    size: int | None,
) -> None:
    medium, _ = stopped()
    cut(medium, size)
    before = medium.list()
    with pytest.raises(Damaged, match="start with --salvage"):
        recover(medium)
    damages: list[Damage] = []
    found = recover(medium, damages.append)
    assert not found.orphaned
    assert {damage.blob for damage in damages} > {name for name in before if "queue" in name}


@pytest.mark.parametrize("missing", [1, 30, 200])
def test_a_log_cut_before_the_noted_end_is_damage(missing: int) -> None:
    medium, end = stopped()
    cut(medium, end.size - missing)
    recover(medium)
    with pytest.raises(Damaged, match=log_name(end.number)):
        recover(medium, log_end=end)


def test_a_log_with_all_that_was_noted_is_sound() -> None:
    medium, end = stopped()
    assert recover(medium, log_end=end).queues[1].count == 20
    medium, end = stopped()
    cut(medium, end.size)
    assert recover(medium, log_end=end).queues[1].count == 20


def test_a_later_log_segment_replaces_the_noted_one() -> None:
    medium, end = stopped()
    after = Owner(medium)
    after.commit()
    after.store.close()
    assert recover(after.medium.kill(), log_end=LogEnd(1, end.size)).queues[1].count == 20


def test_without_anything_but_a_note_the_log_is_missing() -> None:
    with pytest.raises(Damaged, match="the log segment is missing"):
        recover(FaultyMedium(1), log_end=LogEnd(3, 100))
    assert recover(FaultyMedium(1), log_end=NOT_NOTED).log == []


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("size", [None, 0, HEADER_BYTES])
def test_a_salvage_sets_queue_segments_aside_whose_log_is_lost(
    size: int | None, noted: bool
) -> None:
    medium, end = stopped()
    cut(medium, size)
    (segment,) = [name for name in medium.list() if name.startswith("queue-")]
    runs = medium.read(segment, 0, medium.size(segment))
    take(medium)
    done = salvage(medium, lambda found: [], end if noted else NOT_NOTED)
    assert medium.salvaged()[f"{segment}-0.bin"] == runs
    assert {lost.damage.blob for lost in done.lost} > {segment}
    assert recover(medium, log_end=end).queues == {}


def check_log_end(owner: Owner) -> LogEnd:
    """Check that all that counts as durable is there after a power loss."""
    end = owner.store.log_end()
    recover(deepcopy(owner.medium).crash(), log_end=end)
    return end


def test_what_counts_as_durable_is_there_after_a_power_loss_at_any_step() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=500)
    queue = owner.store.add_queue(True)
    ends = {check_log_end(owner)}
    for first in range(0, 60, 3):
        owner.publish(queue, first, 3)
        owner.store.commit(force=True)
        ends.add(check_log_end(owner))
        while owner.step():
            ends.add(check_log_end(owner))
    assert len({number for number, _ in ends}) > 3


def test_an_owner_that_has_written_nothing_has_nothing_durable() -> None:
    """It may end before its log segment exists."""
    owner = Owner(FaultyMedium(1))
    owner.run()
    assert check_log_end(owner).size
    following = Owner(owner.medium.kill())
    assert check_log_end(following) == NOT_NOTED
    while following.step():
        check_log_end(following)
    assert check_log_end(following) > owner.store.log_end()

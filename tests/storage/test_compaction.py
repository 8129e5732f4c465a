"""Compaction: a queue segment with few live messages is replaced; they are found in the copy."""

from collections.abc import Iterator
from copy import deepcopy

import pytest

from leveret_storage.format.entries import ABSENT, StoredMessage
from leveret_storage.recovery.inspection import inspect
from leveret_storage.recovery.recover import recover
from leveret_storage.segments.queue_journal import QueueJournal, Run
from tests.storage.faulty import FaultyMedium
from tests.storage.store_model import read_out
from tests.storage.store_owner import Owner, after_power_loss

SEGMENT_BYTES = 6000
COUNT = 600
"""Messages of a queue, which are about ten segments."""


def numbered(first: int, count: int, persistent: bool = True) -> list[StoredMessage]:
    return [
        StoredMessage(b"r", b"h", b"%060d" % at, persistent) for at in range(first, first + count)
    ]


def fill(owner: Owner, queue: QueueJournal, *, persistent: bool = True) -> list[Run]:
    """Persist messages in the log and in runs."""
    runs = []
    for first in range(0, COUNT, 20):
        messages = numbered(first, 20, persistent)
        if queue.durable:
            for position, message in enumerate(messages, first):
                owner.store.add_message([queue], [position], message)
        runs.append(owner.store.write_run(queue, first, messages))
        owner.commit()
    return runs


def settle_all_but(owner: Owner, queue: QueueJournal, live: list[int]) -> None:
    at = 0
    for position in [*live, COUNT]:
        queue.settle_range(at, position)
        at = position + 1
    owner.commit()
    owner.commit()


def compact(owner: Owner) -> None:
    """Check the candidates twice, and run what follows."""
    for _ in range(2):
        owner.store.compact()
        owner.commit()


def queue_bytes(owner: Owner) -> int:
    return sum(owner.medium.size(name) for name in owner.queue_blobs())


def owner_of(queue_segment_bytes: int = SEGMENT_BYTES) -> Owner:
    return Owner(
        FaultyMedium(1), log_segment_bytes=SEGMENT_BYTES, queue_segment_bytes=queue_segment_bytes
    )


LIVE = list(range(7, COUNT, 100))


@pytest.mark.parametrize("durable", [True, False])
def test_disk_comes_near_to_zero_when_one_message_of_a_hundred_is_stuck(durable: bool) -> None:
    owner = owner_of()
    queue = owner.store.add_queue(durable)
    fill(owner, queue, persistent=durable)
    full = queue_bytes(owner)
    settle_all_but(owner, queue, LIVE)
    assert queue_bytes(owner) > full / 2

    compact(owner)

    assert queue_bytes(owner) < full / 20
    assert owner.failures == []


def test_what_is_left_is_found_after_the_power_went() -> None:
    owner = owner_of()
    queue = owner.store.add_queue(True)
    fill(owner, queue)
    settle_all_but(owner, queue, LIVE)
    compact(owner)

    medium = deepcopy(owner.medium).crash()
    found = read_out(medium, recover(medium))

    bodies = {position: body for position, (body, _, _) in found.messages[1].items()}
    assert bodies == {position: b"%060d" % position for position in LIVE}
    assert inspect(medium).damages == []


def test_a_run_whose_segment_was_compacted_still_reads_its_live_messages() -> None:
    owner = owner_of()
    queue = owner.store.add_queue(True)
    runs = fill(owner, queue)
    settle_all_but(owner, queue, LIVE)
    compact(owner)
    read: list[list[StoredMessage]] = []

    for run in runs:
        owner.store.read_run(run, read.append)
        owner.run()
        assert [each.body for each in owner.store.read_run_blocking(run)] == [
            each.body for each in read[-1]
        ]

    found = [message for messages in read for message in messages]
    assert len(found) == COUNT
    assert [at for at in range(COUNT) if found[at] is not ABSENT] == LIVE
    assert [found[at].body for at in LIVE] == [b"%060d" % at for at in LIVE]
    assert owner.failures == []


def test_messages_are_moved_again_when_few_of_those_that_were_moved_are_left() -> None:
    owner = owner_of()
    queue = owner.store.add_queue(True)
    runs = fill(owner, queue)
    settle_all_but(owner, queue, [at for at in range(COUNT) if at % 4 == 0])
    compact(owner)
    once = queue_bytes(owner)
    settle_all_but(owner, queue, [300])
    compact(owner)

    assert queue_bytes(owner) < once / 10
    for run in runs:
        found = owner.store.read_run_blocking(run)
        bodies = [each.body for each in found if each is not ABSENT]
        assert bodies == ([b"%060d" % 300] if run.first <= 300 < run.end else [])


def test_a_segment_whose_messages_were_settled_while_they_were_written_is_sparse() -> None:
    owner = owner_of()
    queue = owner.store.add_queue(True)
    messages = numbered(0, COUNT)
    for position, message in enumerate(messages):
        owner.store.add_message([queue], [position], message)
    owner.commit()
    settle_all_but(owner, queue, LIVE)
    run = owner.store.write_run(queue, 0, messages)
    owner.commit()
    owner.commit()
    full = queue_bytes(owner)
    compact(owner)

    assert queue_bytes(owner) < full / 10
    found = owner.store.read_run_blocking(run)
    assert [at for at in range(COUNT) if found[at] is not ABSENT] == LIVE


def test_a_start_goes_on_with_what_is_sparse() -> None:
    owner = owner_of()
    queue = owner.store.add_queue(True)
    fill(owner, queue)
    settle_all_but(owner, queue, LIVE)
    owner.store.close()
    full = queue_bytes(owner)

    again = Owner(owner.medium.kill(), queue_segment_bytes=SEGMENT_BYTES)
    again.run()
    compact(again)

    assert queue_bytes(again) < full / 10
    assert after_power_loss(again.medium).queues[1].count == len(LIVE)


def test_what_is_consumed_in_order_is_not_copied() -> None:
    owner = owner_of()
    queue = owner.store.add_queue(True)
    fill(owner, queue)
    names = set(owner.queue_blobs())
    for first in range(0, COUNT, 40):
        queue.settle_range(first, first + 40)
        owner.store.compact()
        owner.commit()
        assert set(owner.queue_blobs()) <= names

    assert owner.queue_blobs() == []


def test_a_damaged_segment_stays_and_stops_nothing() -> None:
    owner = owner_of()
    queue = owner.store.add_queue(True)
    fill(owner, queue)
    settle_all_but(owner, queue, LIVE)
    damaged = owner.queue_blobs()[0]
    owner.medium.flip(damaged, 200, 1)

    compact(owner)

    assert damaged in owner.queue_blobs()
    assert len(owner.queue_blobs()) == 2
    assert owner.failures == []


def compacting() -> Iterator[tuple[Owner, QueueJournal]]:
    """Owners whose store compacts the segment of a queue, one after each number of its steps."""
    steps = 0
    done = False
    while not done:
        owner = owner_of()
        queue = owner.store.add_queue(True)
        fill(owner, queue)
        settle_all_but(owner, queue, LIVE)
        owner.store.compact()
        owner.store.compact()
        done = False
        for _ in range(steps):
            done = not owner.step()
        yield owner, queue
        steps += 1
    assert steps > 10


def test_nothing_is_lost_wherever_a_crash_ends_it() -> None:
    """Each step, and the power going in it."""
    for steps, (owner, _) in enumerate(compacting()):
        for medium in (owner.medium.kill(), deepcopy(owner.medium).crash()):
            found = read_out(medium, recover(medium))
            assert sorted(found.messages[1]) == LIVE, steps


def test_a_queue_dropped_while_a_segment_is_copied_leaves_nothing() -> None:
    for owner, queue in compacting():
        owner.store.delete_queue(queue)
        owner.commit()
        owner.commit()
        assert owner.queue_blobs() == []
        assert owner.failures == []

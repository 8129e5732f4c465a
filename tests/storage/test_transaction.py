"""A transaction of the store: parts in several batches, which count together or not at all.

Crashes at every call are in test_store_crash.py.
"""

import pytest

from leveret_storage.errors import Damaged
from leveret_storage.format import entries
from leveret_storage.format.entries import Entry
from leveret_storage.recovery.inspection import inspect
from leveret_storage.recovery.log_scan import LoggedRuns
from leveret_storage.recovery.transaction_reader import TransactionReader
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.limits import TRANSACTION_BATCH_BYTES
from tests.storage.faulty import FaultyMedium
from tests.storage.store_model import Found, read_out
from tests.storage.store_owner import Owner, after_power_loss, stored

BEGUN = Entry(entries.TRANSACTION, [], entries.PART_BEGUN)
ENDED = Entry(entries.TRANSACTION, [], entries.PART_ENDED)
COMMITTED = Entry(entries.TRANSACTION, [], entries.COMMITTED)


def settled(position: int) -> Entry:
    return Entry(entries.SETTLED, [(1, 0)], position, position + 1)


def part(owner: Owner, queue: QueueJournal, first: int, count: int) -> None:
    """A part with so many messages, committed with its batch."""
    owner.store.transaction.begin_part()
    owner.publish(queue, first, count)
    owner.store.transaction.end_part()
    owner.commit()


def found(owner: Owner) -> Found:
    return read_out(owner.medium, after_power_loss(owner.medium))


def test_its_parts_count_when_it_is_committed_in_their_order() -> None:
    reader = TransactionReader()
    assert reader.effective([settled(0), BEGUN, settled(1), ENDED, settled(2)]) == [
        settled(0),
        settled(2),
    ]
    assert reader.effective([settled(3)]) == [settled(3)]
    batch = [settled(4), BEGUN, settled(5), ENDED, COMMITTED, settled(6)]
    assert reader.effective(batch) == [settled(4), settled(1), settled(5), settled(6)]
    assert reader.effective([COMMITTED]) == []


def test_queues_and_delivered_positions_in_a_part_count_where_they_are() -> None:
    queue = Entry(entries.QUEUE, [(1, 0)])
    delivered = Entry(entries.DELIVERED, [(1, 0)], 0, 3)
    batch = [BEGUN, settled(1), queue, delivered, ENDED]
    assert TransactionReader().effective(batch) == [queue, delivered]


@pytest.mark.parametrize(
    "batch", [[BEGUN], [ENDED], [BEGUN, BEGUN, ENDED], [BEGUN, COMMITTED], [BEGUN, ENDED, ENDED]]
)
def test_a_part_without_a_beginning_or_an_end_is_damage(batch: list[Entry]) -> None:
    with pytest.raises(Damaged, match="a part of a transaction"):
        TransactionReader().effective(batch)


def test_batches_of_others_are_durable_between_its_parts() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.store.transaction.begin()
    part(owner, queue, 0, 2)
    owner.publish(queue, 2, 1)
    batch = int(owner.store.batch)
    owner.commit()
    assert owner.synced[-1] == batch
    part(owner, queue, 3, 2)
    assert list(found(owner).messages[queue.number]) == [2]
    owner.store.transaction.commit()
    owner.commit()
    assert list(found(owner).messages[queue.number]) == [0, 1, 2, 3, 4]
    assert inspect(owner.medium).damages == []


def test_no_batch_is_committed_within_a_part() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.commit()
    owner.store.transaction.begin()
    owner.store.transaction.begin_part()
    owner.publish(queue, 0, 1)
    batch = int(owner.store.batch)
    owner.commit()
    assert int(owner.store.batch) == batch
    owner.store.transaction.end_part()
    owner.commit()
    assert int(owner.store.batch) > batch


def test_a_part_waits_while_the_batch_is_long() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.commit()
    owner.store.transaction.begin()
    assert owner.store.transaction.may_begin_part()
    owner.store.transaction.begin_part()
    owner.publish(queue, 0, 1, bytes(TRANSACTION_BATCH_BYTES))
    owner.store.transaction.end_part()
    assert not owner.store.transaction.may_begin_part()
    owner.store.commit()
    assert owner.store.transaction.may_begin_part()
    owner.run()


def test_it_stays_in_one_log_segment_and_the_next_waits_for_another_one() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=500)
    queue = owner.store.add_queue(True)
    owner.commit()
    owner.store.transaction.begin()
    assert not owner.store.transaction.may_begin()
    before = owner.log_blobs()
    for first in range(0, 100, 10):
        part(owner, queue, first, 10)
    assert owner.log_blobs() == before
    owner.store.transaction.commit()
    assert not owner.store.transaction.may_begin()
    owner.commit()
    assert owner.log_blobs() != before
    assert owner.store.transaction.may_begin()
    assert len(found(owner).messages[queue.number]) == 100


def test_what_it_settles_keeps_its_place_on_disk_until_it_is_committed() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 10)
    owner.store.write_run(queue, 0, stored(10))
    owner.commit()
    blobs = owner.queue_blobs()
    assert blobs
    owner.store.transaction.begin()
    owner.store.transaction.begin_part()
    queue.settle_range(0, 10)
    owner.store.transaction.end_part()
    owner.commit()
    owner.store.compact()
    owner.run()
    assert owner.queue_blobs() == blobs
    assert len(found(owner).messages[queue.number]) == 10
    owner.store.transaction.commit()
    owner.commit()
    assert owner.queue_blobs() == []
    assert found(owner).messages[queue.number] == {}


def test_its_messages_are_not_in_a_run_before_it_is_committed() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.commit()
    owner.store.transaction.begin()
    part(owner, queue, 0, 10)
    owner.store.write_run(queue, 0, stored(10))
    owner.commit()
    assert owner.queue_blobs() == []
    owner.store.transaction.commit()
    owner.commit()
    assert len(owner.queue_blobs()) == 1


def test_what_never_counted_is_not_copied_from_its_log_segment() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.store.transaction.begin()
    owner.publish(queue, 0, 1)
    part(owner, queue, 1, 3)
    owner.publish(queue, 4, 1)
    owner.commit()
    (blob,) = owner.log_blobs()
    medium = owner.medium.crash()
    logged = LoggedRuns(medium, blob, {queue.number: RangeSet()}, 10**6)
    while not logged.read(1):
        continue
    assert [(run.first, len(run.messages)) for run in logged.runs] == [(0, 1), (4, 1)]
    again = Owner(medium)
    assert again.recovery.queues[queue.number].next_position == 5
    assert list(found(again).messages[queue.number]) == [0, 4]


def test_what_it_has_of_a_queue_that_was_deleted_meanwhile_does_not_bring_it_back() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 1)
    owner.commit()
    owner.store.transaction.begin()
    owner.store.transaction.begin_part()
    owner.publish(queue, 1, 1)
    queue.settle(0)
    owner.store.transaction.end_part()
    owner.store.delete_queue(queue)
    owner.store.transaction.commit()
    owner.commit()
    assert found(owner).messages == {}

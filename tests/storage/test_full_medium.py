"""A full medium with space set aside: consumers empty it, publishing goes on, nothing is lost."""

import pytest

from leveret_storage.segments.queue_journal import QueueJournal
from tests.storage.faulty import FaultyMedium
from tests.storage.store_owner import Owner, after_power_loss, stored

CAPACITY_BYTES = 60_000
RESERVE_BYTES = 15_000
BATCH_MESSAGES = 20


def full_medium() -> FaultyMedium:
    return FaultyMedium(1, capacity_bytes=CAPACITY_BYTES, reserve_bytes=RESERVE_BYTES)


def small_owner(medium: FaultyMedium, log_segment_bytes: int = 64_000) -> Owner:
    return Owner(medium, log_segment_bytes=log_segment_bytes, queue_segment_bytes=4000)


def fill(owner: Owner, queue: QueueJournal, *, runs: bool) -> int:
    """Publish until the medium uses what it has set aside; the number of confirmed messages."""
    count = 0
    while owner.medium.free_bytes() > 0:
        owner.publish(queue, count, BATCH_MESSAGES)
        owner.commit()
        if runs:
            owner.store.write_run(queue, count, stored(BATCH_MESSAGES))
            owner.run()
        count += BATCH_MESSAGES
    return count


def settle_one_by_one(owner: Owner, queue: QueueJournal, count: int) -> None:
    """A consumer acknowledges all messages, while the owner asks for free space now and then."""
    for position in range(count):
        queue.settle(position)
        if position % 10 == 9:
            owner.commit()
            if owner.medium.free_bytes() == 0:
                owner.store.free_space()
                owner.run()


@pytest.mark.parametrize("runs", [False, True], ids=["in the log", "in queue segments"])
@pytest.mark.parametrize("log_segment_bytes", [4_000, 64_000], ids=["short", "long"])
def test_a_full_medium_that_consumers_empty_is_not_full_any_more(
    runs: bool, log_segment_bytes: int
) -> None:
    owner = small_owner(full_medium(), log_segment_bytes)
    queue = owner.store.add_queue(True)
    count = fill(owner, queue, runs=runs)
    assert after_power_loss(owner.medium).queues[1].count == count

    settle_one_by_one(owner, queue, count)

    assert owner.medium.free_bytes() > (CAPACITY_BYTES - RESERVE_BYTES) // 2
    owner.publish(queue, count, BATCH_MESSAGES)
    owner.commit()
    assert after_power_loss(owner.medium).queues[1].count == BATCH_MESSAGES
    assert owner.failures == []


def test_a_start_on_a_full_medium_succeeds_and_consumers_can_empty_it() -> None:
    owner = small_owner(full_medium())
    count = fill(owner, owner.store.add_queue(True), runs=False)

    again = small_owner(owner.medium.kill())
    again.run()
    assert again.recovery.queues[1].count == count
    assert again.medium.free_bytes() == 0
    settle_one_by_one(again, again.store.queues[1], count)

    assert again.medium.free_bytes() > (CAPACITY_BYTES - RESERVE_BYTES) // 2
    assert after_power_loss(again.medium).queues[1].count == 0


def test_a_log_segment_with_a_live_message_is_not_replaced() -> None:
    owner = small_owner(full_medium())
    queue = owner.store.add_queue(True)
    count = fill(owner, queue, runs=False)
    queue.settle_range(1, count)
    owner.commit()
    log = owner.log_blobs()

    owner.store.free_space()
    owner.run()

    assert owner.log_blobs() == log
    assert after_power_loss(owner.medium).queues[1].count == 1


def test_a_short_log_segment_is_not_replaced() -> None:
    owner = small_owner(full_medium())
    owner.run()
    log = owner.log_blobs()

    owner.store.free_space()
    owner.run()

    assert owner.log_blobs() == log

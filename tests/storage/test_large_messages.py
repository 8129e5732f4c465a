"""Large messages that wait for the disk: what goes first, what is written, and what is found."""

import pytest

from leveret_storage.segments.queue_journal import QueueJournal
from tests.storage.faulty import FaultyMedium
from tests.storage.store_model import read_out
from tests.storage.store_owner import Owner, after_power_loss, stored

LARGE = b"large" * 2000


@pytest.fixture
def owner() -> Owner:
    return Owner(FaultyMedium(1))


@pytest.fixture
def queue(owner: Owner) -> QueueJournal:
    journal = owner.store.add_queue(True)
    owner.commit()
    return journal


def wait(owner: Owner, queues: list[QueueJournal], position: int) -> int:
    """Have a large message wait that went to queues; its ticket."""
    (message,) = stored(1, LARGE)
    owner.store.large.add(queues, [position] * len(queues), message)
    return int(owner.store.large.ticket)


def positions(owner: Owner, queue: QueueJournal) -> list[int]:
    """What is found of a queue after power loss, in order."""
    medium = owner.medium
    return list(read_out(medium, after_power_loss(medium)).messages[queue.number])


def keep_disk_busy(owner: Owner) -> None:
    """Have a batch be under way."""
    owner.store.define(b"")
    owner.store.commit()


def test_small_messages_go_first_and_one_large_one_with_each_of_their_batches(
    owner: Owner, queue: QueueJournal
) -> None:
    keep_disk_busy(owner)
    tickets = [wait(owner, [queue], position) for position in range(3)]
    found = []
    for position in range(3, 7):
        owner.publish(queue, position, 1)
        batch = int(owner.store.batch)
        while owner.store.synced < batch:
            owner.store.commit()
            assert owner.step()
        owner.publish(queue, position + 10, 1)  # there is always more
        found.append(positions(owner, queue))
        for number, ticket in enumerate(tickets):
            assert owner.store.large.awaits(ticket) == (number not in found[-1])
    assert found[0] == [0, 3]
    assert found[-1][:5] == [0, 1, 2, 3, 4]
    owner.run()


def test_the_disk_is_not_idle_while_one_waits(owner: Owner, queue: QueueJournal) -> None:
    tickets = [wait(owner, [queue], position) for position in range(3)]
    owner.store.commit()
    owner.run()
    assert not any(owner.store.large.awaits(ticket) for ticket in tickets)
    assert positions(owner, queue) == [0, 1, 2]


def test_one_that_is_settled_is_not_written_and_waits_for_its_settlement(
    owner: Owner, queue: QueueJournal
) -> None:
    keep_disk_busy(owner)
    other = owner.store.add_queue(True)
    before = owner.used_bytes()
    ticket = wait(owner, [queue, other], 0)
    queue.settle(0)
    other.settle(0)
    settled_in = int(owner.store.batch)
    while owner.store.synced < settled_in:
        assert owner.store.large.awaits(ticket)
        owner.store.commit()
        assert owner.step()
    assert not owner.store.large.awaits(ticket)
    assert owner.used_bytes() - before < len(LARGE)
    assert positions(owner, queue) == positions(owner, other) == []


def test_it_is_written_for_the_queues_that_have_it(owner: Owner, queue: QueueJournal) -> None:
    keep_disk_busy(owner)
    settled, deleted = owner.store.add_queue(True), owner.store.add_queue(True)
    ticket = wait(owner, [settled, queue, deleted], 0)
    settled.settle(0)
    owner.store.delete_queue(deleted)
    owner.run()
    assert not owner.store.large.awaits(ticket)
    found = after_power_loss(owner.medium)
    assert found.queues.keys() == {queue.number, settled.number}
    assert [found.queues[each.number].count for each in (queue, settled)] == [1, 0]


def test_one_whose_queue_is_deleted_is_not_written(owner: Owner, queue: QueueJournal) -> None:
    keep_disk_busy(owner)
    before = owner.used_bytes()
    ticket = wait(owner, [queue], 0)
    owner.store.delete_queue(queue)
    owner.run()
    assert not owner.store.large.awaits(ticket)
    assert owner.used_bytes() - before < len(LARGE)
    assert not after_power_loss(owner.medium).queues


def test_one_in_a_run_is_in_the_log_before_it(owner: Owner, queue: QueueJournal) -> None:
    keep_disk_busy(owner)
    older = [wait(owner, [owner.store.add_queue(True)], 0) for _ in range(5)]
    ticket = wait(owner, [queue], 0)
    owner.store.write_run(queue, 0, stored(1, LARGE))
    while not owner.queue_blobs():
        assert owner.step()
    assert not owner.store.large.awaits(ticket)
    assert owner.store.large.awaits(older[-1])
    owner.run()


def test_one_that_came_before_a_transaction_is_no_part_of_it(
    owner: Owner, queue: QueueJournal
) -> None:
    keep_disk_busy(owner)
    tickets = [wait(owner, [queue], position) for position in range(3)]
    transaction = owner.store.transaction
    transaction.begin()
    assert not owner.store.large.may_wait(1)
    transaction.begin_part()
    queue.settle(0)
    owner.publish(queue, 3, 1)
    owner.store.write_run(queue, 2, stored(1, LARGE))
    owner.publish(queue, 4, 1)
    transaction.end_part()
    owner.run()
    assert not any(owner.store.large.awaits(ticket) for ticket in tickets)
    assert positions(owner, queue) == [0, 1, 2]
    transaction.commit()
    owner.commit()
    assert positions(owner, queue) == [1, 2, 3, 4]


def test_what_waits_is_bounded() -> None:
    owner = Owner(FaultyMedium(1), large_waiting_bytes=3 * len(LARGE))
    queue = owner.store.add_queue(True)
    for position in range(3):
        assert owner.store.large.may_wait(len(LARGE))
        wait(owner, [queue], position)
    assert not owner.store.large.may_wait(1)
    owner.commit()
    assert owner.store.large.may_wait(3 * len(LARGE))


def test_what_waits_is_written_when_the_store_closes(owner: Owner, queue: QueueJournal) -> None:
    keep_disk_busy(owner)
    for position in range(3):
        wait(owner, [queue], position)
    owner.store.close()
    assert positions(owner, queue) == [0, 1, 2]

"""Runs of a deep queue are written a few at a time: batches do not wait behind all of them."""

import pytest

from leveret_storage.format.entries import StoredMessage
from leveret_storage.medium import BYTES_IN_FLIGHT
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.limits import RUNS_SHARE
from tests.storage.faulty import FaultyMedium
from tests.storage.store_owner import Owner

BYTES_AT_ONCE = BYTES_IN_FLIGHT // RUNS_SHARE
RUN_BYTES = BYTES_AT_ONCE // 4
RUNS = 2 * BYTES_IN_FLIGHT // RUN_BYTES
AT_ONCE = BYTES_AT_ONCE // RUN_BYTES
COMMIT_JOBS = 2
"""Jobs of a batch: its append, and a mark or a preallocation behind it."""


@pytest.fixture
def owner() -> Owner:
    return Owner(FaultyMedium(1), log_segment_bytes=10**9, queue_segment_bytes=10**9)


def write_runs(owner: Owner, queue: QueueJournal) -> None:
    """Persist messages in the log, and have all be written as runs."""
    for position in range(RUNS):
        message = StoredMessage(b"r", b"h", b"x" * RUN_BYTES, True)
        owner.store.add_message_to_one(queue, position, message)
        owner.store.write_run(queue, position, [message])


def test_a_batch_has_few_runs_before_it(owner: Owner) -> None:
    queue = owner.store.add_queue(True)
    owner.commit()
    write_runs(owner, queue)
    owner.store.commit()
    most = 0
    while owner.step():
        most = max(most, len(owner.writing.jobs))
    assert queue.flushed.covers(0, RUNS)
    assert most <= AT_ONCE + 1 + COMMIT_JOBS


def test_what_waits_for_its_turn_delays_no_commit(owner: Owner) -> None:
    queue = owner.store.add_queue(True)
    owner.commit()
    write_runs(owner, queue)
    assert owner.store.delays_commits(), "the messages are in the open batch, too"
    owner.store.commit()
    while owner.store.delays_commits():
        assert owner.step()
    assert owner.store.needs_backpressure(), "for who publishes to the deep queue"
    owner.run()
    assert not owner.store.needs_backpressure()


def test_a_run_whose_segment_was_deleted_meanwhile_is_not_written(owner: Owner) -> None:
    queue = owner.store.add_queue(True)
    owner.commit()
    write_runs(owner, queue)
    owner.store.commit()
    assert owner.step()
    owner.store.delete_queue(queue)
    owner.commit()
    owner.commit()
    assert owner.queue_blobs() == []
    assert not owner.store.needs_backpressure()
    assert owner.failures == []

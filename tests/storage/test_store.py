"""What a store has on its medium, when it deletes it, and which batches it reports."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest

from leveret_storage.errors import MediumFull, StorageError
from leveret_storage.format.entries import StoredMessage
from leveret_storage.media.executor import ThreadExecutor
from leveret_storage.recovery.recover import recover
from leveret_storage.recovery.recovered_queue import LoggedMessages
from leveret_storage.segments.queue_journal import Run
from leveret_storage.store.limits import CHANGED_QUEUES_MAX, SEGMENTS_SYNCED_AT_STOP
from tests.storage.faulty import Fault, FaultyMedium
from tests.storage.store_model import read_out
from tests.storage.store_owner import Owner, after_power_loss, stored


def test_synced_is_reported_for_each_batch_once_and_in_order_after_its_sync() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    for number in range(1, 6):
        assert owner.store.batch == number
        owner.publish(queue, number, 1)
        owner.commit()
        assert after_power_loss(owner.medium).queues[1].count == number
    assert owner.synced == [1, 2, 3, 4, 5]


def test_while_a_batch_is_under_way_the_next_one_fills_and_goes_when_it_is_done() -> None:
    owner = Owner(FaultyMedium(1))
    owner.run()
    queue = owner.store.add_queue(True)
    owner.store.commit()
    owner.publish(queue, 0, 3)
    owner.store.commit()
    owner.publish(queue, 3, 3)
    owner.store.commit()
    assert owner.store.batch == 2
    assert len(owner.writing.jobs) == 1
    owner.run()
    assert owner.synced == [1, 2]


def test_a_settlement_alone_waits_for_the_next_batch_unless_that_is_urgent() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 2)
    owner.commit()
    queue.settle(0)
    owner.store.commit()
    assert owner.store.batch == 2
    owner.commit()
    assert owner.synced == [1, 2]
    assert after_power_loss(owner.medium).queues[1].count == 1


def test_settlements_of_many_queues_are_added_before_the_batch_is_committed() -> None:
    owner = Owner(FaultyMedium(1))
    queues = [owner.store.add_queue(True) for _ in range(CHANGED_QUEUES_MAX)]
    for queue in queues:
        owner.publish(queue, 0, 2)
    owner.commit()
    batch = owner.store.batch
    for queue in queues:
        queue.settle(0)
    assert all(queue.changed for queue in queues)
    owner.store.commit()
    assert not any(queue.changed for queue in queues)
    assert owner.store.batch == batch
    owner.commit()
    found = after_power_loss(owner.medium).queues
    assert [found[queue.number].count for queue in queues] == [1] * len(queues)


def test_the_disk_is_nearly_empty_when_a_queue_is_drained() -> None:
    """Each batch trims, so the log need not grow first."""
    owner = Owner(FaultyMedium(1), log_segment_bytes=4000, queue_segment_bytes=4000)
    owner.commit()
    empty = owner.used_bytes()
    queue = owner.store.add_queue(True)
    for first in range(0, 2000, 50):
        owner.publish(queue, first, 50)
        owner.commit()
        owner.store.write_run(queue, first, stored(50))
    owner.run()
    full = owner.used_bytes()
    assert full > 100_000
    for position in range(2000):
        queue.settle(position)
        if position % 100 == 0:
            owner.commit()
    owner.commit()
    assert owner.queue_blobs() == []
    assert owner.used_bytes() < empty + 2 * 4000


def test_a_queue_that_is_consumed_as_it_fills_costs_no_more_than_some_segments() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=4000)
    queue = owner.store.add_queue(True)
    most = 0
    for position in range(1000):
        owner.publish(queue, position, 1)
        if position >= 10:
            queue.settle(position - 10)
        owner.commit()
        most = max(most, owner.used_bytes())
    assert most < 3 * 4500


def test_a_stuck_message_keeps_only_the_segment_it_is_in() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=4000, queue_segment_bytes=4000)
    queue = owner.store.add_queue(True)
    for first in range(0, 2000, 50):
        owner.publish(queue, first, 50)
        owner.commit()
        owner.store.write_run(queue, first, stored(50))
    owner.run()
    assert len(owner.queue_blobs()) > 10
    queue.settle_range(0, 777)
    queue.settle_range(778, 2000)
    owner.commit()
    owner.commit()
    assert len(owner.queue_blobs()) == 1
    assert owner.used_bytes() < 3 * 4500
    assert after_power_loss(owner.medium).queues[1].count == 1


def test_a_log_segment_whose_messages_are_in_runs_goes_when_these_are_durable() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=1000)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 50)
    owner.commit()
    owner.store.write_run(queue, 0, stored(50))
    owner.commit()
    first = owner.log_blobs()[0]
    owner.store.define(b"x")
    owner.commit()
    assert first not in owner.log_blobs()
    medium = owner.medium
    for _ in range(20):
        medium = medium.kill()
        assert after_power_loss(medium).queues[1].count == 50


def test_the_blobs_of_a_dropped_queue_stay_until_its_batch_is_durable() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.store.write_run(queue, 0, stored(5))
    owner.commit()
    blobs = owner.queue_blobs()
    owner.store.delete_queue(queue)
    owner.store.commit()
    owner.writing.run_one()
    assert owner.queue_blobs() == blobs
    owner.run()
    assert owner.queue_blobs() == []
    assert after_power_loss(owner.medium).queues == {}


def test_a_queue_that_is_not_durable_gives_its_disk_back_though_nothing_else_is_written() -> None:
    owner = Owner(FaultyMedium(1), queue_segment_bytes=1)
    queue = owner.store.add_queue(False)
    owner.store.write_run(queue, 0, stored(5, persistent=False))
    owner.run()
    assert owner.queue_blobs()
    queue.settle_range(0, 5)
    owner.commit()
    assert owner.queue_blobs() == []
    assert owner.synced == []


def test_a_run_is_read_though_its_queue_is_dropped_meanwhile() -> None:
    """Deleting the blob under the reader stopped the broker."""
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    run = owner.store.write_run(queue, 0, stored(5))
    owner.commit()
    read: list[list[StoredMessage]] = []
    owner.store.read_run(run, read.append)
    owner.store.delete_queue(queue)
    owner.store.commit()
    while owner.writing.jobs or owner.writing.results:
        owner.writing.run_one() if owner.writing.jobs else owner.writing.deliver_one()
    assert owner.queue_blobs()
    owner.run()
    assert [len(each) for each in read] == [5]
    assert owner.queue_blobs() == []
    assert owner.failures == []


def test_a_message_may_go_to_more_queues_than_an_entry_can_name() -> None:
    owner = Owner(FaultyMedium(1))
    queues = [owner.store.add_queue(True) for _ in range(40_000)]
    owner.store.add_message(queues, [0] * len(queues), stored(1)[0])
    owner.commit()
    found = after_power_loss(owner.medium).queues
    assert sum(queue.count for queue in found.values()) == len(found) == 40_000


def test_a_number_of_a_queue_is_not_used_again_after_a_crash() -> None:
    owner = Owner(FaultyMedium(1))
    durable = owner.store.add_queue(True)
    owner.commit()
    lasting = owner.store.add_queue(False)
    owner.store.write_run(lasting, 0, stored(5))
    owner.run()
    next_owner = Owner(owner.medium.kill())
    assert list(next_owner.store.queues) == [durable.number]
    assert next_owner.store.add_queue(True).number > lasting.number


def test_positions_settled_are_not_used_again() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=1)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 10)
    owner.commit()
    queue.settle_range(0, 10)
    owner.commit()
    owner.store.define(b"x")
    owner.commit()
    found = after_power_loss(owner.medium).queues[1]
    assert (found.count, found.next_position) == (0, 10)


def test_contents_are_logged_messages_and_runs_in_order() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=1)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 10, 10)
    owner.commit()
    owner.store.write_run(queue, 10, stored(10))
    owner.run()
    owner.publish(queue, 0, 10)
    owner.publish(queue, 20, 10)
    queue.settle(12)
    queue.settle(25)
    owner.commit()
    owner.store.close()
    found = recover(owner.medium.kill()).queues[1]
    contents: list[object] = []
    for part in found.contents:
        if isinstance(part, Run):
            contents.append((int(part.first), int(part.count), part.live))
        else:
            contents.append((part.first, len(part.messages)))
    assert contents == [(0, 10), (10, 10, [(10, 12), (13, 20)]), (20, 5), (26, 4)]
    assert found.count == 28


def test_a_run_that_no_sync_covered_counts_for_nothing_while_the_log_has_its_messages() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 10)
    owner.commit()
    owner.store.write_run(queue, 0, stored(10))
    owner.run()
    found = recover(owner.medium.kill()).queues[1]
    assert [type(part) for part in found.contents] == [LoggedMessages]
    assert found.count == 10


def test_a_queue_segment_that_is_full_is_made_durable_when_the_next_one_begins() -> None:
    """So a start has to look into the log for the messages of the last one only."""
    owner = Owner(FaultyMedium(1), queue_segment_bytes=1)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 30)
    for first in range(0, 30, 10):
        owner.store.write_run(queue, first, stored(10))
        owner.commit()
    found = recover(deepcopy(owner.medium).kill()).queues[1]
    assert [type(part) for part in found.contents] == [Run, Run, LoggedMessages]
    assert found.count == 30
    owner.store.close()
    found = recover(owner.medium.kill()).queues[1]
    assert [type(part) for part in found.contents] == [Run, Run, Run]
    assert found.count == 30


def test_a_log_segment_is_not_deleted_while_it_is_read_to_be_emptied() -> None:
    owner = Owner(FaultyMedium(1), log_segment_bytes=1, log_segments_max=2)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 3)
    for _ in range(2):
        owner.store.commit()
        while owner.writing.jobs or owner.writing.results:
            owner.writing.run_one() if owner.writing.jobs else owner.writing.deliver_one()
        owner.store.define(b"x")
    assert owner.reading.jobs
    queue.settle_range(0, 3)
    for _ in range(2):
        owner.store.commit(force=True)
        while owner.writing.jobs or owner.writing.results:
            owner.writing.run_one() if owner.writing.jobs else owner.writing.deliver_one()
    assert "log-000000000001" in owner.log_blobs()
    owner.run()
    owner.commit()
    owner.commit()
    assert "log-000000000001" not in owner.log_blobs()
    assert owner.failures == []


def test_a_full_disk_at_any_call_loses_nothing_and_is_no_failure_but_in_a_sync() -> None:
    refused = 0
    for call in range(4, 400):
        medium = FaultyMedium(call, faults=dict.fromkeys(range(call, call + 3), Fault.ENOSPC))
        owner = Owner(medium, log_segment_bytes=500, queue_segment_bytes=300)
        queue = owner.store.add_queue(True)
        for first in range(0, 30, 3):
            owner.publish(queue, first, 3)
            owner.store.commit()
            owner.run()
            owner.store.write_run(queue, first, stored(3))
            queue.settle(first)
        owner.commit()
        if owner.failures:
            assert len(owner.failures) == 1
            assert str(owner.failures[0]).startswith("cannot sync"), call
            continue
        refused += medium.calls > call
        assert owner.synced[-1] == owner.store.batch - 1
        calls = medium.calls
        medium = medium.crash()
        found = read_out(medium, recover(medium))
        assert sorted(found.messages[1]) == [at for at in range(30) if at % 3]
        if calls < call:
            break
    assert refused > 10


def test_obsolete_segments_are_deleted_while_a_write_waits_for_space() -> None:
    medium = FaultyMedium(1)
    owner = Owner(medium, queue_segment_bytes=1)
    old, busy = owner.store.add_queue(True), owner.store.add_queue(True)
    owner.store.write_run(old, 0, stored(200))
    owner.commit()
    old.settle_range(0, 200)
    owner.store.commit(force=True)
    owner.writing.run_one()
    medium.capacity_bytes = owner.used_bytes()
    owner.store.write_run(busy, 0, stored(100))
    owner.store.commit()
    owner.writing.deliver_one()
    assert len(owner.writing.jobs) == 2

    owner.run()

    assert [name for name in owner.queue_blobs() if name.startswith("queue-0000000001")] == []
    assert len(owner.queue_blobs()) == 1
    assert owner.failures == []


def test_what_is_open_is_written_when_the_store_closes_though_a_batch_is_under_way() -> None:
    medium = FaultyMedium(1)
    owner = Owner(medium)
    queue = owner.store.add_queue(True)
    owner.store.commit()
    owner.publish(queue, 0, 3)
    owner.store.close()
    assert after_power_loss(medium).queues[1].count == 3


def test_a_stop_does_not_sync_the_files_of_all_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    medium = FaultyMedium(1)
    owner = Owner(medium)
    queues = [owner.store.add_queue(True) for _ in range(4 * SEGMENTS_SYNCED_AT_STOP)]
    for queue in queues:
        owner.publish(queue, 0, 3)
        owner.store.write_run(queue, 0, stored(3))
    owner.commit()
    assert len(owner.queue_blobs()) == len(queues)
    synced: list[str] = []
    sync = medium.sync

    def counted(name: str) -> None:
        synced.append(name)
        sync(name)

    monkeypatch.setattr(medium, "sync", counted)

    owner.store.close()

    files = [name for name in synced if name in owner.queue_blobs()]
    assert len(files) == SEGMENTS_SYNCED_AT_STOP
    found = after_power_loss(medium)
    # The log has what is not synced.
    assert [found.queues[queue.number].count for queue in queues] == [3] * len(queues)


class TestThreadExecutor:
    """With results handed back in its own thread."""

    def test_jobs_run_in_order_and_close_waits_for_them(self) -> None:
        executor = ThreadExecutor("writing", run_now)
        results: list[object] = []
        for number in range(100):
            executor.submit(partial(int, number), results.append)
        executor.close()
        assert results == list(range(100))

    def test_behind_a_job_that_failed_none_is_run(self) -> None:
        executor = ThreadExecutor("writing", run_now)
        results: list[object] = []
        ran: list[int] = []
        error = StorageError("failed")

        def fail() -> None:
            raise error

        executor.submit(fail, results.append)
        executor.submit(lambda: ran.append(1), results.append)
        executor.close()
        assert results == [error, error]
        assert ran == []

    def test_a_job_on_a_full_medium_is_given_up_at_the_end_with_all_after_it(self) -> None:
        executor = ThreadExecutor("writing", run_now)
        results: list[object] = []
        attempts: list[int] = []
        error = MediumFull("no space")

        def fill() -> None:
            attempts.append(1)
            if len(attempts) == 1:
                raise error

        executor.submit(fill, results.append)
        executor.submit(lambda: attempts.append(2), results.append)
        executor.close()
        assert results in ([error, error], [None, None])
        assert (results == [None, None]) == (attempts == [1, 1, 2])


def run_now(call: Callable[[], None]) -> None:
    call()

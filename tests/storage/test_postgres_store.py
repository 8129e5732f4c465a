"""A store on PostgreSQL, with the threads that a broker has: kills, and the next owner."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import pytest

from leveret_storage.errors import LostEpoch, StorageError
from leveret_storage.media.executor import ThreadExecutor
from leveret_storage.media.locations import open_medium
from leveret_storage.medium import Medium
from leveret_storage.recovery.recover import recover
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.limits import StoreLimits
from leveret_storage.store.store import Store
from tests.storage.owning import take
from tests.storage.store_owner import stored
from tests.support.postgres import PostgresCluster, new_location

BODY = b"x" * 500
DEADLINE_S = 60.0


class RunningStore:
    """A store, its executors, and the loop that their results come back to."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.failures: list[StorageError] = []
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._executors = [ThreadExecutor(name, self._posted.put) for name in ("write", "read")]
        take(medium)
        self.recovery = recover(medium)
        self.store = Store(
            medium,
            *self._executors,
            snapshot=lambda: iter([]),
            synced=lambda: None,
            failed=self.failures.append,
            limits=StoreLimits(200_000, 200_000),
        )
        self.queues = {
            number: self.store.restore_queue(number, found)
            for number, found in self.recovery.queues.items()
        }
        self.store.start(self.recovery)

    def publish(self, queue: QueueJournal, first: int, count: int) -> int:
        """Publish messages and commit them; returns their batch."""
        for position, message in enumerate(stored(count, BODY), first):
            self.store.add_message([queue], [position], message)
        batch = self.store.batch
        self.store.commit(force=True)
        return int(batch)

    def run_until(self, state: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not state():
            assert time.monotonic() < end
            try:
                self._posted.get(timeout=0.1)()
            except Empty:
                continue
            self.store.commit(force=True)

    def await_synced(self, batch: int) -> None:
        self.run_until(lambda: bool(self.store.synced >= batch or self.failures))
        assert not self.failures

    def close(self) -> None:
        for executor in self._executors:
            executor.close()
        self.medium.close()


def test_the_next_owner_finds_every_message_and_no_settled_one(postgres: PostgresCluster) -> None:
    location = new_location(postgres)
    running = RunningStore(open_medium(location))
    queue = running.store.add_queue(True)
    for number in range(40):
        batch = running.publish(queue, number * 100, 100)
        for position in range(number * 100, number * 100 + 90):
            queue.settle(position)
    running.await_synced(batch)
    batch = running.publish(queue, 4000, 1)
    running.await_synced(batch)
    running.close()
    following = RunningStore(open_medium(location))
    assert following.recovery.queues[queue.number].count == 401
    assert len(following.medium.list()) < 12
    following.close()


@pytest.mark.parametrize("victim", ["primary", "standby"])
def test_a_store_survives_the_loss_of_a_server(
    failing_postgres: PostgresCluster, victim: str
) -> None:
    running = RunningStore(open_medium(failing_postgres.url()))
    queue = running.store.add_queue(True)
    batch = running.publish(queue, 0, 100)
    for number in range(1, 60):
        batch = running.publish(queue, number * 100, 100)
        if number == 20:
            if victim == "primary":
                failing_postgres.primary.kill()
                failing_postgres.fail_over()
            else:
                failing_postgres.standbys[0].kill()
        if number % 5 == 0:
            running.await_synced(batch)
    running.await_synced(batch)
    following = open_medium(failing_postgres.url())
    take(following)
    assert recover(following).queues[queue.number].count == 6000
    running.publish(queue, 6000, 1)
    running.run_until(lambda: bool(running.failures))
    assert isinstance(running.failures[0], LostEpoch)
    following.close()
    running.close()

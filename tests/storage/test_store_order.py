"""In which order the store does things, and what waits for a batch."""

from collections.abc import Callable

from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.recover import recover
from leveret_storage.segments.queue_journal import QueueJournal
from tests.storage.faulty import FaultyMedium
from tests.storage.store_owner import Owner


class OneQueue:
    """A store with one queue."""

    def __init__(self, durable: bool) -> None:
        self.owner = Owner(FaultyMedium(1))
        self.store, self.writing = self.owner.store, self.owner.writing
        self.queue: QueueJournal = self.store.add_queue(durable)
        self.store.commit()
        self.owner.run()
        self.owner.synced.clear()

    def publish(self, first: int, count: int) -> None:
        """Put messages into the open batch, and some of them into a run."""
        messages = [StoredMessage(b"route", b"header", b"%d" % at, True) for at in range(count)]
        if count > 1:
            self.store.write_run(self.queue, first, messages[: count // 2])
        for position, message in enumerate(messages, first):
            self.store.add_message([self.queue], [position], message)
        self.store.commit()

    def found(self) -> int:
        """How many messages there are after a kill at this moment."""
        queues = recover(self.owner.medium.kill()).queues
        return queues[self.queue.number].count if self.queue.number in queues else 0


def test_a_batch_is_there_as_a_whole_though_a_part_of_it_goes_to_a_queue_segment_as_well() -> None:
    counts: list[int] = []
    done = False
    while not done:
        one = OneQueue(durable=True)
        one.publish(0, 1)
        one.writing.run()
        one.publish(1, 10)
        for _ in counts:
            one.writing.step()
        done = not one.writing.jobs
        counts.append(one.found())
    assert len(counts) > 2
    assert set(counts) == {1, 11}


def settle_nothing(queue: QueueJournal) -> None:
    queue.settle_range(0, 0)


def settle_one(queue: QueueJournal) -> None:
    queue.settle(0)


def is_reported(durable: bool, settle: Callable[[QueueJournal], None]) -> bool:
    """Whether the open batch is reported as durable without a write, and before the next one."""
    one = OneQueue(durable)
    settle(one.queue)
    assert one.store.has_uncommitted()
    batch = one.store.batch
    one.store.request_commit()
    one.store.commit()
    return len(one.owner.synced) > 0 and one.store.synced >= batch


def test_a_batch_without_entries_is_reported_at_once() -> None:
    assert is_reported(True, settle_nothing)
    assert is_reported(False, settle_one)
    assert not is_reported(True, settle_one)

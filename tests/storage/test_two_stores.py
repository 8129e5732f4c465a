"""Two stores in one process, each on its own medium with its own threads: nothing is shared."""

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from leveret_storage.errors import StorageError
from leveret_storage.media.executor import ThreadExecutor
from leveret_storage.media.locations import open_medium
from leveret_storage.recovery.recover import recover
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store
from tests.storage.owning import take
from tests.storage.store_owner import stored


class ThreadedStore:
    """A store with one durable queue, whose callbacks run in `run_until_synced`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.failures: list[StorageError] = []
        self.medium = open_medium(str(directory))
        take(self.medium)
        self.store = Store(
            self.medium,
            ThreadExecutor("writing", self.calls.put),
            ThreadExecutor("reading", self.calls.put),
            snapshot=lambda: iter(()),
            synced=lambda: None,
            failed=self.failures.append,
        )
        self.store.start(recover(self.medium))
        self.queue: QueueJournal = self.store.add_queue(True)

    def publish(self, position: int, body: bytes) -> int:
        """Persist a message, and return the batch it is in."""
        self.store.add_message([self.queue], [position], stored(1, body)[0])
        batch = int(self.store.batch)
        self.store.commit()
        return batch

    def run_until_synced(self, batch: int) -> None:
        while self.store.synced < batch and not self.failures:
            self.calls.get(timeout=60)()

    def close(self) -> None:
        self.store.close()
        self.medium.close()

    def bodies(self) -> list[bytes]:
        """The messages that a start finds."""
        medium = open_medium(str(self.directory), read_only=True)
        found = recover(medium).queues[self.queue.number].contents
        medium.close()
        return [message.body for part in found for message in part.messages or ()]


def test_each_store_has_its_own_messages_batches_and_files(tmp_path: Path) -> None:
    one, other = ThreadedStore(tmp_path / "one"), ThreadedStore(tmp_path / "other")
    batches = [one.publish(position, b"one %d" % position) for position in range(3)]
    batch = other.publish(0, b"other")
    other.run_until_synced(batch)
    for each in batches:
        one.run_until_synced(each)

    one.close()
    assert one.bodies() == [b"one 0", b"one 1", b"one 2"]
    batch = other.publish(1, b"other goes on")
    other.run_until_synced(batch)
    other.close()
    assert other.bodies() == [b"other", b"other goes on"]


def test_a_store_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    one, other = ThreadedStore(tmp_path / "one"), ThreadedStore(tmp_path / "other")
    one.store.fail(StorageError("failed"))
    batch = other.publish(0, b"other")
    other.run_until_synced(batch)
    one.publish(0, b"one")
    assert len(one.failures) == 1
    assert other.failures == []
    one.close()
    other.close()
    assert other.bodies() == [b"other"]

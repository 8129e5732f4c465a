"""The owner of a store in the tests of stores: its callbacks, and executors that step."""

from collections.abc import Callable
from copy import deepcopy

from leveret_storage.errors import StorageError
from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.log_end import LogEnd, note_nothing
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.context import RunMedium
from leveret_storage.store.limits import LARGE_WAITING_BYTES_MAX, LOG_SEGMENTS_MAX, StoreLimits
from leveret_storage.store.store import Store
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.support.executors import StepExecutor


class Owner:
    """A store with its callbacks, and executors that step."""

    def __init__(
        self,
        medium: FaultyMedium,
        *,
        log_segment_bytes: int = 10**6,
        queue_segment_bytes: int = 10**6,
        log_segments_max: int = LOG_SEGMENTS_MAX,
        body_segment_bytes: int = 10**6,
        large_waiting_bytes: int = LARGE_WAITING_BYTES_MAX,
        large_bytes_at_once: int = 1,
        note_log_end: Callable[[LogEnd], None] = note_nothing,
        sync: bool = True,
        transient: FaultyMedium | None = None,
    ) -> None:
        """`transient` is the medium of what does not have to survive, if it has one of its own."""
        self.medium = medium
        self.writing, self.reading = StepExecutor(), StepExecutor()
        self.executors = [self.writing, self.reading]
        transient_runs = None
        if transient is not None:
            take(transient)
            self.executors += [StepExecutor(), StepExecutor()]
            transient_runs = RunMedium(transient, *self.executors[2:])
        self.synced: list[int] = []
        self.failures: list[StorageError] = []
        self.definitions: list[bytes] = []
        take(medium)
        self.recovery = recover(medium)
        self.definitions += [each.data for each in self.recovery.definitions]
        self.store = Store(
            medium,
            self.writing,
            self.reading,
            snapshot=lambda: iter(list(self.definitions)),
            synced=lambda: self.synced.append(int(self.store.synced)),
            failed=self.failures.append,
            sync=sync,
            note_log_end=note_log_end,
            limits=StoreLimits(
                log_segment_bytes,
                queue_segment_bytes,
                log_segments_max,
                1000,
                body_segment_bytes,
                large_waiting_bytes=large_waiting_bytes,
                large_bytes_at_once=large_bytes_at_once,
            ),
            transient_runs=transient_runs,
        )
        for number, found in self.recovery.queues.items():
            self.store.restore_queue(number, found)
        self.store.start(self.recovery)

    def run(self) -> None:
        """Run all jobs and hand back their results, and what follows from them."""
        while self.step():
            continue

    def step(self) -> bool:
        """Hand back one result or run one job; False if there is none."""
        for each in self.executors:
            if each.results:
                each.deliver_one()
                return True
            if each.jobs:
                each.run_one()
                return True
        return False

    def commit(self) -> None:
        self.store.commit(force=True)
        self.run()

    def publish(self, queue: QueueJournal, first: int, count: int, body: bytes = b"x" * 50) -> None:
        for position, message in enumerate(stored(count, body), first):
            self.store.add_message([queue], [position], message)

    def used_bytes(self) -> int:
        return sum(self.medium.size(name) for name in self.medium.list())

    def queue_blobs(self) -> list[str]:
        return sorted(name for name in self.medium.list() if name.startswith("queue-"))

    def log_blobs(self) -> list[str]:
        return sorted(name for name in self.medium.list() if name.startswith("log-"))


def stored(count: int, body: bytes = b"x" * 50, persistent: bool = True) -> list[StoredMessage]:
    return [StoredMessage(b"r", b"h", body, persistent) for _ in range(count)]


def after_power_loss(medium: FaultyMedium) -> Recovery:
    return recover(deepcopy(medium).crash())

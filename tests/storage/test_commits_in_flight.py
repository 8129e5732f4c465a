"""Several group commits under way at one time, on a medium that answers them in any order."""

from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.recovery.recover import recover
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.limits import StoreLimits
from leveret_storage.store.store import Store
from tests.storage.faulty import Fault, FaultyMedium
from tests.storage.owning import take
from tests.storage.store_owner import stored
from tests.support.executors import StepExecutor

IN_FLIGHT = 4


class Owner:
    """A store with one durable queue, on a medium that answers when the test says so."""

    def __init__(self, log_segment_bytes: int = 10**6) -> None:
        self.medium = FaultyMedium(1, commits_in_flight_max=IN_FLIGHT)
        take(self.medium)
        self.synced: list[int] = []
        self.failures: list[StorageError] = []
        self.writing = StepExecutor()
        self.store = Store(
            self.medium,
            self.writing,
            InlineExecutor(),
            snapshot=list,
            synced=lambda: self.synced.append(int(self.store.synced)),
            failed=self.failures.append,
            limits=StoreLimits(log_segment_bytes),
        )
        self.store.start(recover(self.medium))
        self.queue: QueueJournal = self.store.add_queue(True)
        self.next = 0
        self.publish()
        self.answer(0)
        self.synced.clear()

    def publish(self) -> None:
        """Commit a batch of one message."""
        self.store.add_message([self.queue], [self.next], stored(1)[0])
        self.next += 1
        self.store.commit()
        self.writing.run()

    def answer(self, which: int) -> None:
        """The medium answers one of the commits in flight."""
        self.medium.answer(which)
        self.writing.run()

    def found(self) -> int:
        """How many messages a start finds after power loss, which takes what it may take."""
        queues = recover(self.medium.crash()).queues
        return queues[self.queue.number].count if queues else 0


def test_as_many_commits_begin_as_the_medium_allows_and_the_rest_is_one_batch() -> None:
    owner = Owner()
    first = owner.store.batch
    for _ in range(IN_FLIGHT + 3):
        owner.publish()
    assert owner.medium.begun() == IN_FLIGHT
    assert owner.store.batch == first + IN_FLIGHT
    owner.answer(0)
    assert owner.medium.begun() == IN_FLIGHT
    assert owner.store.batch == first + IN_FLIGHT + 1


def test_synced_advances_in_order_whatever_the_medium_answers_first() -> None:
    owner = Owner()
    first = int(owner.store.batch)
    for _ in range(3):
        owner.publish()
    owner.answer(2)
    owner.answer(1)
    assert owner.synced == []
    owner.answer(0)
    assert owner.synced == [first + 2]
    assert owner.found() == 4


def test_a_commit_that_failed_leaves_no_later_one_durable() -> None:
    owner = Owner()
    for _ in range(3):
        owner.publish()
    owner.medium.fail_next(Fault.EIO)
    owner.answer(0)
    owner.answer(1)
    owner.answer(0)
    assert owner.synced == []
    assert len(owner.failures) == 1
    owner.publish()
    assert owner.medium.begun() == 0


def test_an_empty_batch_is_durable_when_those_before_it_are() -> None:
    owner = Owner()
    owner.publish()
    batch = int(owner.store.batch)
    owner.store.request_commit()
    owner.store.commit()
    owner.writing.run()
    assert owner.store.batch == batch + 1
    assert owner.synced == []
    owner.answer(0)
    assert owner.synced == [batch]


def test_a_segment_begins_when_all_commits_before_it_are_durable() -> None:
    owner = Owner(log_segment_bytes=1000)
    logs = len(owner.medium.list())
    while len(owner.medium.list()) == logs:
        owner.publish()
        if owner.medium.begun() == IN_FLIGHT:
            for _ in range(IN_FLIGHT):
                owner.answer(owner.medium.begun() - 1)
    assert owner.medium.begun() == 0
    assert owner.found() == owner.next


def test_closing_makes_everything_durable() -> None:
    owner = Owner()
    for _ in range(IN_FLIGHT + 2):
        owner.publish()
    owner.store.close()
    owner.writing.run()
    assert owner.found() == owner.next

"""Several group commits under way at one time, on a medium that answers them in any order."""

from leveret_storage.recovery.recover import recover
from leveret_storage.segments.queue_journal import QueueJournal
from tests.storage.faulty import Fault, FaultyMedium
from tests.storage.store_owner import Owner, stored

IN_FLIGHT = 4


class OneQueue:
    """A store with one durable queue, on a medium that answers when the test says so."""

    def __init__(
        self,
        log_segment_bytes: int = 10**6,
        *,
        large_bytes_at_once: int = 1,
        begins_at_once: bool | None = None,
    ) -> None:
        self.medium = FaultyMedium(
            1, commits_in_flight_max=IN_FLIGHT, begins_at_once=begins_at_once
        )
        self.owner = Owner(
            self.medium,
            log_segment_bytes=log_segment_bytes,
            large_bytes_at_once=large_bytes_at_once,
        )
        self.store, self.synced = self.owner.store, self.owner.synced
        self.failures = self.owner.failures
        self.owner.run()
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
        self.owner.run()

    def wait(self) -> int:
        """Have a large message wait; its ticket."""
        self.store.large.add([self.queue], [self.next], stored(1)[0])
        self.next += 1
        return int(self.store.large.ticket)

    def answer(self, which: int) -> None:
        """The medium answers one of the commits in flight."""
        self.medium.answer(which)
        self.owner.run()

    def found(self) -> int:
        """How many messages a start finds after power loss, which takes what it may take."""
        queues = recover(self.medium.crash()).queues
        return queues[self.queue.number].count if queues else 0


def test_as_many_commits_begin_as_the_medium_allows_and_the_rest_is_one_batch() -> None:
    one = OneQueue()
    first = one.store.batch
    for _ in range(IN_FLIGHT + 3):
        one.publish()
    assert one.medium.begun() == IN_FLIGHT
    assert one.store.batch == first + IN_FLIGHT
    one.answer(0)
    assert one.medium.begun() == IN_FLIGHT
    assert one.store.batch == first + IN_FLIGHT + 1


def test_synced_advances_in_order_whatever_the_medium_answers_first() -> None:
    one = OneQueue()
    first = int(one.store.batch)
    for _ in range(3):
        one.publish()
    one.answer(2)
    one.answer(1)
    assert one.synced == []
    one.answer(0)
    assert one.synced == [first + 2]
    assert one.found() == 4


def test_a_commit_that_failed_leaves_no_later_one_durable() -> None:
    one = OneQueue()
    for _ in range(3):
        one.publish()
    one.medium.fail_next(Fault.EIO)
    one.answer(0)
    one.answer(1)
    one.answer(0)
    assert one.synced == []
    assert len(one.failures) == 1
    one.publish()
    assert one.medium.begun() == 0


def test_an_empty_batch_is_durable_when_those_before_it_are() -> None:
    one = OneQueue()
    one.publish()
    batch = int(one.store.batch)
    one.store.request_commit()
    one.store.commit()
    one.owner.run()
    assert one.store.batch == batch + 1
    assert one.synced == []
    one.answer(0)
    assert one.synced == [batch]


def test_a_segment_begins_when_all_commits_before_it_are_durable() -> None:
    one = OneQueue(log_segment_bytes=1000)
    logs = len(one.medium.list())
    while len(one.medium.list()) == logs:
        one.publish()
        if one.medium.begun() == IN_FLIGHT:
            for _ in range(IN_FLIGHT):
                one.answer(one.medium.begun() - 1)
    assert one.medium.begun() == 0
    assert one.found() == one.next


def test_closing_makes_everything_durable() -> None:
    one = OneQueue()
    for _ in range(IN_FLIGHT + 2):
        one.publish()
    one.store.close()
    one.owner.run()
    assert one.found() == one.next


def test_a_commit_alone_is_begun_without_the_writing_thread() -> None:
    one = OneQueue(begins_at_once=True)
    one.store.add_message([one.queue], [one.next], stored(1)[0])
    one.store.commit()
    assert one.medium.begun() == 1
    assert not one.owner.writing.jobs


def test_a_commit_behind_another_one_or_behind_a_job_is_left_to_the_writing_thread() -> None:
    one = OneQueue(begins_at_once=True)
    one.owner.writing.submit(lambda: None, lambda _result: None)
    one.store.add_message([one.queue], [1], stored(1)[0])
    one.store.commit()
    assert one.medium.begun() == 0
    assert len(one.owner.writing.jobs) == 2
    one.owner.run()
    one.store.add_message([one.queue], [2], stored(1)[0])
    one.store.commit()
    assert one.medium.begun() == 1
    assert len(one.owner.writing.jobs) == 1


def test_a_commit_that_the_medium_does_not_begin_at_once_is_written_once() -> None:
    one = OneQueue(begins_at_once=False)
    one.publish()
    assert one.medium.begun() == 1
    one.answer(0)
    assert one.found() == 2
    assert one.failures == []


def test_no_commit_begins_after_one_that_failed() -> None:
    one = OneQueue(begins_at_once=True)
    one.medium.fail_next(Fault.EIO)
    one.store.add_message([one.queue], [1], stored(1)[0])
    one.store.commit()
    one.owner.run()
    assert one.medium.begun() == 0
    assert len(one.failures) == 1
    assert one.synced == []


def test_large_messages_are_written_though_other_batches_are_always_under_way() -> None:
    one = OneQueue(large_bytes_at_once=10**6)
    one.publish()
    tickets = []
    for _ in range(6):
        tickets.append(one.wait())
        one.publish()
        one.answer(0)
        assert one.medium.begun() > 0
    assert not any(one.store.large.awaits(ticket) for ticket in tickets[:2])


def test_large_messages_wait_while_a_batch_with_some_is_under_way() -> None:
    one = OneQueue(large_bytes_at_once=10**6)
    one.wait()
    one.publish()
    one.wait()
    one.publish()
    assert one.store.large.any_waits()
    one.answer(0)
    assert not one.store.large.any_waits()


def test_commits_that_overlap_are_left_to_the_writing_thread_until_they_do_not() -> None:
    one = OneQueue(begins_at_once=True)
    one.publish()
    one.publish()
    one.answer(0)
    one.answer(0)

    def begins_at_once() -> bool:
        one.store.add_message([one.queue], [one.next], stored(1)[0])
        one.next += 1
        one.store.commit()
        jobs = len(one.owner.writing.jobs)
        one.owner.run()
        one.answer(0)
        return not jobs

    assert [begins_at_once() for _ in range(3)] == [False, True, True]

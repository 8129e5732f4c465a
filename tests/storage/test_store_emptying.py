"""How long the commit log gets, and that nothing is lost when segments of it are deleted."""

from librt.strings import BytesWriter

from leveret_storage.format import entries
from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.log_scan import EVERYTHING, STEP_BYTES, scan_batch
from leveret_storage.recovery.recover import recover
from leveret_storage.recovery.recovered_queue import LoggedMessages
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import QUEUE_SEGMENT_BYTES, QueueJournal, read_messages
from leveret_storage.segments.segment_writer import log_number
from leveret_storage.store.commit_log import CHECKS_AT_ONCE
from leveret_storage.store.limits import (
    LOG_SEGMENT_BYTES,
    LOG_SEGMENTS_MAX,
    SEGMENTS_SYNCED_AT_ONCE,
    THROTTLED_SEGMENTS,
    UNWRITTEN_SEGMENTS_MAX,
)
from leveret_storage.store.log_emptier import STEP_RUNS, STEP_UNITS
from tests.storage.faulty import FaultyMedium
from tests.storage.store_owner import Owner, after_power_loss, stored

BODY_BYTES = LOG_SEGMENT_BYTES // 2
MESSAGES = 2 * (LOG_SEGMENTS_MAX + 2)


class TwoQueues:
    """A store of two durable queues, which are consumed from when a test says so."""

    def __init__(self) -> None:
        self.owner = Owner(
            FaultyMedium(1),
            log_segment_bytes=LOG_SEGMENT_BYTES,
            queue_segment_bytes=QUEUE_SEGMENT_BYTES,
        )
        self.medium, self.store = self.owner.medium, self.owner.store
        self.old = self.store.add_queue(True)
        self.busy = self.store.add_queue(True)
        self.next = {self.old: 0, self.busy: 0}

    def publish(self, queue: QueueJournal, body: bytes) -> None:
        """Persist a message, in the log alone."""
        self.store.add_message(
            [queue], [self.next[queue]], StoredMessage(b"route", b"header", body, True)
        )
        self.next[queue] += 1
        self.store.commit()
        self.owner.run()

    def log_segments(self) -> int:
        """How many there are."""
        return sum(log_number(name) is not None for name in self.medium.list())


def _bodies(two: TwoQueues, queue: QueueJournal) -> list[bytes]:
    medium = two.medium.kill()
    found = recover(medium).queues.get(queue.number)
    bodies: list[bytes] = []
    for item in found.contents if found is not None else ():
        if isinstance(item, LoggedMessages):
            bodies += [message.body for message in item.messages]
            continue
        messages, _ = read_messages(medium, item, [item])
        for first, end in item.live:
            bodies += [m.body for m in messages[first - item.first : end - item.first]]
    return bodies


def test_messages_without_a_consumer_do_not_keep_the_log_and_are_found_in_order() -> None:
    two = TwoQueues()
    small = [b"first", b"second", b"third"]
    for body in small:
        two.publish(two.old, body)
    for _ in range(MESSAGES):
        two.publish(two.busy, bytes(BODY_BYTES))
        two.busy.settle(two.next[two.busy] - 1)
    assert two.log_segments() <= LOG_SEGMENTS_MAX + 1
    assert _bodies(two, two.old) == small


def test_a_message_settled_before_its_log_segment_was_emptied_does_not_come_back() -> None:
    two = TwoQueues()
    for body in (b"first", b"second", b"third"):
        two.publish(two.old, body)
    two.old.settle(1)
    for _ in range(MESSAGES):
        two.publish(two.busy, bytes(BODY_BYTES))
        two.busy.settle(two.next[two.busy] - 1)
    assert _bodies(two, two.old) == [b"first", b"third"]


def test_the_log_goes_when_all_of_it_is_settled() -> None:
    two = TwoQueues()
    for _ in range(MESSAGES):
        two.publish(two.busy, bytes(BODY_BYTES))
    for position in range(MESSAGES):
        two.busy.settle(position)
    two.owner.commit()
    assert two.log_segments() == 1
    assert _bodies(two, two.busy) == []


def test_a_log_segment_of_many_queues_is_checked_in_parts() -> None:
    """One call must not be long; what is not checked yet is checked by the following ones."""
    owner = Owner(FaultyMedium(1), log_segment_bytes=10**6)
    queues = [owner.store.add_queue(True) for _ in range(2 * CHECKS_AT_ONCE + 1)]
    for queue in queues:
        owner.publish(queue, 0, 1, b"x" * 500)
    owner.commit()
    (oldest, _) = owner.log_blobs()
    for queue in queues:
        queue.settle(0)
    owner.store.commit(force=True)
    assert oldest in owner.log_blobs()
    for _ in range(4):
        owner.store.define(b"")
        owner.commit()
    assert oldest not in owner.log_blobs()


def test_a_log_segment_of_many_queues_is_emptied_in_steps() -> None:
    """One turn of the event loop must not be long, neither to look at the queues nor to copy."""
    owner = Owner(FaultyMedium(1), log_segment_bytes=10**6, log_segments_max=1)
    queues = [owner.store.add_queue(True) for _ in range(2 * STEP_UNITS + 1)]
    for queue in queues:
        owner.publish(queue, 0, 1)
    owner.commit()
    (oldest,) = owner.log_blobs()
    busy = owner.store.add_queue(True)
    for position in (0, 1):
        owner.publish(busy, position, 1, b"x" * 10**6)
        owner.store.commit(force=True)
        owner.writing.run()
    turns = 0
    waiting = len(owner.writing.jobs)
    while owner.step():
        # At most a commit, and a sync of the segment that is full, beside the runs.
        assert len(owner.writing.jobs) <= waiting + STEP_RUNS + 3
        turns += 1
        if turns % 20 == 0 and turns < 2000:
            # What comes meanwhile goes on, too.
            owner.publish(busy, turns // 20 + 1, 1)
            owner.store.commit(force=True)
        waiting = len(owner.writing.jobs)
    for _ in range(4):
        owner.store.define(b"")
        owner.commit()
    assert oldest not in owner.log_blobs()
    assert turns > len(queues) // STEP_RUNS + len(queues) // STEP_UNITS
    found = after_power_loss(owner.medium).queues
    assert all(found[queue.number].contents for queue in queues)


class CountingMedium(FaultyMedium):
    """Counts the syncs of queue segments."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.synced_segments = 0

    def sync(self, name: str) -> None:
        self.synced_segments += name.startswith("queue-")
        super().sync(name)


def test_the_files_of_many_queues_are_synced_a_few_at_a_time() -> None:
    """Before a log segment is deleted. Each sync may take milliseconds, in which no commit is
    written."""
    medium = CountingMedium(1)
    owner = Owner(medium, log_segment_bytes=10**6, log_segments_max=1)
    queues = [owner.store.add_queue(True) for _ in range(50)]
    for queue in queues:
        owner.publish(queue, 0, 1)
    owner.commit()
    (oldest,) = owner.log_blobs()
    busy = owner.store.add_queue(True)
    for position in range(6):
        owner.publish(busy, position, 1, b"x" * 10**6)
        owner.store.commit(force=True)
        before = medium.synced_segments
        while owner.step():
            assert medium.synced_segments - before <= SEGMENTS_SYNCED_AT_ONCE
            before = medium.synced_segments
    assert oldest not in owner.log_blobs()
    assert medium.synced_segments >= len(queues)
    found = after_power_loss(medium).queues
    assert all(found[queue.number].contents for queue in queues)


class ReadCountingMedium(FaultyMedium):
    """Counts the bytes that are read of log segments."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.read_bytes = 0

    def read(self, name: str, offset: int, size: int) -> bytes:
        found = super().read(name, offset, size)
        if log_number(name) is not None:
            self.read_bytes += len(found)
        return found


def test_a_long_log_segment_is_read_in_steps() -> None:
    """Who reads has the interpreter lock, which the event loop waits for."""
    medium = ReadCountingMedium(1)
    owner = Owner(medium, log_segment_bytes=10 * STEP_BYTES, log_segments_max=1)
    old, busy = owner.store.add_queue(True), owner.store.add_queue(True)
    owner.publish(old, 0, 1)
    owner.commit()
    (oldest,) = owner.log_blobs()
    steps = 0
    for position in range(20):
        owner.publish(busy, position, 1, b"x" * STEP_BYTES)
        owner.store.commit(force=True)
        before = medium.read_bytes
        while owner.step():
            assert medium.read_bytes - before <= 3 * STEP_BYTES
            steps += medium.read_bytes > before
            before = medium.read_bytes
        busy.settle(position)
    owner.commit()
    assert steps >= 9
    assert oldest not in owner.log_blobs()
    assert after_power_loss(medium).queues[old.number].contents


def test_only_the_messages_to_be_copied_are_decoded() -> None:
    """Most of a log segment is settled, or of queues that do not need it."""
    out = BytesWriter()
    for number in (5, 6):
        entries.write_message(out, [number], [0], StoredMessage(b"r", b"h", b"x", True))
    entries.write_message(out, [5, 6], [1, 1], StoredMessage(b"r", b"h", b"x", True))
    spans: dict[int, tuple[int, int]] = {}
    found = scan_batch(out.getvalue(), {6: RangeSet()}, spans, EVERYTHING)
    assert [entry.queues for entry in found] == [[(6, 0)], [(6, 1)]]
    assert spans == {5: (0, 2), 6: (0, 2)}


def test_batches_do_not_wait_for_the_deletion_of_a_log_segment() -> None:
    """It takes milliseconds, in which no commit is written."""
    owner = Owner(FaultyMedium(1), log_segment_bytes=1000)
    queue = owner.store.add_queue(True)
    deleted = 0
    blobs = owner.log_blobs()
    for position in range(6):
        owner.publish(queue, position, 1, b"x" * 1000)
        queue.settle(position)
        owner.store.commit(force=True)
        while owner.step():
            before, blobs = set(blobs), owner.log_blobs()
            if before.difference(blobs):
                deleted += 1
                assert owner.reading.results
    assert deleted


def test_what_makes_room_in_memory_waits_while_many_files_are_begun() -> None:
    owner = Owner(FaultyMedium(1))
    owner.run()
    for _ in range(UNWRITTEN_SEGMENTS_MAX):
        assert owner.store.may_release()
        owner.store.write_run(owner.store.add_queue(False), 0, stored(1))
    assert not owner.store.may_release()
    owner.writing.step()
    assert owner.store.may_release()
    owner.run()
    queue = owner.store.add_queue(False)
    for position in range(2 * UNWRITTEN_SEGMENTS_MAX):
        owner.store.write_run(queue, position, stored(1))
        assert owner.store.may_release()


def test_publishers_are_throttled_while_very_many_files_are_begun() -> None:
    owner = Owner(FaultyMedium(1))
    owner.run()
    for _ in range(THROTTLED_SEGMENTS):
        owner.store.write_run(owner.store.add_queue(False), 0, stored(1))
        assert not owner.store.needs_backpressure()
    owner.store.write_run(owner.store.add_queue(False), 0, stored(1))
    assert owner.store.needs_backpressure()
    owner.writing.step()
    assert not owner.store.needs_backpressure()

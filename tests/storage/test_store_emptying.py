"""How much of the commit log is kept, and that nothing is lost when segments of it go."""

from leveret_storage.errors import StorageError
from leveret_storage.format.entries import Stored, read_run
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.recovery.recover import recover
from leveret_storage.recovery.recovered_queue import LoggedMessages
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.segments.segment_writer import log_number, read_record
from leveret_storage.store.limits import LOG_SEGMENT_BYTES, LOG_SEGMENTS_MAX
from leveret_storage.store.store import Store
from tests.storage.faulty import FaultyMedium

BODY_BYTES = LOG_SEGMENT_BYTES // 2
MESSAGES = 2 * (LOG_SEGMENTS_MAX + 2)


def _failed(error: StorageError) -> None:
    raise error


class Owner:
    """A store of two durable queues, which are never consumed from but when a test says so."""

    def __init__(self) -> None:
        self.medium = FaultyMedium(1)
        self.medium.write_head(0, 1, b"")
        self.store = Store(
            self.medium,
            InlineExecutor(),
            InlineExecutor(),
            snapshot=list,
            synced=lambda: None,
            failed=_failed,
        )
        self.store.start(recover(self.medium))
        self.old = self.store.add_queue(True)
        self.busy = self.store.add_queue(True)
        self.next = {self.old: 0, self.busy: 0}

    def publish(self, queue: QueueJournal, body: bytes) -> None:
        """Keep a message, in memory and in the log alone."""
        self.store.add_message([queue], [self.next[queue]], Stored(b"route", b"header", body, True))
        self.next[queue] += 1
        self.store.commit()

    def log_segments(self) -> int:
        """How many there are."""
        return sum(log_number(name) is not None for name in self.medium.list())


def _bodies(owner: Owner, queue: QueueJournal) -> list[bytes]:
    medium = owner.medium.kill()
    found = recover(medium).queues.get(queue.number)
    bodies: list[bytes] = []
    for item in found.contents if found is not None else ():
        if isinstance(item, LoggedMessages):
            bodies += [message.body for message in item.messages]
            continue
        payload = read_record(medium, item.segment.name, int(item.offset), int(item.size))
        messages = read_run(payload)
        for first, end in item.live:
            bodies += [m.body for m in messages[first - item.first : end - item.first]]
    return bodies


def test_messages_nobody_consumes_do_not_keep_the_log_and_are_found_in_order() -> None:
    owner = Owner()
    small = [b"first", b"second", b"third"]
    for body in small:
        owner.publish(owner.old, body)
    for _ in range(MESSAGES):
        owner.publish(owner.busy, bytes(BODY_BYTES))
        owner.busy.settle(owner.next[owner.busy] - 1)
    assert owner.log_segments() <= LOG_SEGMENTS_MAX + 1
    assert _bodies(owner, owner.old) == small


def test_a_message_settled_before_its_log_segment_was_emptied_does_not_come_back() -> None:
    owner = Owner()
    for body in (b"first", b"second", b"third"):
        owner.publish(owner.old, body)
    owner.old.settle(1)
    for _ in range(MESSAGES):
        owner.publish(owner.busy, bytes(BODY_BYTES))
        owner.busy.settle(owner.next[owner.busy] - 1)
    assert _bodies(owner, owner.old) == [b"first", b"third"]


def test_the_log_goes_when_all_of_it_is_settled() -> None:
    owner = Owner()
    for _ in range(MESSAGES):
        owner.publish(owner.busy, bytes(BODY_BYTES))
    for position in range(MESSAGES):
        owner.busy.settle(position)
    owner.store.commit(force=True)
    assert owner.log_segments() == 1
    assert _bodies(owner, owner.busy) == []

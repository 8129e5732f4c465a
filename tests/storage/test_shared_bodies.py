"""A large body that several queues hold is written once, and kept as long as one of them has it."""

from collections.abc import Iterator
from copy import deepcopy

import pytest

from leveret_storage.errors import Damaged
from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.inspection import inspect
from leveret_storage.recovery.recover import recover
from leveret_storage.recovery.salvage import salvage
from leveret_storage.segments.body_segment import SHARED_BODY_BYTES
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.segments.segment_writer import bodies_number
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.storage.store_model import read_out
from tests.storage.store_owner import Owner, stored

QUEUES = 10
COUNT = 8
BODY_BYTES = SHARED_BODY_BYTES


def body(number: int) -> bytes:
    return b"%04d" % number * (BODY_BYTES // 4)


class FanOut:
    """A store with queues that hold the same messages, in runs."""

    def __init__(self, *, durable: bool = True, body_segment_bytes: int = 10**6) -> None:
        self.medium = FaultyMedium(1)
        self.owner = Owner(self.medium, body_segment_bytes=body_segment_bytes)
        self.queues = [self.owner.store.add_queue(durable) for _ in range(QUEUES)]
        self.runs: dict[QueueJournal, list[Run]] = {queue: [] for queue in self.queues}
        self.next = 0

    def publish(self, count: int = COUNT) -> None:
        """Publish to all queues, and write what was published to a run of each."""
        store = self.owner.store
        messages = [StoredMessage(b"r", b"h", body(self.next + at), True) for at in range(count)]
        for position, message in enumerate(messages, self.next):
            message.share()
            if self.queues[0].durable:
                store.add_message(self.queues, [position] * QUEUES, message)
        for queue in self.queues:
            self.runs[queue].append(store.write_run(queue, self.next, messages[:]))
        self.next += count
        self.owner.commit()

    def settle(self, queue: QueueJournal, first: int, end: int) -> None:
        queue.settle_range(first, end)
        self.owner.commit()
        self.owner.commit()

    def blobs(self, prefix: str) -> list[str]:
        return sorted(name for name in self.medium.list() if name.startswith(prefix))

    def bytes_of(self, prefix: str) -> int:
        return sum(self.medium.size(name) for name in self.blobs(prefix))

    def crashes(self) -> Iterator[FaultyMedium]:
        """What is found after power loss, which loses something else each time."""
        for _ in range(20):
            yield deepcopy(self.medium).crash()
            self.medium.lose_differently()

    def read(self, run: Run) -> list[bytes]:
        found: list[bytes] = []
        self.owner.store.read_run(run, lambda got: found.extend(each.body for each in got))
        self.owner.run()
        assert self.owner.failures == []
        return found


@pytest.mark.parametrize("durable", [True, False])
def test_a_body_is_written_once_however_many_queues_hold_it(durable: bool) -> None:
    fan_out = FanOut(durable=durable)
    for _ in range(5):
        fan_out.publish()
    published = fan_out.next * BODY_BYTES
    assert fan_out.bytes_of("bodies-") < published * 1.05
    assert fan_out.bytes_of("queue-") < published / 2
    for queue in fan_out.queues:
        read = [each for run in fan_out.runs[queue] for each in fan_out.read(run)]
        assert read == [body(number) for number in range(fan_out.next)]


def test_a_body_segment_is_deleted_when_the_last_queue_has_settled_what_is_in_it() -> None:
    fan_out = FanOut()
    fan_out.publish()
    for queue in fan_out.queues[1:]:
        fan_out.settle(queue, 0, COUNT)
    fan_out.settle(fan_out.queues[0], 0, COUNT - 1)
    assert len(fan_out.blobs("bodies-")) == 1
    fan_out.settle(fan_out.queues[0], COUNT - 1, COUNT)
    assert fan_out.blobs("bodies-") == []
    fan_out.publish()
    assert fan_out.read(fan_out.runs[fan_out.queues[3]][1]) == [
        body(COUNT + at) for at in range(COUNT)
    ]


def test_few_live_bodies_do_not_keep_a_body_segment() -> None:
    """Two slow queues hold one message of eight, of each body segment."""
    fan_out = FanOut(body_segment_bytes=COUNT * BODY_BYTES)
    for _ in range(10):
        fan_out.publish()
    slow = fan_out.queues[:2]
    for queue in fan_out.queues:
        for first in range(0, fan_out.next, COUNT):
            queue.settle_range(first + (queue in slow), first + COUNT)
    fan_out.settle(fan_out.queues[0], 0, 0)
    assert fan_out.bytes_of("bodies-") > 9 * COUNT * BODY_BYTES

    for _ in range(50):
        fan_out.owner.store.compact()
        fan_out.owner.commit()
    assert fan_out.owner.failures == []
    assert fan_out.bytes_of("bodies-") < 3 * COUNT * BODY_BYTES
    expected = [body(number) for number in range(0, fan_out.next, COUNT)]
    for medium in (fan_out.medium.kill(), fan_out.medium.crash()):
        found = read_out(medium, recover(medium)).messages
        for queue in slow:
            assert [each[0] for each in found[queue.number].values()] == expected


def test_a_deleted_queue_needs_no_bodies() -> None:
    fan_out = FanOut()
    fan_out.publish()
    for queue in fan_out.queues:
        fan_out.owner.store.delete_queue(queue)
    fan_out.owner.commit()
    fan_out.owner.commit()
    assert fan_out.blobs("bodies-") == []


def test_a_start_keeps_the_bodies_that_are_referred_to_and_deletes_the_others() -> None:
    fan_out = FanOut()
    fan_out.publish()
    for queue in fan_out.queues[1:]:
        fan_out.settle(queue, 0, COUNT)
    fan_out.owner.store.close()
    fan_out.owner.run()

    again = Owner(fan_out.medium.crash())
    again.run()
    number = fan_out.queues[0].number
    found = read_out(again.medium, again.recovery).messages[number]
    assert [each[0] for each in found.values()] == [body(at) for at in range(COUNT)]
    again.store.queues[number].settle_range(0, COUNT)
    again.commit()
    again.store.close()
    again.run()
    assert not [name for name in again.medium.list() if name.startswith("bodies-")]


def test_a_start_does_not_use_the_number_of_a_segment_again_that_a_run_names() -> None:
    """It was deleted, as all messages of the run are settled that refer to it."""
    fan = FanOut()
    fan.publish()
    (deleted,) = fan.blobs("bodies-")
    queue_with_rest = fan.queues[0]
    fan.owner.publish(queue_with_rest, fan.next, 10, b"small")
    fan.owner.store.write_run(queue_with_rest, fan.next, stored(10, b"small"))
    fan.owner.commit()
    for queue in fan.queues:
        fan.settle(queue, 0, COUNT)
    fan.owner.commit()
    assert not fan.blobs("bodies-")
    number = bodies_number(deleted)
    assert number is not None
    assert fan.blobs("queue-")
    assert all(int(name[-12:]) < number for name in fan.medium.list())
    assert recover(fan.medium.kill()).next_blob > number


def test_bodies_of_a_run_that_no_mark_proves_may_be_lost_and_the_log_has_them() -> None:
    fan_out = FanOut()
    fan_out.publish()
    for medium in fan_out.crashes():
        found = read_out(medium, recover(medium)).messages
        for queue in fan_out.queues:
            assert [each[0] for each in found[queue.number].values()] == [
                body(at) for at in range(COUNT)
            ]


def without_log() -> FanOut:
    """A store whose messages are in runs alone."""
    fan_out = FanOut()
    fan_out.publish()
    first = fan_out.blobs("log-")[0]
    while first in fan_out.blobs("log-"):
        fan_out.owner.store.define(bytes(600_000))
        fan_out.owner.commit()
    return fan_out


def test_bodies_are_durable_before_the_log_that_has_them_is_deleted() -> None:
    fan_out = without_log()
    for medium in fan_out.crashes():
        found = read_out(medium, recover(medium)).messages
        assert [len(found[queue.number]) for queue in fan_out.queues] == [COUNT] * QUEUES


def closed() -> FanOut:
    """The same, after its end."""
    fan_out = without_log()
    fan_out.owner.store.close()
    fan_out.owner.run()
    fan_out.medium = fan_out.medium.kill()
    return fan_out


def test_a_missing_body_segment_is_damage_and_a_salvage_drops_what_was_in_it() -> None:
    fan_out = closed()
    medium = fan_out.medium
    assert inspect(medium).damages == []
    [blob] = fan_out.blobs("bodies-")
    take(medium)
    medium.delete(blob)
    with pytest.raises(Damaged, match=r"queue-.*: the bodies of 8 messages from position 0"):
        recover(medium)
    lost = salvage(medium, lambda found: [each.data for each in found]).lost
    assert len(lost) == QUEUES
    assert all(not queue.contents for queue in recover(medium).queues.values())


def test_a_salvage_keeps_every_body_that_can_be_read() -> None:
    fan_out = closed()
    medium = fan_out.medium
    [blob] = fan_out.blobs("bodies-")
    medium.flip(blob, medium.size(blob) // 2, 3)
    assert len(inspect(medium).damages) == 1
    take(medium)
    salvage(medium, lambda found: [each.data for each in found])
    assert inspect(medium).damages == []
    found = read_out(medium, recover(medium)).messages
    for queue in fan_out.queues:
        bodies = [each[0] for each in found[queue.number].values()]
        assert len(bodies) == COUNT - 1
        assert bodies == sorted(bodies)

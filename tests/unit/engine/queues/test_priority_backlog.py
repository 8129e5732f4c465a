"""Queues with priorities, against plain lists, with a clock that the test advances."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from leveret.engine.queues.message_memory import CHUNK_MESSAGES, CHUNKS_AHEAD, CHUNKS_IN_MEMORY
from leveret.engine.queues.priority_backlog import MEMORY_DIVISOR, PriorityBacklog
from leveret.engine.routing.sink import REFUSED
from leveret.engine.values.message import Message
from tests.support.examples import examples
from tests.unit.engine.queues.consumers import Recorder
from tests.unit.engine.queues.queue_in_vhost import QueueInVhost
from tests.unit.engine.queues.test_fifo_backlog import Disk, Traced, ignore, popped

MAX_PRIORITY = 3
LEVEL_CHUNK = CHUNK_MESSAGES // MEMORY_DIVISOR
DEEP = (CHUNKS_IN_MEMORY + 4) * LEVEL_CHUNK

priorities = st.sampled_from([None, 0, 1, 2, 3, 4, 255])


def message(
    body: bytes, priority: int | None = None, arrived: int = 0, expires_at: int = 0
) -> Message:
    """A message with a priority; None is without the property."""
    size = len(body).to_bytes(8, "big")
    properties = b"\0\0" if priority is None else b"\x08\0" + bytes([priority])
    header = b"\0\x3c\0\0" + size + properties
    return Message(b"\x00\x01q", header, body, False, arrived, expires_at)


class PriorityQueue(QueueInVhost):
    """A queue with priorities."""

    def __init__(self, **values: int | str) -> None:
        super().__init__(**{"max_priority": MAX_PRIORITY, **values})

    def publish_body(self, body: bytes, priority: int | None = None, ttl: int | None = None) -> int:
        """Publish a message that arrives now, with a time to live of its own or without.

        :returns: the outcome.
        """
        expires_at = 0 if ttl is None else self.now + ttl
        return self.publish(message(body, priority, self.now, expires_at))


@dataclass(order=True)
class Entry:
    """A message as the model sees it; they sort as they are delivered."""

    place: tuple[int, int]
    """Priority, the highest first, and number of arrival."""
    due: int | None = field(compare=False)
    back: bool = field(default=False, compare=False)


class PriorityModel(RuleBasedStateMachine):
    """The model is one sorted list; what has expired leaves it at the head of each priority."""

    @initialize(ttl=st.sampled_from([None, 50]), most=st.sampled_from([None, 4]))
    def begin(self, ttl: int | None, most: int | None) -> None:
        arguments = {} if ttl is None else {"message_ttl": ttl}
        if most is not None:
            arguments["max_length"] = most
        self.ttl, self.most = ttl, most
        self.case = PriorityQueue(**arguments)
        self.ready: list[Entry] = []
        self.taken: list[tuple[Message, int, Entry]] = []
        self.died: list[bytes] = []
        self.published = 0

    @rule(priority=priorities, ttl=st.sampled_from([None, None, 0, 10, 100]))
    def publish(self, priority: int | None, ttl: int | None) -> None:
        number = self.published
        self.published += 1
        self.case.publish_body(b"%d" % number, priority, ttl)
        ttls = [each for each in (self.ttl, ttl) if each is not None]
        due = self.case.now + min(ttls) if ttls else None
        self.ready.append(Entry((-min(priority or 0, MAX_PRIORITY), number), due))
        self.enforce_limits()

    @rule()
    def take(self) -> None:
        taken = self.case.queue.take()
        if not self.ready:
            assert taken is None
            return
        assert taken is not None
        entry = self.ready.pop(0)
        assert taken[0].body == b"%d" % entry.place[1]
        assert taken[2] == entry.back
        self.taken.append((taken[0], taken[1], entry))
        self.enforce_limits()

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), back=st.booleans())
    def settle(self, data: st.DataObject, back: bool) -> None:
        taken, position, entry = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        if back:
            self.case.queue.requeue(taken, position)
            self.case.queue.deliver_ready()
            entry.back = True
            self.ready.append(entry)
            self.enforce_limits()
        else:
            self.case.queue.settle(position)

    @rule(milliseconds=st.sampled_from([1, 10, 49, 50, 100]))
    def time_passes(self, milliseconds: int) -> None:
        self.case.advance(milliseconds)
        self.enforce_limits()

    @rule()
    def purge(self) -> None:
        assert self.case.queue.purge().count == len(self.ready)
        self.ready.clear()

    def enforce_limits(self) -> None:
        """What has expired at the head of its priority dies, then what is too much."""
        self.ready.sort()
        for entry in list(self.ready):
            level = [each for each in self.ready if each.place[0] == entry.place[0]]
            expired = entry.due is not None and entry.due <= self.case.now
            if level[0] is entry and expired:
                self.ready.remove(entry)
        while self.most is not None and len(self.ready) > self.most:
            self.ready.pop(0)
            self.enforce_limits()

    @invariant()
    def counts_agree(self) -> None:
        if self.published:
            assert self.case.queue.message_count() == len(self.ready)

    def teardown(self) -> None:
        while self.ready:
            self.take()
        self.take()


TestPriorityModel = PriorityModel.TestCase
TestPriorityModel.settings = settings(
    max_examples=examples(200), stateful_step_count=40, deadline=None
)


def test_positions_are_in_the_order_of_delivery() -> None:
    case = PriorityQueue()
    for number, priority in enumerate([0, 3, None, 3, 1, 2]):
        case.publish_body(b"%d" % number, priority)
    positions = []
    while (taken := case.queue.take()) is not None:
        positions.append(taken[1])
    assert positions == sorted(positions)
    assert len(set(positions)) == 6


def test_a_ready_consumer_gets_a_message_of_any_priority_at_once() -> None:
    case = PriorityQueue()
    consumer = Recorder(case.queue)
    case.queue.add_consumer(consumer.consumer)
    for number, priority in enumerate([0, 3, 1]):
        case.publish_body(b"%d" % number, priority)
    assert consumer.bodies == [b"0", b"1", b"2"]
    assert case.queue.message_count() == 0


def test_a_message_of_low_priority_expires_before_higher_ones_are_delivered() -> None:
    case = PriorityQueue()
    case.publish_body(b"high", 3)
    case.publish_body(b"low", 0, ttl=100)
    case.publish_body(b"middle", 1, ttl=50)
    case.advance(50)
    assert case.take_dead_letters() == [b"middle"]
    case.advance(49)
    assert case.take_dead_letters() == []
    case.advance(1)
    assert case.take_dead_letters() == [b"low"]
    assert case.take_all() == [b"high"]


def test_a_requeued_message_of_low_priority_expires() -> None:
    case = PriorityQueue()
    case.publish_body(b"low", 0, ttl=100)
    taken = case.queue.take()
    assert taken is not None
    case.publish_body(b"high", 3)
    case.queue.requeue(taken[0], taken[1])
    case.queue.deliver_ready()
    case.advance(100)
    assert case.take_dead_letters() == [b"low"]
    assert case.take_all() == [b"high"]


def test_a_message_that_a_get_leaves_at_the_head_of_its_priority_expires_in_time() -> None:
    case = PriorityQueue()
    case.publish_body(b"1")
    case.publish_body(b"2", ttl=100)
    assert case.queue.take() is not None
    case.advance(100)
    assert case.take_dead_letters() == [b"2"]


def test_a_message_that_a_move_leaves_at_the_head_of_its_priority_expires_in_time() -> None:
    case = PriorityQueue()
    case.publish_body(b"1")
    position = case.queue.backlog.head_position()
    case.publish_body(b"2", ttl=100)
    assert case.queue.backlog.extract(position, 1)
    case.queue.settle(position)
    case.queue.deliver_ready()
    case.advance(100)
    assert case.take_dead_letters() == [b"2"]


def test_a_full_queue_drops_the_highest_priority_as_a_dead_letter() -> None:
    case = PriorityQueue(max_length=2)
    for body, priority in ((b"1", 1), (b"2", 2), (b"3", 2), (b"4", 0)):
        case.publish_body(body, priority)
    assert case.take_dead_letters() == [b"2", b"3"]
    assert case.take_all() == [b"1", b"4"]


def test_a_queue_over_its_length_in_bytes_drops_until_it_is_not() -> None:
    case = PriorityQueue(max_length_bytes=10)
    for body, priority in ((b"1111", 1), (b"2222", 2), (b"333", 1)):
        case.publish_body(body, priority)
    assert case.take_dead_letters() == [b"2222"]
    assert case.take_all() == [b"1111", b"333"]


def test_a_full_queue_that_rejects_refuses_every_priority() -> None:
    case = PriorityQueue(max_length=1, overflow="reject-publish")
    case.publish_body(b"1", 0)
    assert case.publish_body(b"2", 3) == REFUSED
    assert case.take_all() == [b"1"]


@pytest.mark.parametrize("maximum", [0, 1, 255])
def test_priorities_above_the_maximum_count_as_the_maximum(maximum: int) -> None:
    case = PriorityQueue(max_priority=maximum)
    for priority in (0, 1, 254, 255):
        case.publish_body(b"%d" % priority, priority)
    ranked = sorted((0, 1, 254, 255), key=lambda each: -min(each, maximum))
    assert case.take_all() == [b"%d" % each for each in ranked]


def test_a_deep_queue_is_read_from_disk_by_priority() -> None:
    disk, backlog = Disk(), PriorityBacklog(ignore, None, MAX_PRIORITY)
    backlog.attach_store(disk.store, None)
    for number in range(DEEP * (MAX_PRIORITY + 1)):
        backlog.append(message(b"%d" % number, number % (MAX_PRIORITY + 1)))
    expected = [
        b"%d" % number
        for priority in range(MAX_PRIORITY, -1, -1)
        for number in range(priority, DEEP * (MAX_PRIORITY + 1), MAX_PRIORITY + 1)
    ]
    assert backlog.count == len(expected)
    assert [popped(backlog, disk).body for _ in range(backlog.count)] == expected
    assert (backlog.count, backlog.bytes) == (0, 0)


def test_the_middle_of_each_priority_is_not_in_memory() -> None:
    disk, backlog = Disk(), PriorityBacklog(ignore, None, MAX_PRIORITY)
    backlog.attach_store(disk.store, None)
    levels = MAX_PRIORITY + 1
    bodies = [Traced(b"%d" % number) for number in range(DEEP * levels)]
    living, ended = len(bodies), Traced.ended
    for number, body in enumerate(bodies):
        backlog.append(message(body, number % levels))
    bodies.clear()
    del body
    disk.writing.run()

    in_memory = living - (Traced.ended - ended)
    assert in_memory <= (CHUNKS_IN_MEMORY + 1) * LEVEL_CHUNK * levels


def test_a_message_that_expired_on_disk_is_a_dead_letter_when_it_is_read() -> None:
    case, disk = PriorityQueue(), Disk()
    case.queue.attach_store(disk.store, None)
    case.publish_body(b"high", 3)
    for number in range(DEEP):
        case.publish_body(b"%d" % number, 1, ttl=100)
    case.advance(100)
    for _ in range(DEEP // LEVEL_CHUNK * (CHUNKS_AHEAD + 1)):
        disk.writing.run()
        disk.reading.run()
        case.advance(0)
    assert case.queue.message_count() == 1
    assert len(case.take_dead_letters()) == DEEP


def test_a_deleted_queue_leaves_nothing_in_the_store() -> None:
    case, disk = PriorityQueue(), Disk()
    case.queue.attach_store(disk.store, disk.store.add_queue(True, case.queue.priority_levels - 1))
    for priority in range(MAX_PRIORITY + 1):
        case.publish_body(b"1", priority)
    assert len(disk.store.queues) == MAX_PRIORITY + 1
    case.queue.delete()
    assert not disk.store.queues

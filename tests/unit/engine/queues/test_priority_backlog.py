"""Queues with priorities, against plain lists, by a clock that the test turns."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pamqp.common import FieldValue

from leveret.engine.queues.chunks import CHUNK_MESSAGES, CHUNKS_AHEAD, CHUNKS_IN_MEMORY
from leveret.engine.queues.priority_backlog import MEMORY_DIVISOR, PriorityBacklog
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import REFUSED
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message
from leveret.engine.vhost import VirtualHost
from tests.unit.engine.queues.consumers import Recorder
from tests.unit.engine.queues.test_fifo_backlog import Disk, Traced, nobody_waits, popped

MAX_PRIORITY = 3
START = 1_000_000
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


class World:
    """A virtual host with a queue q with priorities, and one that gets its dead letters."""

    def __init__(self, **values: int | str) -> None:
        self.vhost = VirtualHost("v")
        self.vhost.clock.advance_to(START)
        self.dead = Queue("dead", host=self.vhost)
        self.vhost.queues["dead"] = self.dead
        table: dict[str, FieldValue] = {
            "x-max-priority": MAX_PRIORITY,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
            **{f"x-{name.replace('_', '-')}": value for name, value in values.items()},
        }
        self.queue = Queue("q", arguments=Arguments(table, {}), host=self.vhost)
        self.now = START

    def publish(self, body: bytes, priority: int | None = None, ttl: int | None = None) -> int:
        """Publish a message that arrives now, with a time to live of its own or without."""
        expires_at = 0 if ttl is None else self.now + ttl
        outcome = self.queue.publish(message(body, priority, self.now, expires_at))
        self.vhost.pass_on_dead_letters()
        return int(outcome)

    def passes(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds
        self.vhost.clock.advance_to(self.now)
        self.vhost.timers.run(self.now)

    def contents(self) -> list[bytes]:
        """Take everything out."""
        return taken_from(self.queue)

    def died(self) -> list[bytes]:
        """Take every dead letter out, in the order in which they died."""
        return taken_from(self.dead)


def taken_from(queue: Queue) -> list[bytes]:
    found = []
    while (taken := queue.take()) is not None:
        found.append(taken[0].body)
    return found


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
        self.world = World(**arguments)
        self.ready: list[Entry] = []
        self.taken: list[tuple[Message, int, Entry]] = []
        self.died: list[bytes] = []
        self.published = 0

    @rule(priority=priorities, ttl=st.sampled_from([None, None, 0, 10, 100]))
    def publish(self, priority: int | None, ttl: int | None) -> None:
        number = self.published
        self.published += 1
        self.world.publish(b"%d" % number, priority, ttl)
        ttls = [each for each in (self.ttl, ttl) if each is not None]
        due = self.world.now + min(ttls) if ttls else None
        self.ready.append(Entry((-min(priority or 0, MAX_PRIORITY), number), due))
        self.tend()

    @rule()
    def take(self) -> None:
        taken = self.world.queue.take()
        if not self.ready:
            assert taken is None
            return
        assert taken is not None
        entry = self.ready.pop(0)
        assert taken[0].body == b"%d" % entry.place[1]
        assert taken[2] == entry.back
        self.taken.append((taken[0], taken[1], entry))
        self.tend()

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), back=st.booleans())
    def settle(self, data: st.DataObject, back: bool) -> None:
        taken, position, entry = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        if back:
            self.world.queue.requeue(taken, position)
            self.world.queue.deliver_ready()
            entry.back = True
            self.ready.append(entry)
            self.tend()
        else:
            self.world.queue.settle(position)

    @rule(milliseconds=st.sampled_from([1, 10, 49, 50, 100]))
    def time_passes(self, milliseconds: int) -> None:
        self.world.passes(milliseconds)
        self.tend()

    @rule()
    def purge(self) -> None:
        assert self.world.queue.purge() == len(self.ready)
        self.ready.clear()

    def tend(self) -> None:
        """What has expired at the head of its priority dies, then what is too much."""
        self.ready.sort()
        for entry in list(self.ready):
            level = [each for each in self.ready if each.place[0] == entry.place[0]]
            expired = entry.due is not None and entry.due <= self.world.now
            if level[0] is entry and expired:
                self.ready.remove(entry)
        while self.most is not None and len(self.ready) > self.most:
            self.ready.pop(0)
            self.tend()

    @invariant()
    def counts_agree(self) -> None:
        if self.published:
            assert self.world.queue.message_count() == len(self.ready)

    def teardown(self) -> None:
        while self.ready:
            self.take()
        self.take()


TestPriorityModel = PriorityModel.TestCase
TestPriorityModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_positions_are_in_the_order_in_which_messages_leave() -> None:
    world = World()
    for number, priority in enumerate([0, 3, None, 3, 1, 2]):
        world.publish(b"%d" % number, priority)
    positions = []
    while (taken := world.queue.take()) is not None:
        positions.append(taken[1])
    assert positions == sorted(positions)
    assert len(set(positions)) == 6


def test_a_ready_consumer_gets_a_message_of_any_priority_straight_away() -> None:
    world = World()
    consumer = Recorder(world.queue)
    world.queue.add_consumer(consumer.consumer)
    for number, priority in enumerate([0, 3, 1]):
        world.publish(b"%d" % number, priority)
    assert consumer.bodies == [b"0", b"1", b"2"]
    assert world.queue.message_count() == 0


def test_what_expires_in_a_low_priority_does_not_wait_for_the_higher_ones() -> None:
    world = World()
    world.publish(b"high", 3)
    world.publish(b"low", 0, ttl=100)
    world.publish(b"middle", 1, ttl=50)
    world.passes(50)
    assert world.died() == [b"middle"]
    world.passes(49)
    assert world.died() == []
    world.passes(1)
    assert world.died() == [b"low"]
    assert world.contents() == [b"high"]


def test_what_came_back_expires_in_a_low_priority_too() -> None:
    world = World()
    world.publish(b"low", 0, ttl=100)
    taken = world.queue.take()
    assert taken is not None
    world.publish(b"high", 3)
    world.queue.requeue(taken[0], taken[1])
    world.queue.deliver_ready()
    world.passes(100)
    assert world.died() == [b"low"]
    assert world.contents() == [b"high"]


def test_a_message_that_is_alone_at_the_head_of_its_priority_after_a_get_expires_in_time() -> None:
    world = World()
    world.publish(b"1")
    world.publish(b"2", ttl=100)
    assert world.queue.take() is not None
    world.passes(100)
    assert world.died() == [b"2"]


def test_a_full_queue_drops_the_highest_priority_as_a_dead_letter() -> None:
    world = World(max_length=2)
    for body, priority in ((b"1", 1), (b"2", 2), (b"3", 2), (b"4", 0)):
        world.publish(body, priority)
    assert world.died() == [b"2", b"3"]
    assert world.contents() == [b"1", b"4"]


def test_a_queue_full_of_bytes_drops_until_there_is_room() -> None:
    world = World(max_length_bytes=10)
    for body, priority in ((b"1111", 1), (b"2222", 2), (b"333", 1)):
        world.publish(body, priority)
    assert world.died() == [b"2222"]
    assert world.contents() == [b"1111", b"333"]


def test_a_full_queue_that_rejects_refuses_every_priority() -> None:
    world = World(max_length=1, overflow="reject-publish")
    world.publish(b"1", 0)
    assert world.publish(b"2", 3) == REFUSED
    assert world.contents() == [b"1"]


@pytest.mark.parametrize("maximum", [0, 1, 255])
def test_the_maximum_says_how_many_priorities_there_are(maximum: int) -> None:
    world = World(max_priority=maximum)
    for priority in (0, 1, 254, 255):
        world.publish(b"%d" % priority, priority)
    ranked = sorted((0, 1, 254, 255), key=lambda each: -min(each, maximum))
    assert world.contents() == [b"%d" % each for each in ranked]


def test_a_deep_queue_comes_back_from_disk_by_priority() -> None:
    disk, backlog = Disk(), PriorityBacklog(nobody_waits, MAX_PRIORITY)
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
    disk, backlog = Disk(), PriorityBacklog(nobody_waits, MAX_PRIORITY)
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


def test_what_has_expired_on_disk_dies_when_it_is_read() -> None:
    world, disk = World(), Disk()
    world.queue.attach_store(disk.store, None)
    world.publish(b"high", 3)
    for number in range(DEEP):
        world.publish(b"%d" % number, 1, ttl=100)
    world.passes(100)
    for _ in range(DEEP // LEVEL_CHUNK * (CHUNKS_AHEAD + 1)):
        disk.writing.run()
        disk.reading.run()
        world.passes(0)
    assert world.queue.message_count() == 1
    assert len(world.died()) == DEEP


def test_a_deleted_queue_leaves_nothing_in_the_store() -> None:
    world, disk = World(), Disk()
    world.queue.attach_store(
        disk.store, disk.store.add_queue(True, world.queue.priority_levels - 1)
    )
    for priority in range(MAX_PRIORITY + 1):
        world.publish(b"1", priority)
    assert len(disk.store.queues) == MAX_PRIORITY + 1
    world.queue.delete()
    assert not disk.store.queues

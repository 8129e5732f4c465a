"""A queue by itself: order, round-robin, suspended consumers, throttled publishers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.engine.queues.backpressure import HOLD_MS_MAX
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.queue_host import NullHost
from leveret.engine.routing.sink import ACCEPTED, THROTTLE
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timers
from leveret.engine.values.work import WorkQueue
from leveret.limits import THROTTLED_BACKLOG_MESSAGES
from tests.unit.engine.queues.consumers import Recorder, message


def filled(*bodies: bytes) -> Queue:
    queue = Queue("q")
    for body in bodies:
        queue.publish(message(body))
    return queue


def consume(queue: Queue, tag: str = "c", capacity: int = 1_000_000) -> Recorder:
    recorder = Recorder(queue, tag, capacity=capacity)
    queue.add_consumer(recorder.consumer)
    queue.deliver_ready()
    return recorder


def take(queue: Queue) -> tuple[Message, int, bool]:
    taken = queue.take()
    assert taken is not None
    return taken


def contents(queue: Queue) -> list[tuple[bytes, bool]]:
    """Take everything out: bodies, and whether each was delivered before."""
    found = []
    while (taken := queue.take()) is not None:
        found.append((taken[0].body, taken[2]))
    return found


def test_messages_are_delivered_in_the_order_of_publishing() -> None:
    queue = filled(b"1", b"2", b"3")
    assert queue.message_count() == 3
    assert contents(queue) == [(b"1", False), (b"2", False), (b"3", False)]
    assert queue.take() is None


def test_positions_ascend_for_deliveries_and_gets() -> None:
    queue = filled(b"1", b"2")
    positions = [take(queue)[1]]
    consumer = consume(queue)
    queue.publish(message(b"3"))
    positions += consumer.positions
    assert positions == sorted(set(positions))
    assert len(positions) == 3


def test_a_ready_consumer_gets_a_message_at_once() -> None:
    queue = Queue("q")
    consumer = consume(queue)
    assert queue.publish(message(b"1")) == ACCEPTED
    assert consumer.bodies == [b"1"]
    assert queue.message_count() == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=5), st.integers(0, 40))
def test_consumers_are_served_round_robin_while_they_accept_messages(
    capacities: list[int], count: int
) -> None:
    queue = Queue("q")
    consumers = [consume(queue, str(n), capacity) for n, capacity in enumerate(capacities)]
    for number in range(count):
        queue.publish(message(b"%d" % number))
    taken = [len(consumer.bodies) for consumer in consumers]
    assert sum(taken) == min(count, sum(capacities))
    assert queue.message_count() == count - sum(taken)
    for consumer, capacity in zip(consumers, capacities, strict=True):
        if len(consumer.bodies) < capacity:
            assert len(consumer.bodies) >= max(taken) - 1, (
                "no consumer that accepts messages is passed over"
            )
    numbers = sorted(int(body) for consumer in consumers for body in consumer.bodies)
    assert numbers == list(range(sum(taken)))


def test_a_full_consumer_is_suspended_until_it_is_resumed() -> None:
    queue = Queue("q")
    full = consume(queue, capacity=0)
    for number in range(5):
        queue.publish(message(b"%d" % number))
    assert full.suspended
    full.set_capacity(2)
    queue.publish(message(b"5"))
    assert full.bodies == [], "it was not resumed"
    queue.resume(full.consumer)
    assert full.bodies == [b"0", b"1"]
    assert full.suspended


def test_resuming_a_ready_consumer_changes_nothing() -> None:
    queue = Queue("q")
    consumer, other = consume(queue, "a"), consume(queue, "b")
    queue.resume(consumer.consumer)
    for number in range(4):
        queue.publish(message(b"%d" % number))
    assert (len(consumer.bodies), len(other.bodies)) == (2, 2)


def test_requeued_messages_precede_those_never_delivered() -> None:
    queue = filled(b"1", b"2", b"3", b"4")
    first, second, third = take(queue), take(queue), take(queue)
    queue.requeue(third[0], third[1])
    queue.requeue(first[0], first[1])
    queue.publish(message(b"5"))
    assert contents(queue) == [(b"1", True), (b"3", True), (b"4", False), (b"5", False)]
    queue.requeue(second[0], second[1])
    assert contents(queue) == [(b"2", True)]


def test_a_new_message_does_not_overtake_a_requeued_one() -> None:
    queue = filled(b"1")
    back = take(queue)
    queue.requeue(back[0], back[1])
    consumer = Recorder(queue)
    queue.add_consumer(consumer.consumer)
    queue.publish(message(b"2"))
    queue.deliver_ready()
    assert consumer.bodies == [b"1", b"2"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["publish", "take", "back", "purge"]), max_size=60), st.data())
def test_any_sequence_of_operations_keeps_the_order(steps: list[str], data: st.DataObject) -> None:
    queue = Queue("q")
    ready: list[int] = []
    out: dict[int, tuple[Message, int, bool]] = {}
    delivered: set[int] = set()
    published = 0
    for step in steps:
        if step == "publish":
            queue.publish(message(b"%d" % published))
            ready.append(published)
            published += 1
        elif step == "take" and ready:
            taken = take(queue)
            number = ready.pop(0)
            assert taken[0].body == b"%d" % number
            assert taken[2] == (number in delivered)
            out[number] = taken
            delivered.add(number)
        elif step == "back" and out:
            number = data.draw(st.sampled_from(sorted(out)))
            back = out.pop(number)
            queue.requeue(back[0], back[1])
            ready = sorted([*ready, number])
        elif step == "purge":
            assert queue.purge().count == len(ready)
            ready.clear()
        assert queue.message_count() == len(ready)
    assert contents(queue) == [(b"%d" % number, number in delivered) for number in ready]


def test_a_removed_consumer_gets_no_more_messages() -> None:
    queue = Queue("q")
    stays, leaves = consume(queue, "a"), consume(queue, "b")
    queue.publish(message(b"1"))
    queue.remove_consumer(leaves.consumer)
    for body in (b"2", b"3"):
        queue.publish(message(body))
    assert stays.bodies == [b"1", b"2", b"3"]
    assert queue.consumers == [stays.consumer]


def test_a_removed_consumer_is_not_suspended() -> None:
    queue = filled(b"1")
    recorder = consume(queue, capacity=0)
    queue.remove_consumer(recorder.consumer)
    assert not recorder.suspended
    recorder.set_capacity(1)
    queue.resume(recorder.consumer)
    assert recorder.bodies == []


def test_a_deleted_queue_ignores_requeues_and_cancels_its_consumers() -> None:
    queue = filled(b"1", b"2")
    back = take(queue)
    full = consume(queue, "a", capacity=0)
    ready = Recorder(queue, "b")
    queue.add_consumer(ready.consumer)
    queue.delete()
    assert (ready.cancelled, full.cancelled) == (True, True)
    queue.requeue(back[0], back[1])
    queue.deliver_ready()
    full.set_capacity(1)
    queue.resume(full.consumer)
    assert (queue.deleted, queue.message_count(), queue.consumers) == (True, 0, [])
    assert full.bodies == []


@pytest.mark.parametrize(("exclusive", "expected"), [(True, True), (False, False)])
def test_a_queue_is_exclusively_consumed_by_an_exclusive_consumer(
    exclusive: bool, expected: bool
) -> None:
    queue = Queue("q")
    assert not queue.exclusively_consumed
    queue.add_consumer(Recorder(queue, exclusive=exclusive).consumer)
    assert queue.exclusively_consumed == expected


def test_a_queue_is_exclusive_if_it_has_an_owner() -> None:
    assert Queue("q", owner=object()).exclusive
    assert not Queue("q").exclusive


class TestThrottling:
    def test_without_consumers_no_publisher_is_throttled(self) -> None:
        queue = Queue("q")
        assert all(
            queue.publish(message()) == ACCEPTED for _ in range(THROTTLED_BACKLOG_MESSAGES + 100)
        )

    def test_a_publisher_is_throttled_if_many_messages_are_ready_and_some_were_popped(self) -> None:
        queue = Queue("q")
        for _ in range(THROTTLED_BACKLOG_MESSAGES - 1):
            assert queue.publish(message()) == ACCEPTED
        take(queue)
        assert queue.publish(message()) == ACCEPTED, "still fewer than the limit"
        assert queue.publish(message()) == ACCEPTED | THROTTLE

    def test_a_publisher_of_small_messages_is_throttled_for_a_moment_after_each_pop(self) -> None:
        host = NullHost(Clock(), Timers(), TimeSlice(), WorkQueue())
        queue = Queue("q", host=host)
        for _ in range(THROTTLED_BACKLOG_MESSAGES + 10):
            queue.publish(message())
        for now in (10, 20, 30):
            host.clock.advance_to(now)
            take(queue)
            assert queue.publish(message()) == ACCEPTED | THROTTLE
            assert queue.throttles()
            host.clock.advance_to(now + 1)
            assert not queue.throttles()
            assert queue.publish(message()) == ACCEPTED

    def test_publishers_are_throttled_for_longer_the_more_bytes_were_taken(self) -> None:
        host = NullHost(Clock(), Timers(), TimeSlice(), WorkQueue())
        queue = Queue("q", host=host)
        for _ in range(30):
            queue.publish(message(bytes(128 * 1024)))
        for _ in range(4):
            take(queue)
        now = 0
        while queue.throttles():
            now += 1
            host.clock.advance_to(now)
        assert now == 1 + 4 * 2
        take(queue)
        assert queue.throttles()
        host.clock.advance_to(now + 3)
        assert not queue.throttles()

    def test_publishers_are_not_throttled_for_ever(self) -> None:
        host = NullHost(Clock(), Timers(), TimeSlice(), WorkQueue())
        queue = Queue("q", host=host)
        for _ in range(1000):
            queue.publish(message(bytes(64 * 1024)))
        for _ in range(900):
            take(queue)
        assert queue.throttles()
        host.clock.advance_to(HOLD_MS_MAX)
        assert not queue.throttles()

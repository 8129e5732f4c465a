"""Which consumer is served next: priorities, round-robin, a single active one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.engine.queues.consumer_rings import STALE_PRIORITIES_MAX, ConsumerRings
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import SINGLE_ACTIVE_CONSUMER, Arguments
from leveret.engine.values.time_slice import UNITS_PER_READING
from leveret.engine.vhost import VirtualHost
from tests.unit.engine.queues.consumers import Recorder, message


def single_active() -> Queue:
    return Queue("q", arguments=Arguments({SINGLE_ACTIVE_CONSUMER: True}, {}))


def join(queue: Queue, tag: str = "c", *, priority: int = 0, capacity: int = 1_000_000) -> Recorder:
    recorder = Recorder(queue, tag, priority=priority, capacity=capacity)
    queue.add_consumer(recorder.consumer)
    queue.deliver_ready()
    return recorder


def publish(queue: Queue, *bodies: bytes) -> None:
    for body in bodies:
        queue.publish(message(body))


class TestPriorities:
    def test_priorities_that_nobody_has_are_forgotten(self) -> None:
        rings = ConsumerRings()
        queue = Queue("q")
        rings.add(Recorder(queue, priority=1_000_000).consumer)
        for priority in range(10 * STALE_PRIORITIES_MAX):
            passing = Recorder(queue, priority=priority).consumer
            rings.add(passing)
            rings.remove(passing)
        lower = rings._lower
        assert lower is not None
        assert len(lower.priorities) <= STALE_PRIORITIES_MAX + 1

    def test_the_highest_priority_is_served_first(self) -> None:
        queue = Queue("q")
        consumers = [join(queue, str(n), priority=n) for n in (-3, 0, 7, 2)]
        publish(queue, b"1", b"2")
        assert [consumer.bodies for consumer in consumers] == [[], [], [b"1", b"2"], []]

    def test_consumers_of_equal_priority_are_served_round_robin(self) -> None:
        queue = Queue("q")
        low, one, two = (join(queue, priority=priority) for priority in (-1, 1, 1))
        publish(queue, b"1", b"2", b"3")
        assert (low.bodies, one.bodies, two.bodies) == ([], [b"1", b"3"], [b"2"])

    def test_lower_priorities_are_served_while_higher_ones_are_suspended(self) -> None:
        queue = Queue("q")
        low, high = join(queue, priority=1), join(queue, priority=2, capacity=1)
        publish(queue, b"1", b"2")
        high.set_capacity(1)
        queue.resume(high.consumer)
        publish(queue, b"3", b"4")
        assert (high.bodies, low.bodies) == ([b"1", b"3"], [b"2", b"4"])

    def test_a_resumed_consumer_is_served_last_of_its_priority(self) -> None:
        queue = Queue("q")
        low, back, equal = (
            join(queue, priority=p, capacity=r) for p, r in ((0, 9), (5, 0), (5, 9))
        )
        publish(queue, b"1")
        back.set_capacity(9)
        queue.resume(back.consumer)
        publish(queue, b"2", b"3")
        assert (equal.bodies, back.bodies, low.bodies) == ([b"1", b"2"], [b"3"], [])

    @settings(deadline=None)
    @given(st.data())
    def test_no_consumer_is_passed_over_for_a_lower_priority_or_twice_for_an_equal(
        self, data: st.DataObject
    ) -> None:
        """Against the consumers that would have accepted each message."""
        queue = Queue("q")
        capacities: dict[Recorder, int] = {}
        passed_over: set[tuple[Recorder, Recorder]] = set()
        for number in range(data.draw(st.integers(1, 40))):
            step = data.draw(st.sampled_from(["join", "leave", "capacity", "publish", "publish"]))
            if step == "join":
                priority, capacity = data.draw(st.integers(-2, 2)), data.draw(st.integers(1, 4))
                recorder = join(queue, str(number), priority=priority, capacity=capacity)
                capacities[recorder] = capacity - len(recorder.bodies)
            elif step == "leave" and capacities:
                leaving = data.draw(
                    st.sampled_from(sorted(capacities, key=lambda one: one.consumer.tag))
                )
                queue.remove_consumer(leaving.consumer)
                del capacities[leaving]
            elif step == "capacity" and capacities:
                given = data.draw(
                    st.sampled_from(sorted(capacities, key=lambda one: one.consumer.tag))
                )
                taken_before = len(given.bodies)
                given.set_capacity(capacities[given] + 2)
                queue.resume(given.consumer)
                capacities[given] += 2 - (len(given.bodies) - taken_before)
            elif step == "publish":
                before = {one: len(one.bodies) for one in capacities}
                could = [one for one, capacity in capacities.items() if capacity]
                publish(queue, b"%d" % number)
                took = [one for one in capacities if len(one.bodies) != before[one]]
                assert len(took) == min(1, len(could))
                for one in took:
                    capacities[one] -= 1
                    passed_over = {pair for pair in passed_over if pair[0] is not one}
                    best = max(other.consumer.priority for other in could)
                    assert one.consumer.priority == best
                    equals = (other for other in could if other.consumer.priority == best)
                    pairs = {(other, one) for other in equals if other is not one}
                    assert not pairs & passed_over
                    passed_over |= pairs

    @settings(deadline=None)
    @given(st.data())
    def test_consumers_are_served_in_the_order_of_a_sorted_list(self, data: st.DataObject) -> None:
        """Against a list sorted by priority, in which a served consumer moves behind its equals."""
        queue = Queue("q")
        capacities: dict[str, int] = {}
        recorders: dict[str, Recorder] = {}
        ready: list[str] = []

        def add(tag: str) -> None:
            ready.append(tag)
            ready.sort(key=lambda each: -recorders[each].consumer.priority)

        for number in range(data.draw(st.integers(1, 60))):
            step = data.draw(st.sampled_from(["add", "remove", "resume", "publish", "publish"]))
            tag = data.draw(st.sampled_from(sorted(recorders))) if recorders else ""
            if step == "add":
                priority, capacity = data.draw(st.integers(-2, 2)), data.draw(st.integers(1, 3))
                tag = str(number)
                recorders[tag] = Recorder(queue, tag, priority=priority, capacity=capacity)
                capacities[tag] = capacity
                queue.add_consumer(recorders[tag].consumer)
                add(tag)
            elif step == "remove" and tag:
                queue.remove_consumer(recorders.pop(tag).consumer)
                ready = [each for each in ready if each != tag]
            elif step == "resume" and tag and tag not in ready:
                recorders[tag].set_capacity(2)
                capacities[tag] = 2
                queue.resume(recorders[tag].consumer)
                add(tag)
            elif step == "publish":
                while ready and capacities[ready[0]] == 0:
                    del ready[0]
                before = {each: len(recorders[each].bodies) for each in recorders}
                publish(queue, b"%d" % number)
                served = [each for each in recorders if len(recorders[each].bodies) > before[each]]
                assert served == ready[:1]
                for each in served:
                    capacities[each] -= 1
                    add(ready.pop(0))
                queue.purge()


class TestSingleActive:
    def test_the_first_consumer_gets_every_message(self) -> None:
        queue = single_active()
        first, second = join(queue, "a"), join(queue, "b")
        publish(queue, b"1", b"2")
        assert (first.bodies, second.bodies) == ([b"1", b"2"], [])
        assert [each.active for each in queue.consumers] == [True, False]

    def test_no_other_consumer_is_served_while_the_active_one_is_suspended(self) -> None:
        queue = single_active()
        first, second = join(queue, "a", capacity=1), join(queue, "b")
        publish(queue, b"1", b"2")
        assert (first.bodies, second.bodies, queue.message_count()) == ([b"1"], [], 1)
        assert first.suspended
        assert not second.suspended

    @pytest.mark.parametrize("capacity", [0, 5])
    def test_the_next_active_consumer_gets_the_requeued_messages_first(self, capacity: int) -> None:
        queue = single_active()
        first = join(queue, "a", capacity=2)
        second, third = join(queue, "b", capacity=capacity), join(queue, "c")
        publish(queue, b"1", b"2", b"3")
        deliveries = zip(first.bodies, first.positions, strict=True)
        queue.remove_consumer(first.consumer)
        assert [each.active for each in queue.consumers] == [True, False]
        for body, position in deliveries:
            queue.requeue(message(body), position)
        queue.deliver_ready()
        second.set_capacity(5)
        queue.resume(second.consumer)
        assert (second.bodies, third.bodies) == ([b"1", b"2", b"3"], [])

    def test_a_waiting_consumer_that_leaves_changes_nothing(self) -> None:
        queue = single_active()
        first, second, third = (join(queue, tag) for tag in "abc")
        queue.remove_consumer(second.consumer)
        publish(queue, b"1")
        queue.remove_consumer(first.consumer)
        publish(queue, b"2")
        assert (first.bodies, second.bodies, third.bodies) == ([b"1"], [], [b"2"])

    def test_a_waiting_consumer_of_the_highest_priority_is_next(self) -> None:
        queue = single_active()
        active = join(queue, "a")
        equal, high, high_too = (join(queue, str(p), priority=p) for p in (0, 9, 9))
        publish(queue, b"1")
        queue.remove_consumer(active.consumer)
        publish(queue, b"2")
        queue.remove_consumer(high.consumer)
        publish(queue, b"3")
        assert [one.bodies for one in (active, high, high_too, equal)] == [
            [b"1"],
            [b"2"],
            [b"3"],
            [],
        ]

    def test_the_first_consumer_after_the_last_one_left_is_active(self) -> None:
        queue = single_active()
        queue.remove_consumer(join(queue).consumer)
        publish(queue, b"1")
        assert join(queue).bodies == [b"1"]

    def test_all_consumers_are_cancelled_when_the_queue_is_deleted(self) -> None:
        queue = single_active()
        first, second = join(queue, "a"), join(queue, "b")
        queue.delete()
        assert (first.cancelled, second.cancelled) == (True, True)

    def test_many_consumers_of_a_deleted_queue_are_cancelled_in_slices(self) -> None:
        vhost = VirtualHost("v")
        queue = Queue("q", host=vhost)
        recorders = [join(queue, str(number)) for number in range(100)]
        queue.delete()
        assert 0 < sum(recorder.cancelled for recorder in recorders) <= UNITS_PER_READING
        ended = recorders[-1]
        ended.consumer.end(vhost)
        queue.resume(recorders[-2].consumer)
        vhost.work.run_all(vhost.time_slice)
        assert all(recorder.cancelled for recorder in recorders if recorder is not ended)

    @pytest.mark.parametrize("value", [False, None])
    def test_without_the_argument_all_consumers_are_active(self, value: bool | None) -> None:
        table = {} if value is None else {SINGLE_ACTIVE_CONSUMER: value}
        queue = Queue("q", arguments=Arguments({**table}, {}))
        first, second = join(queue, "a"), join(queue, "b")
        publish(queue, b"1", b"2")
        assert (first.bodies, second.bodies) == ([b"1"], [b"2"])
        assert [each.active for each in queue.consumers] == [True, True]

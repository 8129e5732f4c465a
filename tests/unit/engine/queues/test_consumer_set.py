"""The turns of a queue's consumers: priorities, and a single active one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import SINGLE_ACTIVE_CONSUMER, Arguments
from tests.unit.engine.queues.consumers import Recorder, message


def single_active() -> Queue:
    return Queue("q", arguments=Arguments({SINGLE_ACTIVE_CONSUMER: True}, {}))


def join(queue: Queue, tag: str = "c", *, priority: int = 0, room: int = 1_000_000) -> Recorder:
    recorder = Recorder(queue, tag, priority=priority, room=room)
    queue.add_consumer(recorder.consumer)
    queue.deliver_ready()
    return recorder


def publish(queue: Queue, *bodies: bytes) -> None:
    for body in bodies:
        queue.publish(message(body))


class TestPriorities:
    def test_the_highest_is_served_first_whoever_came_first(self) -> None:
        queue = Queue("q")
        consumers = [join(queue, str(n), priority=n) for n in (-3, 0, 7, 2)]
        publish(queue, b"1", b"2")
        assert [consumer.bodies for consumer in consumers] == [[], [], [b"1", b"2"], []]

    def test_equal_ones_take_turns(self) -> None:
        queue = Queue("q")
        low, one, two = (join(queue, priority=priority) for priority in (-1, 1, 1))
        publish(queue, b"1", b"2", b"3")
        assert (low.bodies, one.bodies, two.bodies) == ([], [b"1", b"3"], [b"2"])

    def test_who_is_full_lets_lower_ones_have_messages_until_it_has_room(self) -> None:
        queue = Queue("q")
        low, high = join(queue, priority=1), join(queue, priority=2, room=1)
        publish(queue, b"1", b"2")
        high.has_room(1)
        queue.resume(high.consumer)
        publish(queue, b"3", b"4")
        assert (high.bodies, low.bodies) == ([b"1", b"3"], [b"2", b"4"])

    def test_who_comes_back_is_last_of_its_equals_and_before_lower_ones(self) -> None:
        queue = Queue("q")
        low, back, equal = (join(queue, priority=p, room=r) for p, r in ((0, 9), (5, 0), (5, 9)))
        publish(queue, b"1")
        back.has_room(9)
        queue.resume(back.consumer)
        publish(queue, b"2", b"3")
        assert (equal.bodies, back.bodies, low.bodies) == ([b"1", b"2"], [b"3"], [])

    @settings(deadline=None)
    @given(st.data())
    def test_nobody_is_passed_over_for_a_lower_one_or_twice_for_the_same_equal(
        self, data: st.DataObject
    ) -> None:
        """Whatever priorities, coming, going and room: against who could have had each message."""
        queue = Queue("q")
        rooms: dict[Recorder, int] = {}
        passed_over: set[tuple[Recorder, Recorder]] = set()
        for number in range(data.draw(st.integers(1, 40))):
            step = data.draw(st.sampled_from(["join", "leave", "room", "publish", "publish"]))
            if step == "join":
                priority, room = data.draw(st.integers(-2, 2)), data.draw(st.integers(1, 4))
                recorder = join(queue, str(number), priority=priority, room=room)
                rooms[recorder] = room - len(recorder.bodies)
            elif step == "leave" and rooms:
                gone = data.draw(st.sampled_from(sorted(rooms, key=lambda one: one.consumer.tag)))
                queue.remove_consumer(gone.consumer)
                del rooms[gone]
            elif step == "room" and rooms:
                given = data.draw(st.sampled_from(sorted(rooms, key=lambda one: one.consumer.tag)))
                held = len(given.bodies)
                given.has_room(rooms[given] + 2)
                queue.resume(given.consumer)
                rooms[given] += 2 - (len(given.bodies) - held)
            elif step == "publish":
                before = {one: len(one.bodies) for one in rooms}
                could = [one for one, room in rooms.items() if room]
                publish(queue, b"%d" % number)
                took = [one for one in rooms if len(one.bodies) != before[one]]
                assert len(took) == min(1, len(could))
                for one in took:
                    rooms[one] -= 1
                    passed_over = {pair for pair in passed_over if pair[0] is not one}
                    best = max(other.consumer.priority for other in could)
                    assert one.consumer.priority == best
                    equals = (other for other in could if other.consumer.priority == best)
                    pairs = {(other, one) for other in equals if other is not one}
                    assert not pairs & passed_over
                    passed_over |= pairs


class TestSingleActive:
    def test_the_first_one_gets_everything(self) -> None:
        queue = single_active()
        first, second = join(queue, "a"), join(queue, "b")
        publish(queue, b"1", b"2")
        assert (first.bodies, second.bodies) == ([b"1", b"2"], [])
        assert [each.active for each in queue.consumers] == [True, False]

    def test_what_waits_for_a_full_one_goes_to_nobody_else(self) -> None:
        queue = single_active()
        first, second = join(queue, "a", room=1), join(queue, "b")
        publish(queue, b"1", b"2")
        assert (first.bodies, second.bodies, queue.message_count()) == ([b"1"], [], 1)
        assert first.suspended
        assert not second.suspended

    @pytest.mark.parametrize("room", [0, 5])
    def test_the_next_one_follows_and_gets_what_came_back_first(self, room: int) -> None:
        queue = single_active()
        first = join(queue, "a", room=2)
        second, third = join(queue, "b", room=room), join(queue, "c")
        publish(queue, b"1", b"2", b"3")
        deliveries = zip(first.bodies, first.positions, strict=True)
        queue.remove_consumer(first.consumer)
        assert [each.active for each in queue.consumers] == [True, False]
        for body, position in deliveries:
            queue.requeue(message(body), position)
        queue.deliver_ready()
        second.has_room(5)
        queue.resume(second.consumer)
        assert (second.bodies, third.bodies) == ([b"1", b"2", b"3"], [])

    def test_who_waits_may_go_and_nothing_changes(self) -> None:
        queue = single_active()
        first, second, third = (join(queue, tag) for tag in "abc")
        queue.remove_consumer(second.consumer)
        publish(queue, b"1")
        queue.remove_consumer(first.consumer)
        publish(queue, b"2")
        assert (first.bodies, second.bodies, third.bodies) == ([b"1"], [], [b"2"])

    def test_a_higher_priority_waits_and_is_next(self) -> None:
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

    def test_after_the_last_one_the_first_to_come_is_active(self) -> None:
        queue = single_active()
        queue.remove_consumer(join(queue).consumer)
        publish(queue, b"1")
        assert join(queue).bodies == [b"1"]

    def test_all_are_told_that_the_queue_is_gone(self) -> None:
        queue = single_active()
        first, second = join(queue, "a"), join(queue, "b")
        queue.delete()
        assert (first.cancelled, second.cancelled) == (True, True)

    @pytest.mark.parametrize("value", [False, None])
    def test_otherwise_all_are_active(self, value: bool | None) -> None:
        table = {} if value is None else {SINGLE_ACTIVE_CONSUMER: value}
        queue = Queue("q", arguments=Arguments({**table}, {}))
        first, second = join(queue, "a"), join(queue, "b")
        publish(queue, b"1", b"2")
        assert (first.bodies, second.bodies) == ([b"1"], [b"2"])
        assert [each.active for each in queue.consumers] == [True, True]

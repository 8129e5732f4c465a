"""Deliveries that run out, with a clock that the test turns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.engine.queues.queue import Queue
from leveret.engine.values.clock import Clock
from leveret.engine.values.timers import Timers
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError
from tests.unit.engine.queues.consumers import Recorder, message

TIMEOUT = 100


class World:
    """A queue with one consumer that has a timeout, and the time."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.clock = Clock(1)
        self.timers = Timers()
        self.queue = Queue("q", host=VirtualHost("/", self.clock, self.timers))
        self.slow = self.joins("slow", room=room, timeout=TIMEOUT)

    def joins(self, tag: str, *, room: int = 1_000_000, timeout: int = 0) -> Recorder:
        recorder = Recorder(self.queue, tag, room=room, timeout=timeout)
        self.queue.add_consumer(recorder.consumer)
        self.queue.deliver_ready()
        return recorder

    def publishes(self, *bodies: bytes) -> None:
        for body in bodies:
            self.queue.publish(message(body))

    def passes(self, milliseconds: int) -> None:
        self.clock.advance_to(self.clock.now + milliseconds)
        self.timers.run(self.clock.now)


def test_what_is_not_settled_in_time_is_returned_and_what_is_settled_is_not() -> None:
    world = World(room=3)
    world.publishes(b"1", b"2", b"3")
    assert world.slow.settles(2)
    world.slow.has_room(0)
    world.passes(TIMEOUT - 1)
    assert world.slow.bodies == [b"1", b"3"]
    world.passes(1)
    assert world.slow.bodies == []
    assert (world.queue.message_count(), world.queue.unacknowledged) == (2, 0)
    assert world.joins("other").bodies == [b"1", b"3"]


def test_each_delivery_has_its_own_time() -> None:
    world = World(room=2)
    world.publishes(b"1")
    world.passes(TIMEOUT // 2)
    world.publishes(b"2")
    world.passes(TIMEOUT // 2)
    assert world.slow.bodies == [b"2"]
    world.passes(TIMEOUT // 2)
    assert world.slow.bodies == []


def test_settling_late_is_no_error_once_and_settles_nothing_but_makes_room() -> None:
    world = World(room=1)
    world.publishes(b"1")
    world.passes(TIMEOUT)
    assert world.slow.bodies == []
    assert not world.slow.settles(1)
    assert world.slow.tags == {b"1": 2}
    with pytest.raises(AmqpError, match="unknown delivery tag 1"):
        world.slow.settles(1)


def test_one_timer_is_enough_for_any_number_of_deliveries() -> None:
    world = World(room=1000)
    world.publishes(*[b""] * 1000)
    assert len(world.timers._heap) == 1


@settings(deadline=None)
@given(st.lists(st.sampled_from(["publish", "settle", 1, 30, 70, 100]), max_size=40), st.data())
def test_a_delivery_is_held_for_exactly_its_time(
    steps: list[str | int], data: st.DataObject
) -> None:
    """Against a list of what is held, each with its end. What comes back goes to another."""
    world = World()
    fast = world.joins("fast")
    held: dict[bytes, int] = {}
    published = 0
    for step in steps:
        if step == "publish":
            published += 1
            body = b"%d" % published
            world.publishes(body)
            if body in world.slow.bodies:
                held[body] = int(world.clock.now) + TIMEOUT
        elif step == "settle" and held:
            body = data.draw(st.sampled_from(sorted(held)))
            assert world.slow.settles(world.slow.tags[body])
            del held[body]
        elif isinstance(step, int):
            before = set(world.slow.bodies)
            world.passes(step)
            now = int(world.clock.now)
            again = [body for body in world.slow.bodies if body not in before]
            returned = {body for body, end in held.items() if end <= now}
            assert returned <= before
            held = {body: end for body, end in held.items() if body not in returned}
            held |= dict.fromkeys([*again, *(returned & set(world.slow.bodies))], now + TIMEOUT)
        assert sorted(world.slow.bodies) == sorted(held)
        assert not set(held) & set(fast.bodies)

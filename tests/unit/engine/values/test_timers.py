"""Timers: which ring in a run, and which in a later one."""

import pytest

from leveret.engine.queues.queue_expiry import QueueExpiry
from leveret.engine.values.clock import Clock
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timers


class Rings:
    """Timers, each of which notes its number when it rings."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.clock = Clock()
        self.rung: list[int] = []
        self.failing: int | None = None

    def add(self, number: int, due: int) -> QueueExpiry:
        """A timer that is due at a time."""

        def ring() -> None:
            if number == self.failing:
                raise ValueError(number)
            self.rung.append(number)

        return QueueExpiry(self.clock, self.timers, due, lambda: False, ring)

    def run(self, now: int, time_slice: TimeSlice | None = None) -> None:
        self.clock.advance_to(now)
        self.timers.run(now, time_slice)


@pytest.fixture
def rings() -> Rings:
    return Rings()


def test_they_ring_in_the_order_in_which_they_are_due(rings: Rings) -> None:
    for number, due in enumerate((30, 10, 40, 20)):
        rings.add(number, due)
    rings.run(30)
    assert rings.rung == [1, 3, 0]
    assert rings.timers.next_due() == 40


def test_as_many_ring_as_the_time_slice_allows_and_the_others_next(rings: Rings) -> None:
    for number in range(5):
        rings.add(number, 10)
    time_slice = TimeSlice()
    for count in range(1, 6):
        time_slice.begin(0)
        rings.run(10, time_slice)
        assert rings.rung == list(range(count))
    assert rings.timers.next_due() == 0


def test_one_that_is_set_again_for_a_time_that_is_over_rings_in_the_next_run(rings: Rings) -> None:
    rings.add(0, 10)
    rings.run(10)
    again = rings.add(1, 5)
    rings.timers.set(again, 5)
    rings.run(10)
    assert rings.rung == [0]
    rings.run(15)
    assert rings.rung == [0, 1]


def test_one_that_is_stopped_does_not_ring(rings: Rings) -> None:
    first, second = rings.add(0, 10), rings.add(1, 10)
    first.stop()
    rings.run(10)
    assert rings.rung == [1]
    second.stop()
    assert rings.timers.next_due() == 0


def test_one_that_fails_ends_the_run_and_the_others_ring_in_the_next(rings: Rings) -> None:
    for number in range(3):
        rings.add(number, 10)
    rings.failing = 1
    with pytest.raises(ValueError, match="1"):
        rings.run(10)
    rings.run(10)
    assert rings.rung == [0, 2]

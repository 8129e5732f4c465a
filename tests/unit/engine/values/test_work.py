"""Time slices, and work that goes on in several of them."""

import pytest

from leveret.engine.persistence.checkpoint_work import CheckpointWork
from leveret.engine.values.time_slice import UNITS_PER_READING, TimeSlice
from leveret.engine.values.work import Work, WorkQueue

HOUR_NS = 3600 * 10**9


class Countdown(Work):
    """Work of some units, which notes each in a list."""

    def __init__(self, name: str, units: int, done: list[str]) -> None:
        self.name = name
        self.units = units
        self.done = done

    def run(self, time_slice: TimeSlice) -> bool:
        while self.units:
            self.units -= 1
            self.done.append(self.name)
            if time_slice.is_over_now():
                break
        return self.units == 0


def test_slice_is_over_before_the_first_begins() -> None:
    assert TimeSlice().is_over_now()


def test_long_slice_is_not_over() -> None:
    time_slice = TimeSlice()
    time_slice.begin(HOUR_NS)
    assert not time_slice.is_over_now()
    assert not any(time_slice.is_over() for _ in range(UNITS_PER_READING * 3))


def test_end_of_a_slice_is_found_after_so_many_units() -> None:
    time_slice = TimeSlice()
    time_slice.begin(0)
    asked = [time_slice.is_over() for _ in range(UNITS_PER_READING)]
    assert asked == [False] * (UNITS_PER_READING - 1) + [True]


def test_slice_that_is_over_stays_over() -> None:
    time_slice = TimeSlice()
    time_slice.begin(0)
    assert time_slice.is_over_now()
    assert time_slice.is_over()


def test_work_runs_round_robin_a_slice_each() -> None:
    queue, time_slice, done = WorkQueue(), TimeSlice(), list[str]()
    added: list[int] = []
    queue.added = lambda: added.append(len(done))
    queue.add(Countdown("a", 2, done))
    queue.add(Countdown("b", 1, done))
    while not queue.is_empty():
        time_slice.begin(0)
        queue.run_next(time_slice)
    assert done == ["a", "b", "a"]
    assert added == [0]


def test_all_work_can_be_run_at_once() -> None:
    queue, done = WorkQueue(), list[str]()
    queue.add(Countdown("a", 3, done))
    queue.run_all(TimeSlice())
    assert done == ["a"] * 3
    assert queue.is_empty()


class Fault(Exception):
    """A fault of the broker."""


def test_work_that_raises_is_not_run_again_and_begins_anew() -> None:
    queue, time_slice = WorkQueue(), TimeSlice()
    written: list[int] = []

    def write(is_over: object) -> bool:
        written.append(len(written))
        if len(written) == 1:
            raise Fault
        return True

    checkpoint = CheckpointWork(queue, write)
    checkpoint.continue_checkpoint()
    with pytest.raises(Fault):
        queue.run_next(time_slice)
    queue.give_up_running()
    assert queue.is_empty()
    checkpoint.continue_checkpoint()
    queue.run_next(time_slice)
    assert queue.is_empty()
    assert written == [0, 1]

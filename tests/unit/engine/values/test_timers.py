"""Timers: which ring in a run, and which in a later one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.queues.queue_expiry import QueueExpiry
from leveret.engine.values.clock import Clock
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import CLEANED_AT_ONCE, STALE_ENTRIES_MAX, Timer, Timers


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


class Noted(Timer):
    """A timer that notes when it rings."""

    def __init__(self, number: int, rung: list[int]) -> None:
        super().__init__()
        self.number = number
        self.rung = rung

    def ring(self) -> None:
        self.rung.append(self.number)


COUNT = 3 * STALE_ENTRIES_MAX


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "stop", "run"]), st.integers(0, 400)),
        max_size=3 * COUNT,
    )
)
def test_those_that_are_set_ring_in_order_however_many_were_stopped(
    steps: list[tuple[str, int]],
) -> None:
    timers = Timers()
    rung: list[int] = []
    noted = [Noted(number, rung) for number in range(COUNT)]
    expected: dict[int, int] = {}
    for number in range(COUNT):
        timers.set(noted[number], 1000 + number)
        expected[number] = 1000 + number
    for number in range(2 * STALE_ENTRIES_MAX):
        timers.stop(noted[number])
        del expected[number]
    now = 0
    for step, value in steps:
        number = value % COUNT
        if step == "set":
            due = now + 1 + value
            timers.set(noted[number], due)
            expected[number] = min(due, expected.get(number, due))
        elif step == "stop":
            timers.stop(noted[number])
            expected.pop(number, None)
        else:
            now += value
            due_now = [each for each, due in expected.items() if due <= now]
            timers.run(now)
            assert sorted(rung) == sorted(due_now)
            assert [expected[each] for each in rung] == sorted(expected[each] for each in rung)
            for each in due_now:
                del expected[each]
            rung.clear()
        assert timers.next_due() == min(expected.values(), default=0)


def test_stale_entries_are_dropped_some_at_a_time() -> None:
    timers = Timers()
    rung: list[int] = []
    noted = [Noted(number, rung) for number in range(100 * CLEANED_AT_ONCE)]
    for timer in noted:
        timers.set(timer, 1000)
    most = 0
    for timer in noted:
        before = entries(timers)
        timers.stop(timer)
        most = max(most, before - entries(timers))
    assert 0 < most <= CLEANED_AT_ONCE
    assert entries(timers) <= 2 * STALE_ENTRIES_MAX
    timers.run(1000)
    assert rung == []


def entries(timers: Timers) -> int:
    return len(timers._heap) + len(timers._older)

"""How the scheduler of the loop shares time: connections that use the time of a test clock."""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns
from typing import cast

import pytest

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.limits import ACCOUNTED_NS_MAX, ITERATION_NS, SLICE_NS
from leveret.net.loop_scheduler import (
    AHEAD_NS_MAX,
    EARLY_ITERATIONS_MAX,
    ITERATION_SLICES,
    LoopScheduler,
)


class Loop:
    """An event loop whose callbacks the test runs, an iteration at a time."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def iterate(self) -> None:
        """Run what is due, and nothing of what that makes due."""
        due, self.due = self.due, []
        for callback in due:
            callback()


class Clock:
    """Nanoseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Connection:
    """A connection whose slices take a given time, and which never runs out of input."""

    def __init__(self, run: "Run", slice_ns: int) -> None:
        self.used_ns = 0
        self.slices = 0
        self.flushes = 0
        self.resumes = 0
        self.has_input = True
        self.held = True
        self._run = run
        self._slice_ns = slice_ns

    def set_slice_ns(self, slice_ns: int) -> None:
        """Have its slices take another time from now on."""
        self._slice_ns = slice_ns

    def process_input(self) -> None:
        self.slices += 1
        self._run.order.append(self)
        self._run.clock.now += self._slice_ns
        if self.has_input:
            self._run.scheduler.schedule_input(self)

    def may_end_throttling(self) -> bool:
        return not self.held

    def flush(self) -> bool:
        self.flushes += 1
        return self.has_input

    def resume(self) -> bool:
        self.resumes += 1
        self._run.clock.now += self._slice_ns
        return False


class Counted(Work):
    """Work of some slices, each of which takes a given time."""

    def __init__(self, run: "Run", slices: int, slice_ns: int) -> None:
        self.left = slices
        self._run = run
        self._slice_ns = slice_ns

    def run(self, time_slice: TimeSlice) -> bool:
        self.left -= 1
        self._run.clock.now += self._slice_ns
        return self.left == 0


class Run:
    """A scheduler with its clock, its loop and its broker."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop()
        self.broker = Broker(Config())
        self.scheduler = LoopScheduler(
            cast("asyncio.AbstractEventLoop", self.loop), self.broker, self.clock
        )
        self.order: list[Connection] = []

    def connection(self, slice_ns: int) -> Connection:
        """A connection with input that waits for its turn."""
        connection = Connection(self, slice_ns)
        self.scheduler.schedule_input(connection)
        return connection

    def iterate(self, count: int) -> None:
        for _ in range(count):
            self.loop.iterate()

    def at_once(self, connection: Connection, duration: int) -> bool:
        """Process small input of a connection, if that is allowed as it arrives."""
        if not self.scheduler.may_process_at_once(connection):
            return False
        self.scheduler.begin_slice()
        self.clock.now += duration
        self.scheduler.end_slice(connection)
        return True


@pytest.fixture
def run() -> Run:
    return Run()


def test_connections_share_by_the_time_they_use(run: Run) -> None:
    long = run.connection(20 * SLICE_NS)
    short = [run.connection(SLICE_NS) for _ in range(3)]
    run.iterate(200)
    for each in short:
        assert each.slices == pytest.approx(20 * long.slices, abs=40)


def test_equal_connections_take_turns_in_order(run: Run) -> None:
    each = [run.connection(1000) for _ in range(3)]
    run.iterate(3)
    assert run.order == (each * ITERATION_SLICES)[: 3 * ITERATION_SLICES]


def test_an_iteration_ends_with_its_time_whatever_waits(run: Run) -> None:
    for _ in range(100):
        run.connection(ITERATION_NS)
    run.iterate(1)
    assert len(run.order) == 1


def test_an_iteration_ends_after_some_input_however_quick_it_is(run: Run) -> None:
    for _ in range(100):
        run.connection(1)
    run.iterate(1)
    assert len(run.order) == ITERATION_SLICES


def test_a_pause_saves_no_time_up(run: Run) -> None:
    idle = run.connection(SLICE_NS)
    idle.has_input = False
    busy = run.connection(SLICE_NS)
    run.iterate(100)
    idle.has_input = True
    run.scheduler.schedule_input(idle)
    run.order.clear()
    run.iterate(20)
    assert run.order.count(idle) == pytest.approx(run.order.count(busy), abs=2)


def test_nobody_waits_for_long_because_the_process_stood_still_in_its_slice(run: Run) -> None:
    unlucky = run.connection(1000 * ACCOUNTED_NS_MAX)
    others = [run.connection(SLICE_NS) for _ in range(5)]
    run.iterate(1)
    unlucky.set_slice_ns(SLICE_NS)
    run.iterate(10)
    slices = unlucky.slices
    run.iterate(2 * len(others) * ACCOUNTED_NS_MAX // ITERATION_NS)
    assert unlucky.slices > slices


def test_small_input_of_a_connection_that_used_much_waits_for_its_turn(run: Run) -> None:
    busy = run.connection(SLICE_NS)
    heavy, light = Connection(run, 0), Connection(run, 0)
    assert run.at_once(heavy, AHEAD_NS_MAX)
    assert not run.at_once(heavy, 1)
    assert run.at_once(light, 1)
    run.iterate(2 * AHEAD_NS_MAX // SLICE_NS)
    assert busy.slices != 0
    assert run.at_once(heavy, 1)


def test_small_input_goes_at_once_again_when_nobody_waits(run: Run) -> None:
    alone = Connection(run, 0)
    assert run.at_once(alone, AHEAD_NS_MAX)
    run.scheduler.request_iteration()
    run.iterate(1)
    assert run.at_once(alone, 1)


def test_small_input_of_all_together_ends_with_the_iteration(run: Run) -> None:
    connections = [Connection(run, 0) for _ in range(100)]
    at_once = [each for each in connections if run.at_once(each, ITERATION_NS // 4)]
    assert len(at_once) == 4
    run.scheduler.request_iteration()
    run.iterate(1)
    assert run.at_once(connections[-1], 1)


def test_a_slice_that_begins_after_the_time_of_the_iteration_is_over(run: Run) -> None:
    lost = Connection(run, 0)
    run.scheduler.begin_slice()
    run.clock.now += ITERATION_NS
    run.scheduler.end_slice(lost)
    run.scheduler.begin_slice()
    assert run.broker.time_slice.is_over_now()
    run.scheduler.end_slice(lost)
    run.scheduler.request_iteration()
    run.iterate(1)
    before = perf_counter_ns()
    run.scheduler.begin_slice()
    assert run.broker.time_slice.end_ns >= before + SLICE_NS


def test_work_that_nobody_waits_for_gets_a_share(run: Run) -> None:
    work = Counted(run, 1000, SLICE_NS)
    run.broker.work.add(work)
    busy = [run.connection(SLICE_NS) for _ in range(50)]
    run.iterate(50)
    slices = sum(each.slices for each in busy)
    assert 100 <= 1000 - work.left <= slices


def test_work_takes_what_connections_leave_and_ends(run: Run) -> None:
    work = Counted(run, 100, SLICE_NS)
    run.broker.work.add(work)
    run.iterate(1)
    assert 100 - work.left >= ITERATION_NS // SLICE_NS
    run.iterate(100)
    assert work.left == 0
    assert run.loop.due == []


def test_a_fault_in_work_ends_that_work_only(run: Run) -> None:
    class Faulty(Work):
        def run(self, time_slice: TimeSlice) -> bool:
            raise ValueError("a fault of the test")

    work = Counted(run, 3, SLICE_NS)
    run.broker.work.add(Faulty())
    run.broker.work.add(work)
    run.iterate(10)
    assert work.left == 0
    assert run.broker.work.is_empty()


def test_consumers_are_resumed_in_the_time_there_is_after_all_flushes(run: Run) -> None:
    connections = [Connection(run, ITERATION_NS) for _ in range(5)]
    for each in connections:
        run.scheduler.request_flush(each)
    run.iterate(1)
    assert [each.flushes for each in connections] == [1] * 5
    assert [each.resumes for each in connections] == [1, 0, 0, 0, 0]
    run.iterate(4)
    assert [each.resumes for each in connections] == [1] * 5


def test_what_is_requested_during_an_iteration_is_part_of_it(run: Run) -> None:
    connection = Connection(run, 1)

    def process_input() -> None:
        run.scheduler.request_flush(connection)

    connection.process_input = process_input  # type: ignore[method-assign]
    run.scheduler.schedule_input(connection)
    run.iterate(1)
    assert connection.flushes == 1
    assert run.loop.due == []


def test_what_a_callback_caused_is_sent_without_another_poll(run: Run) -> None:
    """What a commit releases is flushed at once, and the iteration that was requested for it is not
    run again."""
    connection = Connection(run, 0)
    run.scheduler.request_flush(connection)
    run.scheduler.run_requested()
    assert connection.flushes == 1
    run.iterate(1)
    run.scheduler.run_requested()
    assert connection.flushes == 1


def test_there_is_one_iteration_between_two_polls_however_many_callbacks_run_others(
    run: Run,
) -> None:
    run.scheduler.schedule_input(Connection(run, ITERATION_NS))
    for _ in range(5):
        run.scheduler.run_requested()
        assert len(run.loop.due) == 1
        run.iterate(1)
        assert len(run.loop.due) == 1


def test_a_throttled_publisher_waits_for_the_timer_or_until_its_queue_was_consumed(
    run: Run,
) -> None:
    publisher, consumer = Connection(run, 1), Connection(run, 1)
    publisher.has_input = False
    run.scheduler.schedule_throttled_input(publisher)
    run.scheduler.request_flush(consumer)
    run.iterate(2)
    assert publisher.slices == 0

    publisher.held = False
    run.scheduler.request_flush(consumer)
    run.iterate(2)
    assert publisher.slices == 1

    publisher.held = True
    run.scheduler.schedule_throttled_input(publisher)
    assert len(run.loop.later) == 1
    run.loop.later.pop()()
    run.iterate(2)
    assert publisher.slices == 2


def test_what_large_bodies_caused_is_flushed_a_few_times_between_two_polls() -> None:
    run = Run()
    publisher = Connection(run, 0)
    publisher.has_input = False
    for poll in range(1, 3):
        for _ in range(EARLY_ITERATIONS_MAX):
            run.scheduler.request_iteration()
            assert run.scheduler.run_early()
        run.scheduler.request_flush(publisher)
        assert not run.scheduler.run_early()
        assert publisher.flushes == poll - 1
        run.loop.iterate()
        assert publisher.flushes == poll


def test_nothing_is_flushed_early_while_others_wait() -> None:
    run = Run()
    publisher = Connection(run, 0)
    run.scheduler.request_flush(publisher)
    run.connection(SLICE_NS)
    assert not run.scheduler.run_early()
    assert publisher.flushes == 0

"""The engine's clock by elapsed time: what setting the wall clock does, and what it does not."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.values.timers import Timer
from leveret.net import wall_clock
from leveret.net.loop_clock import LoopClock
from leveret.net.loop_scheduler import LoopScheduler
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.media.filesystem import FilesystemMedium
from tests.storage.owning import take

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


class Handle:
    def cancel(self) -> None:
        pass


class Scheduler:
    def request_iteration(self) -> None:
        pass


class World:
    """A machine with a wall clock, and the broker of one process on it."""

    def __init__(self, wall_ms: int, directory: Path | None = None) -> None:
        self.wall_ms = wall_ms
        self.process_ms = wall_ms
        self._due: list[tuple[int, Callable[[], None]]] = []
        self.broker = Broker(Config())
        self.broker.clock.advance_to(self.process_ms)
        self._medium = None if directory is None else FilesystemMedium(directory)
        if self._medium is not None:
            take(self._medium)
            self.broker.open_store(
                self._medium, InlineExecutor(), InlineExecutor(), lambda error: None
            )
        self.clock = LoopClock(
            cast("asyncio.AbstractEventLoop", self),
            self.broker,
            cast("LoopScheduler", Scheduler()),
            lambda: self.process_ms,
            lambda: self.wall_ms,
        )
        self.clock.start()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        self._due = [(self.process_ms + round(delay * 1000), callback)]
        return Handle()

    def elapse(self, milliseconds: int) -> None:
        """Let time pass, and the callbacks run that are due."""
        self.wall_ms += milliseconds
        self.process_ms += milliseconds
        while due := [callback for at, callback in self._due if at <= self.process_ms]:
            self._due = [each for each in self._due if each[0] > self.process_ms]
            for callback in due:
                callback()
        self.clock.tick()

    def forget_callbacks(self) -> None:
        """Have no callback run that was to run up to now."""
        self._due = []

    def end(self) -> None:
        """End the process."""
        self.broker.commit(urgent=True)
        for hosted in self.broker.stores:
            hosted.store.close()
        if self._medium is not None:
            self._medium.close()


class Alarm(Timer):
    rung = False

    def ring(self) -> None:
        self.rung = True


@pytest.mark.parametrize("set_by", [-HOUR_MS, 0, HOUR_MS])
def test_a_timer_rings_when_its_time_has_elapsed(set_by: int) -> None:
    world = World(START_MS)
    world.wall_ms += set_by
    world.elapse(0)
    timer = Alarm()
    world.broker.timers.set(timer, world.broker.clock.now + 1000)

    world.elapse(999)
    early = timer.rung
    world.elapse(1)

    assert (early, timer.rung) == (False, True)


def test_a_timer_that_became_due_while_the_machine_was_suspended_rings() -> None:
    world = World(START_MS)
    timer = Alarm()
    world.broker.timers.set(timer, world.broker.clock.now + HOUR_MS)
    world.wall_ms += HOUR_MS
    world.process_ms += HOUR_MS
    # The loop counts none of that time.
    world.forget_callbacks()
    world.clock.tick()
    world.elapse(0)

    assert timer.rung


@pytest.mark.parametrize("set_by", [-HOUR_MS, 0, HOUR_MS])
def test_times_mean_the_same_after_a_restart(tmp_path: Path, set_by: int) -> None:
    first = World(START_MS, tmp_path)
    first.wall_ms += set_by
    first.elapse(1000)
    first.end()
    down_ms = 5000

    second = World(first.wall_ms + down_ms, tmp_path)
    resumed = second.broker.clock.now
    second.end()
    third = World(first.wall_ms + 2 * down_ms, tmp_path)

    assert resumed == START_MS + 1000 + down_ms
    assert third.broker.clock.now == resumed + down_ms
    assert third.broker.clock.wall_time() == third.wall_ms
    third.end()


def test_the_time_for_people_is_that_of_the_wall_clock() -> None:
    world = World(START_MS)
    world.wall_ms += HOUR_MS
    world.elapse(1000)
    world.broker.clock.advance_to(world.process_ms)

    assert world.broker.clock.wall_time() == START_MS + HOUR_MS + 1000
    assert world.broker.clock.now == START_MS + 1000


def test_the_time_of_the_process_does_not_read_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = wall_clock.now_ms()
    monkeypatch.setattr(time, "time_ns", lambda: 0)

    assert wall_clock.now_ms() >= before
    assert wall_clock.wall_clock_ms() == 0

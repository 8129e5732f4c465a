"""The writing thread: order, a full medium, and the jobs after one that failed."""

from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from threading import Event, current_thread
from typing import Any

import pytest

from leveret_storage.errors import MediumFailed, MediumFull, ReadFailed, StorageError
from leveret_storage.media.executor import Executor, InlineExecutor, ThreadExecutor
from tests.support.brokers import wait_until

DEADLINE_S = 60.0


class Caller:
    """Where the store lives: it runs what the thread posts, one by one, when a test asks."""

    def __init__(self) -> None:
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.results: list[Any] = []
        self.full: list[str] = []
        self.executor = ThreadExecutor("writing", self._posted.put, self.full.append)

    def turn(self) -> None:
        """Run what is posted next."""
        self._posted.get(timeout=DEADLINE_S)()


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = Caller()
    yield made
    made.executor.close()


def fail(error: StorageError) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


def test_jobs_are_done_in_order_on_another_thread(caller: Caller) -> None:
    def job(number: int) -> tuple[int, str]:
        return number, current_thread().name

    for number in range(20):
        caller.executor.submit(partial(job, number), caller.results.append)
    for _ in range(20):
        caller.turn()

    assert caller.results == [(number, "writing") for number in range(20)]


def test_a_job_on_a_full_medium_is_retried_until_there_is_space(caller: Caller) -> None:
    space = Event()
    attempts: list[bool] = []

    def job() -> str:
        attempts.append(space.is_set())
        if not space.is_set():
            raise MediumFull("no space")
        return "done"

    caller.executor.submit(job, caller.results.append)
    caller.turn()
    assert (caller.full, caller.results) == (["no space"], [])

    space.set()
    caller.turn()
    caller.turn()

    assert (caller.full, caller.results) == (["no space", ""], ["done"])
    assert attempts[0] is False
    assert attempts[-1] is True


def test_a_freeing_job_runs_while_another_one_waits_for_space(caller: Caller) -> None:
    space = Event()

    def fill() -> str:
        if not space.is_set():
            raise MediumFull("no space")
        return "filled"

    def free() -> str:
        space.set()
        return "freed"

    caller.executor.submit(fill, caller.results.append)
    caller.turn()
    assert caller.full == ["no space"]

    caller.executor.submit_freeing(free, caller.results.append)
    for _ in range(3):
        caller.turn()

    assert (caller.full, caller.results) == (["no space", ""], ["freed", "filled"])


def test_a_freeing_job_runs_where_none_waits(caller: Caller) -> None:
    caller.executor.submit_freeing(lambda: "freed", caller.results.append)
    caller.turn()

    assert caller.results == ["freed"]


def test_closing_gives_up_a_job_on_a_full_medium(caller: Caller) -> None:
    full = MediumFull("no space")
    behind: list[str] = []
    caller.executor.submit(fail(full), caller.results.append)
    caller.executor.submit(lambda: behind.append("ran"), caller.results.append)
    caller.turn()
    caller.executor.close()
    caller.turn()
    caller.turn()

    assert caller.results == [full, full]
    assert behind == []


def test_closing_tries_a_last_time_whether_there_is_space(caller: Caller) -> None:
    space = Event()

    def job() -> str:
        if not space.is_set():
            raise MediumFull("no space")
        return "done"

    caller.executor.submit(job, caller.results.append)
    caller.turn()
    space.set()
    caller.executor.close()
    caller.turn()
    caller.turn()

    assert (caller.full, caller.results) == (["no space", ""], ["done"])


@pytest.mark.parametrize("make", [lambda: Caller().executor, InlineExecutor])
@pytest.mark.parametrize("error", [MediumFailed("bad"), ReadFailed("bad")])
def test_nothing_is_run_behind_a_job_that_failed(
    make: Callable[[], Executor], error: StorageError
) -> None:
    ran: list[str] = []
    executor = make()
    executor.submit(fail(error), lambda _result: None)
    executor.submit(lambda: ran.append("ran"), lambda _result: None)
    executor.close()

    assert ran == []


def test_it_is_free_while_every_job_has_run_and_none_has_failed(caller: Caller) -> None:
    gate = Event()
    assert caller.executor.is_free()
    caller.executor.submit(gate.wait, caller.results.append)
    assert not caller.executor.is_free()
    gate.set()
    caller.turn()
    wait_until(caller.executor.is_free, what="the job has run")
    caller.executor.submit(fail(MediumFailed("EIO")), caller.results.append)
    caller.turn()
    wait_until(caller.executor.is_idle, what="the failed job has run")
    assert not caller.executor.is_free()

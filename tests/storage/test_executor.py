"""The writing thread: order, a medium without room, and what comes behind a job that failed."""

from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from threading import Event, current_thread
from typing import Any

import pytest

from leveret_storage.errors import MediumFailed, MediumFull, ReadFailed, StorageError
from leveret_storage.media.executor import Executor, InlineExecutor, ThreadExecutor

DEADLINE_S = 60.0


class QueueHost:
    """Where the store lives: it runs what the thread posts, one by one, when a test asks."""

    def __init__(self) -> None:
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.results: list[Any] = []
        self.told: list[str] = []
        self.executor = ThreadExecutor("writing", self._posted.put, self.told.append)

    def turn(self) -> None:
        """Run what is posted next."""
        self._posted.get(timeout=DEADLINE_S)()


@pytest.fixture
def host() -> Iterator[QueueHost]:
    made = QueueHost()
    yield made
    made.executor.close()


def fail(error: StorageError) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


def test_jobs_are_done_in_order_on_another_thread(host: QueueHost) -> None:
    def job(number: int) -> tuple[int, str]:
        return number, current_thread().name

    for number in range(20):
        host.executor.submit(partial(job, number), host.results.append)
    for _ in range(20):
        host.turn()

    assert host.results == [(number, "writing") for number in range(20)]


def test_what_finds_no_room_is_done_again_until_there_is_some(host: QueueHost) -> None:
    room = Event()
    attempts: list[bool] = []

    def job() -> str:
        attempts.append(room.is_set())
        if not room.is_set():
            raise MediumFull("no room")
        return "done"

    host.executor.submit(job, host.results.append)
    host.turn()
    assert (host.told, host.results) == (["no room"], [])

    room.set()
    host.turn()
    host.turn()

    assert (host.told, host.results) == (["no room", ""], ["done"])
    assert attempts[0] is False
    assert attempts[-1] is True


def test_what_makes_room_is_done_while_another_job_waits_for_room(host: QueueHost) -> None:
    room = Event()

    def fill() -> str:
        if not room.is_set():
            raise MediumFull("no room")
        return "filled"

    def free() -> str:
        room.set()
        return "freed"

    host.executor.submit(fill, host.results.append)
    host.turn()
    assert host.told == ["no room"]

    host.executor.submit_freeing(free, host.results.append)
    for _ in range(3):
        host.turn()

    assert (host.told, host.results) == (["no room", ""], ["freed", "filled"])


def test_what_makes_room_is_done_where_nothing_waits(host: QueueHost) -> None:
    host.executor.submit_freeing(lambda: "freed", host.results.append)
    host.turn()

    assert host.results == ["freed"]


def test_closing_gives_up_what_finds_no_room(host: QueueHost) -> None:
    full = MediumFull("no room")
    behind: list[str] = []
    host.executor.submit(fail(full), host.results.append)
    host.executor.submit(lambda: behind.append("ran"), host.results.append)
    host.turn()
    host.executor.close()
    host.turn()
    host.turn()

    assert host.results == [full, full]
    assert behind == []


@pytest.mark.parametrize("make", [lambda: QueueHost().executor, InlineExecutor])
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

"""A Celery application with priorities on one queue, late acknowledgements and lost workers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.test_celery import RESULT_DEADLINE_S, Deployment, Running, running, telling
from tests.support.brokers import Broker, wait_until

PRIORITY_MAX = 9


@dataclass(frozen=True)
class PriorityDeployment(Deployment):
    """A deployment whose queue has priorities."""

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "TASK_PRIORITY_MAX": str(PRIORITY_MAX)}


@pytest.fixture(scope="module")
def ranking_worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A prefork worker of one process that takes one task at a time."""
    results = tmp_path_factory.mktemp("results")
    deployment = PriorityDeployment(broker.url, f"file://{results}", "celery-ranking")
    for worker in running(deployment, "ranking@tests", "--pool=prefork", "-c", "1"):
        worker.client.conf.task_queue_max_priority = PRIORITY_MAX
        yield worker


@pytest.fixture
def ranking(ranking_worker: Running) -> Iterator[Running]:
    """The worker of the queue with priorities."""
    yield from telling(ranking_worker)


class BusyWorker:
    """The worker, busy with a task until it is released."""

    def __init__(self, worker: Running, directory: Path) -> None:
        self._directory = directory
        self.notes = directory / "notes"
        self._holding = worker.send("hold", str(directory), priority=PRIORITY_MAX)
        started = directory / "started"
        wait_until(started.exists, RESULT_DEADLINE_S, "the task that keeps the worker busy")

    def release(self) -> None:
        (self._directory / "go").touch()
        assert self._holding.get(timeout=RESULT_DEADLINE_S) is False


def test_tasks_that_wait_run_by_priority(ranking: Running, tmp_path: Path) -> None:
    busy = BusyWorker(ranking, tmp_path)
    priorities = (0, 5, 9, 1, 5, None, 7)
    results = [
        ranking.send("note", str(busy.notes), f"{number}", priority=priority)
        for number, priority in enumerate(priorities)
    ]
    busy.release()
    for result in results:
        result.get(timeout=RESULT_DEADLINE_S)

    assert busy.notes.read_text().split() == ["2", "6", "1", "4", "3", "0", "5"]


def test_a_task_whose_process_died_comes_back_before_those_of_its_priority(
    ranking: Running, tmp_path: Path
) -> None:
    busy = BusyWorker(ranking, tmp_path)
    results = [
        ranking.send("note", str(busy.notes), "low", priority=1),
        ranking.send("die_once", str(busy.notes), "came back", priority=5),
        ranking.send("note", str(busy.notes), "younger", priority=5),
    ]
    busy.release()
    for result in results:
        result.get(timeout=RESULT_DEADLINE_S)

    assert busy.notes.read_text().splitlines() == ["came back", "younger", "low"]

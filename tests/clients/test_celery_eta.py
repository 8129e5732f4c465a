"""Celery tasks with an ETA: a worker holds them until they are due, and runs the others meanwhile.

It raises its prefetch for each one that it holds, with basic.qos as the specification has it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_celery import RESULT_DEADLINE_S, Deployment, Running, running
from tests.support.brokers import Broker

WAITING = 40
"""Tasks that wait: several times what a worker of two processes prefetches."""

COUNTDOWN_S = 86_400


@pytest.fixture(params=["prefork", "threads"])
def worker(broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A worker of two processes or threads."""
    pool = request.param
    deployment = Deployment(broker.url, f"file://{tmp_path}", f"celery-eta-{pool}")
    yield from running(deployment, f"eta-{pool}@tests", f"--pool={pool}", "-c", "2")


def test_tasks_that_wait_for_their_time_hold_up_no_others(worker: Running) -> None:
    for number in range(WAITING):
        worker.send("add", number, number, countdown=COUNTDOWN_S)
    results = [worker.send("add", number, 1) for number in range(10)]

    assert [result.get(RESULT_DEADLINE_S) for result in results] == list(range(1, 11))

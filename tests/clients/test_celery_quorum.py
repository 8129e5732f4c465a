"""A Celery application with quorum queues, whose tasks with a countdown wait in the broker.

Celery's native delayed delivery is twenty-eight queues, each with a time to live twice that of the
next one, that pass messages on as dead letters by way of topic exchanges.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.clients.test_celery import RESULT_DEADLINE_S, Deployment, Running, running, telling
from tests.support.brokers import Broker

COUNTDOWN_S = 3
"""Seconds of a countdown: one and two, so that a message waits in two queues."""


@dataclass(frozen=True)
class QuorumDeployment(Deployment):
    """A deployment whose queues are quorum queues."""

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "TASK_QUEUE_TYPE": "quorum"}


@pytest.fixture(scope="module")
def delayed_worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A solo worker on a quorum queue."""
    results = tmp_path_factory.mktemp("results")
    deployment = QuorumDeployment(broker.url, f"file://{results}", "celery-quorum")
    for worker in running(deployment, "quorum@tests", "--pool=solo"):
        worker.client.conf.update(
            task_default_queue_type="quorum", task_default_exchange_type="topic"
        )
        yield worker


@pytest.fixture
def delayed(delayed_worker: Running) -> Iterator[Running]:
    """The worker on the quorum queue."""
    yield from telling(delayed_worker)


def test_a_task_goes_through_a_quorum_queue(delayed: Running) -> None:
    assert delayed.send("add", 2, 3).get(timeout=RESULT_DEADLINE_S) == 5


def test_a_countdown_is_waited_for_in_the_broker(delayed: Running) -> None:
    sent = time.time()
    task = delayed.send("now", countdown=COUNTDOWN_S)
    # A worker has a schedule of the tasks that wait with it.
    assert delayed.inspect().scheduled() == {delayed.node: []}
    assert task.get(timeout=RESULT_DEADLINE_S) >= sent + 0.9 * COUNTDOWN_S


def test_a_retry_with_a_countdown_comes_back(delayed: Running) -> None:
    assert delayed.send("stubborn", 2).get(timeout=RESULT_DEADLINE_S) == 2

"""A Celery application: its workers are real processes, its results come back two ways.

Shared by most tests: one prefork worker that keeps results in files, one solo worker that sends
them back over the broker. A failing test prints what the workers logged.
"""

import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celery
import kombu.pools
import pytest
from celery.backends.rpc import RPCBackend
from celery.exceptions import TaskRevokedError
from pika.adapters.blocking_connection import BlockingChannel

from tests.clients.processes import Program
from tests.support.brokers import Broker, RabbitMQ, wait_until

ROOT = Path(__file__).resolve().parents[2]
RESULT_DEADLINE_S = 60.0
READY_DEADLINE_S = 90.0
COUNTDOWN_S = 0.5

Start = Callable[..., Program]


@dataclass(frozen=True)
class Deployment:
    """Where a Celery project has its broker, its results and its tasks."""

    broker_url: str
    result_backend: str
    queue: str

    def worker_command(self, node: str, *options: str) -> list[str]:
        """The command of a worker called `node`."""
        celery_program = [sys.executable, "-m", "celery", "-A", "tests.clients.celery_project.app"]
        return [*celery_program, "worker", "--loglevel=INFO", "-n", node, *options]

    def environment(self) -> Mapping[str, str]:
        """What the worker's environment needs besides the usual."""
        return {
            "AMQP_URL": self.broker_url,
            "RESULT_BACKEND": self.result_backend,
            "TASK_QUEUE": self.queue,
        }

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """An application that sends tasks by name, as another project would."""
        app = celery.Celery("client", broker=self.broker_url, backend=self.result_backend)
        app.conf.update(
            task_default_queue=self.queue,
            result_chord_retry_interval=0.1,
            broker_connection_timeout=RESULT_DEADLINE_S,
        )
        yield app
        with contextlib.closing(app):
            # Pools are cached by address: the next application must not get a closed one.
            kombu.pools.reset()  # type: ignore[no-untyped-call]
            if isinstance(app.backend, RPCBackend):
                app.backend.result_consumer.stop()


@dataclass(frozen=True)
class Running:
    """A deployment with a worker at work."""

    client: Any
    worker: Program
    node: str

    def send(self, task: str, *arguments: object, **options: Any) -> Any:
        """Send a task and return its result handle."""
        return self.client.send_task(f"warren.{task}", arguments, **options)

    def inspect(self) -> Any:
        """Celery's inspection of this worker; it returns with the worker's answer."""
        return self.client.control.inspect([self.node], timeout=RESULT_DEADLINE_S, limit=1)


def is_ready(line: str) -> bool:
    """Whether a worker says with `line` that it takes tasks."""
    return line.endswith(" ready.")


def running(deployment: Deployment, node: str, *options: str) -> Iterator[Running]:
    """Start a worker, wait until it is ready, and end it afterwards."""
    worker = Program(deployment.worker_command(node, *options), deployment.environment(), ROOT)
    try:
        worker.next_line(is_ready, READY_DEADLINE_S)
        with deployment.client() as client:
            yield Running(client, worker, node)
    finally:
        worker.terminate()
        try:
            worker.wait()
        finally:
            worker.kill()


def telling(running: Running) -> Iterator[Running]:
    """Print what the worker logs during one test."""
    logged_before = len(running.worker.lines)
    yield running
    print("\n".join(running.worker.lines[logged_before:]))


@pytest.fixture(scope="module")
def filing_worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A prefork worker of two processes that keeps results in files."""
    results = tmp_path_factory.mktemp("results")
    deployment = Deployment(broker.url, f"file://{results}", "celery-filing")
    yield from running(deployment, "filing@tests", "--pool=prefork", "-c", "2")


@pytest.fixture
def filing(filing_worker: Running) -> Iterator[Running]:
    """The worker that keeps results in files."""
    yield from telling(filing_worker)


@pytest.fixture(scope="module")
def replying_worker(broker: Broker) -> Iterator[Running]:
    """A solo worker that sends results back over the broker."""
    deployment = Deployment(broker.url, "rpc://", "celery-replying")
    yield from running(deployment, "replying@tests", "--pool=solo")


@pytest.fixture
def replying(replying_worker: Running) -> Iterator[Running]:
    """The worker that sends results back over the broker."""
    yield from telling(replying_worker)


def test_a_result_comes_back_through_files(filing: Running) -> None:
    assert filing.send("add", 2, 3).get(RESULT_DEADLINE_S) == 5


def test_results_come_back_over_the_broker(replying: Running) -> None:
    results = [replying.send("add", number, number) for number in range(20)]

    assert [result.get(RESULT_DEADLINE_S) for result in results] == list(range(0, 40, 2))


def test_a_task_is_retried_until_it_succeeds(replying: Running) -> None:
    assert replying.send("stubborn", 3).get(RESULT_DEADLINE_S) == 3


def test_a_countdown_is_kept(filing: Running) -> None:
    sent = time.time()

    ran = filing.send("now", countdown=COUNTDOWN_S).get(RESULT_DEADLINE_S)

    # The clocks of two processes, and a timer, agree about as well.
    assert ran > sent + 0.9 * COUNTDOWN_S


def test_a_task_is_delayed_by_the_broker(
    filing: Running, broker: Broker, channel: BlockingChannel, name: str
) -> None:
    """The worker does not hold it in the meantime, as it does with a countdown."""
    if isinstance(broker, RabbitMQ):
        pytest.skip("RabbitMQ has delayed exchanges in a plugin that Debian has no package of")
    channel.exchange_declare(name, "x-delayed-message", arguments={"x-delayed-type": "direct"})
    channel.queue_bind("celery-filing", name, "later")
    sent = time.time()
    delay = {"x-delay": int(COUNTDOWN_S * 1000)}
    task = filing.send("now", exchange=name, routing_key="later", headers=delay)
    assert task.get(RESULT_DEADLINE_S) - sent >= COUNTDOWN_S
    channel.exchange_delete(name)


def test_a_chord_adds_up_what_its_group_returned(filing: Running) -> None:
    group = [filing.client.signature("warren.add", (number, number)) for number in range(10)]
    body = filing.client.signature("warren.total")

    result = celery.chord(group, app=filing.client)(body)

    assert result.get(RESULT_DEADLINE_S) == 90


def test_a_chain_hands_results_on(replying: Running) -> None:
    steps = [
        replying.client.signature("warren.add", (1, 2)),
        replying.client.signature("warren.add", (10,)),
        replying.client.signature("warren.add", (100,)),
    ]

    assert celery.chain(*steps, app=replying.client)().get(RESULT_DEADLINE_S) == 113


def test_a_revoked_task_does_not_run(filing: Running) -> None:
    task_id = uuid.uuid4().hex
    (answer,) = filing.client.control.revoke(
        task_id, destination=[filing.node], reply=True, timeout=RESULT_DEADLINE_S, limit=1
    )

    result = filing.send("add", 1, 1, task_id=task_id)

    assert "ok" in answer[filing.node]
    with pytest.raises(TaskRevokedError):
        result.get(RESULT_DEADLINE_S)


def test_a_worker_answers_ping_and_names_its_tasks(filing: Running) -> None:
    assert filing.inspect().ping() == {filing.node: {"ok": "pong"}}
    registered = filing.inspect().registered()[filing.node]
    assert {"warren.add", "warren.hold", "warren.now"} <= set(registered)


def test_an_active_task_is_listed_while_it_runs(filing: Running, tmp_path: Path) -> None:
    result = filing.send("hold", str(tmp_path))
    wait_until((tmp_path / "started").exists, RESULT_DEADLINE_S, "the task's start")

    (active,) = filing.inspect().active()[filing.node]
    (tmp_path / "go").touch()

    assert (active["name"], active["id"]) == ("warren.hold", result.id)
    assert result.get(RESULT_DEADLINE_S) is False


def test_a_broadcast_reaches_every_worker(filing: Running, replying: Running) -> None:
    answers = filing.client.control.ping(timeout=RESULT_DEADLINE_S, limit=2)

    assert sorted(node for answer in answers for node in answer) == [filing.node, replying.node]


def test_a_late_acknowledged_task_moves_on_when_its_worker_is_killed(
    broker: Broker, start_program: Start, tmp_path: Path, name: str
) -> None:
    deployment = Deployment(broker.url, f"file://{tmp_path}", name)

    def start_worker(node: str) -> Program:
        command = deployment.worker_command(f"{node}@tests", "--pool=solo")
        return start_program(command, deployment.environment(), ROOT)

    with deployment.client() as client:
        victim = start_worker("victim")
        result = client.send_task("warren.hold", [str(tmp_path)])
        wait_until((tmp_path / "started").exists, READY_DEADLINE_S, "the task's start")

        victim.kill()
        (tmp_path / "go").touch()
        start_worker("heir")

        assert result.get(RESULT_DEADLINE_S) is True

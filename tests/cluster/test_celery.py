"""Celery across the loss of a broker and of the primary: every task that was sent is run."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import celery
import kombu.pools
import pytest

from tests.clients.processes import Program
from tests.cluster.world import World
from tests.support.brokers import HOST, wait_until

TASKS = 20
READY_DEADLINE_S = 90.0
QUEUE = "celery"


def broker_url(world: World) -> str:
    """All brokers, of which Celery takes the next one when it loses one."""
    return ";".join(f"amqp://guest:guest@{HOST}:{port}//" for port in world.brokers.ports)


@pytest.fixture
def worker(world: World, tmp_path: Path) -> Iterator[Program]:
    options = ["--loglevel=INFO", "--pool=solo", "--without-gossip", "--without-mingle"]
    worker = Program(
        [
            *(sys.executable, "-m", "celery", "-A", "tests.clients.celery_project.app"),
            *("worker", "-n", "cluster@here", *options),
        ],
        env={
            "AMQP_URL": broker_url(world),
            "RESULT_BACKEND": f"file://{tmp_path}",
            "TASK_QUEUE": QUEUE,
        },
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        worker.next_line(lambda line: "ready." in line, READY_DEADLINE_S)
        yield worker
    except BaseException:
        print(worker)
        raise
    finally:
        worker.kill()


@pytest.fixture
def client(world: World) -> Iterator[Any]:
    app = celery.Celery("client", broker=broker_url(world))
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        broker_transport_options={"confirm_publish": True},
        broker_connection_timeout=5,
        task_publish_retry_policy={"max_retries": 100, "interval_start": 0.1, "interval_max": 0.5},
    )
    with closing(app):
        # Pools are cached by address: an application must not get a closed one.
        kombu.pools.reset()  # type: ignore[no-untyped-call]
        yield app


def test_every_task_is_run(world: World, worker: Program, client: Any, tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.touch()
    sent = 0

    def send() -> None:
        nonlocal sent
        for _ in range(TASKS):
            client.send_task("warren.note", args=(str(done), str(sent)))
            sent += 1

    def are_run() -> bool:
        return {int(line) for line in done.read_text().split()} == set(range(sent))

    send()
    wait_until(are_run, what="the tasks before a failure")
    world.owner().kill()
    send()
    wait_until(are_run, what="the tasks after the loss of the owner")
    world.database.primary.kill()
    world.database.fail_over()
    send()
    wait_until(are_run, what="the tasks after a failover of the database")
    world.audit()

"""Three nodes of a contestant, which share one virtual host or two.

Leveret's brokers share a PostgreSQL with two synchronous standbys; RabbitMQ's nodes have quorum
queues. Everything runs on this machine, with its files in the directory for temporary files, and
with its defaults, but for PostgreSQL's `shared_buffers` and `max_wal_size`.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.contestants import LEVERET, RABBITMQ, Contestant, NotMeasured, Running
from bench.footprint import cpu_seconds
from tests.support.brokers import RabbitMQ, rabbitmq_available
from tests.support.cluster import BrokerCluster
from tests.support.postgres import PostgresCluster

NODES: Final = 3
SECOND_VHOST: Final = "second"
POSTGRES_SETTINGS: Final = {"shared_buffers": "256MB", "max_wal_size": "4GB"}


@dataclass(frozen=True)
class Nodes:
    """Nodes that listen. The first one serves the virtual host `/`: of RabbitMQ, the leader of a
    queue is the node that it is declared at."""

    running: list[Running]
    kill: Callable[[int], None]
    """Ends a node, by its index, with SIGKILL."""
    second: int
    """The index of the node that serves the second virtual host."""
    processes: Callable[[], list[int]]
    """Everything that works for them."""


@contextmanager
def three_nodes(contestant: Contestant, *, two_vhosts: bool = False) -> Iterator[Nodes]:
    """Run three nodes while the block is executed.

    :param two_vhosts: make a second virtual host, which another node serves than the first.
    :raises NotMeasured: if the contestant has no cluster here.
    :raises BrokerError: if a node does not start.
    """
    if contestant.kind == LEVERET.kind:
        with _leveret(contestant, two_vhosts) as nodes:
            yield nodes
    elif contestant == RABBITMQ and rabbitmq_available():
        with _rabbitmq(two_vhosts) as nodes:
            yield nodes
    else:
        raise NotMeasured(f"there is no cluster of {contestant.name} here")


@contextmanager
def _rabbitmq(two_vhosts: bool) -> Iterator[Nodes]:
    with ExitStack() as stack:
        first = stack.enter_context(RabbitMQ())
        brokers = [first]
        for _ in range(1, NODES):
            brokers.append(stack.enter_context(RabbitMQ(beside=first)))  # noqa: PERF401
        if two_vhosts:
            first.control("add_vhost", SECOND_VHOST)
            first.control("set_permissions", "-p", SECOND_VHOST, "guest", ".*", ".*", ".*")
        running = [Running(RABBITMQ.kind, each.host, each.port, each.pid) for each in brokers]
        pids = [each.pid for each in running]
        yield Nodes(running, lambda index: _kill(brokers[index]), 1, lambda: pids)


def _kill(broker: RabbitMQ) -> None:
    broker.kill()


@contextmanager
def _leveret(contestant: Contestant, two_vhosts: bool) -> Iterator[Nodes]:
    with (
        PostgresCluster(Path(tempfile.gettempdir()), **POSTGRES_SETTINGS) as database,
        BrokerCluster(
            database.url(), executable=contestant.executable, management=two_vhosts
        ) as cluster,
    ):
        cluster.start()
        if two_vhosts:
            cluster.add_vhost(SECOND_VHOST)
        owner = cluster.await_owner("/")
        second = cluster.await_owner(SECOND_VHOST) if two_vhosts else owner
        if two_vhosts and second is owner:
            second = next(node for node in cluster.nodes.values() if node is not owner)
            cluster.move(SECOND_VHOST, second)
        order = [owner, *(node for node in cluster.nodes.values() if node is not owner)]
        running = [
            Running(LEVERET.kind, each.running.host, each.port, each.running.pid) for each in order
        ]

        def processes() -> list[int]:
            servers = [pid for server in database.servers for pid in server.processes()]
            return [*servers, *(each.pid for each in running)]

        yield Nodes(running, lambda index: order[index].kill(), order.index(second), processes)


class Cores:
    """The cores that processes use from one instant to another; those that end are not counted."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._used = self._read()
        self._began = time.perf_counter()

    def _read(self) -> dict[int, float]:
        return {pid: cpu_seconds(pid) for pid in self._pids if os.path.exists(f"/proc/{pid}")}

    def end(self) -> float:
        """The average since it was made."""
        used = self._read()
        seconds = sum(used[pid] - self._used.get(pid, 0.0) for pid in used)
        return seconds / (time.perf_counter() - self._began)

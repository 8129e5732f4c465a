"""How long a client waits at most while its node takes a store with many queues.

Two nodes: one is killed that has QUEUES queues, each with a message, and the other one takes them.
A client of the other one, in a virtual host that it served before, asks for a queue all the time.
"""

import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from pamqp import commands

from bench.cluster.nodes import POSTGRES_SETTINGS, SECOND_VHOST
from bench.contestants import Contestant
from tests.support.cluster import BrokerCluster, Node
from tests.support.postgres import PostgresCluster
from tests.support.wire import Wire

QUEUES: Final = 20_000
AT_ONCE: Final = 500
"""Queues that are declared before the replies are read."""

QUEUE: Final = "asked-for"
PERSISTENT: Final = commands.Basic.Properties(delivery_mode=2)


class Asking(threading.Thread):
    """Asks for a queue, and notes the longest wait for an answer."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self.longest_s = 0.0
        self.ends = threading.Event()
        self._wire = _connect(node, SECOND_VHOST)
        self._wire.call(commands.Queue.Declare(queue=QUEUE), commands.Queue.DeclareOk)

    def run(self) -> None:
        ask = commands.Queue.Declare(queue=QUEUE, passive=True)
        with self._wire:
            while not self.ends.is_set():
                asked_at = time.perf_counter()
                self._wire.call(ask, commands.Queue.DeclareOk)
                self.longest_s = max(self.longest_s, time.perf_counter() - asked_at)


def longest_wait_s(contestant: Contestant, queues: int = QUEUES) -> tuple[float, float]:
    """The longest wait, and how long the queues were not served after the kill, in seconds."""
    with (
        PostgresCluster(Path(tempfile.gettempdir()), **POSTGRES_SETTINGS) as database,
        BrokerCluster(
            database.url(), ("one", "two"), executable=contestant.executable, management=True
        ) as cluster,
    ):
        cluster.start()
        cluster.add_vhost(SECOND_VHOST)
        owner = cluster.await_owner("/")
        (other,) = (node for node in cluster.nodes.values() if node is not owner)
        if cluster.await_owner(SECOND_VHOST) is not other:
            cluster.move(SECOND_VHOST, other)
        _fill(owner, queues)
        asking = Asking(other)
        asking.start()
        killed_at = time.perf_counter()
        owner.kill()
        # connection.open waits for the new owner.
        _connect(other, "/").close_socket()
        not_served_s = time.perf_counter() - killed_at
        asking.ends.set()
        asking.join()
        return asking.longest_s, not_served_s


def _connect(node: Node, vhost: str) -> Wire:
    wire = Wire(node.running.host, node.port, 60.0)
    wire.negotiate(vhost=vhost)
    wire.open_channel()
    return wire


def _fill(node: Node, queues: int) -> None:
    """Declare queues, and publish a message to each."""
    with _connect(node, "/") as wire:
        wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        for first in range(0, queues, AT_ONCE):
            names = [f"queue-{number}" for number in range(first, min(first + AT_ONCE, queues))]
            for name in names:
                wire.send(commands.Queue.Declare(queue=name, durable=True), 1)
            for _ in names:
                wire.read_one(commands.Queue.DeclareOk)
            for name in names:
                wire.send_content(
                    commands.Basic.Publish(routing_key=name), 1, bytes(16), PERSISTENT
                )
            confirmed = 0
            while confirmed < first + len(names):
                confirmed = wire.read_one(commands.Basic.Ack).delivery_tag

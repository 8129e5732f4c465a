"""How long clients are not served when the node that serves them is killed.

Two clients publish one message at a time with confirms, one at the node that is killed and one at
another. A client whose connection ends connects again at once, to the surviving nodes in turn.
The time is from the kill to the first confirm of a message that was sent after it, of the client
that waits longest.
"""

import threading
import time
from typing import Final

from pamqp import commands

from bench.cluster.nodes import Nodes
from bench.contestants import NotMeasured, Running
from tests.support.wire import ClosedByServerError, Wire, connect

QUEUE: Final = "failover"
WARM_MESSAGES: Final = 200
DEADLINE_S: Final = 60.0
AGAIN_S: Final = 0.01
"""Between two attempts to connect."""

PERSISTENT: Final = commands.Basic.Properties(delivery_mode=2)


class Client(threading.Thread):
    """Publishes until it is served again after the kill."""

    def __init__(self, nodes: list[Running]) -> None:
        super().__init__(daemon=True)
        self.warm = threading.Event()
        self.killed_at = 0.0
        self.served_after_s: float | None = None
        self._nodes = nodes
        """The node to connect to first, and then those that survive."""
        self._attempts = 0
        self._ends_at = time.monotonic() + DEADLINE_S

    def run(self) -> None:
        while self.served_after_s is None and time.monotonic() < self._ends_at:
            try:
                self._publish(self._connect())
            except (ClosedByServerError, OSError, ValueError):
                time.sleep(AGAIN_S)

    def _connect(self) -> Wire:
        node = self._nodes[0 if not self._attempts else 1 + self._attempts % (len(self._nodes) - 1)]
        self._attempts += 1
        return connect(node.host, node.port)

    def _publish(self, wire: Wire) -> None:
        with wire:
            wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
            count = 0
            while self.served_after_s is None:
                sent_at = time.perf_counter()
                publish = commands.Basic.Publish(routing_key=QUEUE)
                wire.send_content(publish, 1, bytes(16), PERSISTENT)
                wire.read_one(commands.Basic.Ack)
                count += 1
                if count == WARM_MESSAGES:
                    self.warm.set()
                if self.killed_at and sent_at > self.killed_at:
                    self.served_after_s = time.perf_counter() - self.killed_at


def seconds_not_served(nodes: Nodes) -> list[float]:
    """Kill the first node under load.

    :returns: seconds until the client at this node, and the client at another, were served again.
    :raises NotMeasured: if one was not served again in time.
    """
    killed, *others = nodes.running
    with connect(killed.host, killed.port) as wire:
        declare = commands.Queue.Declare(
            queue=QUEUE, durable=True, arguments={"x-queue-type": "quorum"}
        )
        wire.call(declare, commands.Queue.DeclareOk)
    clients = [Client([killed, *others]), Client([others[0], *others])]
    for client in clients:
        client.start()
    for client in clients:
        if not client.warm.wait(DEADLINE_S):
            raise NotMeasured("a client was not served before the kill")
    killed_at = time.perf_counter()
    nodes.kill(0)
    for client in clients:
        client.killed_at = killed_at
    for client in clients:
        client.join(DEADLINE_S)
    served = [client.served_after_s for client in clients]
    if None in served:
        raise NotMeasured(f"a client was not served again within {DEADLINE_S:g} s")
    return [each for each in served if each is not None]

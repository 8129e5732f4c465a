"""What stands in front of brokers for a client that knows one address: a TCP balancer.

As others do, it looks whether a broker answers, gives connections to those that do only, and ends
those of one that does not.
"""

import socket
from collections.abc import Iterable
from itertools import count

from tests.support.cluster import Node
from tests.support.tcp_proxy import HOST, TcpProxy


class Balancer(TcpProxy):
    """Passes each connection on to the next broker that answers."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = list(nodes)
        self._next = count()
        super().__init__(self._nodes[0].port)

    def open_target(self) -> socket.socket | None:
        first = next(self._next)
        for i in range(len(self._nodes)):
            node = self._nodes[(first + i) % len(self._nodes)]
            if node.broker is None or node.is_paused:
                continue
            try:
                return socket.create_connection((HOST, node.port))
            except OSError:
                continue
        return None

    def pause(self, node: Node) -> None:
        """Have a broker stand still. Connections to others are ended, too: it knows no better."""
        node.pause()
        self.cut()

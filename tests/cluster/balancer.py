"""What stands in front of brokers for a client that knows one address: a plain TCP balancer."""

import socket
from collections.abc import Sequence
from itertools import count
from typing import Final

from tests.support.tcp_proxy import HOST, TcpProxy

CONNECT_TIMEOUT_S: Final = 1.0


class Balancer(TcpProxy):
    """Passes each connection on to the next of several ports that accepts one."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._next = count()
        super().__init__(ports[0])

    def open_target(self) -> socket.socket | None:
        first = next(self._next)
        for i in range(len(self._ports)):
            port = self._ports[(first + i) % len(self._ports)]
            try:
                connection = socket.create_connection((HOST, port), CONNECT_TIMEOUT_S)
            except OSError:
                continue
            connection.settimeout(None)
            return connection
        return None

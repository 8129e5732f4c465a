"""Ports that are reserved for a broker, while it runs and while it does not.

A socket that is bound and does not listen keeps the port from being given to anybody else. The
broker binds it as well, which `SO_REUSEADDR` allows as long as only one of them listens. Connecting
while the broker is down is refused, as it is with a broker that has a fixed port.
"""

import socket

from leveret.testing import standard_descriptors


class ReservedPort:
    """A TCP port of one address."""

    def __init__(self, host: str, port: int = 0) -> None:
        """:param port: 0 for a free one.
        :raises OSError: if it is taken.
        :raises OverflowError: if it is no port.
        """
        standard_descriptors.occupy()
        self._socket = _bound(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give it back."""
        self._socket.close()


def listening(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens on a reserved port.

    :raises OSError: if it cannot be listened on.
    """
    sock = _bound(host, port)
    try:
        sock.setblocking(False)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except (OSError, OverflowError):
        sock.close()
        raise
    return sock

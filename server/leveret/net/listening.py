"""The sockets that listen: TCP addresses and the Unix socket, bound and described.

Deliberately elsewhere: who accepts on them (`server.py`, `opening.py`).
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from leveret.addresses import Address
from leveret.limits import LISTEN_BACKLOG

PROBE_TIMEOUT_S: Final = 1.0
"""Seconds in which whoever listens on a Unix socket accepts a connection into its queue."""


def listen_on_address(address: Address) -> list[socket.socket]:
    """Sockets that listen on the addresses that a host and a port mean.

    :raises OSError: if one cannot be listened on.
    """
    found = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listening: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            listening.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # IPv4 has a socket of its own.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(where)
            sock.setblocking(False)
            sock.listen(LISTEN_BACKLOG)
    except OSError:
        for sock in listening:
            sock.close()
        raise
    return listening


class UnixListener:
    """A Unix socket that listens, and its file."""

    def __init__(self, path: str, mode: int) -> None:
        """
        :param mode: the permissions of the file: who may write to it may connect.
        :raises OSError: if the socket cannot be made, or another process listens on it.
        """
        self.path = Path(path)
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            with _too_long_is_named(path):
                _remove_unused(self.path)
                mask = os.umask(0o777 & ~mode)
                try:
                    self.socket.bind(path)
                finally:
                    os.umask(mask)
            self.socket.setblocking(False)
            self.socket.listen(LISTEN_BACKLOG)
            self._made = _identity(self.path)
        except OSError:
            self.socket.close()
            raise

    def remove(self) -> None:
        """Remove the file, unless it is another's by now."""
        if _identity(self.path) == self._made:
            with suppress(FileNotFoundError):
                self.path.unlink()


@contextmanager
def _too_long_is_named(path: str) -> Iterator[None]:
    """Name what is wrong with the path itself: errors of sockets do not."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # the path is too long
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path) from None
        raise


def _remove_unused(path: Path) -> None:
    """Remove the file of a process that is gone.

    :raises OSError: if somebody listens on it, or it is no socket.
    """
    try:
        state = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(state.st_mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(FileNotFoundError):
                path.unlink()
            return
        except TimeoutError:
            pass  # the queue of one that listens is full
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), str(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.lstat()
    except OSError:
        return None
    return state.st_dev, state.st_ino

"""Notifications of systemd (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Send `READY=1` or `STOPPING=1` to the socket in NOTIFY_SOCKET; do nothing without it.

    :raises OSError: if the variable names a socket that cannot be written to.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    if path.startswith("@"):  # Linux's abstract namespace
        path = "\0" + path[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
        datagrams.connect(path)
        datagrams.sendall(state.encode())

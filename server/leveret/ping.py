"""`leveret ping`: the first step of the AMQP handshake, to see whether a broker answers."""

import socket
from typing import Final

from leveret.os_errors import plain_words

_PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_HEAD_BYTES: Final = 7
"""A frame's type, channel and payload size (AMQP 0-9-1, section 4.2.3)."""
_METHOD_FRAME: Final = b"\x01\x00\x00"
_CONNECTION_START: Final = b"\x00\x0a\x00\x0a"
_START_BYTES_MAX: Final = 64 * 1024
"""Largest accepted payload of connection.start; brokers send less than one kilobyte."""


class PingError(Exception):
    """No broker answered; the text is the reason in one line."""


def ping(host: str, port: int, timeout_s: float) -> None:
    """Send the protocol header and wait for connection.start (AMQP 0-9-1, section 2.2.4).

    :param timeout_s: seconds for each step: connecting, writing, and each read.
    :raises PingError: if nothing listens, no answer comes in time, or the answer is not AMQP.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            _read_start(connection)
    except TimeoutError:
        raise PingError(f"no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise PingError(plain_words(error)) from None


def _read_start(connection: socket.socket) -> None:
    """Read the whole connection.start: a socket closed with unread bytes resets the broker's."""
    head = _read(connection, _HEAD_BYTES)
    if not head:
        raise PingError("the connection was closed without an answer")
    size = int.from_bytes(head[3:])
    if head.startswith(_METHOD_FRAME) and len(head) == _HEAD_BYTES and size <= _START_BYTES_MAX:
        payload = _read(connection, size + 1)
        if len(payload) == size + 1 and payload.startswith(_CONNECTION_START):
            return
    raise PingError("the listener does not speak AMQP 0-9-1")


def _read(connection: socket.socket, size: int) -> bytes:
    """Read `size` bytes, or fewer if the peer closes."""
    received = b""
    while len(received) < size and (more := connection.recv(size - len(received))):
        received += more
    return received

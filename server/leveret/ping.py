"""Ask a broker whether it answers: the first step of AMQP's handshake, and no more."""

import socket
from typing import Final

_PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_START_SIZE: Final = 11
"""Bytes up to the method of connection.start: a frame's head of 7, then class and method."""


class PingError(Exception):
    """No broker answered; the text says why in one line."""


def ping(host: str, port: int, timeout_s: float) -> None:
    """Send the protocol header and wait for connection.start (AMQP 0-9-1, section 2.2.4).

    :raises PingError: if nobody listens, something else answers, or nothing does in `timeout_s`
        seconds after connecting or after the last byte.
    """
    answer = b""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            while len(answer) < _START_SIZE:
                received = connection.recv(_START_SIZE - len(answer))
                if not received:
                    break
                answer += received
    except TimeoutError:
        raise PingError(f"no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise PingError(error.strerror or str(error)) from None
    if not answer:
        raise PingError("the connection was closed without an answer")
    is_method = answer[:3] == b"\x01\x00\x00"
    if not is_method or answer[7:] != b"\x00\x0a\x00\x0a":
        raise PingError("what listens there does not speak AMQP 0-9-1")

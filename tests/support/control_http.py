"""Requests to the HTTP API of a broker, through its control socket."""

import http.client
import json
import socket
from typing import Any, NamedTuple

from leveret.control_address import SOCKET_NAME
from tests.support.brokers import Leveret

TIMEOUT_S = 60.0


class Answer(NamedTuple):
    """What a request is answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def request(
    broker: Leveret, path: str, method: str = "GET", body: object = None, **headers: str
) -> Answer:
    """Send a request on a connection of its own, with a body of JSON if there is one.

    :param headers: with `_` for `-`.
    """
    connection = _Connection(str(broker.data_dir / SOCKET_NAME))
    try:
        data = None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, named)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()

"""Requests of the command line to a running broker, over its control socket."""

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from leveret.control_address import SOCKET_NAME, socket_address

TIMEOUT_S: Final = 60.0


class NoBroker(Exception):
    """No broker listens on the control socket; the text is one line for the operator."""


class RequestFailed(Exception):
    """The broker refused; the text is its reason."""


class NotThere(RequestFailed):
    """There is no such resource."""


class _Connection(http.client.HTTPConnection):
    """A connection to a control socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        with socket_address(self._path) as address:
            self.sock.connect(address)


class Client:
    """Asks one broker. Path segments are given as they are, and quoted here."""

    def __init__(self, path: Path) -> None:
        """
        :param path: of the control socket, or of the data directory that has it.
        """
        self._path = path / SOCKET_NAME if path.is_dir() else path

    def get(self, *segments: str) -> Any:
        """What a resource is.

        :raises NoBroker: if none answers.
        :raises RequestFailed: if it refuses.
        """
        return self._request("GET", segments)

    def find(self, *segments: str) -> Any:
        """What a resource is, or None if there is none; raises as `get`."""
        try:
            return self.get(*segments)
        except NotThere:
            return None

    def put(self, *segments: str, body: object = None) -> Any:
        """Set a resource; raises as `get`."""
        return self._request("PUT", segments, body)

    def post(self, *segments: str, body: object = None) -> Any:
        """Have something done; raises as `get`."""
        return self._request("POST", segments, body)

    def patch(self, *segments: str, body: object = None) -> Any:
        """Change a part of a resource; raises as `get`."""
        return self._request("PATCH", segments, body)

    def delete(self, *segments: str, headers: Mapping[str, str] | None = None) -> Any:
        """Delete a resource; raises as `get`."""
        return self._request("DELETE", segments, headers=headers)

    def delete_quoted(self, segments: tuple[str, ...], last: str) -> Any:
        """Delete a resource whose last segment is quoted already; raises as `get`."""
        return self._request("DELETE", segments, last=f"/{last}")

    def _request(
        self,
        method: str,
        segments: tuple[str, ...],
        body: object = None,
        headers: Mapping[str, str] | None = None,
        last: str = "",
    ) -> Any:
        quoted = [quote(each, safe="", errors="surrogateescape") for each in segments]
        path = "/api/" + "/".join(quoted) + last
        connection = _Connection(self._path)
        data = b"" if body is None else msgspec.json.encode(body)
        try:
            sent = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            answer = response.read()
        except FileNotFoundError:
            raise NoBroker(f"no broker listens on {self._path}") from None
        except (OSError, http.client.HTTPException) as error:
            raise NoBroker(f"the broker on {self._path} does not answer: {error}") from None
        finally:
            connection.close()
        decoded = msgspec.json.decode(answer) if answer else None
        if response.status >= 400:
            reason = decoded.get("reason") if isinstance(decoded, dict) else response.reason
            not_there = response.status == http.HTTPStatus.NOT_FOUND
            raise NotThere(reason) if not_there else RequestFailed(reason)
        return decoded

"""Requests to the HTTP API of a broker, over TCP."""

import base64
import http.client
import json
from dataclasses import dataclass, field
from typing import Any, Final

TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    headers: dict[str, str]
    """With their names in lower case."""
    body: bytes

    @property
    def value(self) -> Any:
        """The body as JSON; None if there is none."""
        return json.loads(self.body) if self.body else None


@dataclass
class Api:
    """The API of one broker, as one user sees it."""

    host: str
    port: int
    user: str | None = "guest"
    password: str = "guest"
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request.

        :param body: is sent as JSON unless it is None.
        :param raw: is sent as it is.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            data = json.dumps(body).encode() if body is not None else raw
            sent = {**self.headers, **(headers or {})}
            if data is not None:
                sent.setdefault("Content-Type", "application/json")
            if self.user is not None:
                login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
                sent.setdefault("Authorization", f"Basic {login}")
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

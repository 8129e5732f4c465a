"""Playing sections against a broker: what was sent, and what was answered."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from tests.parity.http.client import Answer, Api
from tests.parity.http.shape import shape
from tests.support.brokers import wait_until

RECORDINGS: Final = Path(__file__).parent / "recordings"
HEADERS: Final = ("location", "allow", "www-authenticate", "content-disposition")
"""What clients read of the headers, and whether the body is JSON."""

Entry = dict[str, Any]
"""A request and its answer, as the recording has them."""


@dataclass
class Play:
    """One broker that is asked, and what it has answered."""

    api: Api
    amqp_port: int
    entries: list[Entry] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: str | None = None,
        headers: dict[str, str] | None = None,
        shown: str | None = None,
        user: str | None = "guest",
        until: Callable[[Any], bool] | None = None,
    ) -> Answer:
        """Send a request, and record it with its answer.

        :param path: without `/api`.
        :param shown: the path as it is recorded, if a part of it is another each time.
        :param user: whose password is the name; None sends no login.
        :param until: what has to be true of the body: it is asked again before. Only of GET.
        """
        api = Api(self.api.host, self.api.port, user, user or "")
        data = None if raw is None else raw.encode()

        def send() -> Answer:
            return api.ask(method, f"/api{path}", body, raw=data, headers=headers)

        if until is not None:
            awaited = until
            wait_until(lambda: _is(awaited, send()), 60.0, f"{path} as awaited")
        answer = send()
        self.entries.append(_entry(method, shown or path, body, raw, user, answer))
        return answer

    def get(self, path: str, **options: Any) -> Any:
        """The body of an answer to GET, which is recorded."""
        return self.ask("GET", path, **options).value

    def quietly(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request that the recording does not have."""
        return self.api.ask(method, f"/api{path}", body)

    def quietly_until(self, path: str, until: Callable[[Any], bool]) -> None:
        """Ask until something is true of the body."""
        wait_until(lambda: _is(until, self.quietly("GET", path)), 60.0, f"{path} as awaited")

    @contextmanager
    def connection(
        self, vhost: str = "/", name: str = "parity", user: str = "guest"
    ) -> Iterator[pika.BlockingConnection]:
        """A connection over AMQP, with a name of its own."""
        parameters = pika.ConnectionParameters(
            self.api.host,
            self.amqp_port,
            vhost,
            pika.PlainCredentials(user, user),
            client_properties={"connection_name": name},
        )
        opened = pika.BlockingConnection(parameters)
        try:
            yield opened
        finally:
            # The section may have had it closed.
            with suppress(pika.exceptions.AMQPError):
                opened.close()

    @contextmanager
    def channel(self, vhost: str = "/") -> Iterator[BlockingChannel]:
        """A channel on a connection of its own."""
        with self.connection(vhost) as opened:
            yield opened.channel()


def _is(until: Callable[[Any], bool], answer: Answer) -> bool:
    try:
        return until(answer.value)
    except (KeyError, IndexError, TypeError):
        return False


def _entry(
    method: str, path: str, body: object, raw: str | None, user: str | None, answer: Answer
) -> Entry:
    entry: Entry = {"request": f"{method} {path}"}
    if user != "guest":
        entry["user"] = user
    if body is not None:
        entry["sent"] = body
    if raw is not None:
        entry["sent"] = raw
    entry["status"] = answer.status
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    if "allow" in headers:
        headers["allow"] = ", ".join(sorted(headers["allow"].split(", ")))
    if headers:
        entry["headers"] = headers
    if answer.body and method != "HEAD":
        try:
            value = answer.value
        except ValueError:
            entry["text"] = True
        else:
            entry["body" if answer.status >= 400 else "shape"] = (
                value if answer.status >= 400 else shape(value)
            )
    return entry


def read_recording(section: str) -> list[Entry]:
    """What RabbitMQ has answered."""
    found: list[Entry] = json.loads((RECORDINGS / f"{section}.json").read_text("utf-8"))
    return found


def write_recording(section: str, entries: list[Entry]) -> None:
    """Keep what RabbitMQ has answered."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, indent=1) for entry in entries)
    (RECORDINGS / f"{section}.json").write_text(f"[\n{lines}\n]\n", "utf-8")

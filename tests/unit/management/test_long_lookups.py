"""What a request looks up among very many objects is looked up in slices of the broker's time."""

import asyncio
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.bindings import bind_queue
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.values.arguments import Arguments
from leveret.management.application import application
from leveret.management.authorisation import Identity
from leveret.management.listing import CHUNK_ROWS
from leveret.management.service import Management

BINDINGS = 1_000
BETWEEN = "/api/bindings/%2F/e/amq.topic/q/bound"


def ignore(limit_bytes: int) -> None:
    """What does not change the memory limit."""


async def owner(_: Request) -> Identity:
    return Identity("root", "here", is_owner=True)


class Api:
    """The API of a broker with a queue that is bound very often, and slices that are over at
    once."""

    def __init__(self) -> None:
        self.slices = 0
        self.broker = Broker(Config())
        self.broker.work.added = self._run_work
        for name in ("bound", "other"):
            vhost = self.broker.vhosts["/"]
            declare_queue(
                vhost,
                name,
                durable=False,
                auto_delete=False,
                owner=None,
                connection=None,
                arguments=Arguments({}, {}),
            )
            for number in range(BINDINGS):
                bind_queue(vhost, name, "amq.topic", f"key.{number}", {"n": number}, None)
        bind_queue(vhost, "bound", "amq.direct", "key.1", {}, None)
        self._app = application(Management(self.broker, list, list, ignore), owner)

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """The status and the body of an answer."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "http_version": "1.1",
        }
        self.slices = 0
        asyncio.run(self._app(scope, receive, send))  # type: ignore[arg-type]
        body = b"".join(each["body"] for each in sent[1:])
        return sent[0]["status"], msgspec.json.decode(body) if body else None

    def _run_work(self) -> None:
        asyncio.get_running_loop().call_soon(self._run_slice)

    def _run_slice(self) -> None:
        self.slices += 1
        self.broker.time_slice.begin(0)
        self.broker.work.run_next(self.broker.time_slice)
        if not self.broker.work.is_empty():
            self._run_work()


@pytest.fixture(scope="module")
def api() -> Api:
    return Api()


def test_the_bindings_between_two_ends_are_found_in_slices(api: Api) -> None:
    status, found = api.ask("GET", BETWEEN)
    assert (status, len(found)) == (200, BINDINGS)
    assert api.slices > BINDINGS / CHUNK_ROWS


def test_one_of_very_many_bindings_is_found_in_slices(api: Api) -> None:
    last = api.ask("GET", BETWEEN)[1][-1]
    assert last["routing_key"] == f"key.{BINDINGS - 1}"
    path = f"{BETWEEN}/{last['properties_key']}"
    assert api.ask("GET", path) == (200, last)
    assert api.slices > BINDINGS / CHUNK_ROWS
    assert api.ask("DELETE", path) == (204, None)
    assert api.ask("GET", path)[0] == 404


def test_the_end_with_fewer_bindings_is_looked_at(api: Api) -> None:
    path = "/api/bindings/%2F/e/amq.direct/q/bound"
    assert [each["properties_key"] for each in api.ask("GET", path)[1]] == ["key.1"]
    assert api.slices < BINDINGS / CHUNK_ROWS / 2


@pytest.mark.parametrize("path", ["e/none/q/bound", "e/amq.topic/q/none", "e/amq.topic/e/bound"])
def test_there_are_no_bindings_where_an_end_is_missing(api: Api, path: str) -> None:
    assert api.ask("GET", f"/api/bindings/%2F/{path}") == (200, [])
    assert api.ask("DELETE", f"/api/bindings/%2F/{path}/key.1")[0] == 404

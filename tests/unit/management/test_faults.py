"""A fault of the broker in a request: it is answered and logged, and nobody waits for ever."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.management.application import application
from leveret.management.authorisation import Identity
from leveret.management.service import Management
from tests.support.logs import capture_logs


class Failing(Work):
    """Raises in its first slice."""

    def run(self, time_slice: TimeSlice) -> bool:
        raise ZeroDivisionError


def ignore(limit_bytes: int) -> None:
    """What does not change the memory limit."""


def run_and_give_up(broker: Broker) -> None:
    """Run the work of a broker as its scheduler does."""
    with pytest.raises(ZeroDivisionError):
        broker.work.run_next(broker.time_slice)
    broker.work.give_up_running()


def test_who_waits_for_work_that_raises_is_told() -> None:
    async def wait() -> None:
        broker = Broker(Config())
        loop = asyncio.get_running_loop()

        def run_soon() -> None:
            loop.call_soon(run_and_give_up, broker)

        broker.work.added = run_soon
        await Management(broker, list, list, ignore).run(Failing())

    with pytest.raises(RuntimeError, match="the broker failed to do what was asked for"):
        asyncio.run(wait())


def test_a_request_that_fails_is_answered_in_json_and_logged_once() -> None:
    def no_connections() -> list[object]:
        raise ZeroDivisionError

    async def identify(request: Request) -> Identity:
        return Identity("root", "here", is_owner=True)

    sent: list[Message] = []

    async def request() -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        management = Management(Broker(Config()), no_connections, list, ignore)  # type: ignore[arg-type]
        app = application(management, identify)
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/connections",
            "raw_path": b"/api/connections",
            "query_string": b"",
            "headers": [],
            "http_version": "1.1",
        }
        await app(scope, receive, send)

    with capture_logs() as logs:
        asyncio.run(request())

    assert sent[0]["status"] == 500
    assert b'"error":"internal_server_error"' in sent[1]["body"]
    assert [log["event"] for log in logs] == [
        "internal error: a request failed; please report this"
    ]

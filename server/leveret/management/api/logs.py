"""The latest events of the broker's log."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from leveret.logging import RECENT
from leveret.management.authorisation import Access
from leveret.management.http import json, route, whole_number
from leveret.management.live import HEADERS, LIFE_SIGN_S
from leveret.management.shared_answers import event

LINES: Final = 200

LINES_DIGITS_MAX: Final = 8

WAITING_MAX: Final = 1000
"""Events that wait for a slow reader: the oldest go first, and it is told how many."""


def latest(request: Request, events: list[dict[str, Any]]) -> Response:
    """As many of the latest events as were asked for.

    :param events: the oldest first.
    """
    asked = whole_number(request.query_params.get("lines", ""), LINES_DIGITS_MAX)
    lines = LINES if asked is None else asked
    return json(events[-lines:] if lines else [])


async def get_logs(request: Request) -> Response:
    """The latest events, the oldest first; in a cluster those of all brokers, `logged_by` each."""
    return latest(request, list(RECENT.events))


async def get_live_logs(request: Request) -> Response:
    """The events of this broker from this moment on, as server-sent events."""
    return StreamingResponse(_events(), media_type="text/event-stream", headers=HEADERS)


async def _events() -> AsyncIterator[bytes]:
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING_MAX)
    missed = 0

    def logged(logged_event: dict[str, Any]) -> None:
        nonlocal missed
        if waiting.full():
            waiting.get_nowait()
            missed += 1
        waiting.put_nowait(logged_event)

    with RECENT.followed(logged):
        yield b": follows\n\n"
        while True:
            try:
                async with asyncio.timeout(LIFE_SIGN_S):
                    next_event = await waiting.get()
            except TimeoutError:
                yield b": alive\n\n"
                continue
            if missed:
                yield event("missed", {"events": missed})
                missed = 0
            yield event("log", next_event)


ROUTES: Final = (
    route("/api/logs", access=Access.MONITORING, GET=get_logs),
    route("/api/logs/live", access=Access.MONITORING, GET=get_live_logs),
)

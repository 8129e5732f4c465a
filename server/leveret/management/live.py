"""The live stream: what GET requests would answer, sent again when it changes (server-sent events).

A page asks for `/api/live?watch=PATH&watch=PATH&every=2`. Each path is requested as if by whoever
asked for the stream, at once and then every so many seconds; the rights are checked each time.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Scope

from leveret.management.authorisation import Access
from leveret.management.http import BadRequest, route

WATCHES_MAX: Final = 8
"""Paths of a stream."""

EVERY_S: Final = 2
EVERY_S_MAX: Final = 60
"""Seconds between two requests."""

BODY_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a response that is sent."""

LIFE_SIGN_S: Final = 15
"""Seconds after which a stream that has nothing to send says that it is alive."""

HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""A proxy must not keep events back."""


async def get_live(request: Request) -> Response:
    """The changes of what some paths answer, as server-sent events."""
    watches = request.query_params.getlist("watch")
    if not 1 <= len(watches) <= WATCHES_MAX:
        raise BadRequest(f"watch: expected 1 to {WATCHES_MAX} paths")
    for watch in watches:
        if not watch.startswith("/api/") or "/live" in watch.partition("?")[0]:
            raise BadRequest(f"watch: cannot watch {watch!r}")
    try:
        every = min(max(float(request.query_params.get("every", EVERY_S)), 1), EVERY_S_MAX)
    except ValueError:
        raise BadRequest("every: expected a number of seconds") from None
    return StreamingResponse(
        _events(request, watches, every), media_type="text/event-stream", headers=HEADERS
    )


async def _events(request: Request, watches: list[str], every: float) -> AsyncIterator[bytes]:
    seen: dict[str, bytes] = {}
    silent = 0.0
    while True:
        for watch in watches:
            status, body = await _requested(request, watch)
            digest = hashlib.blake2b(body, digest_size=16).digest()
            if seen.get(watch) != digest:
                seen[watch] = digest
                silent = 0.0
                yield event("change", {"watch": watch, "status": status, "body": _raw(body)})
        if silent >= LIFE_SIGN_S:
            silent = 0.0
            yield b": alive\n\n"
        silent += every
        await asyncio.sleep(every)


def event(name: str, value: object) -> bytes:
    """A server-sent event whose data is JSON."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(value))


def _raw(body: bytes) -> msgspec.Raw | None:
    return msgspec.Raw(body) if body else None


async def _requested(request: Request, watch: str) -> tuple[int, bytes]:
    """What a GET of the path answers; 413 if it is too long."""
    path, _, query = watch.partition("?")
    scope: Scope = {
        **request.scope,
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [
            (name, value) for name, value in request.scope["headers"] if name in PASSED_HEADERS
        ],
        "state": {},
    }
    for added in ("endpoint", "path_params", "route", "router"):
        scope.pop(added, None)
    status = 500
    body = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif len(body) <= BODY_BYTES_MAX:
            body.extend(message.get("body", b""))

    app: Any = request.app.state.entry
    await app(scope, receive, send)
    if len(body) > BODY_BYTES_MAX:
        reason = f"more than {BODY_BYTES_MAX} bytes: ask for a page"
        return 413, msgspec.json.encode({"error": "too_large", "reason": reason})
    return status, bytes(body)


PASSED_HEADERS: Final = (b"authorization", b"cookie", b"x-requested-with")

ROUTES: Final = (route("/api/live", access=Access.USER, GET=get_live),)

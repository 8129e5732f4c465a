"""Answers to GET requests that the live streams share.

Streams that watch the same path for the same user have it requested once for all of them. An answer
serves as long as the metadata are as they were when it was asked for: a user whose tags or
permissions have changed gets another one. Who asks is checked by each stream (`live.py`).
"""

import asyncio
import hashlib
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.types import Message, Scope

from leveret.management.authorisation import Identity
from leveret.management.http import management

SHARED_S: Final = 0.5
"""Seconds for which an answer serves other streams: they look every two, so that 100 streams cost
what four do, and a change is seen half a second later at most."""

SHARED_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of answers that are kept for other streams."""

BODY_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a response that is sent."""

_Asked = tuple[Identity | None, int, str]
"""For whom, with which version of the metadata, and which path."""


class Answer(NamedTuple):
    """What streams send of an answer, and a digest of it."""

    event: bytes
    digest: bytes

    @classmethod
    def of(cls, watch: str, status: int, body: bytes) -> "Answer":
        raw = msgspec.Raw(body) if body else None
        sent = event("change", {"watch": watch, "status": status, "body": raw})
        return cls(sent, hashlib.blake2b(sent, digest_size=16).digest())


class SharedAnswers:
    """The answers of the last half second, and those that are awaited."""

    def __init__(self) -> None:
        self._answers: dict[_Asked, asyncio.Future[Answer | None]] = {}
        """None if the stream that asked ended before the answer was there."""
        self._bytes = 0

    async def answer(
        self, request: Request, identity: Identity | None, watch: str, *, fresh: bool
    ) -> Answer:
        """What a GET of a path answers.

        :param request: that of the stream.
        :param fresh: whether the answer must not be one that was asked for before.
        """
        # From where somebody asks makes no difference to what is read.
        asker = None if identity is None else identity._replace(origin="")
        while True:
            asked = (asker, management(request).metadata.version, watch)
            awaited = None if fresh else self._answers.get(asked)
            if awaited is None:
                return await self._ask(asked, request, identity)
            if (found := await asyncio.shield(awaited)) is not None:
                return found

    async def _ask(self, asked: _Asked, request: Request, identity: Identity | None) -> Answer:
        awaited: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._answers[asked] = awaited
        answer = None
        try:
            watch = asked[-1]
            answer = Answer.of(watch, *await _requested(request, identity, watch))
            return answer
        finally:
            awaited.set_result(answer)
            size = 0 if answer is None else len(answer.event)
            keeps = answer is not None and self._bytes + size <= SHARED_BYTES_MAX
            self._bytes += size
            if keeps:
                asyncio.get_running_loop().call_later(SHARED_S, self._forget, asked, awaited, size)
            else:
                self._forget(asked, awaited, size)

    def _forget(self, asked: _Asked, awaited: asyncio.Future[Answer | None], size: int) -> None:
        self._bytes -= size
        if self._answers.get(asked) is awaited:
            del self._answers[asked]


def event(name: str, value: object) -> bytes:
    """A server-sent event whose data is JSON."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(value))


async def _requested(request: Request, identity: Identity | None, watch: str) -> tuple[int, bytes]:
    """What a GET of the path answers; 413 if it is too long."""
    path, _, query = watch.partition("?")
    scope: Scope = {
        **request.scope,
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [],
        "state": {"identity": identity},
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

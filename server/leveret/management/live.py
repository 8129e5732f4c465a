"""The live stream: what GET requests would answer, sent again when it changes (server-sent events).

A page asks for `/api/live?watch=PATH&watch=PATH&every=2`. Each path is requested as if by whoever
asked for the stream, at once and then every so many seconds; the rights are checked each time.
Streams of the same user share the answers (`shared_answers.py`).
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from leveret.management.authorisation import Access, NotAuthorised
from leveret.management.http import ERRORS, BadRequest, route
from leveret.management.shared_answers import Answer, SharedAnswers

WATCHES_MAX: Final = 8
"""Paths of a stream."""

EVERY_S: Final = 2
EVERY_S_MAX: Final = 60
"""Seconds between two requests."""

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
        asked = float(request.query_params.get("every", EVERY_S))
    except ValueError:
        raise BadRequest("every: expected a number of seconds") from None
    # In this order NaN becomes a second.
    every = min(EVERY_S_MAX, max(1, asked))
    return StreamingResponse(
        _events(request, watches, every), media_type="text/event-stream", headers=HEADERS
    )


async def _events(request: Request, watches: list[str], every: float) -> AsyncIterator[bytes]:
    seen: dict[str, bytes] = {}
    silent = 0.0
    fresh = True
    while True:
        for watch in watches:
            answer = await _answer(request, watch, fresh)
            if seen.get(watch) != answer.digest:
                seen[watch] = answer.digest
                silent = 0.0
                yield answer.event
        # What was done before the stream was opened has to be seen at once.
        fresh = False
        if silent >= LIFE_SIGN_S:
            silent = 0.0
            yield b": alive\n\n"
        silent += every
        await asyncio.sleep(every)


async def _answer(request: Request, watch: str, fresh: bool) -> Answer:
    """What a path answers to whoever asked for the stream."""
    try:
        identity = await request.app.state.identify(request)
    except NotAuthorised as error:
        refusal = await ERRORS[NotAuthorised](request, error)
        return Answer.of(watch, refusal.status_code, bytes(refusal.body))
    shared = request.app.state.shared_answers
    if not isinstance(shared, SharedAnswers):
        raise TypeError(shared)
    return await shared.answer(request, identity, watch, fresh=fresh)


ROUTES: Final = (route("/api/live", access=Access.USER, GET=get_live),)

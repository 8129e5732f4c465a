"""Moving, copying, replaying and discarding messages of a queue."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import READ
from leveret.engine.administration.move import (
    MOVED_AT_ONCE_MAX,
    Move,
    Selection,
    Target,
    to_exchange,
    to_origin,
    to_queue,
)
from leveret.engine.administration.values import check_short
from leveret.engine.queues.queue import Queue
from leveret.engine.values.json_values import to_json
from leveret.engine.vhost import VirtualHost
from leveret.management.api.peek import OFFSET_MAX
from leveret.management.authorisation import Access
from leveret.management.description import described
from leveret.management.http import (
    BadRequest,
    body,
    json,
    management,
    operator,
    rights,
    route,
    segment,
)
from leveret.management.objects import DEFAULT_EXCHANGE_NAME, find_queue, find_vhost


class SelectionBody(msgspec.Struct, kw_only=True):
    """Which messages are meant: those at positions, or else the first ones."""

    count: int = MOVED_AT_ONCE_MAX
    offset: int = 0
    """Messages of the queue that are passed over first."""
    positions: list[int | str] | None = None


class MoveBody(SelectionBody, kw_only=True):
    """Where messages are moved or copied to: a queue, or an exchange."""

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    """At an exchange; None for that of each message."""


class Moved(msgspec.Struct):
    """How far a move came."""

    moved: int
    refused_key: str | None
    """The routing key of a message that no queue takes; it stays, and ended the move."""


class Copied(msgspec.Struct):
    """How far a copy came."""

    copied: int
    refused_key: str | None
    next_offset: int | None
    """Where to go on; null if there is no further message."""


class Replayed(msgspec.Struct):
    """How far a replay came."""

    replayed: int
    left_out: int
    """Messages that are no dead letters, and stay."""
    refused_queue: str | None
    """A queue that does not take its message; that stays, and ended the replay."""


class Discarded(msgspec.Struct):
    """How many messages were dropped."""

    discarded: int


@described(takes=MoveBody, gives=Moved)
async def move_messages(request: Request) -> Response:
    """Move messages, as many as one request may; the answer says how many."""
    vhost, source = _source(request)
    given = await body(request, MoveBody)
    move = Move(vhost, source, _target(request, source, given), _selection(given))
    await _run(request, move, source, "messages moved", _where(given))
    return json(Moved(move.moved, to_json(move.refused_key)))


@described(takes=MoveBody, gives=Copied)
async def copy_messages(request: Request) -> Response:
    """As move, and the messages stay."""
    vhost, source = _source(request)
    given = await body(request, MoveBody)
    copy = Move(vhost, source, _target(request, source, given), _selection(given), copies=True)
    await _run(request, copy, source, "messages copied", _where(given))
    next_offset = None if copy.reader.at_end else given.offset + copy.moved
    return json(Copied(copy.moved, to_json(copy.refused_key), next_offset))


@described(takes=SelectionBody, gives=Replayed)
async def replay_messages(request: Request) -> Response:
    """Move dead letters back to the queues in which they died last."""
    vhost, source = _source(request)
    given = await body(request, SelectionBody)
    replay = Move(vhost, source, to_origin(rights(request, vhost.name)), _selection(given))
    await _run(request, replay, source, "messages replayed", {})
    return json(Replayed(replay.moved, replay.left_out, to_json(replay.refused_key)))


@described(takes=SelectionBody, gives=Discarded)
async def discard_messages(request: Request) -> Response:
    """Drop messages, none of which becomes a dead letter."""
    vhost, source = _source(request)
    given = await body(request, SelectionBody)
    if given.positions is None:
        raise BadRequest("positions: expected a list")
    discard = Move(vhost, source, None, _selection(given))
    await _run(request, discard, source, "messages discarded", {})
    return json(Discarded(discard.moved))


def _source(request: Request) -> tuple[VirtualHost, Queue]:
    """The queue of the path, of which who asks may take messages.

    :raises AmqpError: ACCESS_REFUSED without the right to read it.
    """
    vhost, source = find_queue(request)
    rights(request, vhost.name).check_queue(READ, source.name)
    return vhost, source


def _selection(given: SelectionBody) -> Selection:
    if given.count < 0:
        raise BadRequest("count: expected 0 or more")
    if not 0 <= given.offset <= OFFSET_MAX:
        raise BadRequest(f"offset: expected 0 to {OFFSET_MAX}")
    positions = given.positions
    if positions is None:
        return Selection(given.count, None, given.offset)
    if len(positions) > MOVED_AT_ONCE_MAX:
        raise BadRequest(f"positions: expected {MOVED_AT_ONCE_MAX} at most")
    try:
        return Selection(positions=[int(position) for position in positions])
    except ValueError:
        raise BadRequest("positions: expected those that a look at the queue shows") from None


def _target(request: Request, source: Queue, given: MoveBody) -> Target:
    if (given.queue is None) == (given.exchange is None):
        raise BadRequest("expected either a queue or an exchange")
    vhost = find_vhost(request)
    allowed = rights(request, vhost.name)
    if given.queue is not None:
        return to_queue(vhost, source, given.queue, allowed)
    name = "" if given.exchange == DEFAULT_EXCHANGE_NAME else given.exchange or ""
    if given.routing_key is not None:
        check_short("a routing key", given.routing_key)
    return to_exchange(vhost, name, given.routing_key, allowed)


def _where(given: MoveBody) -> dict[str, Any]:
    return {"to_queue": given.queue, "to_exchange": given.exchange}


async def _run(
    request: Request, move: Move, source: Queue, what: str, fields: dict[str, Any]
) -> None:
    """Do what is asked for, wait until it is durable, and note it in the audit log."""
    service = management(request)
    await service.run_reading(move)
    await service.committed()
    name = {"vhost": segment(request, "vhost"), "name": source.name}
    operator(request).log(what, {**name, **fields, "messages": move.moved})


ROUTES: Final = (
    route("/api/queues/{vhost}/{name}/move", change=Access.VHOST, POST=move_messages),
    route("/api/queues/{vhost}/{name}/copy", change=Access.VHOST, POST=copy_messages),
    route("/api/queues/{vhost}/{name}/replay", change=Access.VHOST, POST=replay_messages),
    route("/api/queues/{vhost}/{name}/discard", change=Access.VHOST, POST=discard_messages),
)

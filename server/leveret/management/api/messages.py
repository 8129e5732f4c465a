"""Publishing and getting messages (RabbitMQ: HTTP API Reference, publish and get)."""

import asyncio
import base64
from binascii import Error as Base64Error
from typing import Any, Final, Literal

import msgspec
from pamqp.commands import Basic
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.move import Move, to_exchange, to_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import REFUSED, Sink
from leveret.engine.values.json_values import to_json
from leveret.engine.values.message import Message, exchange_and_key, short_strings
from leveret.engine.values.settings import NONE
from leveret.engine.values.text import octets_of_text, text_of
from leveret.engine.vhost import VirtualHost
from leveret.management.http import (
    BadRequest,
    body,
    json,
    management,
    operator,
    route,
    segment,
)
from leveret.management.objects import DEFAULT_EXCHANGE_NAME, find_queue, find_vhost
from leveret.protocol.channels.published_properties import PERSISTENT, check
from leveret.protocol.wire.methods import PROPERTIES, encode_header, properties

PUBLISH_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of the body of a publish request."""

GET_COUNT_MAX: Final = 10_000
GET_BYTES_MAX: Final = 16 * 1024 * 1024
"""Messages, and bytes of their bodies, that one request gets."""

PEEK_COUNT_MAX: Final = 100
PEEK_BYTES_MAX: Final = 1024 * 1024
"""Messages, and bytes of their bodies, that one request looks at, which may wait for the disk."""

MOVE_COUNT_MAX: Final = 1_000
"""Messages that one request moves; a client asks again for more."""

MOVE_RETRY_S: Final = 0.01
"""Seconds after which a move looks again for what it waits for: the disk, or a transaction."""

Encoding = Literal["string", "base64"]
AckMode = Literal[
    "ack_requeue_true", "ack_requeue_false", "reject_requeue_true", "reject_requeue_false"
]


class PublishBody(msgspec.Struct):
    """A message, as POST takes it."""

    routing_key: str
    payload: str
    payload_encoding: Encoding = "string"
    properties: dict[str, Any] = {}


class GetBody(msgspec.Struct):
    """What is asked for."""

    count: int
    ackmode: AckMode
    encoding: Literal["auto", "base64"]
    truncate: int | None = None


async def post_message(request: Request) -> Response:
    vhost, name = find_vhost(request), segment(request, "name")
    given = await body(request, PublishBody, PUBLISH_BYTES_MAX)
    exchange = "" if name == DEFAULT_EXCHANGE_NAME else name
    message, keys = _message(vhost, exchange, given)
    sinks = _sinks(vhost, exchange, [given.routing_key, *keys], message)
    outcome = vhost.publisher.publish(message, sinks)
    await management(request).committed()
    return json({"routed": bool(sinks) and not outcome & REFUSED})


def _message(vhost: VirtualHost, exchange: str, given: PublishBody) -> tuple[Message, list[str]]:
    """The message that is given, and the routing keys in CC and BCC."""
    try:
        payload = (
            base64.b64decode(given.payload, validate=True)
            if given.payload_encoding == "base64"
            else given.payload.encode()
        )
    except (Base64Error, ValueError):
        raise BadRequest("payload: no base64") from None
    try:
        header = encode_header(Basic.Properties(**given.properties), len(payload))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"properties: {error}") from None
    checked = check(header, None, b"")
    now = int(vhost.clock.now)
    raw = short_strings(octets_of_text(exchange), octets_of_text(given.routing_key))
    persistent = given.properties.get("delivery_mode") == PERSISTENT
    expires_at = now + checked.ttl if checked.ttl != NONE else 0
    message = Message(raw, checked.header, payload, persistent, now, expires_at)
    return message, checked.keys


def _sinks(
    vhost: VirtualHost, exchange: str, routing_keys: list[str], message: Message
) -> list[Sink]:
    found = vhost.router.route(message.route)
    if found.needs_message or len(routing_keys) > 1:
        return vhost.router.sinks_for(exchange, routing_keys, message)
    return found.sinks


async def get_messages(request: Request) -> Response:
    _, queue = find_queue(request)
    given = await body(request, GetBody)
    if not 0 <= given.count <= GET_COUNT_MAX:
        raise BadRequest(f"count: expected 0 to {GET_COUNT_MAX}")
    found = _take(queue, given)
    await management(request).committed()
    return json(found)


class PeekBody(msgspec.Struct):
    """How many messages are looked at, and how they are shown."""

    count: int = 1
    encoding: Literal["auto", "base64"] = "auto"
    truncate: int | None = None


async def peek_messages(request: Request) -> Response:
    """Show the next messages, and change nothing."""
    _, queue = find_queue(request)
    given = await body(request, PeekBody)
    if not 0 <= given.count <= PEEK_COUNT_MAX:
        raise BadRequest(f"count: expected 0 to {PEEK_COUNT_MAX}")
    how = GetBody(given.count, "ack_requeue_true", given.encoding, given.truncate)
    found = queue.peek(given.count, PEEK_BYTES_MAX)
    ready = int(queue.message_count())
    pairs = zip(found.messages, found.redelivered, strict=True)
    return json([_shown(message, redelivered, ready, how) for message, redelivered in pairs])


class MoveBody(msgspec.Struct):
    """Where messages are moved to: a queue, or an exchange, and how many at most."""

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    count: int = MOVE_COUNT_MAX


async def move_messages(request: Request) -> Response:
    """Move messages, as many as one request may; the answer says how many."""
    vhost, source = find_queue(request)
    given = await body(request, MoveBody)
    if (given.queue is None) == (given.exchange is None):
        raise BadRequest("expected either a queue or an exchange")
    if given.count < 0:
        raise BadRequest("count: expected 0 or more")
    if given.queue is not None:
        target = to_queue(vhost, source, given.queue)
    else:
        name = "" if given.exchange == DEFAULT_EXCHANGE_NAME else given.exchange or ""
        target = to_exchange(vhost, name, given.routing_key)
    move = Move(vhost, source, target, min(given.count, MOVE_COUNT_MAX))
    service = management(request)
    await service.run(move)
    while not move.is_done:
        await asyncio.sleep(MOVE_RETRY_S)
        await service.run(move)
    await service.committed()
    operator(request).log(
        "messages moved",
        {
            "vhost": vhost.name,
            "name": source.name,
            "to_queue": given.queue,
            "to_exchange": given.exchange,
            "messages": move.moved,
        },
    )
    return json({"moved": move.moved, "refused_key": to_json(move.refused_key)})


def _take(queue: Queue, given: GetBody) -> list[dict[str, Any]]:
    """Take messages, and settle them as asked for."""
    taken: list[tuple[Message, int]] = []
    shown: list[dict[str, Any]] = []
    size = 0
    while len(taken) < given.count and size < GET_BYTES_MAX:
        popped = queue.take()
        if popped is None:
            break
        message, position, redelivered = popped
        size += len(message.body)
        taken.append((message, position))
        shown.append(_shown(message, redelivered, int(queue.message_count()), given))
    for message, position in taken:
        if given.ackmode == "ack_requeue_false":
            queue.settle(position)
        elif given.ackmode == "reject_requeue_false":
            queue.reject(message, position)
        else:
            queue.requeue(message, position, failed=given.ackmode == "reject_requeue_true")
    queue.deliver_ready()
    return shown


def _shown(message: Message, redelivered: bool, remaining: int, given: GetBody) -> dict[str, Any]:
    exchange, routing_key = exchange_and_key(message.route)
    payload = message.body if given.truncate is None else message.body[: max(given.truncate, 0)]
    encoding: Encoding = "base64"
    text = ""
    if given.encoding == "auto":
        try:
            text, encoding = payload.decode(), "string"
        except UnicodeDecodeError:
            encoding = "base64"
    return {
        "payload_bytes": len(message.body),
        "redelivered": redelivered,
        "exchange": to_json(text_of(exchange)),
        "routing_key": to_json(text_of(routing_key)),
        "message_count": remaining,
        "properties": shown_properties(message.header),
        "payload": text if encoding == "string" else base64.b64encode(payload).decode(),
        "payload_encoding": encoding,
    }


def shown_properties(header: bytes) -> dict[str, Any]:
    """The properties of a content header that are set."""
    found = properties(header)
    values = {name: getattr(found, name) for name, _, _ in PROPERTIES}
    # pamqp says "" of a cluster id that is not there.
    return {name: to_json(value) for name, value in values.items() if value not in (None, "")}


ROUTES: Final = (
    route("/api/exchanges/{vhost}/{name}/publish", POST=post_message),
    route("/api/queues/{vhost}/{name}/get", POST=get_messages),
    route("/api/queues/{vhost}/{name}/peek", POST=peek_messages),
    route("/api/queues/{vhost}/{name}/move", POST=move_messages),
)

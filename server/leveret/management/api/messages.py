"""Publishing and getting messages (RabbitMQ: HTTP API Reference, publish and get)."""

import base64
from binascii import Error as Base64Error
from typing import Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import READ, WRITE
from leveret.engine.administration.values import check_short
from leveret.engine.lifecycle.names import check_owner
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.observer import Origin
from leveret.engine.routing.sink import REFUSED, Sink
from leveret.engine.values.json_values import to_json
from leveret.engine.values.message import Message, exchange_and_key, short_strings
from leveret.engine.values.settings import NONE
from leveret.engine.values.text import octets_of_text, text_of
from leveret.engine.vhost import VirtualHost
from leveret.management.authorisation import Access
from leveret.management.content_header import content_header
from leveret.management.description import described
from leveret.management.http import (
    BadRequest,
    body,
    identity,
    json,
    management,
    rights,
    route,
    segment,
)
from leveret.management.objects import (
    DEFAULT_EXCHANGE_NAME,
    find_queue,
    find_vhost,
    owner_for,
    prepared_take,
)
from leveret.protocol.channels.published_properties import PERSISTENT, check
from leveret.protocol.wire.methods import PROPERTIES, properties

PUBLISH_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of the body of a publish request."""

GET_COUNT_MAX: Final = 10_000
GET_BYTES_MAX: Final = 16 * 1024 * 1024
"""Messages, and bytes of their bodies, that one request gets."""

Encoding = Literal["string", "base64"]
ShownEncoding = Literal["auto", "base64"]
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
    encoding: ShownEncoding
    truncate: int | None = None


@described(takes=PublishBody)
async def post_message(request: Request) -> Response:
    """Publish a message; `routed` says whether a queue took it."""
    vhost, name = find_vhost(request), segment(request, "name")
    given = await body(request, PublishBody, PUBLISH_BYTES_MAX)
    exchange = "" if name == DEFAULT_EXCHANGE_NAME else name
    message, keys = _message(vhost, exchange, given)
    _check_may_publish(request, vhost, exchange, [given.routing_key, *keys])
    _check_user_id(request, given.properties.get("user_id"))
    sinks = _sinks(vhost, exchange, [given.routing_key, *keys], message)
    vhost.router.tell(exchange, [given.routing_key, *keys], message, sinks, Origin.CLIENT)
    outcome = vhost.publisher.publish(message, sinks)
    if outcome & REFUSED:
        vhost.router.tell_refused(message)
    await management(request).committed()
    return json({"routed": bool(sinks) and not outcome & REFUSED})


def _check_user_id(request: Request, user: object) -> None:
    """Check that a message says nobody else has published it.

    :raises BadRequest: if it does.
    """
    by = identity(request)
    if user is not None and user != by.name and not by.is_owner:
        raise BadRequest(f"user_id property set to '{user}' but authenticated user was '{by.name}'")


def _check_may_publish(
    request: Request, vhost: VirtualHost, exchange: str, routing_keys: list[str]
) -> None:
    """Check the right to publish.

    :raises AmqpError: ACCESS_REFUSED.
    """
    asking = rights(request, vhost.name)
    asking.check_exchange(WRITE, exchange)
    if asking.has_topics and vhost.router.is_topic(exchange):
        for routing_key in routing_keys:
            asking.check_topic(WRITE, exchange, routing_key)


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
    check_short("a routing key", given.routing_key)
    header = content_header(given.properties, len(payload))
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


@described(takes=GetBody)
async def get_messages(request: Request) -> Response:
    """Take messages from a queue, and acknowledge, reject or requeue them."""
    vhost, queue = find_queue(request)
    rights(request, vhost.name).check_queue(READ, queue.name)
    given = await body(request, GetBody)
    check_owner(vhost, queue, owner_for(request, queue))
    if not 0 <= given.count <= GET_COUNT_MAX:
        raise BadRequest(f"count: expected 0 to {GET_COUNT_MAX}")
    found = await _take(queue, given)
    await management(request).committed()
    return json(found)


async def _take(queue: Queue, given: GetBody) -> list[dict[str, Any]]:
    """Take messages, and settle them as asked for; requeue them if the client leaves before."""
    taken: list[tuple[Message, int]] = []
    shown: list[dict[str, Any]] = []
    size = 0
    ackmode: AckMode = "ack_requeue_true"
    try:
        while len(taken) < given.count and size < GET_BYTES_MAX:
            await prepared_take(queue)
            popped = queue.take()
            if popped is None:
                break
            message, position, redelivered = popped
            size += len(message.body)
            taken.append((message, position))
            remaining = int(queue.message_count())
            shown.append(
                shown_message(message, redelivered, remaining, given.encoding, given.truncate)
            )
        ackmode = given.ackmode
    finally:
        _settle(queue, taken, ackmode)
    return shown


def _settle(queue: Queue, taken: list[tuple[Message, int]], ackmode: AckMode) -> None:
    for message, position in taken:
        if ackmode == "ack_requeue_false":
            queue.settle(position)
        elif ackmode == "reject_requeue_false":
            queue.reject(message, position)
        else:
            queue.requeue(message, position, failed=ackmode == "reject_requeue_true")
    queue.deliver_ready()


def shown_message(
    message: Message,
    redelivered: bool,
    remaining: int,
    wanted: ShownEncoding,
    truncate: int | None,
) -> dict[str, Any]:
    """A message as RabbitMQ shows it.

    :param remaining: messages that are ready behind it.
    :param wanted: "auto" to show text as it is.
    :param truncate: bytes of the body that are shown at most.
    """
    exchange, routing_key = exchange_and_key(message.route)
    payload = message.body if truncate is None else message.body[: max(truncate, 0)]
    encoding: Encoding = "base64"
    text = ""
    if wanted == "auto":
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
    route("/api/exchanges/{vhost}/{name}/publish", change=Access.VHOST, POST=post_message),
    route("/api/queues/{vhost}/{name}/get", change=Access.VHOST, POST=get_messages),
)

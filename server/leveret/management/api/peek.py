"""A look at the messages of a queue that changes nothing, and a search among them."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import READ
from leveret.engine.administration.reader import Found
from leveret.engine.administration.search import Filter, Search
from leveret.engine.values.text import octets_of_text
from leveret.management.api.messages import ShownEncoding, shown_message, shown_properties
from leveret.management.authorisation import Access
from leveret.management.description import described
from leveret.management.http import BadRequest, body, json, management, rights, route
from leveret.management.objects import find_queue
from leveret.protocol.wire.methods import PROPERTIES

PEEK_COUNT_MAX: Final = 100
PEEK_BYTES_MAX: Final = 1024 * 1024
"""Messages, and bytes of their bodies, that one request shows."""

OFFSET_MAX: Final = 2**53
"""Messages that may be passed over: more than any queue has, and exact in JavaScript."""

PROPERTY_NAMES: Final = " ".join(name for name, _, _ in PROPERTIES)


class PeekBody(msgspec.Struct):
    """Which messages are looked at, and how they are shown."""

    count: int = 1
    """Messages at most."""
    offset: int = 0
    """Messages of the queue that are passed over first."""
    encoding: ShownEncoding = "auto"
    truncate: int | None = None
    routing_key: str = ""
    payload: str = ""
    """What the routing key, and the body, contain."""
    header: str = ""
    header_value: str = ""
    """What the name, and the value as text, of one header or property contain."""


class PeekedMessage(msgspec.Struct):
    """A message that is ready, as `get` shows it."""

    position: str
    """Names it as long as it is in the queue."""
    payload_bytes: int
    redelivered: bool
    exchange: str
    routing_key: str
    message_count: int
    """Messages that are ready."""
    properties: dict[str, Any]
    payload: str
    payload_encoding: str


class PeekAnswer(msgspec.Struct):
    """The messages that were found."""

    messages: list[PeekedMessage]
    scanned: int
    """Messages that were read."""
    next_offset: int | None
    """Where to go on; null if there is no further message."""


@described(takes=PeekBody, gives=PeekAnswer)
async def peek_messages(request: Request) -> Response:
    """Show the next messages that match."""
    vhost, queue = find_queue(request)
    rights(request, vhost.name).check_queue(READ, queue.name)
    given = await body(request, PeekBody)
    if not 0 <= given.count <= PEEK_COUNT_MAX:
        raise BadRequest(f"count: expected 0 to {PEEK_COUNT_MAX}")
    if not 0 <= given.offset <= OFFSET_MAX:
        raise BadRequest(f"offset: expected 0 to {OFFSET_MAX}")
    wanted = Filter(
        octets_of_text(given.routing_key),
        octets_of_text(given.payload),
        _header_filter(given.header, given.header_value),
    )
    search = Search(queue, given.offset, given.count, PEEK_BYTES_MAX, wanted, given.truncate)
    await management(request).run_reading(search)
    ready = int(queue.message_count())
    messages = [_shown(found, ready, given) for found in search.found]
    return json(PeekAnswer(messages, search.reader.count, search.next_offset))


def _shown(found: Found, ready: int, given: PeekBody) -> PeekedMessage:
    position, message, redelivered = found
    shown = shown_message(message, redelivered, ready, given.encoding, given.truncate)
    # As text, because numbers of more than 53 bits are not exact in JavaScript.
    return PeekedMessage(str(position), **shown)


def _header_filter(name: str, value: str) -> Callable[[bytes], bool] | None:
    """Whether a content header has a header or a property with such a name and value."""
    if not name and not value:
        return None
    octets = octets_of_text(name)
    is_property = name in PROPERTY_NAMES

    def matches(header: bytes) -> bool:
        # Names of headers are in it as they are, so most need not be decoded.
        if not is_property and octets not in header:
            return False
        shown = shown_properties(header)
        headers = shown.pop("headers", None) or {}
        return any(
            name in each and value in str(found)
            for values in (shown, headers)
            for each, found in values.items()
        )

    return matches


ROUTES: Final = (route("/api/queues/{vhost}/{name}/peek", change=Access.VHOST, POST=peek_messages),)

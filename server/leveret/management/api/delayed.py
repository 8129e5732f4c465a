"""The messages of delayed exchanges that are not due: they are listed, and one can be cancelled."""

import base64
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import READ, WRITE
from leveret.engine.administration.delayed_messages import Delayed, DelayedCancel, DelayedListing
from leveret.engine.administration.operator import NotFound
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.values.json_values import to_json
from leveret.engine.values.message import exchange_and_key
from leveret.engine.values.text import text_of
from leveret.engine.vhost import VirtualHost
from leveret.management.api.messages import shown_properties
from leveret.management.authorisation import Access
from leveret.management.columns import Column, Columns
from leveret.management.description import ListOf, described
from leveret.management.http import management, operator, rights, route, segment
from leveret.management.listing import listed
from leveret.management.objects import find_exchange

SHOWN_BYTES: Final = 1024
"""Bytes of each body that are shown."""


class DelayedRow(NamedTuple):
    """A message as it is listed: no more of the body is kept than is shown."""

    id: str
    due: int
    route: bytes
    header: bytes
    size: int
    payload: str
    encoding: str


DELAYED: Final[Columns[DelayedRow]] = Columns(
    "DelayedMessage",
    Column(
        "id",
        str,
        lambda row: row.id,
        "Names it until it is due; equal messages have one id",
    ),
    Column("due", int, lambda row: row.due, "Milliseconds since the epoch"),
    Column("exchange", str, lambda row: to_json(text_of(exchange_and_key(row.route)[0]))),
    Column("routing_key", str, lambda row: to_json(text_of(exchange_and_key(row.route)[1]))),
    Column("payload_bytes", int, lambda row: row.size),
    Column("properties", dict[str, Any], lambda row: shown_properties(row.header)),
    Column("payload", str, lambda row: row.payload, "The first kilobyte"),
    Column("payload_encoding", str, lambda row: row.encoding, "string, or base64"),
)


@described(gives=ListOf(DELAYED))
async def get_delayed(request: Request) -> Response:
    """The messages of a delayed exchange, in the order in which they are due."""
    vhost, store = _find(request)
    rights(request, vhost.name).check_exchange(READ, store.exchange)
    listing = DelayedListing(store)
    await management(request).run_reading(listing)
    behind = int(vhost.clock.behind)
    return await listed(request, DELAYED, [_row(each, behind) for each in listing.found])


async def cancel_delayed(request: Request) -> Response:
    """Drop a message; it never reaches a queue."""
    vhost, store = _find(request)
    rights(request, vhost.name).check_exchange(WRITE, store.exchange)
    message_id = segment(request, "id")
    cancel = DelayedCancel(store, message_id)
    await management(request).run_reading(cancel)
    if not cancel.was_there:
        raise NotFound(f"no message '{message_id}' waits in exchange '{store.exchange}'")
    await management(request).committed()
    fields = {"vhost": vhost.name, "exchange": store.exchange, "id": message_id}
    operator(request).log("delayed message cancelled", fields)
    return Response(status_code=204)


def _find(request: Request) -> tuple[VirtualHost, DelayedStore]:
    """The delayed exchange of the path.

    :raises NotFound: if the exchange does not exist, or delays nothing.
    """
    vhost, exchange = find_exchange(request)
    store = vhost.delayed_stores.get(exchange.name)
    if store is None:
        raise NotFound(f"exchange '{exchange.name}' does not delay messages")
    return vhost, store


def _row(delayed: Delayed, behind: int) -> DelayedRow:
    message = delayed.message
    payload = message.body[:SHOWN_BYTES]
    try:
        shown, encoding = payload.decode(), "string"
    except UnicodeDecodeError:
        shown, encoding = base64.b64encode(payload).decode(), "base64"
    return DelayedRow(
        delayed.id,
        delayed.due + behind,
        message.route,
        message.header,
        len(message.body),
        shown,
        encoding,
    )


ROUTES: Final = (
    route("/api/exchanges/{vhost}/{name}/delayed", access=Access.VHOST, GET=get_delayed),
    route("/api/exchanges/{vhost}/{name}/delayed/{id}", change=Access.VHOST, DELETE=cancel_delayed),
)

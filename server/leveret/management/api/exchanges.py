"""Exchanges (RabbitMQ: HTTP API Reference, /api/exchanges)."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import CONFIGURE
from leveret.engine.administration.values import check_name
from leveret.engine.lifecycle import exchanges
from leveret.engine.lifecycle.names import refuse_default_exchange
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.vhost import VirtualHost
from leveret.management.authorisation import Access
from leveret.management.description import ListOf, described
from leveret.management.http import (
    body,
    changed,
    json,
    moment,
    operator,
    rights,
    route,
    table,
)
from leveret.management.listing import listed
from leveret.management.nouns.bindings import BINDING, binding_row, default_binding_row
from leveret.management.nouns.exchanges import EXCHANGE, ExchangeRow
from leveret.management.objects import exchange_name, find_exchange, find_vhost, vhosts_of
from leveret.management.statistics.details import Moment


class ExchangeBody(msgspec.Struct):
    """An exchange, as PUT takes it."""

    type: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] | list[Any] = {}


def _exchanges(vhosts: list[VirtualHost], at: Moment) -> Iterator[ExchangeRow]:
    for vhost in vhosts:
        yield ExchangeRow(vhost, None, at)
        for exchange in list(vhost.exchanges.values()):
            yield ExchangeRow(vhost, exchange, at)


@described(gives=ListOf(EXCHANGE))
async def get_exchanges(request: Request) -> Response:
    """The exchanges, of all virtual hosts or of one."""
    return await listed(request, EXCHANGE, _exchanges(vhosts_of(request), moment(request)))


@described(gives=EXCHANGE)
async def get_exchange(request: Request) -> Response:
    """One exchange."""
    if exchange_name(request):
        row = ExchangeRow(*find_exchange(request), moment(request))
    else:
        row = ExchangeRow(find_vhost(request), None, moment(request))
    return json({"incoming": [], "outgoing": [], **EXCHANGE.shown(row)})


@described(takes=ExchangeBody)
async def put_exchange(request: Request) -> Response:
    """Declare an exchange."""
    vhost, name = find_vhost(request), exchange_name(request)
    given = await body(request, ExchangeBody)
    check_name("exchange", name)
    created = name not in vhost.exchanges
    exchanges.declare_exchange(
        vhost,
        ExchangeDeclaration(
            given.type,
            name,
            durable=given.durable,
            auto_delete=given.auto_delete,
            internal=given.internal,
            arguments=table(given.arguments, "arguments"),
        ),
        rights(request, vhost.name),
    )
    if created:
        fields = {"vhost": vhost.name, "name": name}
        operator(request).log("exchange declared", fields)
    return await changed(request, created=created)


async def delete_exchange(request: Request) -> Response:
    """Delete an exchange with its bindings; `if-unused` refuses it if there are any."""
    refuse_default_exchange(exchange_name(request))
    vhost, exchange = find_exchange(request)
    exchanges.refuse_predeclared(vhost, exchange.name)
    rights(request, vhost.name).check_exchange(CONFIGURE, exchange.name)
    if_unused = request.query_params.get("if-unused") == "true"
    exchanges.delete_exchange(vhost, exchange.name, if_unused=if_unused)
    fields = {"vhost": vhost.name, "name": exchange.name}
    operator(request).log("exchange deleted", fields)
    return await changed(request)


@described(gives=ListOf(BINDING))
async def get_bindings_from(request: Request) -> Response:
    """The bindings whose source is this exchange."""
    if not exchange_name(request):
        vhost = find_vhost(request)
        return await listed(
            request, BINDING, (default_binding_row(vhost.name, name) for name in list(vhost.queues))
        )
    vhost, exchange = find_exchange(request)
    return await listed(
        request, BINDING, (binding_row(vhost.name, each) for each in exchange.bindings())
    )


@described(gives=ListOf(BINDING))
async def get_bindings_to(request: Request) -> Response:
    """The bindings whose destination is this exchange."""
    if not exchange_name(request):
        find_vhost(request)
        return json([])
    vhost, exchange = find_exchange(request)
    return await listed(
        request,
        BINDING,
        (
            binding_row(vhost.name, binding)
            for source in list(vhost.exchanges.values())
            for binding in source.bindings()
            if binding.destination is exchange
        ),
    )


ROUTES: Final = (
    route("/api/exchanges", change=Access.VHOST, GET=get_exchanges),
    route("/api/exchanges/{vhost}", change=Access.VHOST, GET=get_exchanges),
    route(
        "/api/exchanges/{vhost}/{name}",
        change=Access.VHOST,
        GET=get_exchange,
        PUT=put_exchange,
        DELETE=delete_exchange,
    ),
    route(
        "/api/exchanges/{vhost}/{name}/bindings/source", change=Access.VHOST, GET=get_bindings_from
    ),
    route(
        "/api/exchanges/{vhost}/{name}/bindings/destination",
        change=Access.VHOST,
        GET=get_bindings_to,
    ),
)

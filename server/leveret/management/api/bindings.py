"""Bindings (RabbitMQ: HTTP API Reference, /api/bindings)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import READ, WRITE, Rights
from leveret.engine.administration.operator import NotFound
from leveret.engine.administration.values import check_short
from leveret.engine.lifecycle import bindings
from leveret.engine.routing.exchanges.base import Binding, Destination, Exchange
from leveret.engine.vhost import VirtualHost
from leveret.management.authorisation import Access
from leveret.management.description import ListOf, described
from leveret.management.http import (
    body,
    changed,
    json,
    operator,
    rights,
    route,
    segment,
    table,
)
from leveret.management.listing import listed, selected
from leveret.management.nouns.bindings import (
    BINDING,
    BindingRow,
    binding_row,
    default_binding_row,
    has_properties_key,
    properties_key,
)
from leveret.management.objects import exchange_name, find_vhost, owner_for, vhosts_of


class BindingBody(msgspec.Struct):
    """A binding, as POST takes it."""

    routing_key: str = ""
    arguments: dict[str, Any] | list[Any] = {}


def _bindings(vhosts: list[VirtualHost]) -> Iterator[BindingRow]:
    for vhost in vhosts:
        for name in list(vhost.queues):
            yield default_binding_row(vhost.name, name)
        for exchange in list(vhost.exchanges.values()):
            for binding in exchange.bindings():
                yield binding_row(vhost.name, binding)


@described(gives=ListOf(BINDING))
async def get_bindings(request: Request) -> Response:
    """The bindings of a queue, of a virtual host, or all."""
    return await listed(request, BINDING, _bindings(vhosts_of(request)))


async def _between(
    request: Request, vhost: VirtualHost, wanted: Callable[[Binding], bool]
) -> list[Binding]:
    """Those that are wanted of the bindings between the two ends that the path names."""
    source = vhost.exchanges.get(segment(request, "source"))
    name = segment(request, "destination")
    destination: Destination | None
    if segment(request, "type") == "e":
        destination = vhost.exchanges.get(name)
    else:
        queue = vhost.queues.get(name)
        destination = None if queue is None else queue.destination
    if source is None or destination is None:
        return []
    bindings = destination.incoming()
    if source.binding_count() < len(bindings):
        bindings = source.bindings()
    return await selected(
        request,
        bindings,
        lambda each: each.source is source and each.destination is destination and wanted(each),
    )


@described(gives=ListOf(BINDING))
async def get_bindings_between(request: Request) -> Response:
    """The bindings between an exchange and a queue (`q`) or an exchange (`e`)."""
    vhost, destination = find_vhost(request), segment(request, "destination")
    rows: Iterable[BindingRow]
    if not exchange_name(request, "source") and destination in vhost.queues:
        rows = [default_binding_row(vhost.name, destination)]
    else:
        found = await _between(request, vhost, lambda _: True)
        rows = (binding_row(vhost.name, each) for each in found)
    return await listed(request, BINDING, rows)


def _check_rights(
    vhost: VirtualHost,
    asking: Rights,
    ends: tuple[str, str],
    routing_key: str,
    *,
    to_exchange: bool,
) -> None:
    """Check the rights to bind or unbind a destination and a source.

    :raises AmqpError: ACCESS_REFUSED.
    """
    destination, source = ends
    check_destination = asking.check_exchange if to_exchange else asking.check_queue
    check_destination(WRITE, destination)
    asking.check_exchange(READ, source)
    if asking.has_topics and vhost.router.is_topic(source):
        asking.check_topic(READ, source, routing_key)


@described(takes=BindingBody)
async def post_binding(request: Request) -> Response:
    """Bind a queue or an exchange; `Location` has the path of the binding."""
    vhost = find_vhost(request)
    source, destination = exchange_name(request, "source"), segment(request, "destination")
    to_exchange = segment(request, "type") == "e"
    given = await body(request, BindingBody)
    check_short("a routing key", given.routing_key)
    key, arguments = given.routing_key, table(given.arguments, "arguments")
    asking, ends = rights(request, vhost.name), (destination, source)
    _check_rights(vhost, asking, ends, key, to_exchange=to_exchange)
    if to_exchange:
        bindings.bind_exchange(vhost, destination, source, key, arguments)
    else:
        owner = owner_for(request, vhost.queues.get(destination))
        bindings.bind_queue(vhost, destination, source, key, arguments, owner)
    fields = {"vhost": vhost.name, "source": source, "destination": destination}
    operator(request).log("binding added", {**fields, "routing_key": key})
    response = await changed(request, created=True)
    name = quote(properties_key(key, arguments), safe="")
    response.headers["Location"] = f"{quote(destination, safe='')}/{name}"
    return response


async def _binding_of_path(request: Request) -> tuple[VirtualHost, Binding]:
    vhost, key = find_vhost(request), segment(request, "properties_key")
    for binding in await _between(request, vhost, lambda each: has_properties_key(each, key)):
        return vhost, binding
    raise NotFound("no such binding")


@described(gives=BINDING)
async def get_binding(request: Request) -> Response:
    """One binding."""
    vhost, binding = await _binding_of_path(request)
    return json(BINDING.shown(binding_row(vhost.name, binding)))


async def delete_binding(request: Request) -> Response:
    """Remove a binding."""
    vhost, binding = await _binding_of_path(request)
    ends = binding.destination.name, binding.source.name
    to_exchange = isinstance(binding.destination, Exchange)
    asking = rights(request, vhost.name)
    _check_rights(vhost, asking, ends, binding.routing_key, to_exchange=to_exchange)
    if to_exchange:
        bindings.unbind_exchange(vhost, *ends, binding.routing_key, binding.arguments)
    else:
        owner = owner_for(request, vhost.queues.get(binding.destination.name))
        bindings.unbind_queue(vhost, *ends, binding.routing_key, binding.arguments, owner)
    fields = {"vhost": vhost.name, "source": ends[1], "destination": ends[0]}
    fields["routing_key"] = binding.routing_key
    operator(request).log("binding removed", fields)
    return await changed(request)


_BETWEEN: Final = "/api/bindings/{vhost}/e/{source}/{type}/{destination}"

ROUTES: Final = (
    route("/api/bindings", change=Access.VHOST, GET=get_bindings),
    route("/api/bindings/{vhost}", change=Access.VHOST, GET=get_bindings),
    route(_BETWEEN, change=Access.VHOST, GET=get_bindings_between, POST=post_binding),
    route(
        f"{_BETWEEN}/{{properties_key}}",
        change=Access.VHOST,
        GET=get_binding,
        DELETE=delete_binding,
    ),
)

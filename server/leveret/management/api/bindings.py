"""Bindings (RabbitMQ: HTTP API Reference, /api/bindings)."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.operator import NotFound
from leveret.engine.lifecycle import bindings
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Binding, Exchange
from leveret.engine.vhost import VirtualHost
from leveret.management.authorisation import Access
from leveret.management.http import body, changed, json, operator, route, segment
from leveret.management.listing import listed
from leveret.management.nouns.bindings import (
    BINDING,
    BindingRow,
    binding_row,
    default_binding_row,
    properties_key,
)
from leveret.management.objects import find_exchange, find_vhost, vhosts_of


class BindingBody(msgspec.Struct):
    """A binding, as POST takes it."""

    routing_key: str = ""
    arguments: dict[str, Any] = {}


def bindings_to_queue(vhost: VirtualHost, queue: Queue) -> Iterator[Binding]:
    """The bindings that lead to a queue."""
    for exchange in list(vhost.exchanges.values()):
        for binding in exchange.bindings():
            if binding.destination is queue.destination:
                yield binding


def _bindings(vhosts: list[VirtualHost]) -> Iterator[BindingRow]:
    for vhost in vhosts:
        for name in list(vhost.queues):
            yield default_binding_row(vhost.name, name)
        for exchange in list(vhost.exchanges.values()):
            for binding in exchange.bindings():
                yield binding_row(vhost.name, binding)


async def get_bindings(request: Request) -> Response:
    return await listed(request, BINDING, _bindings(vhosts_of(request)))


def _between(request: Request) -> tuple[VirtualHost, list[Binding]]:
    """The bindings between the two ends that the path names."""
    vhost, source = find_exchange(request, "source")
    name, to_exchange = segment(request, "destination"), segment(request, "type") == "e"
    found = [
        binding
        for binding in source.bindings()
        if binding.destination.name == name
        and isinstance(binding.destination, Exchange) == to_exchange
    ]
    return vhost, found


async def get_bindings_between(request: Request) -> Response:
    vhost, found = _between(request)
    return json([BINDING.shown(binding_row(vhost.name, binding)) for binding in found])


async def post_binding(request: Request) -> Response:
    vhost = find_vhost(request)
    source, destination = segment(request, "source"), segment(request, "destination")
    given = await body(request, BindingBody)
    if segment(request, "type") == "e":
        bindings.bind_exchange(vhost, destination, source, given.routing_key, given.arguments)
    else:
        queue = vhost.queues.get(destination)
        owner = None if queue is None else queue.owner
        bindings.bind_queue(vhost, destination, source, given.routing_key, given.arguments, owner)
    ends = {"source": source, "destination": destination}
    fields = {"vhost": vhost.name, **ends, "routing_key": given.routing_key}
    operator(request).log("binding added", fields)
    return await changed(request, created=True)


def _binding_of_path(request: Request) -> tuple[VirtualHost, Binding]:
    vhost, found = _between(request)
    key = str(request.path_params["properties_key"])
    for binding in found:
        if properties_key(binding) == key:
            return vhost, binding
    raise NotFound("no such binding")


async def get_binding(request: Request) -> Response:
    vhost, binding = _binding_of_path(request)
    return json(BINDING.shown(binding_row(vhost.name, binding)))


async def delete_binding(request: Request) -> Response:
    vhost, binding = _binding_of_path(request)
    ends = binding.destination.name, binding.source.name
    if isinstance(binding.destination, Exchange):
        bindings.unbind_exchange(vhost, *ends, binding.routing_key, binding.arguments)
    else:
        queue = vhost.queues.get(binding.destination.name)
        owner = None if queue is None else queue.owner
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

"""Bindings (RabbitMQ: HTTP API Reference, /api/bindings)."""

import hashlib
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.operator import NotFound
from leveret.engine.lifecycle import bindings
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Binding, Exchange
from leveret.engine.values.json_values import to_json
from leveret.engine.vhost import VirtualHost
from leveret.management.http import body, changed, json, operator, route, segment
from leveret.management.listing import listed
from leveret.management.objects import find_exchange, find_vhost, vhosts_of

PROPERTIES_KEY_SEPARATOR: Final = "~"


class BindingBody(msgspec.Struct):
    """A binding, as POST takes it."""

    routing_key: str = ""
    arguments: dict[str, Any] = {}


def properties_key(binding: Binding) -> str:
    """What tells the bindings between two ends apart in a path: the routing key, and a hash of the
    arguments."""
    key = quote(to_json(binding.routing_key), safe="")
    if not binding.arguments:
        return key or PROPERTIES_KEY_SEPARATOR
    arguments = msgspec.json.encode(to_json(binding.arguments), order="deterministic")
    digest = hashlib.sha256(arguments).hexdigest()[:16]
    return f"{key}{PROPERTIES_KEY_SEPARATOR}{digest}"


def binding_as_json(vhost: str, binding: Binding) -> dict[str, Any]:
    """A binding as RabbitMQ shows it."""
    return {
        "source": to_json(binding.source.name),
        "vhost": vhost,
        "destination": to_json(binding.destination.name),
        "destination_type": "exchange" if isinstance(binding.destination, Exchange) else "queue",
        "routing_key": to_json(binding.routing_key),
        "arguments": to_json(binding.arguments),
        "properties_key": properties_key(binding),
    }


def default_binding_as_json(vhost: str, queue: str) -> dict[str, Any]:
    """The binding of a queue to the default exchange."""
    name = to_json(queue)
    return {
        "source": "",
        "vhost": vhost,
        "destination": name,
        "destination_type": "queue",
        "routing_key": name,
        "arguments": {},
        "properties_key": quote(name, safe=""),
    }


def bindings_to_queue(vhost: VirtualHost, queue: Queue) -> Iterator[Binding]:
    """The bindings that lead to a queue."""
    for exchange in list(vhost.exchanges.values()):
        for binding in exchange.bindings():
            if binding.destination is queue.destination:
                yield binding


def _bindings(vhosts: list[VirtualHost]) -> Iterator[dict[str, Any]]:
    for vhost in vhosts:
        for name in list(vhost.queues):
            yield default_binding_as_json(vhost.name, name)
        for exchange in list(vhost.exchanges.values()):
            for binding in exchange.bindings():
                yield binding_as_json(vhost.name, binding)


async def get_bindings(request: Request) -> Response:
    return await listed(request, _bindings(vhosts_of(request)))


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
    return json([binding_as_json(vhost.name, binding) for binding in found])


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
    return json(binding_as_json(vhost.name, binding))


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
    route("/api/bindings", GET=get_bindings),
    route("/api/bindings/{vhost}", GET=get_bindings),
    route(_BETWEEN, GET=get_bindings_between, POST=post_binding),
    route(f"{_BETWEEN}/{{properties_key}}", GET=get_binding, DELETE=delete_binding),
)

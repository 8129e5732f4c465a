"""Exchanges (RabbitMQ: HTTP API Reference, /api/exchanges)."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.lifecycle import exchanges
from leveret.engine.lifecycle.policies import alternate_and_source
from leveret.engine.routing.exchanges.base import (
    ALTERNATE_EXCHANGE,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.values.json_values import to_json
from leveret.engine.vhost import VirtualHost
from leveret.management.api.bindings import binding_as_json
from leveret.management.http import body, changed, json, operator, route, segment
from leveret.management.listing import listed
from leveret.management.objects import find_exchange, find_vhost, vhosts_of


class ExchangeBody(msgspec.Struct):
    """An exchange, as PUT takes it."""

    type: str
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] = {}


def exchange_as_json(vhost: VirtualHost, exchange: Exchange) -> dict[str, Any]:
    """An exchange as RabbitMQ shows it."""
    policy, operator_policy = vhost.policies.of_exchange(exchange.name)
    _, source = alternate_and_source(vhost, exchange)
    return {
        "name": to_json(exchange.name),
        "vhost": vhost.name,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": to_json(exchange.arguments),
        "policy": None if policy is None else policy.name,
        "operator_policy": None if operator_policy is None else operator_policy.name,
        "settings_from": {ALTERNATE_EXCHANGE: source} if source else {},
    }


def default_exchange_as_json(vhost: VirtualHost) -> dict[str, Any]:
    """The default exchange, which every virtual host has."""
    return {
        "name": "",
        "vhost": vhost.name,
        "type": "direct",
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
        "policy": None,
        "operator_policy": None,
    }


def _exchanges(vhosts: list[VirtualHost]) -> Iterator[dict[str, Any]]:
    for vhost in vhosts:
        yield default_exchange_as_json(vhost)
        for exchange in list(vhost.exchanges.values()):
            yield exchange_as_json(vhost, exchange)


async def get_exchanges(request: Request) -> Response:
    return await listed(request, _exchanges(vhosts_of(request)))


async def get_exchange(request: Request) -> Response:
    vhost, exchange = find_exchange(request)
    return json(exchange_as_json(vhost, exchange))


async def put_exchange(request: Request) -> Response:
    vhost, name = find_vhost(request), segment(request, "name")
    given = await body(request, ExchangeBody)
    created = name not in vhost.exchanges
    exchanges.declare_exchange(
        vhost,
        ExchangeDeclaration(
            given.type,
            name,
            durable=given.durable,
            auto_delete=given.auto_delete,
            internal=given.internal,
            arguments=given.arguments,
        ),
    )
    if created:
        fields = {"vhost": vhost.name, "name": name}
        operator(request).log("exchange declared", fields)
    return await changed(request, created=created)


async def delete_exchange(request: Request) -> Response:
    vhost, exchange = find_exchange(request)
    if_unused = request.query_params.get("if-unused") == "true"
    exchanges.delete_exchange(vhost, exchange.name, if_unused=if_unused)
    fields = {"vhost": vhost.name, "name": exchange.name}
    operator(request).log("exchange deleted", fields)
    return await changed(request)


async def get_bindings_from(request: Request) -> Response:
    vhost, exchange = find_exchange(request)
    return await listed(
        request, (binding_as_json(vhost.name, each) for each in exchange.bindings())
    )


async def get_bindings_to(request: Request) -> Response:
    vhost, exchange = find_exchange(request)
    return await listed(
        request,
        (
            binding_as_json(vhost.name, binding)
            for source in list(vhost.exchanges.values())
            for binding in source.bindings()
            if binding.destination is exchange
        ),
    )


ROUTES: Final = (
    route("/api/exchanges", GET=get_exchanges),
    route("/api/exchanges/{vhost}", GET=get_exchanges),
    route(
        "/api/exchanges/{vhost}/{name}",
        GET=get_exchange,
        PUT=put_exchange,
        DELETE=delete_exchange,
    ),
    route("/api/exchanges/{vhost}/{name}/bindings/source", GET=get_bindings_from),
    route("/api/exchanges/{vhost}/{name}/bindings/destination", GET=get_bindings_to),
)

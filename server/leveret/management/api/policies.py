"""Policies, operator policies and parameters (RabbitMQ: HTTP API Reference)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leveret.engine.administration import policies
from leveret.engine.administration.operator import NotFound
from leveret.engine.administration.virtual_hosts import find_vhost
from leveret.engine.metadata.entities import GlobalParameter, OperatorPolicy, Parameter, Policy
from leveret.management.authorisation import Access
from leveret.management.columns import columns_of_dicts
from leveret.management.description import ListOf, described
from leveret.management.http import (
    Endpoint,
    body,
    changed,
    json,
    management,
    operator,
    route,
    segment,
)
from leveret.management.listing import listed
from leveret.management.objects import sees

POLICY: Final = columns_of_dicts(
    "Policy",
    {
        "vhost": str,
        "name": str,
        "pattern": str,
        "apply-to": str,
        "definition": dict[str, Any],
        "priority": int,
    },
)

PARAMETER: Final = columns_of_dicts(
    "Parameter", {"vhost": str, "component": str, "name": str, "value": Any}
)

GLOBAL_PARAMETER: Final = columns_of_dicts("GlobalParameter", {"name": str, "value": Any})


class PolicyBody(msgspec.Struct, rename={"apply_to": "apply-to"}):
    """A policy, as PUT takes it."""

    pattern: str
    definition: dict[str, Any]
    priority: int = 0
    apply_to: str = "all"


class ParameterBody(msgspec.Struct):
    """The value of a parameter."""

    value: Any


def policy_as_json(policy: Policy) -> dict[str, Any]:
    """A policy as RabbitMQ shows it."""
    return {
        "vhost": policy.vhost,
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": policy.definition,
        "priority": policy.priority,
    }


def parameter_as_json(parameter: Parameter | GlobalParameter) -> dict[str, Any]:
    """A parameter as RabbitMQ shows it."""
    shown: dict[str, Any] = msgspec.structs.asdict(parameter)
    return shown


def _policy_endpoints(kind: type[Policy]) -> Mapping[str, Endpoint]:
    """The endpoints of policies, or of operator policies."""

    @described(gives=ListOf(POLICY))
    async def get_all(request: Request) -> Response:
        """The policies."""
        found = [
            policy_as_json(policy)
            for policy in management(request).metadata.all(kind).values()
            if sees(request, policy.vhost)
        ]
        return await listed(request, POLICY, found)

    @described(gives=ListOf(POLICY))
    async def get_in_vhost(request: Request) -> Response:
        """The policies of a virtual host."""
        vhost = find_vhost(operator(request), segment(request, "vhost")).name
        found = management(request).metadata.all(kind).values()
        shown = [policy_as_json(policy) for policy in found if policy.vhost == vhost]
        return await listed(request, POLICY, shown)

    async def get(request: Request) -> Response:
        """One policy."""
        vhost, name = segment(request, "vhost"), segment(request, "name")
        return json(policy_as_json(policies.find_policy(operator(request), kind, vhost, name)))

    @described(takes=PolicyBody)
    async def put(request: Request) -> Response:
        """Add or change a policy."""
        by, vhost, name = operator(request), segment(request, "vhost"), segment(request, "name")
        given = await body(request, PolicyBody)
        created = by.metadata.get(kind, vhost, name) is None
        policy = kind(vhost, name, given.pattern, given.definition, given.apply_to, given.priority)
        policies.put_policy(by, policy)
        return await changed(request, created=created)

    async def delete(request: Request) -> Response:
        """Delete a policy."""
        vhost, name = segment(request, "vhost"), segment(request, "name")
        policies.delete_policy(operator(request), kind, vhost, name)
        return await changed(request)

    return {
        "get_all": get_all,
        "get_in_vhost": get_in_vhost,
        "get": get,
        "put": put,
        "delete": delete,
    }


def _policy_routes(path: str, kind: type[Policy]) -> tuple[Route, ...]:
    endpoints = _policy_endpoints(kind)
    access = Access.ADMINISTRATOR if kind is OperatorPolicy else Access.POLICYMAKER
    return (
        route(path, change=access, GET=endpoints["get_all"]),
        route(f"{path}/{{vhost}}", change=access, GET=endpoints["get_in_vhost"]),
        route(
            f"{path}/{{vhost}}/{{name}}",
            access=access,
            change=access,
            GET=endpoints["get"],
            PUT=endpoints["put"],
            DELETE=endpoints["delete"],
        ),
    )


@described(gives=ListOf(PARAMETER))
async def get_parameters(request: Request) -> Response:
    """The runtime parameters."""
    wanted = {name: segment(request, name) for name in request.path_params}
    if "vhost" in wanted:
        find_vhost(operator(request), wanted["vhost"])
    found = [
        parameter_as_json(parameter)
        for parameter in management(request).metadata.all(Parameter).values()
        if all(getattr(parameter, name) == value for name, value in wanted.items())
        and sees(request, parameter.vhost)
    ]
    return await listed(request, PARAMETER, found)


def _key(request: Request) -> tuple[str, str, str]:
    return segment(request, "vhost"), segment(request, "component"), segment(request, "name")


async def get_parameter(request: Request) -> Response:
    """One runtime parameter."""
    parameter = management(request).metadata.get(Parameter, *_key(request))
    if parameter is None:
        raise NotFound
    return json(parameter_as_json(parameter))


@described(takes=ParameterBody)
async def put_parameter(request: Request) -> Response:
    """Set a runtime parameter."""
    by, key = operator(request), _key(request)
    given = await body(request, ParameterBody)
    created = by.metadata.get(Parameter, *key) is None
    policies.put_parameter(by, *key, given.value)
    return await changed(request, created=created)


async def delete_parameter(request: Request) -> Response:
    """Delete a runtime parameter."""
    policies.delete_parameter(operator(request), *_key(request))
    return await changed(request)


@described(gives=ListOf(GLOBAL_PARAMETER))
async def get_global_parameters(request: Request) -> Response:
    """The global parameters."""
    found = management(request).metadata.all(GlobalParameter).values()
    return await listed(request, GLOBAL_PARAMETER, [parameter_as_json(each) for each in found])


async def get_global_parameter(request: Request) -> Response:
    """One global parameter."""
    parameter = management(request).metadata.get(GlobalParameter, segment(request, "name"))
    if parameter is None:
        raise NotFound
    return json(parameter_as_json(parameter))


@described(takes=ParameterBody)
async def put_global_parameter(request: Request) -> Response:
    """Set a global parameter."""
    by, name = operator(request), segment(request, "name")
    given = await body(request, ParameterBody)
    created = by.metadata.get(GlobalParameter, name) is None
    policies.put_global_parameter(by, name, given.value)
    return await changed(request, created=created)


async def delete_global_parameter(request: Request) -> Response:
    """Delete a global parameter."""
    policies.delete_global_parameter(operator(request), segment(request, "name"))
    return await changed(request)


ROUTES: Final = (
    *_policy_routes("/api/policies", Policy),
    *_policy_routes("/api/operator-policies", OperatorPolicy),
    route("/api/parameters", access=Access.POLICYMAKER, GET=get_parameters),
    route("/api/parameters/{component}", access=Access.POLICYMAKER, GET=get_parameters),
    route("/api/parameters/{component}/{vhost}", access=Access.POLICYMAKER, GET=get_parameters),
    route(
        "/api/parameters/{component}/{vhost}/{name}",
        access=Access.POLICYMAKER,
        change=Access.POLICYMAKER,
        GET=get_parameter,
        PUT=put_parameter,
        DELETE=delete_parameter,
    ),
    route(
        "/api/global-parameters",
        access=Access.POLICYMAKER,
        GET=get_global_parameters,
    ),
    route(
        "/api/global-parameters/{name}",
        access=Access.POLICYMAKER,
        change=Access.POLICYMAKER,
        GET=get_global_parameter,
        PUT=put_global_parameter,
        DELETE=delete_global_parameter,
    ),
)

"""Virtual hosts and their limits (RabbitMQ: HTTP API Reference, /api/vhosts)."""

from typing import Any, Final

import msgspec
from msgspec import UnsetType
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration import users, virtual_hosts
from leveret.engine.metadata.entities import User, VirtualHostEntity
from leveret.management.api.users import LimitBody, tags_of
from leveret.management.authorisation import Access
from leveret.management.columns import columns_of_dicts
from leveret.management.description import ListOf, described
from leveret.management.http import (
    body,
    changed,
    identity,
    json,
    management,
    moment,
    operator,
    route,
    segment,
)
from leveret.management.listing import listed
from leveret.management.objects import belongs_here, node_of
from leveret.management.statistics.details import Details, Moment
from leveret.management.statistics.message_stats import vhost_statistics

VHOST: Final = columns_of_dicts(
    "VirtualHost",
    {
        "name": str,
        "description": str,
        "tags": list[str],
        "default_queue_type": str,
        "metadata": dict[str, Any],
        "protected_from_deletion": bool,
        "tracing": bool,
        "cluster_state": dict[str, str],
        "store": int | UnsetType,
        "messages": int | UnsetType,
        "messages_details": Details | UnsetType,
        "messages_ready": int | UnsetType,
        "messages_ready_details": Details | UnsetType,
        "messages_unacknowledged": int | UnsetType,
        "messages_unacknowledged_details": Details | UnsetType,
        "message_stats": dict[str, Any] | UnsetType,
        "recv_oct": int | UnsetType,
        "recv_oct_details": Details | UnsetType,
        "send_oct": int | UnsetType,
        "send_oct_details": Details | UnsetType,
    },
)

VHOST_LIMITS: Final = columns_of_dicts("VirtualHostLimits", {"vhost": str, "value": dict[str, int]})

EVERYTHING: Final = ".*"


class VirtualHostBody(msgspec.Struct):
    """A virtual host, as PUT takes it. What is missing stays as it is."""

    description: str | None = None
    tags: str | list[str] | None = None
    default_queue_type: str | None = None
    protected_from_deletion: bool | None = None
    tracing: bool = False
    store: int | None = None
    """Of the cluster, in which to add it."""


def as_json(node: str, vhost: VirtualHostEntity) -> dict[str, Any]:
    """A virtual host as RabbitMQ shows it."""
    shown: dict[str, Any] = {
        "description": vhost.description,
        "tags": list(vhost.tags),
        "default_queue_type": vhost.default_queue_type or "undefined",
    }
    return {
        "name": vhost.name,
        **shown,
        "metadata": shown,
        "protected_from_deletion": vhost.protected_from_deletion,
        "tracing": False,
        "cluster_state": {node: "running"},
    }


def _shown(request: Request, entity: VirtualHostEntity, at: Moment) -> dict[str, Any]:
    """A virtual host with its statistics."""
    service = management(request)
    vhost = service.broker.vhosts.get(entity.name)
    shown = as_json(service.node, entity)
    if service.broker.placement is not None:
        shown["store"] = service.broker.placement.store_of(entity.name)
    if vhost is None:
        return shown | {"cluster_state": {node_of(request, entity.name): "stopped"}}
    return shown | vhost_statistics(vhost, service.sampler, at)


@described(gives=ListOf(VHOST))
async def get_vhosts(request: Request) -> Response:
    """The virtual hosts."""
    service, by = management(request), identity(request)
    found = [
        vhost
        for vhost in service.metadata.all(VirtualHostEntity).values()
        if by.monitors(service.broker, vhost.name)
    ]
    at = moment(request)
    # Asked for each when it is read: then it is known which other brokers have answered.
    rows = (_shown(request, vhost, at) for vhost in found if belongs_here(request, vhost.name))
    return await listed(request, VHOST, rows)


async def get_vhost(request: Request) -> Response:
    """One virtual host."""
    vhost = virtual_hosts.find_vhost(operator(request), segment(request, "vhost"))
    return json(_shown(request, vhost, moment(request)))


@described(takes=VirtualHostBody)
async def put_vhost(request: Request) -> Response:
    """Add or change a virtual host."""
    name, by = segment(request, "vhost"), operator(request)
    given = await body(request, VirtualHostBody)
    created = by.metadata.get(VirtualHostEntity, name) is None
    virtual_hosts.put_vhost(
        by,
        name,
        description=given.description,
        tags=None if given.tags is None else tags_of(given.tags),
        default_queue_type=given.default_queue_type,
        protected_from_deletion=given.protected_from_deletion,
        store=given.store,
    )
    if created and by.metadata.get(User, by.name) is not None and not identity(request).is_owner:
        # As with RabbitMQ, who adds a virtual host may use it.
        users.set_permission(by, by.name, name, EVERYTHING, EVERYTHING, EVERYTHING)
    return await changed(request, created=created)


async def delete_vhost(request: Request) -> Response:
    """Delete a virtual host with everything in it."""
    virtual_hosts.delete_vhost(operator(request), segment(request, "vhost"))
    return await changed(request)


async def protect(request: Request) -> Response:
    """Protect a virtual host from deletion (POST), or protect it no more (DELETE)."""
    name = virtual_hosts.find_vhost(operator(request), segment(request, "vhost")).name
    protected = request.method == "POST"
    virtual_hosts.put_vhost(operator(request), name, protected_from_deletion=protected)
    return await changed(request)


@described(gives=ListOf(VHOST_LIMITS))
async def get_limits(request: Request) -> Response:
    """The limits that are set."""
    service, by = management(request), identity(request)
    found = [
        {"vhost": vhost.name, "value": vhost.limits}
        for vhost in service.metadata.all(VirtualHostEntity).values()
        if vhost.limits and by.monitors(service.broker, vhost.name)
    ]
    return await listed(request, VHOST_LIMITS, found)


@described(gives=ListOf(VHOST_LIMITS))
async def get_limits_of_vhost(request: Request) -> Response:
    """The limits of a virtual host."""
    vhost = virtual_hosts.find_vhost(operator(request), segment(request, "vhost"))
    shown = [{"vhost": vhost.name, "value": vhost.limits}] if vhost.limits else []
    return await listed(request, VHOST_LIMITS, shown)


@described(takes=LimitBody)
async def put_limit(request: Request) -> Response:
    """Set a limit."""
    given = await body(request, LimitBody)
    limits = {segment(request, "limit"): given.value}
    virtual_hosts.set_limits(operator(request), segment(request, "vhost"), limits)
    return await changed(request)


async def delete_limit(request: Request) -> Response:
    """Remove a limit."""
    limits = (segment(request, "limit"),)
    virtual_hosts.clear_limits(operator(request), segment(request, "vhost"), limits)
    return await changed(request)


ROUTES: Final = (
    route("/api/vhosts", access=Access.USER, GET=get_vhosts),
    route(
        "/api/vhosts/{vhost}",
        access=Access.ADMINISTRATOR,
        change=Access.ADMINISTRATOR,
        GET=get_vhost,
        PUT=put_vhost,
        DELETE=delete_vhost,
    ),
    route(
        "/api/vhosts/{vhost}/deletion/protection",
        change=Access.ADMINISTRATOR,
        POST=protect,
        DELETE=protect,
    ),
    route("/api/vhost-limits", access=Access.USER, GET=get_limits),
    route("/api/vhost-limits/{vhost}", access=Access.MONITORED, GET=get_limits_of_vhost),
    route(
        "/api/vhost-limits/{vhost}/{limit}",
        change=Access.ADMINISTRATOR,
        PUT=put_limit,
        DELETE=delete_limit,
    ),
)

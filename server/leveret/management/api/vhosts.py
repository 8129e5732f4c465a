"""Virtual hosts and their limits (RabbitMQ: HTTP API Reference, /api/vhosts)."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration import virtual_hosts
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.management.api.users import LimitBody, tags_of
from leveret.management.authorisation import Access
from leveret.management.http import (
    body,
    changed,
    json,
    management,
    moment,
    operator,
    route,
    segment,
)
from leveret.management.statistics.message_stats import vhost_statistics


class VirtualHostBody(msgspec.Struct):
    """A virtual host, as PUT takes it. What is missing stays as it is."""

    description: str | None = None
    tags: str | list[str] | None = None
    default_queue_type: str | None = None
    protected_from_deletion: bool | None = None
    tracing: bool = False


def as_json(vhost: VirtualHostEntity) -> dict[str, Any]:
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
    }


def _shown(request: Request, entity: VirtualHostEntity) -> dict[str, Any]:
    """A virtual host with its statistics."""
    service = management(request)
    vhost = service.broker.vhosts.get(entity.name)
    if vhost is None:
        return as_json(entity)
    return as_json(entity) | vhost_statistics(vhost, service.sampler, moment(request))


async def get_vhosts(request: Request) -> Response:
    found = management(request).metadata.all(VirtualHostEntity).values()
    return json([_shown(request, vhost) for vhost in found])


async def get_vhost(request: Request) -> Response:
    found = virtual_hosts.find_vhost(operator(request), segment(request, "vhost"))
    return json(_shown(request, found))


async def put_vhost(request: Request) -> Response:
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
    )
    return await changed(request, created=created)


async def delete_vhost(request: Request) -> Response:
    virtual_hosts.delete_vhost(operator(request), segment(request, "vhost"))
    return await changed(request)


async def protect(request: Request) -> Response:
    name = virtual_hosts.find_vhost(operator(request), segment(request, "vhost")).name
    protected = request.method == "POST"
    virtual_hosts.put_vhost(operator(request), name, protected_from_deletion=protected)
    return await changed(request)


async def get_limits(request: Request) -> Response:
    found = management(request).metadata.all(VirtualHostEntity).values()
    return json([{"vhost": vhost.name, "value": vhost.limits} for vhost in found if vhost.limits])


async def get_limits_of_vhost(request: Request) -> Response:
    vhost = virtual_hosts.find_vhost(operator(request), segment(request, "vhost"))
    return json([{"vhost": vhost.name, "value": vhost.limits}] if vhost.limits else [])


async def put_limit(request: Request) -> Response:
    given = await body(request, LimitBody)
    limits = {segment(request, "limit"): given.value}
    virtual_hosts.set_limits(operator(request), segment(request, "vhost"), limits)
    return await changed(request)


async def delete_limit(request: Request) -> Response:
    limits = (segment(request, "limit"),)
    virtual_hosts.clear_limits(operator(request), segment(request, "vhost"), limits)
    return await changed(request)


ROUTES: Final = (
    route("/api/vhosts", change=Access.ADMINISTRATOR, GET=get_vhosts),
    route(
        "/api/vhosts/{vhost}",
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
    route("/api/vhost-limits", change=Access.ADMINISTRATOR, GET=get_limits),
    route("/api/vhost-limits/{vhost}", change=Access.ADMINISTRATOR, GET=get_limits_of_vhost),
    route(
        "/api/vhost-limits/{vhost}/{limit}",
        change=Access.ADMINISTRATOR,
        PUT=put_limit,
        DELETE=delete_limit,
    ),
)

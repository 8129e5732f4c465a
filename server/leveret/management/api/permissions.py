"""Permissions and topic permissions (RabbitMQ: HTTP API Reference, /api/permissions)."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration import users
from leveret.engine.administration.operator import NotFound, Operator
from leveret.engine.administration.virtual_hosts import find_vhost
from leveret.engine.metadata.entities import Permission, TopicPermission
from leveret.engine.metadata.metadata import Metadata
from leveret.management.authorisation import Access
from leveret.management.columns import columns_of_dicts
from leveret.management.description import ListOf, described
from leveret.management.http import (
    BadRequest,
    body,
    changed,
    json,
    management,
    operator,
    route,
    segment,
)
from leveret.management.listing import listed

PERMISSION: Final = columns_of_dicts(
    "Permission",
    {"user": str, "vhost": str, "configure": str, "write": str, "read": str},
)

TOPIC_PERMISSION: Final = columns_of_dicts(
    "TopicPermission",
    {"user": str, "vhost": str, "exchange": str, "write": str, "read": str},
)


class PermissionBody(msgspec.Struct):
    """A permission, as PUT takes it."""

    configure: str
    write: str
    read: str


class TopicPermissionBody(msgspec.Struct):
    """A topic permission, as PUT takes it."""

    exchange: str
    write: str
    read: str


def as_json(permission: Permission | TopicPermission) -> dict[str, Any]:
    """A permission as RabbitMQ shows it."""
    shown: dict[str, Any] = msgspec.structs.asdict(permission)
    return shown


def of_user(metadata: Metadata, user: str) -> list[dict[str, Any]]:
    """The permissions of a user."""
    return [as_json(each) for each in metadata.all(Permission).values() if each.user == user]


def topics_of_user(metadata: Metadata, user: str) -> list[dict[str, Any]]:
    """The topic permissions of a user."""
    return [as_json(each) for each in metadata.all(TopicPermission).values() if each.user == user]


@described(gives=ListOf(PERMISSION))
async def get_permissions(request: Request) -> Response:
    """The permissions."""
    found = list(management(request).metadata.all(Permission).values())
    return await listed(request, PERMISSION, (as_json(each) for each in found))


@described(gives=ListOf(PERMISSION))
async def get_permissions_in_vhost(request: Request) -> Response:
    """The permissions in a virtual host."""
    vhost = find_vhost(operator(request), segment(request, "vhost")).name
    found = management(request).metadata.all(Permission).values()
    shown = [as_json(each) for each in found if each.vhost == vhost]
    return await listed(request, PERMISSION, shown)


async def get_permission(request: Request) -> Response:
    """What a user may do in a virtual host."""
    user, vhost = segment(request, "user"), segment(request, "vhost")
    permission = management(request).metadata.get(Permission, user, vhost)
    if permission is None:
        raise NotFound(f"user '{user}' has no access to virtual host '{vhost}'")
    return json(as_json(permission))


def _check_both_exist(by: Operator, user: str, vhost: str) -> None:
    """Check that there are the user and the virtual host of a permission.

    :raises BadRequest: if not.
    """
    try:
        users.find_user(by, user)
        find_vhost(by, vhost)
    except NotFound as error:
        raise BadRequest(str(error)) from None


@described(takes=PermissionBody)
async def put_permission(request: Request) -> Response:
    """Set what a user may do in a virtual host: three patterns of names."""
    by, user, vhost = operator(request), segment(request, "user"), segment(request, "vhost")
    given = await body(request, PermissionBody)
    _check_both_exist(by, user, vhost)
    created = by.metadata.get(Permission, user, vhost) is None
    users.set_permission(by, user, vhost, given.configure, given.write, given.read)
    return await changed(request, created=created)


async def delete_permission(request: Request) -> Response:
    """Take the permissions of a user in a virtual host."""
    user, vhost = segment(request, "user"), segment(request, "vhost")
    if management(request).metadata.get(Permission, user, vhost) is None:
        raise NotFound(f"user '{user}' has no access to virtual host '{vhost}'")
    users.clear_permission(operator(request), segment(request, "user"), segment(request, "vhost"))
    return await changed(request)


@described(gives=ListOf(TOPIC_PERMISSION))
async def get_topic_permissions(request: Request) -> Response:
    """The topic permissions."""
    found = list(management(request).metadata.all(TopicPermission).values())
    return await listed(request, TOPIC_PERMISSION, (as_json(each) for each in found))


@described(gives=ListOf(TOPIC_PERMISSION))
async def get_topic_permissions_in_vhost(request: Request) -> Response:
    """The topic permissions in a virtual host."""
    vhost = find_vhost(operator(request), segment(request, "vhost")).name
    found = management(request).metadata.all(TopicPermission).values()
    shown = [as_json(each) for each in found if each.vhost == vhost]
    return await listed(request, TOPIC_PERMISSION, shown)


async def get_topic_permissions_of_user(request: Request) -> Response:
    """The topic permissions of a user in a virtual host."""
    user, vhost = segment(request, "user"), segment(request, "vhost")
    return json([as_json(each) for each in _topic_permissions(request, user, vhost)])


def _topic_permissions(request: Request, user: str, vhost: str) -> list[TopicPermission]:
    """The topic permissions of a user in a virtual host.

    :raises NotFound: if there are none.
    """
    found = management(request).metadata.all(TopicPermission).values()
    shown = [each for each in found if (each.user, each.vhost) == (user, vhost)]
    if not shown:
        raise NotFound(f"user '{user}' has no topic permissions in virtual host '{vhost}'")
    return shown


@described(takes=TopicPermissionBody)
async def put_topic_permission(request: Request) -> Response:
    """Set which routing keys a user may publish and bind to an exchange."""
    by, user, vhost = operator(request), segment(request, "user"), segment(request, "vhost")
    given = await body(request, TopicPermissionBody)
    _check_both_exist(by, user, vhost)
    created = by.metadata.get(TopicPermission, user, vhost, given.exchange) is None
    users.set_topic_permission(by, user, vhost, given.exchange, given.write, given.read)
    return await changed(request, created=created)


async def delete_topic_permissions(request: Request) -> Response:
    """Take the topic permissions of a user in a virtual host."""
    user, vhost = segment(request, "user"), segment(request, "vhost")
    _topic_permissions(request, user, vhost)
    users.clear_topic_permissions(operator(request), user, vhost)
    return await changed(request)


ROUTES: Final = (
    route("/api/permissions", access=Access.ADMINISTRATOR, GET=get_permissions),
    route(
        "/api/vhosts/{vhost}/permissions", access=Access.ADMINISTRATOR, GET=get_permissions_in_vhost
    ),
    route(
        "/api/permissions/{vhost}/{user}",
        access=Access.ADMINISTRATOR,
        GET=get_permission,
        PUT=put_permission,
        DELETE=delete_permission,
    ),
    route("/api/topic-permissions", access=Access.ADMINISTRATOR, GET=get_topic_permissions),
    route(
        "/api/vhosts/{vhost}/topic-permissions",
        access=Access.ADMINISTRATOR,
        GET=get_topic_permissions_in_vhost,
    ),
    route(
        "/api/topic-permissions/{vhost}/{user}",
        access=Access.ADMINISTRATOR,
        GET=get_topic_permissions_of_user,
        PUT=put_topic_permission,
        DELETE=delete_topic_permissions,
    ),
)

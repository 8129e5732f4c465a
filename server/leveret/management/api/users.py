"""Users and their limits (RabbitMQ: HTTP API Reference, /api/users and /api/user-limits)."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.passwords import SHA256
from leveret.engine.administration import users
from leveret.engine.metadata.entities import Permission, User
from leveret.management.api.permissions import (
    PERMISSION,
    TOPIC_PERMISSION,
    of_user,
    topics_of_user,
)
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

USER: Final = columns_of_dicts(
    "User",
    {
        "name": str,
        "password_hash": str,
        "hashing_algorithm": str,
        "tags": list[str],
        "limits": dict[str, int],
    },
)

USER_LIMITS: Final = columns_of_dicts("UserLimits", {"user": str, "value": dict[str, int]})


class UserBody(msgspec.Struct):
    """A user, as PUT takes it: with a password, its hash, or neither."""

    tags: str | list[str] | None = None
    password: str | None = None
    password_hash: str | None = None
    hashing_algorithm: str = SHA256


class BulkDelete(msgspec.Struct):
    """The users to be deleted."""

    users: list[str]


class LimitBody(msgspec.Struct):
    """The value of a limit."""

    value: int


def as_json(user: User) -> dict[str, Any]:
    """A user as RabbitMQ shows it."""
    return {
        "name": user.name,
        "password_hash": user.password_hash,
        "hashing_algorithm": user.hashing_algorithm,
        "tags": list(user.tags),
        "limits": user.limits,
    }


def tags_of(tags: str | list[str]) -> tuple[str, ...]:
    """Tags as a list, or as one text with commas between."""
    given = tags.split(",") if isinstance(tags, str) else tags
    return tuple(tag.strip() for tag in given if tag.strip())


@described(gives=ListOf(USER))
async def get_users(request: Request) -> Response:
    """The users."""
    found = list(management(request).metadata.all(User).values())
    return await listed(request, USER, (as_json(user) for user in found))


@described(gives=ListOf(USER))
async def get_users_without_permissions(request: Request) -> Response:
    """The users that may use no virtual host."""
    metadata = management(request).metadata
    with_permissions = {permission.user for permission in metadata.all(Permission).values()}
    found = [user for user in metadata.all(User).values() if user.name not in with_permissions]
    return await listed(request, USER, (as_json(user) for user in found))


async def get_user(request: Request) -> Response:
    """One user."""
    return json(as_json(users.find_user(operator(request), segment(request, "name"))))


@described(takes=UserBody)
async def put_user(request: Request) -> Response:
    """Add or change a user."""
    name, by = segment(request, "name"), operator(request)
    given = await body(request, UserBody)
    if given.tags is None:
        raise BadRequest("tags are missing: a list, or a text with commas between")
    password_hash, algorithm = given.password_hash, given.hashing_algorithm
    if given.password is not None and password_hash is not None:
        raise BadRequest("expected a password or a password_hash, not both")
    if given.password is not None:
        password_hash, algorithm = users.hashed(given.password)
    created = by.metadata.get(User, name) is None
    users.put_user(
        by,
        name,
        password_hash=password_hash or "",
        hashing_algorithm=algorithm,
        tags=tags_of(given.tags),
    )
    return await changed(request, created=created)


async def delete_user(request: Request) -> Response:
    """Delete a user, whose connections are closed."""
    users.delete_user(operator(request), segment(request, "name"))
    return await changed(request)


@described(takes=BulkDelete)
async def delete_users(request: Request) -> Response:
    """Delete several users."""
    given = await body(request, BulkDelete)
    by = operator(request)
    for name in given.users:
        if by.metadata.get(User, name) is None:
            raise BadRequest(f"user '{name}' does not exist")
    for name in given.users:
        users.delete_user(by, name)
    return await changed(request)


@described(gives=ListOf(PERMISSION))
async def get_permissions(request: Request) -> Response:
    """The permissions."""
    name = users.find_user(operator(request), segment(request, "name")).name
    return await listed(request, PERMISSION, of_user(management(request).metadata, name))


@described(gives=ListOf(TOPIC_PERMISSION))
async def get_topic_permissions(request: Request) -> Response:
    """The topic permissions."""
    name = users.find_user(operator(request), segment(request, "name")).name
    found = topics_of_user(management(request).metadata, name)
    return await listed(request, TOPIC_PERMISSION, found)


@described(gives=ListOf(USER_LIMITS))
async def get_limits(request: Request) -> Response:
    """The limits that are set."""
    found = management(request).metadata.all(User).values()
    shown = [{"user": user.name, "value": user.limits} for user in found if user.limits]
    return await listed(request, USER_LIMITS, shown)


@described(gives=ListOf(USER_LIMITS))
async def get_limits_of_user(request: Request) -> Response:
    """The limits of a user."""
    user = users.find_user(operator(request), segment(request, "name"))
    shown = [{"user": user.name, "value": user.limits}] if user.limits else []
    return await listed(request, USER_LIMITS, shown)


@described(takes=LimitBody)
async def put_limit(request: Request) -> Response:
    """Set a limit."""
    given = await body(request, LimitBody)
    limits = {segment(request, "limit"): given.value}
    if management(request).metadata.get(User, segment(request, "name")) is None:
        raise BadRequest(f"user '{segment(request, 'name')}' does not exist")
    users.set_limits(operator(request), segment(request, "name"), limits)
    return await changed(request)


async def delete_limit(request: Request) -> Response:
    """Remove a limit."""
    limits = (segment(request, "limit"),)
    users.clear_limits(operator(request), segment(request, "name"), limits)
    return await changed(request)


ROUTES: Final = (
    route("/api/users", access=Access.ADMINISTRATOR, GET=get_users),
    route(
        "/api/users/without-permissions",
        access=Access.ADMINISTRATOR,
        GET=get_users_without_permissions,
    ),
    route("/api/users/bulk-delete", access=Access.ADMINISTRATOR, POST=delete_users),
    route(
        "/api/users/{name}",
        access=Access.ADMINISTRATOR,
        GET=get_user,
        PUT=put_user,
        DELETE=delete_user,
    ),
    route("/api/users/{name}/permissions", access=Access.ADMINISTRATOR, GET=get_permissions),
    route(
        "/api/users/{name}/topic-permissions",
        access=Access.ADMINISTRATOR,
        GET=get_topic_permissions,
    ),
    route("/api/user-limits", access=Access.USER, GET=get_limits),
    route("/api/user-limits/{name}", access=Access.USER, GET=get_limits_of_user),
    route(
        "/api/user-limits/{name}/{limit}",
        PUT=put_limit,
        DELETE=delete_limit,
    ),
)

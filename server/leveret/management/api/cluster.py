"""What RabbitMQ says of its cluster and its plugins, of which a broker of one node has little.

(RabbitMQ: HTTP API Reference, /api/cluster-name, /api/extensions, /api/feature-flags,
/api/deprecated-features, /api/auth/hash_password, /api/version, /api/shovels,
/api/federation-links.) Lists of what there is none of are empty.
"""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration import policies, users
from leveret.engine.broker import CLUSTER_NAME
from leveret.management.authorisation import Access
from leveret.management.description import described
from leveret.management.http import body, changed, json, management, operator, route, segment
from leveret.management.objects import find_vhost


class ClusterNameBody(msgspec.Struct):
    """The name of the cluster."""

    name: str


async def get_cluster_name(request: Request) -> Response:
    """The name of the cluster."""
    return json({"name": management(request).broker.cluster_name})


@described(takes=ClusterNameBody)
async def put_cluster_name(request: Request) -> Response:
    """Set the name of the cluster."""
    given = await body(request, ClusterNameBody)
    policies.put_global_parameter(operator(request), CLUSTER_NAME, given.name)
    return await changed(request)


async def get_nothing(request: Request) -> Response:
    """The list of what there is none of."""
    return json([])


async def get_nothing_in_vhost(request: Request) -> Response:
    """The list of what a virtual host has none of."""
    find_vhost(request)
    return json([])


async def get_version(request: Request) -> Response:
    """The version of the broker."""
    return json(management(request).broker.version)


async def get_hash(request: Request) -> Response:
    """The hash of a password, as definitions have it."""
    password_hash, _ = users.hashed(segment(request, "password"))
    return json({"ok": password_hash})


ROUTES: Final = (
    route("/api/cluster-name", access=Access.USER, GET=get_cluster_name, PUT=put_cluster_name),
    route("/api/extensions", access=Access.USER, GET=get_nothing),
    route("/api/feature-flags", access=Access.ADMINISTRATOR, GET=get_nothing),
    route("/api/deprecated-features", access=Access.ADMINISTRATOR, GET=get_nothing),
    route("/api/deprecated-features/used", access=Access.ADMINISTRATOR, GET=get_nothing),
    route("/api/version", access=Access.USER, GET=get_version),
    route("/api/auth/hash_password/{password}", access=Access.USER, GET=get_hash),
    route("/api/shovels", access=Access.MONITORING, GET=get_nothing),
    route("/api/shovels/{vhost}", access=Access.MONITORING, GET=get_nothing_in_vhost),
    route("/api/federation-links", access=Access.MONITORING, GET=get_nothing),
    route("/api/federation-links/{vhost}", access=Access.MONITORING, GET=get_nothing_in_vhost),
)

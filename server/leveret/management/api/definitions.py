"""Export and import of definitions (RabbitMQ: HTTP API Reference, /api/definitions)."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from leveret import __version__
from leveret.engine.administration.definitions_export import DefinitionsExport
from leveret.engine.administration.definitions_file import DefinitionsFile
from leveret.engine.administration.definitions_import import DefinitionsImport
from leveret.engine.administration.virtual_hosts import find_vhost
from leveret.management.authorisation import Access
from leveret.management.http import body, changed, json, management, operator, route, segment

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a file that is imported: some 400,000 queues."""

COMPATIBLE_VERSION: Final = "3.10.8"
"""The version of RabbitMQ whose form the file has."""


def _vhost(request: Request) -> str | None:
    """The virtual host that is meant, or None for all."""
    if "vhost" not in request.path_params:
        return None
    return find_vhost(operator(request), segment(request, "vhost")).name


async def get_definitions(request: Request) -> Response:
    export = DefinitionsExport(management(request).broker, _vhost(request))
    await management(request).run(export)
    versions: dict[str, Any] = {
        "rabbit_version": COMPATIBLE_VERSION,
        "rabbitmq_version": COMPATIBLE_VERSION,
        "product_name": "Leveret",
        "product_version": __version__,
    }
    return json({**versions, **export.entries})


async def post_definitions(request: Request) -> Response:
    vhost = _vhost(request)
    file = await body(request, DefinitionsFile, FILE_BYTES_MAX)
    applied = DefinitionsImport(management(request).broker, operator(request), file, vhost)
    await management(request).run(applied)
    if applied.error is not None:
        raise applied.error
    return await changed(request)


ROUTES: Final = (
    route(
        "/api/definitions", access=Access.ADMINISTRATOR, GET=get_definitions, POST=post_definitions
    ),
    route(
        "/api/definitions/{vhost}",
        access=Access.ADMINISTRATOR,
        GET=get_definitions,
        POST=post_definitions,
    ),
)

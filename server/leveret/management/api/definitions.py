"""Export and import of definitions (RabbitMQ: HTTP API Reference, /api/definitions)."""

from email import message_from_bytes, message_from_string
from email.policy import HTTP
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from leveret import __version__
from leveret.engine.administration.definitions_decoding import DefinitionsDecoding
from leveret.engine.administration.definitions_export import DefinitionsExport
from leveret.engine.administration.definitions_import import DefinitionsImport
from leveret.engine.administration.virtual_hosts import find_vhost
from leveret.management.authorisation import Access
from leveret.management.http import (
    BadRequest,
    changed,
    json,
    management,
    octets,
    operator,
    route,
    segment,
)

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a file that is imported: some 400,000 queues."""

FORM: Final = "multipart/form-data"

COMPATIBLE_VERSION: Final = "3.10.8"
"""The version of RabbitMQ whose form the file has."""


def _vhost(request: Request) -> str | None:
    """The virtual host that is meant, or None for all."""
    if "vhost" not in request.path_params:
        return None
    return find_vhost(operator(request), segment(request, "vhost")).name


async def get_definitions(request: Request) -> Response:
    """The definitions; with `?download=NAME` as a file of that name, as browsers save it."""
    export = DefinitionsExport(management(request).broker, _vhost(request))
    await management(request).run(export)
    versions: dict[str, Any] = {
        "rabbit_version": COMPATIBLE_VERSION,
        "rabbitmq_version": COMPATIBLE_VERSION,
        "product_name": "Leveret",
        "product_version": __version__,
    }
    response = json({**versions, **export.entries})
    if name := request.query_params.get("download"):
        shown = "".join(each for each in name if each.isalnum() or each in "._-")
        response.headers["Content-Disposition"] = f"attachment; filename={shown}"
    return response


async def post_definitions(request: Request) -> Response:
    """Import definitions: they are added, and nothing is deleted."""
    vhost = _vhost(request)
    data = await octets(request, FILE_BYTES_MAX)
    decoding = DefinitionsDecoding(file_in(request, data))
    await management(request).run(decoding)
    if decoding.error:
        raise BadRequest(decoding.error)
    applied = DefinitionsImport(management(request).broker, operator(request), decoding.file, vhost)
    await management(request).run(applied)
    if applied.error is not None:
        raise applied.error
    return await changed(request)


def file_in(request: Request, data: bytearray) -> bytes | bytearray:
    """The definitions in a body: all of it, or the file of a form (RFC 7578); `{}` if it is empty.

    :raises BadRequest: if the form has no file.
    """
    kind = request.headers.get("content-type", "")
    if not kind.startswith(FORM):
        return data or b"{}"
    boundary = message_from_string(f"Content-Type: {kind}\r\n\r\n").get_boundary()
    if boundary is None:
        raise BadRequest("a form without a boundary")
    for part in (b"\r\n" + data).split(f"\r\n--{boundary}".encode()):
        head, _, contents = part.partition(b"\r\n\r\n")
        named = message_from_bytes(head.lstrip(), policy=HTTP)
        disposition = named["content-disposition"]
        if disposition is not None and (
            "filename" in disposition.params or disposition.params.get("name") == "file"
        ):
            return contents or b"{}"
    raise BadRequest("a form without a file")


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

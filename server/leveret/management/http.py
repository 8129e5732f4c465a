"""Requests and responses of the HTTP API: JSON, and RabbitMQ's way to say what is wrong.

(RabbitMQ: HTTP API Reference.)
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leveret.engine.administration.operator import NotFound, Operator, Refused
from leveret.errors import AmqpError, ReplyCode
from leveret.management.service import Management

BODY_BYTES_MAX: Final = 1024 * 1024
"""Bytes of the body of a request, but for an import of definitions."""

B = TypeVar("B")

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class BadRequest(Exception):
    """The request cannot be understood; the text says why."""


def route(path: str, **methods: Endpoint) -> Route:
    """The resource at a path, with an endpoint for each method."""

    async def endpoint(request: Request) -> Response:
        return await methods[request.method](request)

    if "GET" in methods:
        methods["HEAD"] = methods["GET"]
    return Route(path, endpoint, methods=list(methods))


def management(request: Request) -> Management:
    """What the resource works on."""
    found = request.app.state.management
    if not isinstance(found, Management):
        raise TypeError(found)
    return found


def operator(request: Request) -> Operator:
    """Who asks."""
    name, origin = request.app.state.identify(request)
    return Operator(management(request).metadata, name, origin)


def segment(request: Request, name: str) -> str:
    """A part of the path, which may have any characters, a slash as %2F among them."""
    return unquote(request.path_params[name], errors="surrogateescape")


async def body(request: Request, schema: type[B], most: int = BODY_BYTES_MAX) -> B:
    """The body of a request.

    :raises BadRequest: if it is too long, no JSON, or not of the schema.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise BadRequest(f"a body of more than {most} bytes")
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=schema)
    except msgspec.MsgspecError as error:
        raise BadRequest(str(error)) from None


def json(value: object, status: int = 200) -> Response:
    """A response with a value."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def changed(request: Request, *, created: bool = False) -> Response:
    """The response to a change, once it is durable."""
    await management(request).durable()
    return Response(status_code=201 if created else 204)


def failed(status: int, error: str, reason: str) -> Response:
    """A response that says what is wrong."""
    return json({"error": error, "reason": reason}, status)


async def _not_found(request: Request, error: Exception) -> Response:
    return failed(404, "Object Not Found", str(error) or "Not Found")


async def _refused(request: Request, error: Exception) -> Response:
    return failed(400, "bad_request", str(error))


async def _amqp_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, AmqpError):
        raise error
    if error.code == ReplyCode.NOT_FOUND:
        return failed(404, "not_found", error.text)
    return failed(400, "bad_request", error.reply_text)


async def _http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        return failed(404, "Object Not Found", "Not Found")
    return failed(error.status_code, error.detail.lower().replace(" ", "_"), error.detail)


async def _fault(request: Request, error: Exception) -> Response:
    return failed(500, "internal_server_error", "the broker failed to answer; its log says why")


ERRORS: Final[dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]]] = {
    AmqpError: _amqp_error,
    NotFound: _not_found,
    Refused: _refused,
    BadRequest: _refused,
    HTTPException: _http_exception,
    Exception: _fault,
}
"""What answers an exception of an endpoint."""

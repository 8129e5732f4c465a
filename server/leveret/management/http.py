"""Requests and responses of the HTTP API: JSON, and RabbitMQ's way to say what is wrong.

(RabbitMQ: HTTP API Reference.)
"""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leveret.engine.access.rights import Rights
from leveret.engine.administration.operator import NotFound, Operator, Refused, Unavailable
from leveret.engine.administration.values import check_value
from leveret.errors import AmqpError, ReplyCode
from leveret.management.authorisation import Access, Identity, NotAuthorised
from leveret.management.columns import only, wanted_names
from leveret.management.newer_metadata import read_again
from leveret.management.service import Management
from leveret.management.statistics.details import InvalidRange, Moment, ranges_of

BODY_BYTES_MAX: Final = 1024 * 1024
"""Bytes of the body of a request, but for an import of definitions."""

REALM: Final = "Leveret Management"

PAGE_HEADER: Final = "x-requested-with"
"""A header that the page sends: browsers let no other site send it, and ask nobody to log in."""

EVENTS: Final = "text/event-stream"
"""The media type of server-sent events."""

BODY_TIMEOUT_S: Final = 60
"""Seconds in which the body of a request has to come."""

B = TypeVar("B")

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class BadRequest(Exception):
    """The request cannot be understood; the text says why."""

    def __init__(self, text: str, error: str = "bad_request") -> None:
        super().__init__(text)
        self.error = error
        """What kind of error it is, as the response names it."""


class Cut(Exception):
    """A response that has begun cannot be completed; the text says why."""


class Front(ABC):
    """Stands in front of all resources, and decides who answers a request."""

    @abstractmethod
    async def prepare(self, request: Request) -> None:
        """Have what is needed to say who asks."""

    @abstractmethod
    async def look_up(self, vhost: str) -> None:
        """Have what the metadata say of a virtual host that somebody asks for."""

    @abstractmethod
    async def respond(
        self, request: Request, path: str, method: str, endpoint: Endpoint
    ) -> Response:
        """The response to a request whose access was checked.

        :param path: the template of the resource's path.
        :param method: GET for HEAD, too.
        :param endpoint: answers for this broker.
        """

    @abstractmethod
    def lists(self, request: Request, vhost: str) -> bool:
        """Whether this broker has a virtual host in the list of them, which has each once."""


class Resource(Route):
    """The resource at a path."""

    def __init__(
        self, path: str, access: Access, change: Access, endpoints: dict[str, Endpoint]
    ) -> None:
        self.endpoints = dict(endpoints)
        """By method."""
        self.access = {method: access if method == "GET" else change for method in self.endpoints}
        """What each method needs."""
        methods = [*(["HEAD"] if "GET" in endpoints else []), *endpoints, "OPTIONS"]
        self.allowed = ", ".join(methods)
        """The methods, as the header Allow has them."""
        super().__init__(path, self._respond, methods=methods)

    async def _respond(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers={"Allow": self.allowed})
        method = "GET" if request.method == "HEAD" else request.method
        access = self.access[method]
        # Metrics are those of this broker alone.
        front: Front | None = getattr(request.app.state, "front", None)
        if front is not None:
            await front.prepare(request)
        if access is not Access.ANYBODY:
            # A live stream says who asks.
            identity = getattr(request.state, "identity", None)
            if identity is None:
                identity = await request.app.state.identify(request)
                request.state.identity = identity
            vhost = unquote(request.path_params.get("vhost", ""), errors="surrogateescape")
            if front is not None and vhost and identity is not None:
                await front.look_up(vhost)
            await self._check(request, access, vhost)
        endpoint = self.endpoints[method]
        if front is None:
            response = await endpoint(request)
        else:
            response = await front.respond(request, self.path, method, endpoint)
        if method == "GET" and isinstance(response, Json):
            return response.only(request.query_params.get("columns", ""))
        return response

    async def _check(self, request: Request, access: Access, vhost: str) -> None:
        """Check that who asks has an access, by newer metadata before it is refused.

        :raises NotAuthorised: if not.
        """
        broker = management(request).broker
        asks: Identity | None = request.state.identity
        try:
            access.check(broker, asks, vhost)
        except NotAuthorised:
            if asks is None or not await read_again(broker):
                raise
            asks = request.state.identity = asks.as_of(broker)
            access.check(broker, asks, vhost)


def route(
    path: str,
    *,
    access: Access = Access.VISIBLE,
    change: Access = Access.ADMINISTRATOR,
    **endpoints: Endpoint,
) -> Resource:
    """The resource at a path, with an endpoint for each method.

    :param access: who may GET it.
    :param change: who may have the other methods.
    """
    return Resource(path, access, change, endpoints)


def identity(request: Request) -> Identity:
    """Who asks."""
    found = request.state.identity
    if not isinstance(found, Identity):
        raise TypeError(found)
    return found


def rights(request: Request, vhost: str) -> Rights:
    """What who asks may do in a virtual host."""
    return identity(request).rights(management(request).broker, vhost)


def management(request: Request) -> Management:
    """What the resource works on."""
    found = request.app.state.management
    if not isinstance(found, Management):
        raise TypeError(found)
    return found


def clustered(request: Request) -> dict[str, bool]:
    """What a broker in a cluster says of itself to whoever logs in; nothing without a cluster."""
    return {} if management(request).cluster is None else {"clustered": True}


def moment(request: Request) -> Moment:
    """When a request looks at statistics, and which samples it asks for.

    :raises InvalidRange: if the range makes no sense.
    """
    clock = management(request).broker.clock
    return Moment(int(clock.now), int(clock.behind), ranges_of(request))


def operator(request: Request) -> Operator:
    """Who asks, for changes."""
    by = identity(request)
    return Operator(management(request).metadata, by.name, by.origin)


def segment(request: Request, name: str) -> str:
    """A part of the path, which may have any characters, a slash as %2F among them."""
    return unquote(request.path_params[name], errors="surrogateescape")


def whole_number(text: str, digits_max: int) -> int | None:
    """The number that a text of a request is; None if it is none, or has more digits."""
    is_number = text.isascii() and text.isdigit() and len(text) <= digits_max
    return int(text) if is_number else None


async def body(request: Request, schema: type[B], most: int = BODY_BYTES_MAX) -> B:
    """The body of a request.

    :raises BadRequest: if it is too long or too slow, no JSON, or not of the schema.
    """
    try:
        data = await octets(request, most) or b"{}"
        # As with RabbitMQ, a number or a truth value can be a string.
        return msgspec.json.decode(data, type=schema, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(str(error)) from None


def table(value: dict[str, Any] | list[Any], name: str) -> dict[str, Any]:
    """A table of a body: an empty list stands for an empty table, as some languages write it.

    :raises BadRequest: for a list with something in it.
    :raises Refused: if it cannot be a field table.
    """
    if isinstance(value, dict):
        check_value(name, value)
        return value
    if value:
        raise BadRequest(f"{name}: expected an object")
    return {}


async def octets(request: Request, most: int) -> bytearray:
    """The body of a request as it came.

    :param most: bytes.
    :raises BadRequest: if it is too long or too slow.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise BadRequest(f"a body of more than {most} bytes")
    except TimeoutError:
        raise BadRequest(f"a body that takes more than {BODY_TIMEOUT_S} s") from None
    return data


class Json(Response):
    """A response with a value."""

    def __init__(self, value: object, status: int) -> None:
        super().__init__(msgspec.json.encode(value), status, media_type="application/json")
        self.value = value

    def only(self, columns: str) -> Response:
        """The response with some names of its value, if that is an object."""
        if not columns or not isinstance(self.value, dict) or self.status_code != 200:
            return self
        return Json(only(self.value, wanted_names(columns.split(","))), self.status_code)


def json(value: object, status: int = 200) -> Response:
    """A response with a value."""
    return Json(value, status)


def unless_known(request: Request, encoded: bytes) -> Response:
    """The response with a value in JSON, or 304 if who asks has it already (RFC 9110, 13.1.2)."""
    tag = f'W/"{hashlib.blake2b(encoded, digest_size=12).hexdigest()}"'
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(encoded, headers={"ETag": tag}, media_type="application/json")


async def changed(request: Request, *, created: bool = False) -> Response:
    """The response to a change, once it is durable."""
    await management(request).durable()
    return Response(status_code=201 if created else 204)


def failed(status: int, error: str, reason: str) -> Response:
    """A response that says what is wrong."""
    return json({"error": error, "reason": reason}, status)


async def _not_found(request: Request, error: Exception) -> Response:
    what = "not_found" if request.method in ("PUT", "POST") else "Object Not Found"
    return failed(404, what, str(error) or "Not Found")


async def _refused(request: Request, error: Exception) -> Response:
    return failed(400, "bad_request", str(error))


async def _invalid_range(request: Request, error: Exception) -> Response:
    return failed(400, "invalid_range_parameters", str(error))


async def _bad_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, BadRequest):
        raise error
    return failed(400, error.error, str(error))


async def _amqp_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, AmqpError):
        raise error
    if error.code == ReplyCode.NOT_FOUND:
        return failed(404, "not_found", error.text)
    if error.code == ReplyCode.ACCESS_REFUSED:
        return failed(401, "not_authorised", error.text)
    return failed(400, "bad_request", error.text)


async def _not_authorised(request: Request, error: Exception) -> Response:
    if not isinstance(error, NotAuthorised):
        raise error
    # As with RabbitMQ, the spelling tells whether a login failed or a right is missing.
    spelling = "not_authorized" if error.asks_for_login else "not_authorised"
    response = failed(error.status, spelling, str(error))
    # A stream of events is opened by a page, too, and cannot have the header.
    by_page = PAGE_HEADER in request.headers or EVENTS in request.headers.get("accept", "")
    if error.status == 401 and error.asks_for_login and not by_page:
        response.headers["WWW-Authenticate"] = f'Basic realm="{REALM}"'
    return response


async def _http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        return failed(404, "Object Not Found", "Not Found")
    response = failed(error.status_code, error.detail.lower().replace(" ", "_"), error.detail)
    response.headers.update(error.headers or {})
    return response


async def _unavailable(request: Request, error: Exception) -> Response:
    return failed(503, "service_unavailable", str(error))


async def _fault(request: Request, error: Exception) -> Response:
    return failed(500, "internal_server_error", "the broker failed to answer; its log says why")


ERRORS: Final[dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]]] = {
    AmqpError: _amqp_error,
    NotFound: _not_found,
    Refused: _refused,
    BadRequest: _bad_request,
    InvalidRange: _invalid_range,
    NotAuthorised: _not_authorised,
    HTTPException: _http_exception,
    Unavailable: _unavailable,
    Exception: _fault,
}
"""What answers an exception of an endpoint."""

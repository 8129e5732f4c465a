"""The description of the HTTP API."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from leveret.management.authorisation import Access
from leveret.management.description import Operation, described, openapi
from leveret.management.http import Resource, json, route


def operations(routes: Iterable[object]) -> Iterator[Operation]:
    """The methods of resources."""
    for resource in routes:
        if isinstance(resource, Resource):
            for method, endpoint in resource.endpoints.items():
                needs = resource.access[method].value
                yield Operation(method, resource.path, endpoint, needs)


@described(gives=dict[str, Any])
async def get_openapi(request: Request) -> Response:
    """The description of this API, as OpenAPI 3.1."""
    return json(openapi(operations(request.app.routes)))


ROUTES: Final = (route("/api/openapi.json", access=Access.ANYBODY, GET=get_openapi),)

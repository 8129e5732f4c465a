"""The HTTP API as an ASGI application: its resources, and who asks."""

from collections.abc import Callable
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from leveret.logging import get_logger
from leveret.management.api import (
    bindings,
    connections,
    definitions,
    exchanges,
    health_checks,
    memory,
    messages,
    moves,
    overview,
    peek,
    permissions,
    policies,
    queues,
    users,
    vhosts,
)
from leveret.management.http import ERRORS
from leveret.management.service import Management

logger = get_logger()

ROUTES: Final = (
    *overview.ROUTES,
    *memory.ROUTES,
    *messages.ROUTES,
    *peek.ROUTES,
    *moves.ROUTES,
    *queues.ROUTES,
    *exchanges.ROUTES,
    *bindings.ROUTES,
    *connections.ROUTES,
    *definitions.ROUTES,
    *users.ROUTES,
    *vhosts.ROUTES,
    *permissions.ROUTES,
    *policies.ROUTES,
    *health_checks.ROUTES,
)


class Identity(NamedTuple):
    """Who asks, and from where."""

    name: str
    origin: str


class _RawPath:
    """Has paths routed as they came: a %2F is part of a name, and no separator."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].partition(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)


class _LoggedFaults:
    """Logs a fault of the broker once, in the broker's way: it is answered already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:
            logger.exception("internal error: a request failed; please report this")


def application(management: Management, identify: Callable[[Request], Identity]) -> ASGIApp:
    """The application.

    :param identify: says who a request comes from.
    """
    app = Starlette(routes=list(ROUTES), exception_handlers=dict(ERRORS))
    app.state.management = management
    app.state.identify = identify
    return _RawPath(_LoggedFaults(app))

"""The HTTP API as an ASGI application: its resources, and who asks."""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leveret.logging import get_logger
from leveret.management import health, live, page
from leveret.management.api import (
    bindings,
    cluster,
    cluster_members,
    connections,
    definitions,
    delayed,
    diagnosis,
    exchanges,
    explain,
    health_checks,
    logs,
    memory,
    messages,
    moves,
    nodes,
    openapi,
    overview,
    peek,
    permissions,
    policies,
    queues,
    session,
    users,
    vhosts,
)
from leveret.management.authentication import Logins
from leveret.management.authorisation import Identity
from leveret.management.http import ERRORS, Cut, Front
from leveret.management.objects import DEFAULT_EXCHANGE_NAME
from leveret.management.service import Management
from leveret.management.shared_answers import SharedAnswers

logger = get_logger()

ROUTES: Final = (
    *session.ROUTES,
    *live.ROUTES,
    *logs.ROUTES,
    *openapi.ROUTES,
    *overview.ROUTES,
    *cluster.ROUTES,
    *cluster_members.ROUTES,
    *memory.ROUTES,
    *messages.ROUTES,
    *peek.ROUTES,
    *moves.ROUTES,
    *queues.ROUTES,
    *exchanges.ROUTES,
    *delayed.ROUTES,
    *explain.ROUTES,
    *bindings.ROUTES,
    *connections.ROUTES,
    *definitions.ROUTES,
    *diagnosis.ROUTES,
    *users.ROUTES,
    *vhosts.ROUTES,
    *permissions.ROUTES,
    *policies.ROUTES,
    *health_checks.ROUTES,
    *nodes.ROUTES,
    *health.ROUTES,
)


SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""On every response."""

API_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-cache"),
)
"""On every response without such a header."""


class _Entry:
    """What every request passes first.

    Paths are routed as they came, because a %2F is part of a name and no separator; a slash at the
    end means nothing. Responses get the headers that keep other sites out. A fault of the broker is
    logged once, in the broker's way: it is answered already.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        if len(path) > 1:
            path = path.removesuffix("/")
        # As with RabbitMQ, the default exchange may be an empty name in a path.
        path = path.replace("/e//", f"/e/{DEFAULT_EXCHANGE_NAME}/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *SECURITY_HEADERS]
                known = {name.lower() for name, _ in headers}
                headers += [each for each in API_HEADERS if each[0] not in known]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app({**scope, "path": path}, receive, send_with_headers)
        except Cut as error:
            logger.warning("a response was cut", path=path, reason=str(error))
        except Exception:
            logger.exception("internal error: a request failed; please report this")


def application(
    management: Management,
    identify: Callable[[Request], Awaitable[Identity | None]],
    logins: Logins | None = None,
    front: Front | None = None,
) -> ASGIApp:
    """The application.

    :param identify: says who a request comes from; None if it does not say.
    :param logins: begins sessions; None if there are none.
    :param front: decides who answers; None if this broker has everything.
    """
    app = Starlette(routes=[*ROUTES, *page.ROUTES], exception_handlers=dict(ERRORS))
    entry = _Entry(app)
    app.state.management = management
    app.state.identify = identify
    app.state.logins = logins
    app.state.front = front
    app.state.entry = entry
    app.state.shared_answers = SharedAnswers()
    return entry

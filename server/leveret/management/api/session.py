"""Sessions of the management page."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.operator import Unavailable
from leveret.management.authentication import COOKIE, Logins
from leveret.management.authorisation import MANAGEMENT, Access, NotAuthorised
from leveret.management.description import described
from leveret.management.http import (
    PAGE_HEADER,
    body,
    clustered,
    failed,
    json,
    management,
    route,
)
from leveret.management.sessions import SESSION_S

HERE_ONLY: Final = (
    "the session is over here, and at the other brokers when the database of the cluster answers"
)


class LoginBody(msgspec.Struct):
    """A user name and a password."""

    username: str
    password: str


def _logins(request: Request) -> Logins:
    found = request.app.state.logins
    if not isinstance(found, Logins):
        raise NotAuthorised("The owner of the process needs no session", 403)
    return found


@described(takes=LoginBody)
async def post_session(request: Request) -> Response:
    """Begin a session, whose cookie stands for the password."""
    if PAGE_HEADER not in request.headers:
        raise NotAuthorised(f"a session needs the header {PAGE_HEADER}", 403)
    given = await body(request, LoginBody)
    logins = _logins(request)
    identity = await logins.log_in(request, given.username, given.password.encode())
    if not identity.has(MANAGEMENT):
        raise NotAuthorised("Not management user")
    response = json({"name": identity.name, "tags": sorted(identity.tags)} | clustered(request))
    response.set_cookie(
        COOKIE,
        logins.begin_session(identity),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


async def delete_session(request: Request) -> Response:
    """End the session of the request's cookie, at all brokers of a cluster."""
    logins = _logins(request)
    response = Response(status_code=204)
    if (token := request.cookies.get(COOKIE)) is not None and PAGE_HEADER in request.headers:
        try:
            reason = logins.end_session(token)
            if not reason:
                await management(request).durable()
        except Unavailable as error:
            reason = str(error)
        if reason:
            response = failed(503, "service_unavailable", f"{HERE_ONLY}: {reason}")
    response.delete_cookie(COOKIE)
    return response


ROUTES: Final = (
    route("/api/session", change=Access.ANYBODY, POST=post_session, DELETE=delete_session),
)

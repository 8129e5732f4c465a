"""Logins to the HTTP API: a user name and a password with each request, or a session of the page.

Who fails often is answered late (`engine/access/login_failures.py`). A session (`sessions.py`) is a
cookie that no script reads and no other site sends; a change with it needs a header that no other
site can send.
A change with a password is refused where a browser says that a page of another site wants it.
"""

import asyncio
import time
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

from starlette.requests import Request

from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import User
from leveret.logging import get_logger
from leveret.management.authorisation import Identity, NotAuthorised
from leveret.management.http import PAGE_HEADER
from leveret.management.newer_metadata import read_again
from leveret.management.sessions import Sessions
from leveret.net.origin import is_loopback

COOKIE: Final = "leveret_session"

DEFINITIONS: Final = "/api/definitions"
"""Where the name and the password may be in the query, as `auth` (RabbitMQ: HTTP API Reference):
browsers that download or upload a file send no header."""

UNSAFE: Final = frozenset(("PUT", "POST", "PATCH", "DELETE"))

logger = get_logger()


class Logins:
    """Says who a request comes from."""

    def __init__(self, broker: Broker, *, clustered: bool = False) -> None:
        """
        :param clustered: whether the metadata are those of a cluster, all of whose brokers know its
            sessions.
        """
        self._broker = broker
        self._sessions = Sessions(
            broker.metadata,
            lambda: int(broker.clock.now),
            shared=clustered,
            secret=broker.config.cluster.secret,
        )

    async def identify(self, request: Request) -> Identity | None:
        """Who a request comes from; None if it does not say.

        :raises NotAuthorised: if the password or the session is wrong.
        """
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if not scheme and request.url.path.startswith(DEFINITIONS):
            credentials = request.query_params.get("auth", "")
            scheme = "basic" if credentials else ""
        if scheme.lower() == "basic":
            if _is_of_another_site(request):
                raise NotAuthorised("a page of another site may change nothing", 403)
            try:
                name, _, password = b64decode(credentials).partition(b":")
                user = name.decode()
            except (Base64Error, ValueError):
                raise NotAuthorised("Login failed", asks_for_login=True) from None
            return await self.log_in(request, user, password)
        token = request.cookies.get(COOKIE)
        if token is None:
            return None
        identity = await self._of_session(request, token)
        if request.method in UNSAFE and PAGE_HEADER not in request.headers:
            raise NotAuthorised(f"a session needs the header {PAGE_HEADER}", 403)
        return identity

    async def log_in(self, request: Request, name: str, password: bytes) -> Identity:
        """Check a password.

        :raises NotAuthorised: if it is wrong, some time later if that happened often.
        """
        host = _host(request)
        accounts = self._broker.accounts
        known = accounts.authenticate(name, password)
        if not known and await read_again(self._broker):
            known = accounts.authenticate(name, password)
        local_only = accounts.loopback_only(name) and not is_loopback(host)
        if known and not local_only:
            return self._identity(name, host)
        logger.warning(
            "login to the HTTP API failed",
            peer=host,
            user=name,
            reason="only from the loopback interface" if known else "user name or password",
        )
        await asyncio.sleep(self._broker.login_failures.add(host, time.monotonic()))
        raise NotAuthorised("Login failed", asks_for_login=True)

    def begin_session(self, identity: Identity) -> str:
        """Begin a session; its token.

        :raises Unavailable: as `Sessions.begin`.
        """
        user = self._broker.metadata.get(User, identity.name)
        if user is None:
            raise NotAuthorised("Login failed", asks_for_login=True)
        return self._sessions.begin(user)

    def end_session(self, token: str) -> str:
        """End a session, if there is one.

        :returns: why other brokers of the cluster do not learn of it at once; empty if they do.
        :raises Unavailable: as `Sessions.end`.
        """
        return self._sessions.why_here_only() if self._sessions.end(token) else ""

    async def _of_session(self, request: Request, token: str) -> Identity:
        user = self._sessions.user_of(token)
        if user is None and await read_again(self._broker):
            # Somebody may have been made a user, or got a password, at another broker just before.
            user = self._sessions.user_of(token)
        if user is None:
            raise NotAuthorised("The session has ended", asks_for_login=True)
        return self._identity(user.name, _host(request))

    def _identity(self, name: str, host: str) -> Identity:
        return Identity(name, host).as_of(self._broker)


def _is_of_another_site(request: Request) -> bool:
    """Whether a page of another site has a browser send a change, with the password that it knows
    for this one. Scripts cannot send the header of the page from there, and forms can send none."""
    origin = request.headers.get("origin")
    return (
        origin is not None
        and request.method in UNSAFE
        and PAGE_HEADER not in request.headers
        and origin.partition("://")[2] != request.headers.get("host")
    )


def _host(request: Request) -> str:
    return "" if request.client is None else request.client.host

"""An HTTP server in the broker's event loop: uvicorn's protocol, with bounds for its clients.

It serves one application on sockets that listen already. A connection that has not sent a whole
request head in time is closed, as is one whose peer does not take its response; of those that are
too many, the newest is closed at once.
"""

import asyncio
import logging
import socket
import ssl
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from leveret.limits import LISTEN_BACKLOG
from leveret.logging import get_logger

IDLE_S: Final = 30
"""Seconds that a connection may take for the head of a request, and be idle between two."""

STALLED_S: Final = 60
"""Seconds that a peer may take nothing of a response."""

CHECK_S: Final = 5
"""Seconds between two looks at the connections, while there are any."""

CONTROL_CONNECTIONS_MAX: Final = 32
"""Connections to the control socket."""

TLS_HANDSHAKE_S: Final = 10
"""Seconds for a TLS handshake."""

HEAD_BYTES_MAX: Final = 32 * 1024
"""Bytes of the head of a request."""

UVICORN_LOG: Final = logging.getLogger("leveret.uvicorn")
"""What uvicorn's protocol logs of our connections, from errors upwards: the client is told what is
wrong with a request, and the log is the operator's. uvicorn's own loggers stay as they are: a test
suite has the broker in the process of an application that may use them."""
UVICORN_LOG.setLevel(logging.ERROR)

logger = get_logger()


class _Protocol(H11Protocol):
    """One connection."""

    def __init__(self, server: "HttpServer", config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self.logger = UVICORN_LOG
        self.access_log = False
        self._server = server
        self.waiting_since: float | None = self.loop.time()
        """Since when a request head is awaited, or the peer takes nothing; None otherwise."""
        self._stalled = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete and not self._stalled:
            self.waiting_since = None

    def on_response_complete(self) -> None:
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._stalled = True
        self.waiting_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled = False
        self.waiting_since = None
        super().resume_writing()

    def is_overdue(self, now: float) -> bool:
        """Whether its peer keeps it waiting for too long."""
        allowed = STALLED_S if self._stalled else IDLE_S
        return self.waiting_since is not None and now - self.waiting_since > allowed

    def close(self) -> None:
        """Close it, whatever is under way."""
        self.transport.abort()


class HttpServer:
    """Serves an application."""

    def __init__(self, app: ASGIApp, connections_max: int) -> None:
        """
        :param connections_max: connections that may be open.
        """
        self._connections_max = connections_max
        self._config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=IDLE_S,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            proxy_headers=False,
        )
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        """Whether it was logged that there are too many connections."""

    async def listen(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Serve on a socket that listens, with TLS if there is a context."""
        loop = asyncio.get_running_loop()
        self._servers.append(
            await loop.create_server(self._protocol, sock=sock, ssl=context, backlog=LISTEN_BACKLOG)
        )

    async def listen_on_path(self, sock: socket.socket) -> None:
        """Serve on a Unix socket that listens."""
        loop = asyncio.get_running_loop()
        self._servers.append(
            await loop.create_unix_server(self._protocol, sock=sock, backlog=LISTEN_BACKLOG)
        )

    def protocol(self) -> asyncio.Protocol:
        """The protocol of a connection that somebody else has accepted."""
        return self._protocol()

    def _protocol(self) -> _Protocol:
        return _Protocol(self, self._config, self._state)

    def connected(self, connection: _Protocol) -> None:
        """A connection was accepted."""
        if len(self._state.connections) > self._connections_max:
            if not self._full:
                logger.warning(
                    "HTTP connection refused: too many", connections=self._connections_max
                )
            self._full = True
            connection.close()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    def _check(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self._protocols():
            if connection.is_overdue(now):
                connection.close()
        self._full = len(self._state.connections) >= self._connections_max
        self._timer = None
        if self._state.connections:
            self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    def _protocols(self) -> list[_Protocol]:
        return [each for each in self._state.connections if isinstance(each, _Protocol)]

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        for server in self._servers:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._protocols():
            connection.close()

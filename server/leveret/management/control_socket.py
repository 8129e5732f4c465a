"""The control socket: the HTTP API for the owner of the broker's process, without a password.

A Unix domain socket, in the data directory or where the configuration says, which only the owner of
the process can open. The command line talks to the broker through it.
"""

import asyncio
import getpass
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.requests import Request

from leveret.control_address import socket_address
from leveret.management.application import Identity, application
from leveret.management.service import Management
from leveret.net.listening import UnixListener

ORIGIN: Final = "control socket"

OWNER_ONLY: Final = 0o600
"""Permissions of the socket."""

IDLE_S: Final = 30
"""Seconds that a connection may be idle."""


class _Server(uvicorn.Server):
    """A server in the broker's event loop, which has its own signal handlers."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class ControlSocket:
    """Serves the HTTP API on the control socket."""

    def __init__(self, management: Management, path: Path) -> None:
        self._path = path
        self._file = ExitStack()
        """Removes the socket's file."""
        who = Identity(_user_name(), ORIGIN)

        def identify(request: Request) -> Identity:
            return who

        self._server = _Server(
            uvicorn.Config(
                application(management, identify),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=IDLE_S,
            )
        )
        self._serving: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Begin to listen. The socket of a broker that was killed is replaced.

        :raises OSError: if the socket cannot be made, or another process listens on it.
        """
        with ExitStack() as file:
            address = file.enter_context(socket_address(self._path))
            # It listens before the server does: commands may come as soon as the broker is ready.
            listener = UnixListener(address, OWNER_ONLY)
            file.callback(listener.remove)
            self._file = file.pop_all()
        loop = asyncio.get_running_loop()
        self._serving = loop.create_task(self._server.serve(sockets=[listener.socket]))

    async def stop(self) -> None:
        """Stop listening, without waiting for requests that are under way."""
        self._server.should_exit = True
        self._server.force_exit = True
        if self._serving is not None:
            await self._serving
        self._file.close()


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

"""The control socket: the HTTP API for who may use the data directory, without a password.

A Unix domain socket in the data directory, which only the owner of the broker's process can open.
The command line talks to the broker through it.
"""

import asyncio
import getpass
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import uvicorn
from starlette.requests import Request

from leveret.control_address import SOCKET_NAME, socket_address
from leveret.management.application import Identity, application
from leveret.management.service import Management

ORIGIN: Final = "control socket"

IDLE_S: Final = 30
"""Seconds that a connection may be idle."""


class _Server(uvicorn.Server):
    """A server in the broker's event loop, which has its own signal handlers."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class ControlSocket:
    """Serves the HTTP API on the control socket of a data directory."""

    def __init__(self, management: Management, directory: Path) -> None:
        self._path = directory / SOCKET_NAME
        self._directory = directory
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
        """Begin to listen.

        :raises OSError: if the socket cannot be made.
        """
        sock = bind(self._directory)
        # The server listens only when the loop comes to it; clients may come at once.
        sock.listen()
        loop = asyncio.get_running_loop()
        self._serving = loop.create_task(self._server.serve(sockets=[sock]))

    async def stop(self) -> None:
        """Stop listening, without waiting for requests that are under way."""
        self._server.should_exit = True
        self._server.force_exit = True
        if self._serving is not None:
            await self._serving
        with suppress(FileNotFoundError):
            self._path.unlink()


def bind(directory: Path) -> socket.socket:
    """The socket that listens in a directory. One that a killed broker has left is replaced: the
    directory is locked.

    :raises OSError: if it cannot be made.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        with socket_address(directory) as address:
            with suppress(FileNotFoundError):
                os.unlink(address)
            mask = os.umask(0o177)
            try:
                sock.bind(address)
            finally:
                os.umask(mask)
        # Commands may come as soon as the broker says that it is ready.
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

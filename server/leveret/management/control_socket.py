"""The control socket: the HTTP API for the owner of the broker's process, without a password.

A Unix domain socket, in the data directory or where the configuration says, which only the owner of
the process can open. The command line talks to the broker through it.
"""

import getpass
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from starlette.requests import Request

from leveret.control_address import socket_address
from leveret.management.application import application
from leveret.management.authorisation import Identity
from leveret.management.http import Front
from leveret.management.http_server import CONTROL_CONNECTIONS_MAX, HttpServer
from leveret.management.service import Management
from leveret.net.listening import UnixListener

ORIGIN: Final = "control socket"

OWNER_ONLY: Final = 0o600
"""Permissions of the socket."""


class ControlSocket:
    """Serves the HTTP API on the control socket."""

    def __init__(self, management: Management, path: Path, front: Front | None = None) -> None:
        """:param front: as in `application`."""
        self._path = path
        self._file = ExitStack()
        """Removes the socket's file."""
        who = Identity(_user_name(), ORIGIN, is_owner=True)

        async def identify(request: Request) -> Identity:
            return who

        app = application(management, identify, front=front)
        self._server = HttpServer(app, CONTROL_CONNECTIONS_MAX)

    async def start(self) -> None:
        """Begin to listen. The socket of a broker that was killed is replaced.

        :raises OSError: if the socket cannot be made, or another process listens on it.
        """
        with ExitStack() as file:
            address = file.enter_context(socket_address(self._path))
            listener = UnixListener(address, OWNER_ONLY)
            file.callback(listener.remove)
            self._file = file.pop_all()
        await self._server.listen_on_path(listener.socket)

    async def stop(self) -> None:
        """Stop listening, without waiting for requests that are under way."""
        await self._server.stop()
        self._file.close()


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

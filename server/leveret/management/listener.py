"""The listeners of the HTTP API and the management page, and of metrics."""

import ssl
from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp

from leveret.addresses import Address, parse_address
from leveret.logging import get_logger
from leveret.management.http_server import HttpServer
from leveret.net.listening import listen_on_address
from leveret.os_errors import plain_words

HTTP: Final = "http"
HTTPS: Final = "https"
PROMETHEUS: Final = "http/prometheus"
"""What lists of listeners call the protocols, as in RabbitMQ."""

logger = get_logger()


class HttpListener:
    """Serves an application on TCP addresses."""

    def __init__(self, name: str, app: ASGIApp, connections_max: int) -> None:
        """
        :param name: the section of the configuration that has the key `listen`.
        :param connections_max: connections that may be open.
        """
        self.addresses: list[Address] = []
        """Where it listens."""
        self._name = name
        self._server = HttpServer(app, connections_max)

    async def start(
        self, listen: Sequence[str], context: ssl.SSLContext | None, *, required: bool
    ) -> None:
        """Begin to listen.

        :param context: for TLS.
        :param required: if false, an address that cannot be listened on is logged.
        :raises OSError: if an address that is required cannot be listened on; the text names it.
        """
        for text in listen:
            try:
                sockets = listen_on_address(parse_address(text))
            except OSError as error:
                reason = f"{self._name}.listen: {text}: {plain_words(error)}"
                if required:
                    await self.stop()
                    raise OSError(error.errno, reason) from None
                logger.warning("a listener is missing", reason=reason)
                continue
            for sock in sockets:
                await self._server.listen(sock, context)
                self.addresses.append(Address(*sock.getsockname()[:2]))

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        await self._server.stop()

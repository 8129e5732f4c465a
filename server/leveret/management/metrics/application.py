"""The HTTP application that Prometheus scrapes, and that answers whether the broker is alive.

Nobody logs in: the listener is on the loopback interface unless the operator says otherwise, and
what it shows are names and numbers, no message (RabbitMQ: Monitoring with Prometheus and Grafana).
"""

import asyncio
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.logging import get_logger
from leveret.management import health
from leveret.management.authorisation import Access
from leveret.management.http import ERRORS, failed, route
from leveret.management.metrics.cluster_metrics import CLUSTER
from leveret.management.metrics.exposition import accepted_format
from leveret.management.metrics.node_metrics import IDENTITY, NODE
from leveret.management.metrics.object_metrics import OBJECTS
from leveret.management.metrics.own_metrics import OWN
from leveret.management.metrics.scrape import Asked, Endpoint, Tables, text_of
from leveret.management.metrics.source import Source
from leveret.management.service import Management

logger = get_logger()

TABLES: Final = Tables(OBJECTS, (*NODE, *OWN, *CLUSTER), IDENTITY)
"""All metrics."""

WITHOUT_CLUSTER: Final = Tables(OBJECTS, (*NODE, *OWN), IDENTITY)
"""Those of a broker that shares its storage with no other."""

SENT_BYTES: Final = 64 * 1024
"""Bytes that are sent at once. No more are written before they are taken."""

SCRAPES_MAX: Final = 4
"""Scrapes under way at a time: Prometheus asks for one, and each holds the names of all objects."""

SCRAPE_TIMEOUT_S: Final = 60.0
"""Seconds after which a scrape ends in any case: Prometheus waits for ten, unless it is told."""

COMPRESSION_LEVEL: Final = 1
"""Of gzip: lines are so alike that a higher level saves little."""

GZIP_WINDOW: Final = 31
"""Bits of the window of zlib, with those that ask for the header and the trailer of gzip."""


class _Writing(Work):
    """Writes the next part of the text, for a slice."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.written: list[bytes] = []
        self.is_done = False
        self._pieces = pieces

    def run(self, time_slice: TimeSlice) -> bool:
        size = 0
        for piece in self._pieces:
            self.written.append(piece)
            size += len(piece)
            if size >= SENT_BYTES or time_slice.is_over_now():
                return True
        self.is_done = True
        return True


class _ScrapeResponse(Response):
    """Sends a text part by part, compressed or not."""

    def __init__(
        self,
        service: Management,
        pieces: Iterator[bytes],
        media_type: str,
        compressed: bool,
        ended: Callable[[], None],
    ) -> None:
        """:param ended: called when everything is sent, or is not to be sent any more."""
        headers = {"content-type": media_type, "vary": "accept, accept-encoding"}
        if compressed:
            headers["content-encoding"] = "gzip"
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._service = service
        self._pieces = pieces
        self._compressor = (
            zlib.compressobj(COMPRESSION_LEVEL, wbits=GZIP_WINDOW) if compressed else None
        )
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._send_all(scope, send)
        except TimeoutError:
            # The server closes the connection, as the response is not complete.
            logger.warning("scrape given up: it was not read in time", seconds=SCRAPE_TIMEOUT_S)
        finally:
            self._ended()

    async def _send_all(self, scope: Scope, send: Send) -> None:
        async with asyncio.timeout(SCRAPE_TIMEOUT_S):
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            is_done = scope["method"] == "HEAD"
            while not is_done:
                writing = _Writing(self._pieces)
                await self._service.run(writing)
                is_done = writing.is_done
                await self._send(b"".join(writing.written), is_done, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, text: bytes, is_done: bool, send: Send) -> None:
        if self._compressor is not None:
            text = self._compressor.compress(text)
            if is_done:
                text += self._compressor.flush()
        if text:
            await send({"type": "http.response.body", "body": text, "more_body": True})


class _Scrapes:
    """The endpoints of one broker."""

    def __init__(self, service: Management) -> None:
        self._service = service
        self._under_way = 0

    async def aggregated(self, request: Request) -> Response:
        return self._scrape(request, Asked(Endpoint.AGGREGATED))

    async def per_object(self, request: Request) -> Response:
        return self._scrape(request, Asked(Endpoint.PER_OBJECT))

    async def detailed(self, request: Request) -> Response:
        query = request.query_params
        families = frozenset(query.getlist("family"))
        vhosts = frozenset(query.getlist("vhost"))
        return self._scrape(request, Asked(Endpoint.DETAILED, families, vhosts))

    def _scrape(self, request: Request, asked: Asked) -> Response:
        if self._under_way >= SCRAPES_MAX:
            return failed(503, "service_unavailable", f"{SCRAPES_MAX} scrapes are under way")
        format_ = accepted_format(request.headers.get("accept", ""))
        compressed = "gzip" in request.headers.get("accept-encoding", "")
        source = Source(self._service, asked.endpoint.value)
        tables = WITHOUT_CLUSTER if source.cluster is None else TABLES
        pieces = text_of(source, tables, asked, format_)
        self._under_way += 1
        return _ScrapeResponse(self._service, pieces, format_.media_type, compressed, self._ended)

    def _ended(self) -> None:
        self._under_way -= 1


def metrics_application(service: Management) -> ASGIApp:
    """The application of the listener for metrics."""
    scrapes = _Scrapes(service)
    app = Starlette(
        routes=[
            route("/metrics", access=Access.ANYBODY, GET=scrapes.aggregated),
            route("/metrics/per-object", access=Access.ANYBODY, GET=scrapes.per_object),
            route("/metrics/detailed", access=Access.ANYBODY, GET=scrapes.detailed),
            *health.ROUTES,
        ],
        exception_handlers=dict(ERRORS),
    )
    app.state.management = service
    app.state.identify = _nobody
    return app


async def _nobody(request: Request) -> None:
    """Who asks: nobody logs in."""

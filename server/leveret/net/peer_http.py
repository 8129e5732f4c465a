"""A client for the HTTP API of the other brokers of a cluster, over links (`links.py`).

Links are kept for further requests, a bounded number to each broker; the time that a broker may
take is bounded, too. Imported in a cluster only: httpcore is part of the extra `postgres`.

Deliberately elsewhere: what is asked for, and for whom (`management/cluster/`).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpcore

from leveret.addresses import parse_address
from leveret.net.link_proof import HTTP
from leveret.net.links import LinkError, Links
from leveret.os_errors import plain_words

CONNECTIONS_MAX: Final = 64
"""Requests to one broker at a time; others wait."""

IDLE_MAX: Final = 8
"""Links to one broker that are kept without a request."""

IDLE_S: Final = 20.0
"""Seconds that they are kept: less than the server waits for the next request."""

TIMEOUT_S: Final = 5.0
"""Seconds for a link, for a place among the requests, and for each part of a response."""

STREAM_BYTES: Final = 64 * 1024
"""Bytes of a response that are read ahead."""


class PeerUnreachable(OSError):
    """A broker has not answered, or not to the end; the text says why."""


class PeerResponse:
    """What a broker answers. Close it in any case."""

    def __init__(self, node: str, response: httpcore.Response) -> None:
        self._node = node
        self._response = response
        self.status = int(response.status)
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        """Names in lower case."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes; to be iterated over once.

        :raises PeerUnreachable: if it does not come to its end.
        """
        with _errors(self._node):
            async for piece in self._response.aiter_stream():
                yield piece

    async def close(self) -> None:
        """Take no more of it. If it has come to its end, its link is used again."""
        await self._response.aclose()


class PeerHttp:
    """Asks other brokers. Belongs to the event loop in which it is used."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._pools: dict[tuple[str, str], httpcore.AsyncConnectionPool] = {}
        """By name and address of a broker."""

    async def request(
        self,
        node: str,
        address: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> PeerResponse:
        """Ask a broker.

        :param node: its name.
        :param address: HOST:PORT of its `cluster.listen`, as it has announced it.
        :param target: path and query, quoted.
        :param headers: beside those of HTTP itself.
        :param timeout_s: seconds for a link, and then for each part of the response.
        :raises PeerUnreachable: if it does not answer.
        """
        every = [(b"host", address.encode()), (b"content-length", str(len(body)).encode())]
        every += [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        url = httpcore.URL(scheme=b"http", host=b"broker", port=None, target=target.encode("ascii"))
        kinds = ("connect", "read", "write", "pool")
        request = httpcore.Request(
            method,
            url,
            headers=every,
            content=body,
            extensions={"timeout": dict.fromkeys(kinds, timeout_s)},
        )
        with _errors(node):
            return PeerResponse(node, await self._pool(node, address).handle_async_request(request))

    def _pool(self, node: str, address: str) -> httpcore.AsyncConnectionPool:
        pool = self._pools.get((node, address))
        if pool is None:
            pool = httpcore.AsyncConnectionPool(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=IDLE_MAX,
                keepalive_expiry=IDLE_S,
                network_backend=_LinkBackend(self._links, node, address),
            )
            self._pools[node, address] = pool
        return pool

    async def keep(self, brokers: Iterable[tuple[str, str]]) -> None:
        """Close the links to all but these brokers, each a name and an address."""
        for key in self._pools.keys() - set(brokers):
            await self._pools.pop(key).aclose()

    async def close(self) -> None:
        """Close all links."""
        await self.keep(())


@contextmanager
def _errors(node: str) -> Iterator[None]:
    """Raise PeerUnreachable for what prevents a response."""
    try:
        yield
    except httpcore.TimeoutException:
        raise PeerUnreachable(f"{node} does not answer in time") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise PeerUnreachable(f"{node} is not reached: {error}") from None


class _LinkBackend(httpcore.AsyncNetworkBackend):
    """Makes links to one broker in the place of connections."""

    def __init__(self, links: Links, node: str, address: str) -> None:
        self._links = links
        self._node = node
        self._address = parse_address(address)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            transport = await self._links.dial(
                self._address, self._node, HTTP, TIMEOUT_S if timeout is None else timeout
            )
        except LinkError as error:
            raise httpcore.ConnectError(str(error)) from None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(STREAM_BYTES, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.resume_reading()
        return _LinkStream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _LinkStream(httpcore.AsyncNetworkStream):
    """A link, as httpcore reads and writes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except OSError as error:
            raise httpcore.ReadError(plain_words(error)) from None

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> None:
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except TimeoutError:
            raise httpcore.WriteTimeout from None
        except OSError as error:
            raise httpcore.WriteError(plain_words(error)) from None

    async def aclose(self) -> None:
        self._writer.transport.abort()

    def get_extra_info(self, info: str) -> Any:
        """Whether the broker has closed it; there is nothing else that httpcore asks for."""
        if info == "is_readable":
            return self._reader.at_eof() or self._writer.transport.is_closing()
        return None

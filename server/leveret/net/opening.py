"""Sockets that say something before AMQP: a PROXY protocol header, a TLS handshake, or both.

Rules:
- The header comes first, before the handshake. It is read from the configured networks only, where
  it is required; from others it is what AMQP or TLS take it for, and refused.
- A socket has `amqp.handshake_timeout` for its header and for the first octets of its handshake,
  and as long again for the rest of it.
- A handshake takes about a millisecond in which nobody else is served. So one begins in an
  iteration of the event loop, when the client's first octets are there: those who say nothing let
  nobody wait.
- A refusal is one line at info, which says why: on an open port it is no fault of the broker.

Deliberately elsewhere: plain listeners without proxies, whose sockets the event loop accepts.
"""

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any, Final

from leveret.addresses import Address
from leveret.limits import INPUT_SLICE_BYTES
from leveret.logging import get_logger
from leveret.net.origin import Origin, behind_proxy, unknown_behind_proxy
from leveret.net.proxy_protocol import ProxyHeader, ProxyHeaderError
from leveret.os_errors import plain_words
from leveret.protocol.wire.greeting import PROTOCOL_HEADER, foreign_protocol

ACCEPTED_AT_ONCE: Final = 64
"""Sockets that one callback accepts at most: some 10 us each."""

NO_DESCRIPTOR_PAUSE_S: Final = 0.5
"""Seconds for which nothing is accepted after there was no file descriptor for a socket."""

GREETING_BYTES: Final = len(PROTOCOL_HEADER)
TLS_HANDSHAKE: Final = b"\x16"
"""The first octet of a handshake (RFC 8446, section 5.1)."""

logger = get_logger()


class Opening:
    """Opens the sockets of a server's listeners."""

    def __init__(
        self,
        networks: Iterable[str],
        timeout_s: float,
        may_open: Callable[[int], bool],
        protocol: Callable[[Origin | None], asyncio.Protocol],
    ) -> None:
        """
        :param networks: where connections begin with a PROXY protocol header.
        :param may_open: whether one more socket may be open, with the number of those that open.
        :param protocol: makes the protocol of a socket, with its origin if a proxy names it.
        """
        self._networks = [ip_network(each, strict=False) for each in networks]
        self._timeout_s = timeout_s
        self._may_open = may_open
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._handshakes: deque[asyncio.Future[None]] = deque()
        """Those that wait for an iteration of the event loop to begin in."""
        self._turns_given = False
        self._listening: list[socket.socket] = []

    @property
    def reads_headers(self) -> bool:
        """Whether there are proxies."""
        return bool(self._networks)

    def listen(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept on a socket that listens, which belongs to this from here on."""
        self._listening.append(sock)
        self._loop.add_reader(sock, self._accept, sock, context)

    def stop(self) -> None:
        """Stop listening, and close what is not open yet."""
        for sock in self._listening:
            self._loop.remove_reader(sock)
            sock.close()
        self._listening.clear()
        for task in list(self._tasks):
            task.cancel()

    def close_oldest(self) -> None:
        """Close the socket that has been opening for longest."""
        for task in self._tasks:
            task.cancel()
            return

    def _accept(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, peer = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                logger.warning("no connection is accepted for a while", reason=plain_words(error))
                self._loop.remove_reader(sock)
                self._loop.call_later(NO_DESCRIPTOR_PAUSE_S, self._accept_again, sock, context)
                return
            accepted.setblocking(False)
            if not self._may_open(len(self._tasks)):
                accepted.close()
                continue
            task = self._loop.create_task(self._open(accepted, Address(*peer[:2]), context))
            self._tasks[task] = None
            task.add_done_callback(partial(self._opened, accepted))

    def _opened(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if task.cancelled():
            # It may not have begun.
            sock.close()

    def _accept_again(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        if sock in self._listening:
            self._loop.add_reader(sock, self._accept, sock, context)

    async def _open(
        self, sock: socket.socket, remote: Address, context: ssl.SSLContext | None
    ) -> None:
        """Open a socket: nothing is known of it yet but where it comes from."""
        peer: dict[str, Any] = {"peer": str(remote)}
        handed_over = False
        try:
            async with asyncio.timeout(self._timeout_s):
                origin = None
                if self._is_proxy(remote.host):
                    origin = await self._read_header(sock, remote)
                if origin is not None:
                    peer = {"peer": origin.peer, **origin.details}
                if context is not None:
                    await self._begin_handshake(sock)
            handed_over = True
            await self._loop.connect_accepted_socket(
                partial(self._protocol, origin),
                sock,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._timeout_s,
            )
        except ProxyHeaderError as error:
            logger.info("connection refused: PROXY protocol", **peer, reason=str(error))
        except TimeoutError:
            logger.info("connection refused: nothing came in time", **peer)
        except _NoTlsError as error:
            logger.info("TLS handshake failed", **peer, reason=str(error))
        except OSError as error:
            if context is not None:
                logger.info("TLS handshake failed", **peer, reason=_reason(error))
        finally:
            if not handed_over:
                _close(sock)

    def _is_proxy(self, host: str) -> bool:
        if not self._networks:
            return False
        address = ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    async def _read_header(self, sock: socket.socket, proxy: Address) -> Origin | None:
        """The origin that the header names; None for a connection of the proxy itself."""
        header = ProxyHeader()
        while wanted := header.wanted():
            try:
                data = sock.recv(wanted)
            except BlockingIOError:
                await self._readable(sock)
                continue
            if not data:
                raise ProxyHeaderError("the connection was closed")
            header.add(data)
        found = header.result()
        if found.client is not None:
            return behind_proxy(proxy, found.client, found.server)
        if found.local:
            return None
        return unknown_behind_proxy(proxy, Address(*sock.getsockname()[:2]))

    async def _begin_handshake(self, sock: socket.socket) -> None:
        """Wait until the client has said something, and for the iteration to begin in.

        :raises _NoTlsError: if it is no TLS.
        """
        await self._readable(sock)
        start = sock.recv(GREETING_BYTES, socket.MSG_PEEK)
        if not start:
            raise _NoTlsError("the client closed the connection")
        if not start.startswith(TLS_HANDSHAKE):
            if PROTOCOL_HEADER.startswith(start[:4]):
                raise _NoTlsError("the client speaks AMQP without TLS")
            raise _NoTlsError(
                f"the client does not speak TLS: {foreign_protocol(start) or start!r}"
            )
        turn: asyncio.Future[None] = self._loop.create_future()
        self._handshakes.append(turn)
        if not self._turns_given:
            self._turns_given = True
            self._loop.call_soon(self._give_turn)
        await turn

    def _give_turn(self) -> None:
        while self._handshakes:
            turn = self._handshakes.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        self._turns_given = bool(self._handshakes)
        if self._turns_given:
            self._loop.call_soon(self._give_turn)

    async def _readable(self, sock: socket.socket) -> None:
        """Wait until the socket has octets, or its end."""
        readable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(sock, _resolve, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock)


def _close(sock: socket.socket) -> None:
    """Close a socket whose client may have said more: unread octets would make this a reset."""
    with suppress(OSError):
        sock.recv(INPUT_SLICE_BYTES)
    sock.close()


class _NoTlsError(Exception):
    """The client does not begin a TLS handshake; the text says what it does."""


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _reason(error: OSError) -> str:
    """Why a handshake failed, in plain words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _SSL_REASONS.get(error.reason or "", (error.reason or str(error)))
    if isinstance(error, ConnectionAbortedError):
        return "it was not finished in time"
    return "the client closed the connection"


_SSL_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has no certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the client does not know the authority of the certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client refuses the certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client refuses the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client refuses the certificate: it has expired",
    "UNSUPPORTED_PROTOCOL": "the client's versions of TLS are too old",
    "NO_SHARED_CIPHER": "client and broker have no cipher in common",
}
"""Texts for the reasons of OpenSSL that operators meet; others are shown as OpenSSL names them."""

"""Links: connections between two brokers of a cluster, as the broker that dials makes them.

A link begins with TLS, if the brokers have certificates for each other, and with the proof of
`link_proof.py`. It is no use to anybody before both sides are proved. A certificate is checked
against `cluster.cacertfile` alone, which signs nothing but brokers: addresses of brokers change.

Deliberately elsewhere: the side that listens (`cluster_listener.py`), and what is said on a link.
"""

import asyncio
import socket
import ssl
from functools import partial
from typing import Final, cast

from leveret.addresses import Address
from leveret.config import Tls
from leveret.config_storage import Cluster
from leveret.logging import get_logger
from leveret.net.link_proof import Dialer, Listener, ProofError
from leveret.net.tls import TlsCertificates, TlsError, TlsFiles, client_context

KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Options of the socket of a link: the machine at its other end is found dead after 25 seconds,
also where no heartbeats go over it."""

logger = get_logger()


class LinkError(Exception):
    """There is no link to a broker; the text says why."""


class Links:
    """What the links of a broker have in common: its name, and what it proves itself with."""

    def __init__(self, config: Cluster, name: str) -> None:
        """
        :param name: of this broker, which no other broker of the cluster has.
        :raises TlsError: if a certificate cannot be used.
        """
        self.name = name
        self._secret = config.secret.encode()
        self.certificates: TlsCertificates | None = None
        """Those of the listener; None without TLS."""
        self._context: ssl.SSLContext | None = None
        self._tls = Tls(
            certfile=config.certfile,
            keyfile=config.keyfile,
            cacertfile=config.cacertfile,
            verify="verify_peer",
            fail_if_no_peer_cert=True,
            min_version="1.3",
        )
        if config.certfile:
            self.certificates = TlsCertificates(self._tls)
            self._context = client_context(self._tls)
            self._files = TlsFiles(self._tls)

    @property
    def may_begin(self) -> bool:
        """Whether there is anything to prove itself with."""
        return bool(self._secret) or self.certificates is not None

    def listener(self) -> Listener:
        """The proof of an accepted link."""
        return Listener(self._secret, self.name)

    async def dial(
        self, address: Address, listener: str, purpose: bytes, timeout_s: float
    ) -> asyncio.Transport:
        """Make a link: both sides are proved, and nothing else was said.

        :param listener: the name of the broker that listens there.
        :param purpose: AMQP, HTTP or CLOSE of `link_proof.py`.
        :returns: its transport, which is not read yet. Set its protocol at once.
        :raises LinkError: if there is none.
        """
        if not self.may_begin:
            raise LinkError("this broker has neither cluster.secret nor cluster.certfile")
        proof = Dialer(self._secret, self.name, listener, purpose)
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        proved = False
        try:
            async with asyncio.timeout(timeout_s):
                transport, protocol = await loop.create_connection(
                    partial(_DialedLink, proof), *address, ssl=self._dialing_context()
                )
                await protocol.proved
            proved = not transport.is_closing()
        except TimeoutError:
            raise LinkError(f"{address}: no answer in {timeout_s:g} s") from None
        except ProofError as error:
            logger.warning("a broker is refused", address=str(address), reason=str(error))
            raise LinkError(f"{address}: {error}") from None
        except OSError as error:
            raise LinkError(f"{address}: {error.strerror or error}") from None
        finally:
            if transport is not None and not proved:
                transport.abort()
        if not proved:
            raise LinkError(f"{address}: it closed the link")
        return transport

    def _dialing_context(self) -> ssl.SSLContext | None:
        """What links are dialed with, from files that may have changed."""
        if self._context is not None and self._files.have_changed():
            try:
                self._context = client_context(self._tls)
            except TlsError as error:
                logger.error("certificates of the cluster were not reloaded", reason=str(error))
        return self._context


class _DialedLink(asyncio.Protocol):
    """A link until both sides are proved."""

    def __init__(self, proof: Dialer) -> None:
        self._proof = proof
        self.proved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with ProofError or OSError."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        for option in KEEPALIVE:
            transport.get_extra_info("socket").setsockopt(*option)

    def data_received(self, data: bytes) -> None:
        if self.proved.done():
            return
        try:
            reply, proved = self._proof.receive(data)
        except ProofError as error:
            self.proved.set_exception(error)
            return
        if reply:
            self._transport.write(reply)
        if proved:
            self._transport.pause_reading()
            self.proved.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.proved.done():
            self.proved.set_exception(ConnectionResetError("it closed the link"))

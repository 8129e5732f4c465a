"""The listener for the other brokers of a cluster.

A link is accepted, with TLS if the brokers have certificates, and proved (`link_proof.py`). Then
it carries what its purpose says:

- AMQP: a header that says whose connection is passed on (`vouching.py`), and then that connection,
  whose user is believed;
- HTTP: requests to the HTTP API, for a user who is believed, too;
- CLOSE: a request to close what a process has passed on, because it stops.

Nothing is open to who has not proved itself. A link has PROOF_TIMEOUT_S until it carries something.
Of those that have not proved themselves there are UNPROVEN_MAX; one more takes the place of the
oldest, because a broker is proved within milliseconds. Who fails is kept waiting, and is not told
why.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from leveret.addresses import Address, parse_address
from leveret.logging import get_logger
from leveret.net.link_proof import AMQP, HTTP, ProofError
from leveret.net.links import KEEPALIVE, Links
from leveret.net.listening import listen_on_address
from leveret.net.opening import Opening
from leveret.net.origin import Origin
from leveret.net.proxy_protocol import ProxyHeader, ProxyHeaderError
from leveret.net.vouching import decode
from leveret.os_errors import plain_words

PROOF_TIMEOUT_S: Final = 5.0
"""Seconds from when a link is accepted until it carries something."""

FAILED_DELAY_S: Final = 1.0
"""Seconds until a link is closed whose proof is wrong."""

UNPROVEN_MAX: Final = 256
"""Links that are not proved: after a failover the other brokers dial for all of their clients."""

REPORT_S: Final = 10.0
"""Seconds in which one refusal is logged; the others are counted."""

INSTANCE_BYTES: Final = 16
"""Octets that name a process which passes connections on."""

logger = get_logger()


class ClusterListener:
    """Accepts links on the addresses of `cluster.listen`."""

    def __init__(
        self,
        links: Links,
        transport: Callable[[Origin], asyncio.Protocol],
        close_passed_on: Callable[[bytes, str], None],
    ) -> None:
        """
        :param transport: makes the transport of a connection that is passed on.
        :param close_passed_on: closes the connections that a process passes on, for a reason.
        """
        self.links = links
        self.transport = transport
        self.close_passed_on = close_passed_on
        self.addresses: list[Address] = []
        """Where it listens."""
        self.http: Callable[[str], asyncio.Protocol] | None = None
        """Makes the protocol of a link that carries HTTP, given the name of the broker that has
        dialed; None if there is nothing to ask for."""
        self._loop = asyncio.get_running_loop()
        self._opening = Opening((), PROOF_TIMEOUT_S, self._may_open, self._accepted)
        self._unproven: dict[AcceptedLink, None] = {}
        self._refused = 0
        """Refusals since the last one that was logged."""
        self._report: asyncio.TimerHandle | None = None

    def start(self, listen: Sequence[str]) -> list[str]:
        """Begin to listen; the addresses.

        :raises OSError: if an address cannot be listened on; the text names it.
        """
        certificates = self.links.certificates
        context = None if certificates is None else certificates.context
        for text in listen:
            try:
                sockets = listen_on_address(parse_address(text))
            except OSError as error:
                self.stop()
                reason = f"cluster.listen: {text}: {plain_words(error)}"
                raise OSError(error.errno, reason) from None
            for sock in sockets:
                self._opening.listen(sock, context)
                self.addresses.append(Address(*sock.getsockname()[:2]))
        return [str(address) for address in self.addresses]

    def stop(self) -> None:
        """Stop listening, and close what is not proved. What links carry goes on."""
        self._opening.stop()
        if self._report is not None:
            self._report.cancel()
        for link in list(self._unproven):
            link.abort()

    def unproven(self) -> int:
        """How many links are not proved yet."""
        return len(self._unproven)

    def _may_open(self, opening: int) -> bool:
        """Whether one more socket may be open: always, but an older one may have to go."""
        if opening + len(self._unproven) < UNPROVEN_MAX:
            return True
        if self._unproven:
            next(iter(self._unproven)).refuse("too many links are not proved")
            return True
        self._opening.close_oldest()
        return True

    def _accepted(self, origin: Origin | None) -> asyncio.Protocol:
        return AcceptedLink(self)

    # --- called by links ----------------------------------------------------------------------

    def add(self, link: "AcceptedLink") -> None:
        """A link was accepted."""
        self._unproven[link] = None

    def discard(self, link: "AcceptedLink") -> None:
        """A link carries something, or is closed."""
        self._unproven.pop(link, None)

    def report(self, peer: str, reason: str) -> None:
        """Log a refusal, unless one was logged a moment ago."""
        if self._report is not None:
            self._refused += 1
            return
        logger.warning("a link is refused: its peer is no broker", peer=peer, reason=reason)
        self._report = self._loop.call_later(REPORT_S, self._report_others)

    def _report_others(self) -> None:
        self._report = None
        if self._refused:
            logger.warning("links are refused: their peers are no brokers", count=self._refused)
        self._refused = 0


class AcceptedLink(asyncio.Protocol):
    """One link, until it carries something."""

    def __init__(self, listener: ClusterListener) -> None:
        self._listener = listener
        self._proof = listener.links.listener()
        self._proved = False
        self._header = ProxyHeader()
        self._request = b""
        """What has come of a request to close connections."""
        self._failed = False

    # --- called by asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        for option in KEEPALIVE:
            transport.get_extra_info("socket").setsockopt(*option)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PROOF_TIMEOUT_S, self.refuse, "it took too long")
        self._listener.add(self)
        self._transport.write(self._proof.begin())

    def data_received(self, data: bytes) -> None:
        if self._failed:
            return
        try:
            if self._proved:
                self._begin(data)
                return
            reply, self._proved = self._proof.receive(data)
            if reply:
                self._transport.write(reply)
            if self._proved and self._proof.purpose == HTTP:
                self._carry_http()
        except ProofError as error:
            self._fail(str(error))
        except ProxyHeaderError as error:
            self._fail(f"PROXY protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._listener.discard(self)

    # --- its end ----------------------------------------------------------------------------

    def refuse(self, reason: str) -> None:
        """Close it without a word."""
        if not self._failed:
            self._listener.report(self._peer(), reason)
        self.abort()

    def abort(self) -> None:
        """Close it at once."""
        self._timer.cancel()
        self._listener.discard(self)
        self._transport.abort()

    def _fail(self, reason: str) -> None:
        """Close it after a while."""
        self._listener.report(self._peer(), reason)
        self._failed = True
        self._transport.pause_reading()
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(FAILED_DELAY_S, self.abort)

    def _peer(self) -> str:
        name: tuple[Any, ...] = self._transport.get_extra_info("peername") or ("unknown", 0)
        return str(Address(*name[:2]))

    # --- its proof, and what it carries -----------------------------------------------------

    def _begin(self, data: bytes) -> None:
        """Take what comes after the proof, until it is known what the link carries."""
        if self._proof.purpose == AMQP:
            self._carry_amqp(data)
        else:
            self._close_passed_on(data)

    def _carry_http(self) -> None:
        make = self._listener.http
        if make is None:
            self.refuse("this broker has no HTTP API")
        else:
            self._pass_to(make(self._proof.dialer), b"")

    def _carry_amqp(self, data: bytes) -> None:
        header = self._header
        at = 0
        while wanted := header.wanted():
            if at == len(data):
                return
            header.add(data[at : at + wanted])
            at = min(at + wanted, len(data))
        origin = decode(header, self._proof.dialer)
        self._pass_to(self._listener.transport(origin), data[at:])

    def _close_passed_on(self, data: bytes) -> None:
        self._request += data
        request = self._request
        if len(request) <= INSTANCE_BYTES:
            return
        size = INSTANCE_BYTES + 1 + request[INSTANCE_BYTES]
        if len(request) < size:
            return
        reason = request[INSTANCE_BYTES + 1 : size].decode("utf-8", "replace")
        self._listener.close_passed_on(request[:INSTANCE_BYTES], reason)
        self.abort()

    def _pass_to(self, protocol: asyncio.Protocol, data: bytes) -> None:
        """Have a protocol go on, with octets that have come already."""
        self._timer.cancel()
        self._listener.discard(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if data and not self._transport.is_closing():
            protocol.data_received(data)

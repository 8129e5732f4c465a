"""The AMQP server: listeners, their connections, and what they have in common: clock and alarms."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Final

from leveret.addresses import UNIX, Address, parse_address
from leveret.config import DEFAULT_LISTEN, Config
from leveret.engine.broker import Broker
from leveret.engine.vhost import VirtualHost
from leveret.limits import LISTEN_BACKLOG, SLICE_NS
from leveret.logging import get_logger
from leveret.net.alarms import AlarmPass, Alarms, Resource
from leveret.net.closing import TransportsClosing
from leveret.net.cluster_listener import ClusterListener
from leveret.net.connection_ticks import TICK_S, ConnectionTicks
from leveret.net.dropped_messages import DroppedMessageReport
from leveret.net.links import Links
from leveret.net.listening import UnixListener, listen_on_address
from leveret.net.loop_clock import LoopClock
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.memory_shares import LargestHolder, MemoryShares
from leveret.net.memory_shortage import MEMORY_CHECK_BYTES, MemoryShortage
from leveret.net.opening import Opening
from leveret.net.origin import Origin
from leveret.net.passing_on import PassedOnConnections
from leveret.net.resource_guard import (
    CHECKED_BY_CALLS_ONLY,
    DISK_CHECK_BYTES,
    ResourceGuard,
    descriptors_are_short,
    disk_is_short,
)
from leveret.net.tls import TlsCertificates
from leveret.net.transport import AmqpTransport, TransportFactory
from leveret.os_errors import plain_words
from leveret.protocol.connections.connection import Connection
from leveret.protocol.connections.passing_on import PassingOn

STOP_TIMEOUT_S: Final = 0.5
"""Seconds that clients have to answer connection.close when the broker stops, from when the last of
their replies is durable: they answer at once, or not at all."""

STOP_COMMIT_TIMEOUT_S: Final = 10.0
"""Seconds that replies may wait for the store when the broker stops."""

STOP_POLL_S: Final = 0.05
"""Seconds between two looks at whether replies wait for the store."""

CLOSING_POLL_S: Final = 0.005
"""Seconds between two looks at whether connections that are closed have released everything."""

logger = get_logger()


class AmqpServer:
    """Serves one broker on the configured addresses."""

    def __init__(
        self,
        broker: Broker,
        config: Config,
        free_bytes: Callable[[], int] | None,
        sockets_max: int,
        transport: TransportFactory = AmqpTransport,
    ) -> None:
        """`free_bytes` measures free disk; None for a broker that uses no disk.

        :param sockets_max: sockets of clients that may be open, with those that are logging in.
        :param transport: makes the transport of each accepted socket.
        """
        self.broker = broker
        self._config = config
        self._sockets_max = sockets_max
        self._transport = transport
        self._refused = 0
        """Sockets refused since the last tick because there were too many."""
        self._transports: set[AmqpTransport] = set()
        self._servers: list[asyncio.Server] = []
        self._unix: UnixListener | None = None
        self._listeners: list[tuple[str, Address]] = []
        self.alarms = Alarms(self._alarm_changed)
        self._alarm_pass = AlarmPass(broker.work, self._transports)
        self._memory = MemoryShortage(broker.memory_limit_bytes, checked=broker.memory.check)
        self._guards = [
            ResourceGuard(
                self._memory.is_short, MEMORY_CHECK_BYTES, partial(self.alarms.set, Resource.MEMORY)
            )
        ]
        if free_bytes is not None:
            is_short = disk_is_short(config.storage.disk_free_limit, free_bytes)
            self._guards.append(
                ResourceGuard(is_short, DISK_CHECK_BYTES, partial(self.alarms.set, Resource.DISK))
            )
        self._descriptors = ResourceGuard(
            descriptors_are_short, CHECKED_BY_CALLS_ONLY, _descriptors_changed
        )
        broker.memory.received = self._received
        self._dropped_messages = DroppedMessageReport(broker)
        self._checks_shares = False
        """Whether a look at what the connections hold is under way."""
        self._certificates: TlsCertificates | None = None
        self.links: Links | None = None
        """How other brokers of the cluster are reached, after `start`; None without a cluster."""
        self.cluster_listener: ClusterListener | None = None
        """What other brokers reach; None if `cluster.listen` is empty."""
        self._stopped: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, sockets: Sequence[socket.socket] = ()) -> list[str]:
        """Start listening.

        :param sockets: for AMQP, instead of those of `amqp.listen`: they listen already, and belong
            to the server from here on.
        :returns: the listeners, as amqp=HOST:PORT or amqps=HOST:PORT.
        :raises OSError: if an address cannot be listened on; the text names it.
        :raises TlsError: if a certificate cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._scheduler = LoopScheduler(self._loop, self.broker)
        self.clock = LoopClock(self._loop, self.broker, self._scheduler)
        self.passed_on = PassedOnConnections(self.broker, self._scheduler, self._socket_closed)
        self._ticks = ConnectionTicks(self._loop, self._transports, self.broker.time_slice)
        self.clock.start()
        amqp = self._config.amqp
        self._opening = Opening(
            amqp.proxy_networks, amqp.handshake_timeout, self._may_open, self._protocol
        )
        config = self._config
        if config.tls.listen or config.management.tls or config.metrics.tls:
            self._certificates = TlsCertificates(self._config.tls)
        bound = [f"amqp={address}" for address in await self._serve(list(sockets), None)]
        for text in amqp.listen if not sockets else ():
            bound += [f"amqp={address}" for address in await self._listen(text, None)]
        if amqp.unix_socket:
            bound.append(f"amqp={await self._listen_on_path(amqp.unix_socket)}")
        if self._certificates is not None:
            for text in self._config.tls.listen:
                addresses = await self._listen(text, self._certificates.context)
                bound += [f"amqps={address}" for address in addresses]
        bound += await self._join_cluster()
        self._tick()
        return bound

    async def _join_cluster(self) -> list[str]:
        """Begin to listen for other brokers of the cluster, if there is one.

        :raises OSError: if an address cannot be listened on; the text names it.
        :raises TlsError: if a certificate cannot be used.
        """
        cluster = self._config.cluster
        if not cluster.secret and not cluster.certfile:
            return []
        self.links = self.passed_on.links = Links(cluster, self._config.server.node_name)
        if not cluster.listen:
            return []
        self.cluster_listener = ClusterListener(self.links, self._protocol, self._close_passed_on)
        try:
            return [f"cluster={address}" for address in self.cluster_listener.start(cluster.listen)]
        except OSError:
            await self.stop("")
            raise

    def _close_passed_on(self, instance: bytes, reason: str) -> None:
        """Close the connections that a process passes on, which stops."""
        for transport in list(self._transports):
            vouched = transport.connection.session.peer.vouched
            if vouched is not None and vouched.instance == instance:
                transport.force_close(reason)

    async def _listen(self, text: str, context: ssl.SSLContext | None) -> list[str]:
        """Listen on one address, with TLS if there is a context; the addresses that it means."""
        address = parse_address(text)
        try:
            sockets = listen_on_address(address)
        except OSError as error:
            is_default = self._config.amqp.listen == DEFAULT_LISTEN
            if is_default and _is_missing_loopback(address.host, error):
                return []
            await self.stop("")
            key = "amqp.listen" if context is None else "tls.listen"
            raise OSError(error.errno, f"{key}: {text}: {plain_words(error)}") from None
        return await self._serve(sockets, context)

    async def _serve(
        self, sockets: list[socket.socket], context: ssl.SSLContext | None
    ) -> list[str]:
        """Accept on sockets that listen; their addresses."""
        found = [Address(*sock.getsockname()[:2]) for sock in sockets]
        for sock in sockets:
            if context is None and not self._opening.reads_headers:
                accept = partial(self._protocol, None)
                self._servers.append(
                    await self._loop.create_server(accept, sock=sock, backlog=LISTEN_BACKLOG)
                )
            else:
                self._opening.listen(sock, context)
        self._listeners += [("amqp" if context is None else "amqps", each) for each in found]
        return [str(each) for each in found]

    async def _listen_on_path(self, path: str) -> str:
        """Listen on a Unix socket; its path in the form of the configuration."""
        try:
            unix = UnixListener(path, int(self._config.amqp.unix_socket_mode, 8))
        except OSError as error:
            await self.stop("")
            raise OSError(error.errno, f"amqp.unix_socket: {path}: {plain_words(error)}") from None
        self._unix = unix
        accept = partial(self._protocol, None)
        self._servers.append(
            await self._loop.create_unix_server(accept, sock=unix.socket, backlog=LISTEN_BACKLOG)
        )
        self._listeners.append(("amqp", Address(path, 0)))
        return f"{UNIX}:{path}"

    def tls_context(self) -> ssl.SSLContext | None:
        """What other listeners with the same certificates are made with, after `start`."""
        return None if self._certificates is None else self._certificates.context

    def reload_certificates(self) -> None:
        """Read the files of the TLS certificates again."""
        if self._certificates is not None:
            self._certificates.reload()

    def run_requested(self) -> None:
        """Send at once what a callback of the event loop has caused, after `start`."""
        self._scheduler.run_requested()

    async def stop(
        self, reason: str, clients_s: float = STOP_TIMEOUT_S, *, synced: bool = True
    ) -> int:
        """Stop listening, close every connection, and wait for the clients.

        :param reason: the text of connection.close.
        :param clients_s: seconds that they have to answer, from when their replies are durable.
        :param synced: whether the store will still sync what it has not synced yet. If false,
            replies that wait for it are dropped.
        :returns: how many connections were open.
        """
        connections = len(self._transports)
        stopped = self._stop_listening()
        self.passed_on.close(reason)
        for transport in list(self._transports):
            transport.force_close(reason, synced)
        await self._wait_for_clients(stopped, clients_s)
        if self._sockets():
            logger.warning(
                "clients did not answer connection.close: their sockets are closed",
                connections=self._sockets(),
            )
        self.passed_on.abort()
        for transport in list(self._transports):
            transport.abort()
        return connections

    def _stop_listening(self) -> asyncio.Event:
        """Stop listening, and what is done from time to time.

        :returns: what is set when the last socket is closed.
        """
        for server in self._servers:
            server.close()
        self._opening.stop()
        if self.cluster_listener is not None:
            self.cluster_listener.stop()
        if self._unix is not None:
            self._unix.remove()
        self.clock.stop()
        self._ticks.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._stopped = asyncio.Event()
        return self._stopped

    async def _wait_for_clients(self, stopped: asyncio.Event, clients_s: float) -> None:
        """Wait until all sockets are closed, or the clients had their time."""
        start = answered = self._loop.time()
        while self._sockets() and self._loop.time() - answered < clients_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(STOP_POLL_S, clients_s)):
                    await stopped.wait()
            now = self._loop.time()
            if now - start < STOP_COMMIT_TIMEOUT_S and any(
                transport.awaits_store() for transport in self._transports
            ):
                answered = now

    async def close_connections(
        self, vhosts: Collection[VirtualHost], reason: str, timeout_s: float, *, synced: bool
    ) -> int:
        """Close the connections to virtual hosts, in slices, and wait until they use nothing there.

        :param timeout_s: seconds to wait.
        :param synced: as for `stop`.
        :returns: how many connections were open.
        """
        found = [each for each in self._transports if each.connection.session.vhost in vhosts]
        if found:
            self.broker.work.add(TransportsClosing(found, reason, synced))
        deadline = self._loop.time() + timeout_s
        while self._loop.time() < deadline:
            if not any(each.connection.opened for each in found):
                break
            await asyncio.sleep(CLOSING_POLL_S)
        return len(found)

    def kill(self) -> None:
        """Close all sockets at once, without a word to the clients."""
        self._stop_listening()
        self.passed_on.abort()
        for transport in list(self._transports):
            transport.abort()

    def _protocol(self, origin: Origin | None) -> AmqpTransport:
        """The transport of an accepted socket; where its client is, if a proxy says so."""
        login_from = self._config.tls.login_from
        return self._transport(
            self.broker, self._scheduler, self, self._received, login_from, origin
        )

    # --- connections (called by transports) ---------------------------------------------------

    def add(self, transport: AmqpTransport) -> bool:
        """Add an accepted socket.

        :returns: False if there are too many, or the server stops.
        """
        if self._stopped is not None:
            logger.warning("connection refused: the broker stops")
            return False
        if not self._may_open(0):
            return False
        self._transports.add(transport)
        return True

    def _may_open(self, opening: int) -> bool:
        """Whether one more socket may be open, beside those that have not begun to speak AMQP."""
        sockets = self._sockets() + opening
        if sockets < self._sockets_max:
            return True
        if self._refused == 0:
            logger.warning(
                "connection refused: too many sockets; see amqp.max_connections and ulimit -n",
                sockets=sockets,
                max_connections=self._config.amqp.max_connections,
            )
        self._refused += 1
        return False

    def discard(self, transport: AmqpTransport) -> None:
        """Remove a closed socket."""
        self._transports.discard(transport)
        self._socket_closed()

    def _socket_closed(self) -> None:
        if self._stopped is not None and not self._sockets():
            self._stopped.set()

    def _sockets(self) -> int:
        """Sockets of clients that are open."""
        return len(self._transports) + self.passed_on.open

    def pass_on(self, transport: AmqpTransport, passing_on: PassingOn) -> None:
        """Pass a connection on to the broker that serves its virtual host, when one does."""
        self.passed_on.add(transport, passing_on)

    def passing_on_ended(self, passing_on: PassingOn) -> None:
        """A connection waits no longer for that."""
        self.passed_on.discard(passing_on)

    def listeners(self) -> list[tuple[str, Address]]:
        """The protocol and the address of each listener."""
        return list(self._listeners)

    def sockets(self) -> tuple[int, int]:
        """Sockets of clients that are open, and how many may be."""
        return self._sockets(), self._sockets_max

    def descriptors(self) -> list[int]:
        """The file descriptors of its sockets, those that listen and those of clients."""
        listening = [each.fileno() for server in self._servers for each in server.sockets]
        clients = [transport.descriptor() for transport in self._transports]
        return [*listening, *clients, *self.passed_on.descriptors()]

    def accepts(self) -> bool:
        """Whether it listens: it has started, and does not stop."""
        return bool(self._listeners) and self._stopped is None

    def certificate_expiries(self) -> list[tuple[str, datetime | None]]:
        """The file of each TLS certificate, and when it expires; None if it has expired."""
        return [] if self._certificates is None else self._certificates.expiries()

    def set_memory_limit(self, limit_bytes: int) -> None:
        """Change the memory limit until the next start, and look at once whether it is exceeded."""
        self.broker.set_memory_limit(limit_bytes)
        self._memory.set_limit(limit_bytes)
        self.check_resources()

    def check_resources(self) -> None:
        """Look at once whether memory or disk is short, rather than at the next tick."""
        for guard in self._guards:
            guard.check()

    def all_connections(self) -> list[Connection]:
        """The open connections, in any order, which is quicker."""
        found = [each.connection for each in self._transports]
        return [each for each in found if each.opened is not None]

    def connections(self) -> list[Connection]:
        """The open connections, the oldest first."""
        found = [(each.connection.opened, each.connection) for each in self._transports]
        opened = [(entry.connected_at, each) for entry, each in found if entry is not None]
        return [each for _, each in sorted(opened, key=itemgetter(0))]

    # --- time and alarms ----------------------------------------------------------------------

    def _tick(self) -> None:
        """Do what is done twice a second. Each part is a callback of its own: the loop reports one
        that fails, and the others and the next tick come all the same."""
        self._timer = self._loop.call_later(TICK_S, self._tick)
        parts: list[Callable[[], None]] = [
            self._ticks.start_pass,
            self.clock.tick,
            *(guard.check for guard in self._guards),
            self._descriptors.check,
            self._check_shares,
            self._report_dropped,
            self._check_certificates,
            self.passed_on.check_owners,
            self.broker.compact,
            # No client waits for acknowledgements to be logged, but they must not wait for long.
            partial(self.broker.commit, urgent=True),
        ]
        for part in parts:
            self._loop.call_soon(self._run_part, part)

    def _run_part(self, part: Callable[[], None]) -> None:
        """Run a part of a tick, unless the broker has begun to stop since: then its store may be
        closed."""
        if self._stopped is None:
            part()

    def _report_dropped(self) -> None:
        self.broker.time_slice.begin(SLICE_NS)
        self._dropped_messages.report(self._loop.time())
        if self._refused > 1:
            logger.warning("connections refused: too many sockets", count=self._refused)
        self._refused = 0

    def _check_certificates(self) -> None:
        if self._certificates is not None:
            self._certificates.reload_if_changed()
            self._certificates.warn_daily(time.monotonic())
        if self.links is not None and self.links.certificates is not None:
            self.links.certificates.reload_if_changed()
            self.links.certificates.warn_daily(time.monotonic())

    def _check_shares(self) -> None:
        if self.broker.memory.short and not self._checks_shares:
            self._checks_shares = True
            shared = self._memory.shared_bytes
            self.broker.work.add(MemoryShares(self._transports, shared, self._shares_checked))

    def _shares_checked(self) -> None:
        self._checks_shares = False

    def _received(self, count: int) -> None:
        for guard in self._guards:
            guard.received(count)

    def _alarm_changed(self, reason: str) -> None:
        begins = not self.broker.alarm
        self.broker.set_alarm(reason)
        if reason:
            logger.warning(
                "resource alarm set (publishers are blocked until it is cleared)",
                reason=reason,
                memory_limit_bytes=self._memory.limit_bytes,
                disk_free_limit_bytes=self._config.storage.disk_free_limit,
            )
        else:
            logger.warning("resource alarm cleared (publishers are read again)")
        if begins and self.broker.memory.short:
            self.broker.work.add(LargestHolder(self._transports, self._memory.shared_bytes))
        if begins or not reason:
            self._alarm_pass.begin()


def _descriptors_changed(short: bool) -> None:
    """Log what the event loop does without a word: it closes the connections that it accepts."""
    if short:
        logger.warning("no file descriptor is free: new connections are closed; see ulimit -n")
    else:
        logger.warning("file descriptors are free again: new connections are accepted")


def _is_missing_loopback(host: str, error: OSError) -> bool:
    """Whether the machine has no IPv6: the default listeners do not need it."""
    return host == "::1" and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

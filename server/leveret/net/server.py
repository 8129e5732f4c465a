"""The AMQP server: listeners, the connections they brought, and the clock they share."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from leveret.addresses import parse_address
from leveret.config import DEFAULT_LISTEN, Config
from leveret.engine.broker import Broker
from leveret.limits import LISTEN_BACKLOG, UNOPENED_CONNECTIONS_MAX
from leveret.logging import get_logger
from leveret.memory import memory_limit_bytes
from leveret.net.alarms import Alarms, Resource
from leveret.net.disk_guard import DiskGuard
from leveret.net.loop_clock import LoopClock
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.lost_dead_letters import Losses
from leveret.net.memory_guard import MemoryGuard
from leveret.net.transport import AmqpTransport

TICK_S: Final = 0.5
"""Seconds between two looks at the clock: half the shortest heartbeat there is."""

STOP_TIMEOUT_S: Final = 3.0
"""Seconds clients have to answer connection.close when the broker stops."""

log = get_logger()


class AmqpServer:
    """Serves one broker on the addresses of the configuration."""

    def __init__(
        self, broker: Broker, config: Config, free_bytes: Callable[[], int] | None
    ) -> None:
        """`free_bytes` tells how much free disk there is; None where none is used."""
        self._broker = broker
        self._config = config
        self._transports: set[AmqpTransport] = set()
        self._servers: list[asyncio.Server] = []
        alarms = Alarms(self._alarm)
        self._memory = MemoryGuard(
            memory_limit_bytes(config.memory.limit), partial(alarms.set, Resource.MEMORY)
        )
        self._disk: DiskGuard | None = None
        if free_bytes is not None:
            self._disk = DiskGuard(
                config.storage.disk_free_limit, free_bytes, partial(alarms.set, Resource.DISK)
            )
        self._losses = Losses(broker)
        self._stopped: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> list[str]:
        """Listen.

        :returns: the addresses really listened on, as HOST:PORT.
        :raises OSError: for an address that cannot be had; the text names it.
        """
        self._loop = asyncio.get_running_loop()
        self._scheduler = LoopScheduler(self._loop, self._broker.clock, self._broker.commit)
        self._clock = LoopClock(self._loop, self._broker, self._scheduler)
        self._clock.start()
        listen = self._config.amqp.listen
        bound: list[str] = []
        for text in listen:
            address = parse_address(text)
            try:
                server = await self._loop.create_server(
                    self._accept, address.host or None, address.port, backlog=LISTEN_BACKLOG
                )
            except OSError as error:
                if listen == DEFAULT_LISTEN and _is_missing_loopback(address.host, error):
                    continue
                await self.stop("")
                raise OSError(error.errno, f"{text}: {_explain(error)}") from None
            self._servers.append(server)
            bound += [_shown(sock.getsockname()) for sock in server.sockets]
        self._tick()
        return bound

    async def stop(self, reason: str, kept: bool = True) -> None:
        """Stop listening, close every connection with `reason`, and wait a little for the clients
        to take note.

        :param kept: whether what the store has not taken yet, it still will.
        """
        for server in self._servers:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
            self._clock.stop()
        self._stopped = asyncio.Event()
        for transport in list(self._transports):
            transport.force_close(reason, kept)
        if self._transports:
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._stopped.wait()
            except TimeoutError:
                log.warning("clients did not answer", connections=len(self._transports))
        for transport in list(self._transports):
            transport.abort()

    def _accept(self) -> AmqpTransport:
        return AmqpTransport(self._broker, self._scheduler, self, self._received)

    # --- connections (what a transport tells) -------------------------------------------------

    def add(self, transport: AmqpTransport) -> bool:
        """A socket was accepted.

        :returns: False if there are too many.
        """
        most = self._config.amqp.max_connections + UNOPENED_CONNECTIONS_MAX
        if len(self._transports) >= most or self._stopped is not None:
            log.warning("connection refused", sockets=len(self._transports))
            return False
        self._transports.add(transport)
        return True

    def discard(self, transport: AmqpTransport) -> None:
        """A socket is gone."""
        self._transports.discard(transport)
        if self._stopped is not None and not self._transports:
            self._stopped.set()

    # --- time and alarms ----------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._loop.time()
        for transport in list(self._transports):
            transport.tick(now)
        self._memory.check()
        if self._disk is not None:
            self._disk.check()
        self._losses.report(now)
        # Nobody waits for acknowledgements to be written down, but they are not left for long.
        self._broker.tidy()
        self._broker.commit(urgent=True)
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def _received(self, count: int) -> None:
        self._memory.received(count)
        if self._disk is not None:
            self._disk.received(count)

    def _alarm(self, reason: str) -> None:
        self._broker.alarm = reason
        if reason:
            log.warning(
                "alarm",
                reason=reason,
                memory_limit_bytes=self._memory.limit_bytes,
                disk_free_limit_bytes=self._config.storage.disk_free_limit,
            )
        else:
            log.warning("alarm cleared")
        for transport in list(self._transports):
            if reason:
                transport.block(reason)
            else:
                transport.unblock()


def _is_missing_loopback(host: str, error: OSError) -> bool:
    """Whether the machine has no IPv6, which the default listeners do without."""
    return host == "::1" and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _explain(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error)
    return os.strerror(error.errno).lower()


def _shown(sockname: tuple[str, int]) -> str:
    host, port = sockname[0], sockname[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

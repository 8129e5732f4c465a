"""One socket: bytes to its connection and back, both ways at the pace of the slower side.

Reading is bounded: what came in bulk waits for its turns (turn.py) with the socket left alone
meanwhile, so that a saturating publisher does not starve the others. Writing is bounded:
deliveries stop when the peer does not read (session.py), and a peer that asks without reading the
answers is not read itself.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from leveret.engine.broker import Broker
from leveret.limits import (
    CLOSE_TIMEOUT_S,
    INPUT_SLICE_BYTES,
    OUTPUT_HIGH_WATER_BYTES,
    OUTPUT_REPLIES_BYTES_MAX,
)
from leveret.logging import get_logger
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.wall_clock import now_ms
from leveret.protocol.connections.connection import Connection

log = get_logger()


class Transports(Protocol):
    """Who keeps the transports."""

    def add(self, transport: "AmqpTransport") -> bool:
        """Keep one; False if there is no room."""

    def discard(self, transport: "AmqpTransport") -> None:
        """Keep it no longer."""


class AmqpTransport(asyncio.Protocol):
    """The asyncio side of a connection."""

    def __init__(
        self,
        broker: Broker,
        scheduler: LoopScheduler,
        transports: Transports,
        received: Callable[[int], None],
    ) -> None:
        self._broker = broker
        self._scheduler = scheduler
        self._transports = transports
        self._received = received
        """Told how many bytes were read, so that memory is looked at in time."""
        self._loop = asyncio.get_running_loop()
        self._reading = True
        self._waiting = False
        """Whether a turn is coming up for what was received."""
        self._closing_since = 0.0

    # --- what asyncio calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=OUTPUT_HIGH_WATER_BYTES)
        # One that was reset before it was accepted has no peer any more, and is lost next.
        host, port, *_ = transport.get_extra_info("peername") or ("unknown", 0)
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.connection = Connection(
            self._broker,
            self._wake,
            log.bind(peer=peer),
            from_loopback=_is_loopback(host),
            now=self._loop.time(),
            peer=peer,
        )
        if not self._transports.add(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received(len(data))
        self._broker.clock.advance_to(now_ms())
        # What is small, an acknowledgement or a request, need not wait for its turn.
        now = INPUT_SLICE_BYTES if len(data) <= INPUT_SLICE_BYTES and not self._waiting else 0
        self._advance(data, now)

    def pause_writing(self) -> None:
        self.connection.session.write_paused = True

    def resume_writing(self) -> None:
        self.connection.session.write_paused = False
        self.connection.session.resume_consumers()
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transports.discard(self)
        self.connection.disconnected()

    # --- turns ------------------------------------------------------------------------------

    def work(self) -> None:
        self._waiting = False
        connection = self.connection
        if connection.finished or connection.blocked or self._congested():
            return
        self._advance(b"", INPUT_SLICE_BYTES)

    def _advance(self, data: bytes, slice_bytes: int) -> None:
        """Take what was received, and work through a slice of all that waits."""
        connection = self.connection
        try:
            more = connection.feed(data, slice_bytes) if data else connection.work(slice_bytes)
        except Exception:
            # A fault of ours ends this connection, and nothing else.
            log.exception("internal error")
            connection.internal_error()
            more = False
        self._scheduler.end()
        session = connection.session
        if self._broker.alarm and session.has_published and not connection.blocked:
            connection.block(self._broker.alarm)
        if more or session.throttled or connection.blocked or self._congested():
            self._pause_reading()
            self._read_on()
        else:
            self._resume_reading()

    def _read_on(self) -> None:
        """Have a turn, if not reading is not for a reason that takes longer."""
        session = self.connection.session
        if self._waiting or self._reading or self.connection.blocked or self._congested():
            return
        self._waiting = True
        if session.throttled:
            session.throttled = False
            self._scheduler.hold(self)
        else:
            self._scheduler.later(self)

    def _congested(self) -> bool:
        """Whether so many answers wait, unread or for the store, that the peer may not ask for
        more.

        Deliveries alone do not come to that. So a client that publishes, and looks at what it
        gets only then, is read on, and cannot wait for the broker while the broker waits for it.
        """
        session = self.connection.session
        return session.holds_too_much() or (
            session.write_paused
            and self._transport.get_write_buffer_size() > OUTPUT_REPLIES_BYTES_MAX
        )

    def _pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    # --- what the server calls --------------------------------------------------------------

    def _wake(self) -> None:
        self._scheduler.wake(self)

    def flush(self) -> None:
        """Write what the connection has to send; close when it has nothing more to say."""
        if self._transport.is_closing():
            return
        data = self.connection.session.take_output()
        if data:
            self._transport.write(data)
        if not self.connection.finished:
            self.connection.session.resume_consumers()
            self._read_on()
        elif not self.connection.session.holds_output():
            self._part()

    def _part(self) -> None:
        """Nothing is left to say, but the peer may be writing still, and is read until it closes.

        A socket closed with octets unread is reset, and what was said last is lost on the way. A
        client that closed the connection itself sees no end before it closes the socket, since one
        with several threads would take it for a fault (as in RabbitMQ).
        """
        if not self._closing_since:
            self._closing_since = self._loop.time()
            if not self.connection.closed_by_client:
                self._transport.write_eof()
            self._resume_reading()

    def tick(self, now: float) -> None:
        """Let time pass."""
        if self._closing_since:
            if now - self._closing_since > CLOSE_TIMEOUT_S:
                self._transport.abort()
        else:
            self.connection.tick(now)

    def unblock(self) -> None:
        """Read the connection again: the alarm is over."""
        if self.connection.blocked:
            self.connection.unblock()
            self._read_on()

    def block(self, reason: str) -> None:
        """Stop reading a connection that publishes."""
        if self.connection.session.has_published and not self.connection.blocked:
            self.connection.block(reason)
            self._pause_reading()

    def force_close(self, reason: str, kept: bool = True) -> None:
        """Tell the peer to go, and read whether it does. Unless what it was to be told `kept` is or
        will be so, it is not told."""
        if not kept:
            self.connection.session.discard_held()
        if self.connection.finished:
            self._transport.close()
        self.connection.force_close(reason)
        self._read_on()

    def abort(self) -> None:
        """Cut the socket."""
        self._transport.abort()


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith(("127.", "::ffff:127."))

"""A transport: the socket of one connection, with backpressure in both directions.

Reading is bounded. Input larger than a slice is buffered and processed in slices
(`loop_scheduler.py`), and the socket is not read meanwhile, so that a saturating publisher does not
starve other connections. Writing is bounded, too. Deliveries stop while the peer does not read
(`session.py`), and the requests of a peer that does not read the replies are not read.

Deliberately elsewhere: frames, channels and heartbeats (`protocol/`).
"""

import asyncio
import select
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

from leveret.engine.broker import Broker
from leveret.limits import (
    CLOSE_TIMEOUT_S,
    INPUT_SLICE_BYTES,
    OUTPUT_HIGH_WATER_BYTES,
    OUTPUT_REPLIES_BYTES_MAX,
)
from leveret.logging import get_logger
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.origin import Origin, of_socket
from leveret.net.tls import user_of_certificate
from leveret.net.wall_clock import now_ms
from leveret.os_errors import plain_words
from leveret.protocol.channels.peer import Peer, TlsPeer
from leveret.protocol.connections.connection import Connection
from leveret.protocol.connections.held_memory import HeldMemory
from leveret.protocol.connections.passing_on import PassingOn

logger = get_logger()


class Transports(Protocol):
    """The owner of all transports."""

    def add(self, transport: "AmqpTransport") -> bool:
        """Add a transport; False if there are too many."""

    def discard(self, transport: "AmqpTransport") -> None:
        """Remove a transport."""

    def pass_on(self, transport: "AmqpTransport", passing_on: PassingOn) -> None:
        """Pass its connection on to the broker that serves its virtual host, when one does."""

    def passing_on_ended(self, passing_on: PassingOn) -> None:
        """A connection waits no longer for that."""


class AmqpTransport(asyncio.Protocol):
    """The asyncio side of a connection."""

    def __init__(
        self,
        broker: Broker,
        scheduler: LoopScheduler,
        transports: Transports,
        received: Callable[[int], None],
        login_from: str = "",
        origin: Origin | None = None,
    ) -> None:
        """
        :param received: called with the number of bytes of each read, for the resource guards.
        :param login_from: what of a client's certificate is the name of its user.
        :param origin: where the client is, if a proxy says so; otherwise where the socket ends.
        """
        self._broker = broker
        self._scheduler = scheduler
        self._transports = transports
        self._received = received
        self._login_from = login_from
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self.used_ns = 0
        """Nanoseconds that it has used, on the scheduler's account."""
        self._reading = True
        self._input_scheduled = False
        """Whether the scheduler will process buffered input, or nothing is to schedule that while
        the connection waits to be passed on."""
        self._closing_since = 0.0
        """Time of the loop at which the output ended; 0 before."""
        self._alarms_seen = 0
        """The number of the last alarm of which it is known that it began."""
        self._blocked_in = 0
        """The number of the alarm that it was blocked in."""
        self._held_at_tick = False
        """Whether too many replies waited for the store at the last tick."""

    # --- called by asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=OUTPUT_HIGH_WATER_BYTES)
        origin = self._origin or of_socket(transport)
        self.connection = Connection(
            self._broker,
            self._request_flush,
            logger.bind(peer=origin.peer, **origin.details),
            peer=Peer(
                origin.peer,
                origin.local,
                from_loopback=origin.from_loopback,
                tls=self._tls_peer(transport) if origin.vouched is None else origin.vouched.tls,
                vouched=origin.vouched,
            ),
            now=self._loop.time(),
            pass_on=None if self._broker.placement is None else self._pass_on,
        )
        self._traffic = self.connection.session.traffic
        self._traffic.pending = self._transport.get_write_buffer_size
        if not self._transports.add(self):
            self._transport.abort()

    def _tls_peer(self, transport: asyncio.BaseTransport) -> TlsPeer | None:
        """The client as TLS knows it; None without TLS."""
        connection = transport.get_extra_info("ssl_object")
        if connection is None:
            return None
        certificate = transport.get_extra_info("peercert") or {}
        user = user_of_certificate(certificate, self._login_from)
        cipher, *_ = connection.cipher() or ("",)
        return TlsPeer(connection.version() or "", cipher, user)

    def data_received(self, data: bytes) -> None:
        self._received(len(data))
        self._traffic.received(len(data))
        self._broker.clock.advance_to(now_ms())
        scheduler = self._scheduler
        # Small input, an acknowledgement or a request, is processed at once. So is the rest of a
        # large body, with what follows it: that takes no more time.
        small = len(data) <= INPUT_SLICE_BYTES
        at_once = (
            (small or self.connection.reader.is_in_large_frame())
            and not self._input_scheduled
            and scheduler.may_process_at_once(self)
        )
        scheduler.begin_slice()
        self._process(data, INPUT_SLICE_BYTES if at_once else 0)
        scheduler.end_slice(self)
        if not small and self._reading and not scheduler.run_early():
            self._pause_reading()
            self._schedule_input()

    def pause_writing(self) -> None:
        self.connection.session.write_paused = True

    def resume_writing(self) -> None:
        self.connection.session.write_paused = False
        # The flush resumes its consumers and its input, in the time there is for that.
        self._request_flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transports.discard(self)
        self._scheduler.begin_slice()
        self.connection.disconnected(why_lost(exc))
        self._scheduler.end_slice(self)
        self._scheduler.request_iteration()

    # --- input ------------------------------------------------------------------------------

    def process_input(self) -> None:
        self._input_scheduled = False
        connection = self.connection
        if connection.finished or self._must_wait():
            return
        if connection.session.is_throttled() and not connection.is_working():
            self._schedule_input()
        else:
            self._process(b"", INPUT_SLICE_BYTES)

    def may_end_throttling(self) -> bool:
        session = self.connection.session
        if session.work is not None:
            return not session.work.waits()
        return not session.receives and not session.is_throttled()

    def _process(self, data: bytes, slice_bytes: int) -> None:
        """Buffer received bytes, and process a slice of all buffered input."""
        connection = self.connection
        if self._alarms_seen != self._broker.alarms_begun:
            self._alarm_began()
        try:
            if self._broker.alarm and slice_bytes and not connection.blocked:
                more = self._read_to_publish(data)
            else:
                more = connection.feed(data, slice_bytes) if data else connection.work(slice_bytes)
        except Exception:
            # A fault of the broker ends this connection and nothing else.
            logger.exception("internal error: the connection is closed; please report this")
            connection.internal_error()
            more = connection.is_working()
        self._scheduler.request_iteration()
        session = connection.session
        if self._broker.alarm and session.has_published and not connection.blocked:
            self._block()
        if more or session.throttled_by is not None or connection.blocked or self._congested():
            self._pause_reading()
            self._schedule_input()
        else:
            self._resume_reading()

    def _read_to_publish(self, data: bytes) -> bool:
        """Process a slice of input in an alarm, no further than to the method of the first publish:
        as in RabbitMQ, the content of that message is read after the alarm.

        :returns: whether there is more to process.
        """
        connection, time_slice = self.connection, self._broker.time_slice
        session = connection.session
        more = connection.feed(data, 1) if data else connection.work(1)
        while (
            more
            and not session.has_published
            and not connection.is_working()
            and not time_slice.is_over()
        ):
            more = connection.work(1)
        return more

    def _schedule_input(self) -> None:
        """Schedule a slice of input, unless reading is paused for another reason."""
        session = self.connection.session
        if self._input_scheduled or self._reading or self._must_wait():
            return
        work = session.work
        if work is not None and work.waits() and work.is_told():
            return
        self._input_scheduled = True
        if work.waits() if work is not None else session.throttled_by is not None:
            self._scheduler.schedule_throttled_input(self)
        else:
            self._scheduler.schedule_input(self)

    def _must_wait(self) -> bool:
        """Whether no slice of input may be processed. An alarm does not stop work that has begun:
        only the next frame is not read."""
        connection = self.connection
        return self._congested() or (connection.blocked and not connection.is_working())

    def _congested(self) -> bool:
        """Whether so many replies wait, for the peer or for the store, that no request is read.

        Deliveries alone do not congest a connection. So a client that publishes, and reads its
        deliveries only afterwards, does not wait for the broker while the broker waits for it.
        """
        session = self.connection.session
        return session.holds_too_much() or (
            session.write_paused
            and self._transport.get_write_buffer_size() > OUTPUT_REPLIES_BYTES_MAX
        )

    def _is_peer_gone(self) -> bool:
        """Whether the kernel knows that the peer of a connection that is not read is gone; called
        once a tick. The event loop finds that out by reading, or by a write that fails.

        What the kernel has received of a peer that closed the connection is lost, if nothing says
        when it would be read: an alarm may last for hours, and the store takes long over the
        replies that wait for it if it took a whole tick. Otherwise it is read first, at once.
        """
        session = self.connection.session
        held_before = self._held_at_tick
        self._held_at_tick = session.holds_too_much()
        if self._reading or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.descriptor(), select.POLLRDHUP)
        events = [event for _, event in poll.poll(0)]
        if not events:
            return False
        connection = self.connection
        if connection.blocked or connection.passing_on or (held_before and self._held_at_tick):
            return True
        session.receives = True
        return events[0] & (select.POLLERR | select.POLLHUP) != 0

    def _pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    # --- passing on -------------------------------------------------------------------------

    @property
    def is_passed_on_to_this(self) -> bool:
        """Whether another broker passes the connection on to this one."""
        return self.connection.session.peer.vouched is not None

    def _pass_on(self, passing_on: PassingOn) -> None:
        """Read nothing until the connection is passed on, or opened here."""
        self._input_scheduled = True
        passing_on.ended = partial(self._passing_on_ended, passing_on)
        self._transports.pass_on(self, passing_on)

    def _passing_on_ended(self, passing_on: PassingOn) -> None:
        self._transports.passing_on_ended(passing_on)
        self.open_here()

    def open_here(self) -> None:
        """Have the input be processed again: the virtual host is served here."""
        self._input_scheduled = False
        self._schedule_input()

    def give_away(self) -> tuple[asyncio.Transport, bytes]:
        """End here: another broker has opened the connection.

        :returns: the socket, which is not read, and what has come behind connection.open.
        """
        self.flush()
        transport, self._transport = self._transport, _NoSocket()
        rest = self.connection.passed_on()
        self._transports.discard(self)
        return transport, rest

    # --- output -----------------------------------------------------------------------------

    def _request_flush(self) -> None:
        self._scheduler.request_flush(self)

    def flush(self) -> bool:
        """Write the connection's output, and end it after the last frame.

        :returns: whether consumers wait for `resume`.
        """
        if self._transport.is_closing():
            return False
        session = self.connection.session
        if session.parts.size != 0:
            parts = session.take_parts()
            self._traffic.sent(sum(map(len, parts)))
            self._transport.writelines(parts)
        else:
            # The output is copied once here: less than 1 % of a message's time (measured with 16
            # bytes and 1 KiB). uvloop refers to the bytes without a copy.
            data = session.take_output()
            if data:
                self._traffic.sent(len(data))
                self._transport.write(data)
        if not self.connection.finished:
            if self._reading and session.work is not None:
                # It was not begun by input: an operator closes the connection.
                self._pause_reading()
            self._schedule_input()
            return bool(session.suspended)
        if not session.holds_output():
            self._end_output()
        return False

    def resume(self) -> bool:
        """Deliver to the consumers that waited for the output to drain.

        :returns: whether there are more of them than the time slice had time for.
        """
        session = self.connection.session
        if self._transport.is_closing():
            return False
        session.resume_consumers()
        return bool(session.suspended) and session.writable()

    def _end_output(self) -> None:
        """End the output, and read until the peer closes the socket.

        The system resets a socket that is closed with unread bytes, and the last frames are lost on
        the way. A client that closed the connection itself gets no end of file before it closes the
        socket, because a client with several threads would take it for a failure (as in RabbitMQ).
        """
        if not self._closing_since:
            self._closing_since = self._loop.time()
            if self._transport.can_write_eof():
                if not self.connection.closed_by_client:
                    self._transport.write_eof()
                self._resume_reading()
            elif self.connection.closed_by_client:
                self._resume_reading()
            else:
                # TLS has one end for both directions: what comes meanwhile is read and dropped.
                self._transport.close()

    # --- called by the server ---------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check timeouts and heartbeats.

        :param now: time of the loop, in seconds.
        """
        if self._closing_since:
            if now - self._closing_since > CLOSE_TIMEOUT_S:
                self._transport.abort()
        elif self._is_peer_gone():
            self.connection.session.logger.warning("the client is gone, and its input is not read")
            self._transport.abort()
        else:
            self.connection.tick(now, is_read=self._reading)

    def alarm_changed(self) -> None:
        """Apply the alarm that there is, or that there is none. Each connection is told in its
        turn, and another alarm may have begun since the one that it was blocked in."""
        connection, broker = self.connection, self._broker
        if connection.blocked and not (broker.alarm and self._blocked_in == broker.alarms_begun):
            connection.unblock()
            self._schedule_input()
        if self._alarms_seen != broker.alarms_begun:
            self._alarm_began()

    def _alarm_began(self) -> None:
        """Read the connection until it publishes: what was published before counts no longer.

        A throttled publisher is about to publish. The disk that it waits for may be the one that is
        full, so it is told at once.
        """
        self._alarms_seen = self._broker.alarms_begun
        session = self.connection.session
        if session.throttled_by is None:
            session.has_published = False
        elif self._broker.alarm and not self.connection.blocked:
            self._block()

    def _block(self) -> None:
        self._blocked_in = self._broker.alarms_begun
        self.connection.block(self._broker.alarm)

    @property
    def logger(self) -> Any:
        """A logger bound to the peer's address and user."""
        session = self.connection.session
        return session.logger.bind(user=session.user)

    def held_memory(self) -> HeldMemory:
        """What the connection holds in memory."""
        return self.connection.held_memory(self._transport.get_write_buffer_size())

    def force_close(self, reason: str, synced: bool = True) -> None:
        """Send connection.close, and wait for the peer to close: the broker stops, which is one
        event of the log, whatever the number of connections.

        :param synced: whether the store will still sync. If false, drop the replies that wait for
            it.
        """
        if not synced:
            self.connection.session.discard_held()
        if self.connection.finished:
            self._transport.close()
        self.connection.force_close(reason, logged=False)
        if self.connection.is_working():
            self._pause_reading()
        self._schedule_input()

    def awaits_store(self) -> bool:
        """Whether replies wait for the store."""
        return self.connection.session.holds_output()

    def descriptor(self) -> int:
        """The file descriptor of the socket; negative if it is closed."""
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def abort(self) -> None:
        """Close the socket at once."""
        self._transport.abort()


class _NoSocket(asyncio.Transport):
    """What a transport has whose socket was given away."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        return

    def abort(self) -> None:
        return


def why_lost(error: Exception | None) -> str:
    """Why a socket is closed that the peer did not say it would close."""
    if error is None:
        return "the client closed its socket without connection.close"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the client reset the connection"
    return plain_words(error) if isinstance(error, OSError) else str(error)


TransportFactory: TypeAlias = Callable[
    [Broker, LoopScheduler, Transports, Callable[[int], None], str, Origin | None], AmqpTransport
]
"""Makes the transport of an accepted socket: `AmqpTransport`, or a class that derives from it."""

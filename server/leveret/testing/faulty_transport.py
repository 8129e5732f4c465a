"""Transports whose connections fail when a test says so, as those of a real broker do.

- A connection is refused: its socket is reset, or the login or connection.open is answered by
  connection.close with RabbitMQ's code and text.
- A connection is dropped: what came up to a frame is processed, what that makes is sent, and the
  socket is closed without connection.close, as that of a broker that died. Or nothing is sent after
  a frame, or no answer to the last one that came.
- What is sent comes late.

Frames are counted from the order on, or from the first one of a connection that is made later;
heartbeats are not. Everything here goes by the time of the event loop, as sockets and heartbeats
do.

Deliberately elsewhere: what is ordered (`fault_orders.py`), frames (`frame_count.py`), the delay
(`late_socket.py`).
"""

import asyncio
import os
import socket
import struct
from typing import Any, Final, cast

from leveret.engine.broker import Broker
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import CLOSE_TIMEOUT_S
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.origin import Origin
from leveret.net.transport import AmqpTransport, Transports
from leveret.protocol.channels.peer import Peer
from leveret.protocol.connections.connection import NO_METHOD
from leveret.protocol.connections.login_refusal import login_refused
from leveret.protocol.states import ConnectionState
from leveret.protocol.wire.greeting import PROTOCOL_HEADER
from leveret.testing.fault_orders import DropConnection, FaultOrders
from leveret.testing.frame_count import FrameCount
from leveret.testing.late_socket import LateSocket

CONNECTION_OPEN: Final = 0x000A0028

HANDSHAKE: Final = (
    ConnectionState.HEADER,
    ConnectionState.START,
    ConnectionState.TUNE,
    ConnectionState.OPENING,
)

RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which close resets the connection."""


class OrderedLossError(Exception):
    """Why a socket was closed: the test has ordered it."""


class FaultyConnections:
    """The sockets of one broker, and what is ordered for them."""

    def __init__(self, orders: FaultOrders) -> None:
        self.orders = orders
        self.open: set[FaultyTransport] = set()
        """The open sockets, those that have not logged in among them."""

    def transport(
        self,
        broker: Broker,
        scheduler: LoopScheduler,
        transports: Transports,
        received: Any,
        login_from: str = "",
        origin: Origin | None = None,
    ) -> AmqpTransport:
        """Make the transport of an accepted socket, for the AMQP server."""
        return FaultyTransport(
            self, broker, scheduler, transports, received, login_from=login_from, origin=origin
        )

    def set_delay(self, seconds: float) -> None:
        """Have what is sent on all connections, and later ones, come late; 0 ends that."""
        self.orders.delay_s = seconds
        for transport in list(self.open):
            transport.set_delay(seconds)

    def clear(self) -> None:
        """Take back what was ordered."""
        self.orders.clear()
        for transport in list(self.open):
            transport.forget_drop()
            transport.set_delay(0)


class FaultyTransport(AmqpTransport):
    """The asyncio side of a connection that fails on order."""

    def __init__(self, connections: FaultyConnections, *parts: Any, **named: Any) -> None:
        """:param parts: of an AmqpTransport, as `named` are."""
        super().__init__(*parts, **named)
        self._connections = connections
        self._orders = connections.orders
        self._received_frames = FrameCount(len(PROTOCOL_HEADER))
        self._sent_frames = FrameCount()
        self._drop: DropConnection | None = None
        self._frames_left = 0
        """Frames up to the drop."""
        self._is_silent = True
        """Whether nothing was received."""
        self._input_ended = False
        """Whether the connection is dropped when what has come is processed."""
        self._answers = True
        """Whether what was received is answered."""
        self._output_ended = False
        """Whether nothing is sent any more, and the connection is dropped."""
        self._dropped_at = 0.0
        """Time of the loop at which the connection was dropped; 0 before."""
        self._lost_by = ""
        self._socket_full = False
        self._late_full = False

    # --- called by asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        inner = cast("asyncio.Transport", transport)
        self._socket = LateSocket(inner, self._loop, self._late_filled, self._passing)
        self._connections.open.add(self)
        super().connection_made(self._socket)
        self._socket.set_delay(self._orders.delay_s)

    def data_received(self, data: bytes) -> None:
        if self._input_ended or self._output_ended or self._socket.is_closing():
            return
        if self._is_silent:
            self._is_silent = False
            # Not as soon as it is accepted: a client may not yet have noticed that it is connected,
            # and clients fail in their own ways then.
            if self._orders.take_refusal("reset"):
                self._reset()
                return
            ordered = self._orders.take_drop()
            if ordered is not None:
                self.drop(ordered)
        ends = self._received_frames.ends(data)
        drop = self._drop
        if drop is not None and drop.direction == "received":
            left = self._frames_left
            self._frames_left -= len(ends)
            if len(ends) >= left:
                self._input_ended = True
                self._answers = drop.answered
                del ends[left:]
                data = data[: ends[-1]]
        if self._orders.refuses_in_handshake() and self.connection.state in HANDSHAKE:
            self._process_handshake(data, ends)
        else:
            super().data_received(data)
        self._look_whether_processed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.open.discard(self)
        self._socket.lost()
        super().connection_lost(OrderedLossError(self._lost_by) if self._lost_by else exc)

    def pause_writing(self) -> None:
        self._socket_full = True
        self._apply_fullness()

    def resume_writing(self) -> None:
        self._socket_full = False
        self._apply_fullness()

    def _late_filled(self, full: bool) -> None:
        self._late_full = full
        self._apply_fullness()

    def _apply_fullness(self) -> None:
        if self._socket_full or self._late_full:
            super().pause_writing()
        else:
            super().resume_writing()

    # --- called by the scheduler and the server -----------------------------------------------

    def process_input(self) -> None:
        super().process_input()
        self._look_whether_processed()

    def flush(self) -> bool:
        waits = super().flush()
        if self._output_ended or (self._input_ended and self._is_processed()):
            self._drop_now()
        return waits

    def tick(self, now: float) -> None:
        if self._dropped_at and now - self._dropped_at > CLOSE_TIMEOUT_S + self._socket.delay_s:
            self.abort()
        else:
            super().tick(now)

    # --- delay ------------------------------------------------------------------------------

    def set_delay(self, seconds: float) -> None:
        """Have what is sent come late; 0 ends that."""
        self._socket.set_delay(seconds)

    # --- drop -------------------------------------------------------------------------------

    def drop(self, order: DropConnection) -> None:
        """Drop the connection as ordered; an order that it has is taken back."""
        self.forget_drop()
        self._drop = order
        self._frames_left = order.after_frames
        self._sent_frames = FrameCount()
        if order.after_frames == 0:
            self._drop_now()

    def forget_drop(self) -> None:
        """Take back the order to drop the connection, if it is not being dropped."""
        if self._drop is not None and not (self._input_ended or self._output_ended):
            self._orders.cancel(self._drop)
            self._drop = None

    def _passing(self, data: bytes) -> bytes:
        """What of the output may be sent: nothing behind the frame after which it ends."""
        if self._output_ended or not self._answers:
            return b""
        drop = self._drop
        if drop is None or drop.direction != "sent":
            return data
        # Each write has whole frames.
        ends = self._sent_frames.ends(data)
        left = self._frames_left
        self._frames_left -= len(ends)
        if len(ends) < left:
            return data
        self._output_ended = True
        return data[: ends[left - 1]]

    def _look_whether_processed(self) -> None:
        """Have `flush` look whether all input is processed, also if it makes no output."""
        if self._input_ended and not self._dropped_at:
            self.connection.session.request_flush()

    def _is_processed(self) -> bool:
        """Whether all that came is processed, and all that this makes was written."""
        connection = self.connection
        session = connection.session
        waits = self._input_scheduled or self._must_wait() or session.throttled_by is not None
        if waits or connection.is_working() or session.holds_output() or session.output_size():
            return False
        confirms = [each.confirms for each in connection.channels.by_number.values()]
        return all(each.confirmed_count == each.published_count for each in confirms)

    def _drop_now(self) -> None:
        """Close the socket without connection.close, when what was written is sent."""
        if self._drop is not None and not self._dropped_at:
            self._dropped_at = self._loop.time()
            self._orders.happened(self._drop)
            self._lost_by = "the test has ordered that it is dropped"
            self._socket.close()

    # --- refusals ---------------------------------------------------------------------------

    def _reset(self) -> None:
        """Reset the connection, as a system does whose process takes no more of them."""
        self.connection.session.logger.warning(
            "connection refused: its socket is reset", reason="the test has ordered it"
        )
        self._lost_by = "the test has ordered that it is refused"
        descriptor = os.dup(self._socket.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self._socket.abort()

    def _process_handshake(self, data: bytes, ends: list[int]) -> None:
        """Process frame by frame what comes before the connection is open, and refuse it at the
        frame that the order is about."""
        self.flush()
        start = 0
        for end in dict.fromkeys([*ends, len(data)]):
            before = self.connection.state
            opens = before == ConnectionState.OPENING and end in ends
            if opens and self._orders.take_refusal("limit"):
                self._answer_error(0, CONNECTION_OPEN, self._limit_reached())
            self._process_now(data[start:end])
            after = self.connection.state
            logs_in = before == ConnectionState.START and after == ConnectionState.TUNE
            if logs_in and self._orders.take_refusal("login"):
                self._refuse_login(self.connection.session.peer)
            start = end

    def _process_now(self, data: bytes) -> None:
        """Process octets at once, whoever waits: they are few."""
        super().data_received(data)
        if self._input_scheduled:
            super().process_input()

    def _limit_reached(self) -> AmqpError:
        most = self._broker.config.amqp.max_connections
        return AmqpError(
            ReplyCode.NOT_ALLOWED, f"connection refused: node connection limit ({most}) is reached"
        )

    def _refuse_login(self, peer: Peer) -> None:
        """Refuse a login that was accepted, before the client is told."""
        session = self.connection.session
        session.take_output()
        session.logger.warning("login refused", user=session.user, reason="the test has ordered it")
        if "authentication_failure_close" in peer.capabilities:
            self._answer_error(0, NO_METHOD, login_refused(peer.mechanism))
        else:
            self._lost_by = "the test has ordered that its login is refused"
            self._socket.close()

    def _answer_error(self, channel: int, method: int, error: AmqpError) -> None:
        """Have the connection answer an error as if a frame of the client had made it."""
        self._scheduler.begin_slice()
        self.connection.next_error_about(channel, method)
        self.connection.on_frame_error(error)
        self._scheduler.end_slice(self)
        if self.connection.is_working():
            self._pause_reading()
            self._schedule_input()
        self._scheduler.request_iteration()

    # --- errors from outside ------------------------------------------------------------------

    def close_connection(self, error: AmqpError) -> None:
        """Close the connection with an error."""
        self._answer_error(0, NO_METHOD, error)

    def close_channel(self, number: int, error: AmqpError) -> bool:
        """Close a channel with an error.

        :returns: whether it was closed: it is open, and no work of a frame is under way.
        """
        connection = self.connection
        channel = connection.channels.by_number.get(number)
        if channel is None or not channel.open or connection.is_working():
            return False
        self._answer_error(number, NO_METHOD, error)
        return True

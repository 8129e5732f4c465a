"""A connection without its socket: bytes in through `feed`, bytes out through `take_output`.

The connection finds whole frames in what came, keeps channels, and is the one place where an error
of the peer becomes a close method. It works through a bounded slice of input at a time and says
whether there is more, so that one busy publisher cannot hold up the others.
"""

from collections.abc import Callable
from typing import Any, Final

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64
from pamqp.base import Frame
from pamqp.commands import Channel as ChannelMethods
from pamqp.commands import Connection as ConnectionMethods

from leveret.engine.broker import Broker
from leveret.engine.table import describe
from leveret.engine.topology.queues import remove_queue
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import (
    CLOSE_TIMEOUT_S,
    INITIAL_FRAME_BYTES_MAX,
    OUTPUT_REPLIES_BYTES_MAX,
    SILENT_CLOSE_DELAY_S,
)
from leveret.protocol import handlers, methods
from leveret.protocol.channel import HEADER_BYTES_MIN, Channel
from leveret.protocol.frames import (
    BASIC_ACK,
    BASIC_NACK,
    BASIC_PUBLISH,
    BASIC_REJECT,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    HEARTBEAT,
)
from leveret.protocol.session import NO_VHOST, Session
from leveret.protocol.states import (
    EXPECT_METHOD,
    ChannelEvent,
    ConnectionEvent,
    ConnectionState,
    next_connection_state,
    out_of_turn,
)

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
ACCEPTED_HEADERS: Final = (PROTOCOL_HEADER, b"AMQP\x01\x01\x00\x09")
"""0-9-1, and 0-9, which is answered as 0-9-1."""

FOREIGN_HEADERS: Final = {
    b"GET ": "an HTTP request",
    b"POST": "an HTTP request",
    b"HEAD": "an HTTP request",
    b"\x16\x03\x01": "a TLS handshake",
    b"\x16\x03\x03": "a TLS handshake",
    b"AMQP": "another version of AMQP",
}
"""First octets of what is sent to the wrong port, and what to call it in the log."""

CHANNEL_OPEN: Final = 0x0014000A
CHANNEL_CLOSE: Final = 0x00140028
CHANNEL_CLOSE_OK: Final = 0x00140029
NO_METHOD: Final = 0
DEFINING_CLASSES: Final = (40, 50)
"""Exchange and queue: their replies speak of what there is."""

OCTETS_TOLD_MAX: Final = 64
"""Octets of a frame that an error text shows: it has no room for more."""

LISTENING_STATES: Final = (
    ConnectionState.START,
    ConnectionState.TUNE,
    ConnectionState.OPENING,
    ConnectionState.OPEN,
)
"""States in which the peer can be told what is wrong."""


class Connection:
    """One peer, from its first octet to its last. Owned by a transport, which moves the bytes."""

    def __init__(
        self,
        broker: Broker,
        wake: Callable[[], None],
        log: Any,
        *,
        from_loopback: bool,
        now: float,
        peer: str = "",
    ) -> None:
        self.broker = broker
        self.session = Session(broker.keeper, wake, log, peer)
        self.state = ConnectionState.HEADER
        self.from_loopback = from_loopback
        self.name = ""
        """What the client calls itself, if it does."""
        self.heartbeat = 0
        """Seconds, as the client chose; 0 is none."""
        self.parted = False
        """Whether the client closed it, and so closes the socket, too."""
        self.blocked = False
        """Whether it is not to be read because of an alarm."""
        self._channels: dict[int, Channel] = {}
        self._channel_max = 0
        self._input = b""
        self._at: i64 = 0
        self._payload_max: i64 = INITIAL_FRAME_BYTES_MAX
        self._number: i64 = 0
        """The channel of the frame at hand, for an error in it."""
        self._index: i64 = NO_METHOD
        """The class and method id an error in the frame at hand is about."""
        self._recent: Channel | None = None
        """The channel of the last content or acknowledgement: mostly that of the next."""
        self._deadline: float = now + broker.config.amqp.handshake_timeout
        """When to give up waiting for the peer to get on, while it is not open."""
        self._heard = now
        self._sent = now
        self._heard_since = False
        self._deaf = False
        """Whether nothing is listened to any more."""

    # --- state ------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether nothing is said any more once the output is flushed."""
        return self.state == ConnectionState.CLOSED

    def move(self, event: ConnectionEvent) -> None:
        """Change state.

        :raises AmqpError: if the event is not allowed now.
        """
        self.state = next_connection_state(self.state, event)
        self._deaf = self.state in (ConnectionState.CLOSED, ConnectionState.REFUSED)
        if self._deaf:
            # There may be nothing to send, but the transport has to look up and close.
            self.session.touch()

    def expect(self, state: ConnectionState) -> None:
        """See that a method comes in its turn.

        :raises AmqpError: CHANNEL_ERROR.
        """
        if self.state != state:
            raise out_of_turn(self.state)

    def tuned(self, channel_max: int, frame_max: int, heartbeat: int) -> None:
        """The limits are agreed."""
        self.move(ConnectionEvent.TUNE_OK)
        self._channel_max = channel_max
        self.session.frame_max = frame_max
        self._payload_max = frame_max
        self.heartbeat = heartbeat

    def opened(self, vhost: VirtualHost) -> None:
        """The connection is open to a virtual host."""
        self.move(ConnectionEvent.OPEN)
        self.session.vhost = vhost
        self.broker.connections_open += 1
        self.session.log.info(
            "connection opened", user=self.session.user, vhost=vhost.name, name=self.name
        )

    # --- input ------------------------------------------------------------------------------

    def feed(self, data: bytes, slice_bytes: int) -> bool:
        """Take what was received, and work through a first slice of it.

        :returns: whether there is more to work through; if so, call `work` before `feed`.
        """
        if self._deaf:
            return False
        self._heard_since = True
        rest = self._input[self._at :]
        missing = _octets_missing(rest)
        if 0 < missing <= len(data) and self.state != ConnectionState.HEADER:
            # Only the frame that was cut is put together; the rest is worked through in place.
            self._input = rest + data[:missing]
            self._at = 0
            self.work(len(self._input))
            self._input = data
            self._at = missing
        else:
            self._input = rest + data if rest else data
            self._at = 0
        return self.work(slice_bytes)

    def work(self, slice_bytes: int) -> bool:
        """Work through about `slice_bytes` of what was received.

        :returns: whether there is more to work through.
        """
        if self._deaf or (self.state == ConnectionState.HEADER and not self._protocol_header()):
            return False
        until: i64 = self._at + slice_bytes
        while True:
            try:
                return self._frames(until)
            except AmqpError as error:
                self._fail(error)

    def _protocol_header(self) -> bool:
        """Read the protocol header; whether there was a whole and right one."""
        header = self._input[:8]
        if len(header) < 8 and not _foreign(header):
            return False
        if header in ACCEPTED_HEADERS:
            self._at = 8
            self.move(ConnectionEvent.HEADER)
            self.send(handlers.connection.start(self))
            return True
        what = _foreign(header) or "no AMQP"
        self.session.log.warning("wrong protocol", received=f"{what}: {describe(header)}")
        self.session.write(PROTOCOL_HEADER)
        self._lost()
        return False

    def _frames(self, until: i64) -> bool:
        """Handle whole frames up to about a position; whether there are more."""
        data = self._input
        end: i64 = len(data)
        at = self._at
        while at < until:
            if end - at < 7:
                return self._wait(at)
            size = i64(read_i32_be(data, at + 3)) & 0xFFFFFFFF
            kind: i64 = data[at]
            if size > self._payload_max:
                self._about_nothing()
                raise self._broken(kind, b"", f"{{frame_too_large,{size},{self._payload_max - 8}}}")
            start = at + 7
            stop = start + size
            if stop >= end:
                return self._wait(at)
            at = stop + 1
            self._at = at
            if data[stop] != FRAME_END:
                self._about_nothing()
                raise self._broken(
                    kind, data[start:stop], f"{{invalid_frame_end_marker,{data[stop]}}}"
                )
            self._frame(kind, i64(read_i16_be(data, start - 6)) & 0xFFFF, data, start, stop)
            if self._deaf:
                self._input = b""
                self._at = 0
                return False
            if len(self.session.output) > OUTPUT_REPLIES_BYTES_MAX:
                break
        return at < end

    def _wait(self, at: i64) -> bool:
        """The rest is no whole frame: let go of everything before it."""
        self._input = self._input[at:]
        self._at = 0
        return False

    def _broken(self, kind: i64, payload: bytes, what: str) -> AmqpError:
        return AmqpError(
            ReplyCode.FRAME_ERROR,
            f"type {kind}, all octets = {describe(payload[:OCTETS_TOLD_MAX])}: {what}",
        )

    def _frame(self, kind: i64, number: i64, data: bytes, start: i64, stop: i64) -> None:
        """Handle one frame with the payload `data[start:stop]`."""
        self._number = number
        channel = self._recent
        if channel is None or channel.number != number:
            channel = self._channels.get(number)
            self._recent = channel
        if kind == FRAME_METHOD:
            if stop - start < 4:
                self._index = NO_METHOD
                raise self._broken(kind, data[start:stop], "unknown_frame")
            self._index = i64(read_i32_be(data, start)) & 0xFFFFFFFF
            if channel is not None and channel.open:
                self._channel_method(channel, data, start, stop)
            else:
                self._other_method(channel, number, data[start:stop])
        elif kind == FRAME_BODY or kind == FRAME_HEADER:  # noqa: SIM109 - compiled, a tuple is built
            self._content(channel, kind, data, start, stop)
        elif kind != FRAME_HEARTBEAT or stop != start:
            self._index = NO_METHOD
            raise self._broken(kind, data[start:stop], "unknown_frame")
        elif number != 0:
            self._index = NO_METHOD
            raise _unexpected(kind, b"")

    def _content(
        self, channel: Channel | None, kind: i64, data: bytes, start: i64, stop: i64
    ) -> None:
        self._index = NO_METHOD
        if kind == FRAME_HEADER and stop - start < HEADER_BYTES_MIN:
            raise self._broken(kind, data[start:stop], "unknown_frame")
        if channel is None:
            if self.state == ConnectionState.CLOSING:
                return
            if self._number == 0:
                raise _unexpected(kind, data[start:stop])
            raise AmqpError(
                ReplyCode.UNEXPECTED_FRAME, "expected method frame, got non method frame instead"
            )
        if not channel.open:
            return
        if channel.expecting != EXPECT_METHOD:
            self._index = BASIC_PUBLISH
        if kind == FRAME_BODY:
            channel.body(data, start, stop)
        else:
            channel.header(data, start, stop)

    def _channel_method(self, channel: Channel, data: bytes, start: i64, stop: i64) -> None:
        """A method of an open channel."""
        if channel.expecting != EXPECT_METHOD:
            self._index = BASIC_PUBLISH
            raise channel.unexpected()
        index = self._index
        if index == BASIC_PUBLISH:
            channel.publish(data, start, stop)
        elif index == BASIC_ACK:
            channel.ack(data, start, stop)
        elif index == BASIC_REJECT:
            channel.reject(data, start, stop)
        elif index == BASIC_NACK:
            channel.nack(data, start, stop)
        else:
            self._decoded_method(channel, data[start:stop])

    def _decoded_method(self, channel: Channel, payload: bytes) -> None:
        method: Any = methods.decode(payload)
        handler = handlers.CHANNEL_HANDLERS.get(method.index)
        if handler is not None:
            session = self.session
            before = len(session.output)
            reply = handler(channel, method)
            if reply is not None and not getattr(method, "nowait", False):
                channel.send(reply)
            if session.keeper is not None and method.index >> 16 in DEFINING_CLASSES:
                session.withhold(channel.number, before, session.keeper.defined)
        elif method.index == CHANNEL_CLOSE:
            channel.write_confirms()
            channel.move(ChannelEvent.CLOSE)
            channel.discard()
            channel.send(ChannelMethods.CloseOk())
            self._forget(channel)
        elif method.index == CHANNEL_OPEN:
            raise AmqpError(ReplyCode.CHANNEL_ERROR, "second 'channel.open' seen")
        else:
            raise AmqpError(ReplyCode.COMMAND_INVALID, "unimplemented method")

    def _other_method(self, channel: Channel | None, number: i64, payload: bytes) -> None:
        """A method that is not for an open channel."""
        if number == 0:
            self._connection_method(payload)
        elif channel is not None:
            self._method_while_closing(channel)
        elif self.state == ConnectionState.OPEN:
            method = methods.decode(payload)
            if method.index != CHANNEL_OPEN:
                raise AmqpError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'")
            self._open_channel(int(number))
        elif self.state == ConnectionState.OPENING:
            self._index = NO_METHOD
            raise _unexpected(FRAME_METHOD, payload)
        elif self.state != ConnectionState.CLOSING:
            raise out_of_turn(self.state)

    def _connection_method(self, payload: bytes) -> None:
        if self.state == ConnectionState.CLOSING and self._index not in (
            CONNECTION_CLOSE,
            CONNECTION_CLOSE_OK,
        ):
            return
        method = methods.decode(payload)
        handler = handlers.CONNECTION_HANDLERS.get(method.index)
        if handler is None:
            raise out_of_turn(self.state)
        reply = handler(self, method)
        if reply is not None:
            self.send(reply)

    # --- channels ---------------------------------------------------------------------------

    def _open_channel(self, number: int) -> None:
        if len(self._channels) >= self._channel_max:
            self._about_nothing()
            raise AmqpError(
                ReplyCode.NOT_ALLOWED,
                f"number of channels opened ({len(self._channels)}) has reached the negotiated "
                f"channel_max ({self._channel_max})",
            )
        channel = Channel(self.session, number, self.broker.config)
        self._channels[number] = channel
        channel.send(ChannelMethods.OpenOk())

    def _method_while_closing(self, channel: Channel) -> None:
        """The broker has closed the channel: only what ends it counts (AMQP 0-9-1, 2.2.5)."""
        if self._index == CHANNEL_CLOSE:
            # It crossed the broker's close, which the client has still to answer.
            channel.move(ChannelEvent.CLOSE)
            channel.send(ChannelMethods.CloseOk())
        elif self._index == CHANNEL_CLOSE_OK:
            channel.move(ChannelEvent.CLOSE_OK)
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.number]
        self._recent = None

    # --- errors and endings -----------------------------------------------------------------

    def _fail(self, error: AmqpError) -> None:
        """Close what the error says, and tell the peer why."""
        channel = self._channels.get(self._number)
        if error.closes_connection or channel is None or self.state != ConnectionState.OPEN:
            self.fail(error)
            return
        class_id, method_id = divmod(int(self._index), 0x10000)
        self._log_error(error, "channel closed", class_id, method_id)
        channel.write_confirms()
        channel.move(ChannelEvent.FAIL)
        channel.discard()
        channel.send(
            ChannelMethods.Close(
                reply_code=error.code,
                reply_text=error.reply_text,
                class_id=class_id,
                method_id=method_id,
            )
        )

    def fail(self, error: AmqpError) -> None:
        """Close the connection with an error, and tell the peer why."""
        if self.state not in LISTENING_STATES:
            # It is being closed already, or has not said yet that it speaks AMQP.
            self._lost()
            return
        class_id, method_id = divmod(int(self._index), 0x10000)
        self._log_error(error, "connection closed", class_id, method_id)
        self.move(ConnectionEvent.FAIL)
        self.release()
        self._deadline = self._heard + CLOSE_TIMEOUT_S
        self.send(
            ConnectionMethods.Close(
                reply_code=error.code,
                reply_text=error.reply_text,
                class_id=class_id,
                method_id=method_id,
            )
        )

    def _log_error(self, error: AmqpError, event: str, class_id: int, method_id: int) -> None:
        method = methods.method_name(class_id, method_id) if class_id else ""
        self.session.log.warning(
            event,
            channel=int(self._number),
            code=int(error.code),
            text=error.reply_text,
            method=method,
            user=self.session.user,
        )

    def refuse(self, error: AmqpError, user: str, why: str) -> None:
        """A login that failed: said in a frame to who can read it, else by silence."""
        self.session.log.warning("login refused", user=user, reason=why)
        if "authentication_failure_close" in self.session.capabilities:
            self._index = NO_METHOD
            raise error
        self.move(ConnectionEvent.REFUSE)
        self._deadline = self._heard + SILENT_CLOSE_DELAY_S

    def force_close(self, reason: str) -> None:
        """Close the connection from outside (CONNECTION_FORCED); `reason` is for the peer."""
        self._about_nothing()
        self.fail(AmqpError(ReplyCode.CONNECTION_FORCED, reason))

    def internal_error(self) -> None:
        """Close the connection for a fault of the broker's own."""
        self._about_nothing()
        self.fail(AmqpError(ReplyCode.INTERNAL_ERROR, "the broker failed to handle a frame"))

    def _about_nothing(self) -> None:
        """What is said next is not about a method or a channel of the peer."""
        self._number = 0
        self._index = NO_METHOD

    def lost(self) -> None:
        """The socket is gone."""
        if self.state != ConnectionState.CLOSED:
            if self.state == ConnectionState.OPEN:
                self.session.log.warning("connection lost", user=self.session.user)
            self._lost()
        self.session.end()

    def _lost(self) -> None:
        self.move(ConnectionEvent.LOST)
        self.release()
        self.session.drop_withheld()
        self._input = b""
        self._at = 0
        self.session.touch()

    def release(self) -> None:
        """Let go of all it holds in its virtual host. More than once is no harm."""
        self.session.publishes = False
        self.blocked = False
        channels = self._channels
        self._channels = {}
        self._recent = None
        # What one of its channels held must not go to a consumer of another.
        left = [queue for channel in channels.values() for queue in channel.end_consumers()]
        for channel in channels.values():
            if channel.open:
                channel.write_confirms()
                channel.discard()
            channel.move(ChannelEvent.LOST)
        for queue in left:
            queue.pump()
        session = self.session
        queues = session.exclusive_queues
        session.exclusive_queues = {}
        for queue in queues.values():
            remove_queue(session.vhost, queue)
        if session.vhost.name:
            session.vhost = NO_VHOST
            self.broker.connections_open -= 1

    # --- time -------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time pass: deadlines, and heartbeats both ways. `now` is monotonic, in seconds."""
        if self._heard_since or self.blocked or self.session.withholds_much():
            self._heard = now
            self._heard_since = False
        if self.session.sent_since:
            self._sent = now
            self.session.sent_since = False
        else:
            self.session.rest()
        if self.state != ConnectionState.OPEN:
            if now >= self._deadline and self.state != ConnectionState.CLOSED:
                if self.state not in (ConnectionState.CLOSING, ConnectionState.REFUSED):
                    self.session.log.warning("handshake timeout", state=self.state.name.lower())
                self._lost()
        elif self.heartbeat:
            if now - self._sent >= self.heartbeat / 2:
                self.session.write(HEARTBEAT)
            if now - self._heard > 2 * self.heartbeat:
                self.session.log.warning(
                    "missed heartbeats from client", timeout=f"{self.heartbeat}s"
                )
                self._lost()

    # --- output -----------------------------------------------------------------------------

    def send(self, method: Frame) -> None:
        """Send a method on channel 0."""
        self.session.write(methods.encode(method, 0))

    def block(self, reason: str) -> None:
        """Not to be read until `unblock`; told to a client that understands it.

        (RabbitMQ: Blocked Connection Notifications.)
        """
        self.blocked = True
        self.session.log.warning("connection blocked", reason=reason)
        if "connection.blocked" in self.session.capabilities:
            self.send(ConnectionMethods.Blocked(reason=reason))

    def unblock(self) -> None:
        """To be read again."""
        self.blocked = False
        self.session.log.info("connection unblocked")
        if "connection.blocked" in self.session.capabilities:
            self.send(ConnectionMethods.Unblocked())


def _unexpected(kind: i64, payload: bytes) -> AmqpError:
    """The error of a whole frame that has no place where it came."""
    octets = describe(payload[:OCTETS_TOLD_MAX])
    return AmqpError(ReplyCode.UNEXPECTED_FRAME, f"type {kind}, all octets = {octets}")


def _octets_missing(frame: bytes) -> i64:
    """Octets a frame lacks to be whole; not above 0 if none, or if its size is not here."""
    if len(frame) < 7:
        return 0
    return 8 + (i64(read_i32_be(frame, 3)) & 0xFFFFFFFF) - len(frame)


def _foreign(header: bytes) -> str:
    """What the first octets of something that is no AMQP 0-9-1 look like; "" if like nothing."""
    for accepted in ACCEPTED_HEADERS:
        if accepted.startswith(header):
            return ""
    for prefix, what in FOREIGN_HEADERS.items():
        if header.startswith(prefix):
            return what
    return ""

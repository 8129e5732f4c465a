"""A connection without its socket: bytes in through `feed`, bytes out through `take_output`.

The connection is handed whole frames by `Input`, keeps channels and states, and is the one place
where an error of the peer becomes a close method.
"""

from collections.abc import Callable
from typing import Any, Final

from librt.strings import read_i32_be
from mypy_extensions import i64
from pamqp.base import Frame
from pamqp.commands import Channel as ChannelMethods
from pamqp.commands import Connection as ConnectionMethods

from leveret.engine.broker import Broker
from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.values.field_table import describe
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import CLOSE_TIMEOUT_S, SILENT_CLOSE_DELAY_S
from leveret.protocol import handlers
from leveret.protocol.channels.channel import HEADER_BYTES_MIN, Channel
from leveret.protocol.channels.session import NO_VHOST, Session
from leveret.protocol.connections.frame_reader import NO_METHOD, Input, broken, unexpected
from leveret.protocol.states import (
    EXPECT_METHOD,
    ChannelEvent,
    ConnectionEvent,
    ConnectionState,
    next_connection_state,
    out_of_turn,
)
from leveret.protocol.wire import methods
from leveret.protocol.wire.frames import (
    BASIC_ACK,
    BASIC_NACK,
    BASIC_PUBLISH,
    BASIC_REJECT,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    FRAME_BODY,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    HEARTBEAT,
)
from leveret.protocol.wire.greeting import ACCEPTED_HEADERS, PROTOCOL_HEADER, foreign

CHANNEL_OPEN: Final = 0x0014000A
CHANNEL_CLOSE: Final = 0x00140028
CHANNEL_CLOSE_OK: Final = 0x00140029

LISTENING_STATES: Final = (
    ConnectionState.START,
    ConnectionState.TUNE,
    ConnectionState.OPENING,
    ConnectionState.OPEN,
)
"""States in which the peer can be told what is wrong."""


class Connection(Input):
    """One peer, from its first octet to its last. Owned by a transport, which moves the bytes."""

    def __init__(
        self,
        broker: Broker,
        wake: Callable[[], None],
        logger: Any,
        *,
        from_loopback: bool,
        now: float,
        peer: str = "",
    ) -> None:
        super().__init__(Session(broker.definition_log, wake, logger, peer))
        self.broker = broker
        self.state = ConnectionState.HEADER
        self.from_loopback = from_loopback
        self.name = ""
        """What the client calls itself, if it does."""
        self.heartbeat = 0
        """Seconds, as the client chose; 0 is none."""
        self.closed_by_client = False
        """Whether the client closed it, and so closes the socket, too."""
        self.blocked = False
        """Whether it is not to be read because of an alarm."""
        self._channels: dict[int, Channel] = {}
        self._channel_max = 0
        self._recent: Channel | None = None
        """The channel of the last content or acknowledgement: mostly that of the next."""
        self._deadline: float = now + broker.config.amqp.handshake_timeout
        """When to give up waiting for the peer to get on, while it is not open."""
        self._heard = now
        self._sent = now

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
            self.session.request_flush()

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
        self.session.logger.info(
            "connection opened", user=self.session.user, vhost=vhost.name, name=self.name
        )

    # --- input ------------------------------------------------------------------------------

    def _protocol_header(self, header: bytes) -> bool:
        what = foreign(header)
        if header in ACCEPTED_HEADERS:
            self.move(ConnectionEvent.HEADER)
            self.send(handlers.connection.start(self))
            return True
        if len(header) == len(PROTOCOL_HEADER) or what:
            received = f"{what or 'no AMQP'}: {describe(header)}"
            self.session.logger.warning("wrong protocol", received=received)
            self.session.write(PROTOCOL_HEADER)
            self._lost()
        return False

    def _frame(self, kind: i64, number: i64, data: bytes, start: i64, stop: i64) -> None:
        self._number = number
        channel = self._recent
        if channel is None or channel.number != number:
            channel = self._channels.get(number)
            self._recent = channel
        if kind == FRAME_METHOD:
            if stop - start < 4:
                self._index = NO_METHOD
                raise broken(kind, data[start:stop], "unknown_frame")
            self._index = i64(read_i32_be(data, start)) & 0xFFFFFFFF
            if channel is not None and channel.open:
                self._channel_method(channel, data, start, stop)
            else:
                self._other_method(channel, number, data[start:stop])
        elif kind == FRAME_BODY or kind == FRAME_HEADER:  # noqa: SIM109 - compiled, a tuple is built
            self._content(channel, kind, data, start, stop)
        elif kind != FRAME_HEARTBEAT or stop != start:
            self._index = NO_METHOD
            raise broken(kind, data[start:stop], "unknown_frame")
        elif number != 0:
            self._index = NO_METHOD
            raise unexpected(kind, b"")

    def _content(
        self, channel: Channel | None, kind: i64, data: bytes, start: i64, stop: i64
    ) -> None:
        self._index = NO_METHOD
        if kind == FRAME_HEADER and stop - start < HEADER_BYTES_MIN:
            raise broken(kind, data[start:stop], "unknown_frame")
        if channel is None:
            if self.state == ConnectionState.CLOSING:
                return
            if self._number == 0:
                raise unexpected(kind, data[start:stop])
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
            definition_log = session.definition_log
            kept = 0 if definition_log is None else definition_log.definitions
            before = len(session.output)
            reply = handler(channel, method)
            if reply is not None and not getattr(method, "nowait", False):
                channel.send(reply)
            if definition_log is not None and definition_log.definitions != kept:
                session.withhold(channel.number, before, definition_log.defined)
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
            raise unexpected(FRAME_METHOD, payload)
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
        self.session.logger.warning(
            event,
            channel=int(self._number),
            code=int(error.code),
            text=error.reply_text,
            method=method,
            user=self.session.user,
        )

    def refuse(self, error: AmqpError, user: str, why: str) -> None:
        """A login that failed: said in a frame to who can read it, else by silence."""
        self.session.logger.warning("login refused", user=user, reason=why)
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

    def disconnected(self) -> None:
        """The socket is gone."""
        if self.state != ConnectionState.CLOSED:
            if self.state == ConnectionState.OPEN:
                self.session.logger.warning("connection lost", user=self.session.user)
            self._lost()
        self.session.end()

    def _lost(self) -> None:
        self.move(ConnectionEvent.LOST)
        self.release()
        self.session.discard_held()
        self._forget_input()
        self.session.request_flush()

    def release(self) -> None:
        """Let go of all it holds in its virtual host. More than once is no harm."""
        self.session.has_published = False
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
            queue.deliver_ready()
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
        if self._heard_since or self.blocked or self.session.holds_too_much():
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
                    self.session.logger.warning("handshake timeout", state=self.state.name.lower())
                self._lost()
        elif self.heartbeat:
            if now - self._sent >= self.heartbeat / 2:
                self.session.write(HEARTBEAT)
            if now - self._heard > 2 * self.heartbeat:
                self.session.logger.warning(
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
        self.session.logger.warning("connection blocked", reason=reason)
        if "connection.blocked" in self.session.capabilities:
            self.send(ConnectionMethods.Blocked(reason=reason))

    def unblock(self) -> None:
        """To be read again."""
        self.blocked = False
        self.session.logger.info("connection unblocked")
        if "connection.blocked" in self.session.capabilities:
            self.send(ConnectionMethods.Unblocked())

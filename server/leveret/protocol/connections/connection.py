"""A connection without its socket: bytes in through `feed`, bytes out through its session.

The frame reader finds the frames; the connection passes each to its channel or handles it itself
(channel 0), keeps the states, and is the one place where an error of the peer becomes
connection.close or channel.close. What the handshake decides is in `handshake.py`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from librt.strings import read_i32_be
from mypy_extensions import i64
from pamqp.base import Frame
from pamqp.commands import Channel as ChannelMethods
from pamqp.commands import Connection as ConnectionMethods

from leveret.engine.access.open_connections import OpenConnection
from leveret.engine.broker import Broker
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import CLOSE_TIMEOUT_S, OUTPUT_REPLIES_BYTES_MAX
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.content import HEADER_BYTES_MIN
from leveret.protocol.channels.ending import ChannelsEnd, Consecutively
from leveret.protocol.channels.peer import Peer
from leveret.protocol.channels.session import NO_VHOST, Session
from leveret.protocol.connections import handshake
from leveret.protocol.connections.blocking import tell_blocked, tell_unblocked
from leveret.protocol.connections.channel_table import ChannelTable
from leveret.protocol.connections.closing import close_channel, close_connection
from leveret.protocol.connections.held_memory import HeldMemory, held_by
from leveret.protocol.connections.keepalive import Keepalive
from leveret.protocol.connections.login_refusal import LoginRefusal
from leveret.protocol.connections.passing_on import PassingOn, introduction, is_elsewhere
from leveret.protocol.connections.second_try import SecondTry, try_twice
from leveret.protocol.handlers.dispatch import handle
from leveret.protocol.states import (
    ERROR_STATES,
    EXPECT_METHOD,
    ChannelEvent,
    ConnectionEvent,
    ConnectionState,
    check_state,
    next_connection_state,
    unexpected_method,
)
from leveret.protocol.wire import methods
from leveret.protocol.wire.frame_reader import (
    FrameHandler,
    FrameReader,
    malformed_frame,
    unexpected_frame,
)
from leveret.protocol.wire.frames import (
    BASIC_ACK,
    BASIC_NACK,
    BASIC_PUBLISH,
    BASIC_REJECT,
    CHANNEL_CLOSE,
    CHANNEL_OPEN,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    CONNECTION_START_OK,
    FRAME_BODY,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    HEARTBEAT,
)
from leveret.protocol.wire.greeting import ACCEPTED_HEADERS

NO_METHOD: Final = 0
"""The class id and method id of an error that is about no method."""


class Connection(FrameHandler):
    """One peer, from its first octet to its last. Owned by a transport, which moves the bytes."""

    def __init__(
        self,
        broker: Broker,
        wake: Callable[[], None],
        logger: Any,
        *,
        peer: Peer,
        now: float,
        pass_on: Callable[[PassingOn], None] | None = None,
    ) -> None:
        """:param pass_on: asks the transport to pass the connection on; None if it cannot."""
        self.session = Session(wake, logger, peer, broker.time_slice)
        self.broker = broker
        self.state = ConnectionState.HEADER
        self.closed_by_client = False
        """Whether the client closed an open connection, and so will close the socket itself."""
        self.blocked = False
        """Whether an alarm forbids to read it."""
        self.reader = FrameReader(broker.time_slice)
        self._keepalive = Keepalive(now, broker.config.amqp.handshake_timeout)
        self._received_since_tick = False
        self.channels = ChannelTable()
        self._refusal: AmqpError | None = None
        """What refuses a login when its delay is over."""
        self._pass_on = pass_on
        self._introduction = b""
        """The client properties until it is open, if it may be passed on."""
        self.passing_on: PassingOn | None = None
        """Its wait for the broker that serves its virtual host, if that is not this one."""
        self.opened: OpenConnection | None = None
        """The entry among the open connections, while it is open."""
        self._last_channel: Channel | None = None
        """The channel of the last frame, which mostly is that of the next."""
        self._frame_channel: i64 = 0
        """The channel number of the last frame, for an error in it."""
        self._frame_method: i64 = NO_METHOD
        """The class id and method id that an error in the last frame is about."""

    # --- state ------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the socket is to be closed once the output is flushed."""
        return self.state == ConnectionState.CLOSED

    def move(self, event: ConnectionEvent) -> None:
        """Change state.

        :raises AmqpError: if the event is not allowed in this state.
        """
        self.state = next_connection_state(self.state, event)
        passing_on, self.passing_on = self.passing_on, None
        if passing_on is not None:
            passing_on.end()
        if self.state in (ConnectionState.CLOSED, ConnectionState.REFUSED):
            self.reader.close()
            # Even with no output the transport has to look, and close the socket.
            self.session.request_flush()

    # --- input ------------------------------------------------------------------------------

    def feed(self, data: bytes, slice_bytes: int) -> bool:
        """Take received octets, and handle the frames of about the first `slice_bytes`, or fewer if
        the time slice is over before.

        :returns: whether there is more to handle; if so, call `work` until it returns False before
            the next `feed`.
        """
        if not self.reader.is_closed():
            self._received_since_tick = True
        elif self.state == ConnectionState.CLOSING:
            # The answer to a refusal that was sent late: nothing is read after a failed login.
            self.move(ConnectionEvent.CLOSE_OK)
        if self.session.work is not None:
            self.reader.append(data)
            return True
        return self.reader.feed(self, data, slice_bytes) or self.is_working()

    def work(self, slice_bytes: int) -> bool:
        """Go on with the work that a frame began, or handle the frames of about the next
        `slice_bytes` of the input, until the time slice is over.

        :returns: whether there is more to handle.
        """
        if self.session.work is not None and not self._go_on():
            return True
        return self.reader.read(self, slice_bytes) or self.is_working()

    def is_working(self) -> bool:
        """Whether the work that a frame began is not done: no frame is read before it is."""
        return self.session.work is not None

    def _go_on(self) -> bool:
        """Go on with the work that the last frame began; whether the next frame may be read."""
        try:
            return self.session.go_on()
        except AmqpError as error:
            return self.on_frame_error(error)

    def on_protocol_header(self, header: bytes) -> bool:
        if header in ACCEPTED_HEADERS:
            self.move(ConnectionEvent.HEADER)
            self.send(handshake.start(self.broker, self.session.peer))
            return True
        if handshake.is_refused(header, self.session):
            self._abort()
        return False

    def on_frame(self, kind: i64, channel: i64, data: bytes, start: i64, stop: i64) -> bool:
        self._frame_channel = channel
        target = self._last_channel
        if target is None or target.number != channel:
            target = self.channels.by_number.get(channel)
            self._last_channel = target
        if kind == FRAME_METHOD:
            if stop - start < 4:
                self._frame_method = NO_METHOD
                raise malformed_frame(kind, data[start:stop], "unknown_frame")
            self._frame_method = i64(read_i32_be(data, start)) & 0xFFFFFFFF
            if target is not None and target.open:
                if not self._channel_method(target, data, start, stop):
                    return False
            else:
                self._other_method(target, channel, data[start:stop])
                if not self._may_read_on():
                    return False
        elif kind == FRAME_BODY or kind == FRAME_HEADER:  # noqa: SIM109 - compiled, a tuple is built
            # The method that began the content is followed by the check of the output below.
            return self._content(target, kind, data, start, stop)
        elif kind != FRAME_HEARTBEAT or stop != start:
            self._frame_method = NO_METHOD
            raise malformed_frame(kind, data[start:stop], "unknown_frame")
        elif channel != 0:
            self._frame_method = NO_METHOD
            raise unexpected_frame(kind, b"")
        # Many requests in one slice may make more output than may wait; the rest waits instead.
        return self.session.output_size() <= OUTPUT_REPLIES_BYTES_MAX

    def _may_read_on(self) -> bool:
        """Whether the next frame may be read in this slice, after one that may have taken long."""
        return self.session.work is None and not self.session.time_slice.is_over_now()

    def _content(
        self, channel: Channel | None, kind: i64, data: bytes, start: i64, stop: i64
    ) -> bool:
        """Handle a frame of content; whether the next frame may be read in this slice."""
        self._frame_method = NO_METHOD
        if kind == FRAME_HEADER and stop - start < HEADER_BYTES_MIN:
            raise malformed_frame(kind, data[start:stop], "unknown_frame")
        if channel is None:
            if self.state == ConnectionState.CLOSING:
                return True
            if self._frame_channel == 0:
                raise unexpected_frame(kind, data[start:stop])
            raise AmqpError(
                ReplyCode.UNEXPECTED_FRAME, "expected method frame, got non method frame instead"
            )
        if not channel.open:
            return True
        content = channel.content
        if content.expecting != EXPECT_METHOD:
            self._frame_method = BASIC_PUBLISH
        if kind == FRAME_BODY:
            body = content.add_body(data, start, stop)
        else:
            body = content.add_header(data, start, stop)
        return body is None or channel.publish(body)

    def _channel_method(self, channel: Channel, data: bytes, start: i64, stop: i64) -> bool:
        """Handle a method of an open channel; whether the next frame may be read in this slice."""
        if channel.content.expecting != EXPECT_METHOD:
            self._frame_method = BASIC_PUBLISH
            raise channel.content.unexpected_frame()
        method = self._frame_method
        if method == BASIC_PUBLISH:
            channel.content.begin(data, start, stop)
        elif method == BASIC_ACK:
            return channel.settlement.ack(data, start, stop)
        elif method == BASIC_REJECT:
            return channel.settlement.reject(data, start, stop)
        elif method == BASIC_NACK:
            return channel.settlement.nack(data, start, stop)
        else:
            self._decoded_method(channel, data[start:stop])
            return self._may_read_on()
        return True

    def _decoded_method(self, channel: Channel, payload: bytes) -> None:
        method: Any = methods.decode(payload)
        if handle(channel, method):
            return
        if method.index == CHANNEL_OPEN:
            raise AmqpError(ReplyCode.CHANNEL_ERROR, "second 'channel.open' seen")
        if method.index != CHANNEL_CLOSE:
            raise AmqpError(ReplyCode.COMMAND_INVALID, "unimplemented method")
        channel.confirms.flush()
        channel.move(ChannelEvent.CLOSE)
        self.channels.remove(channel, self.opened)
        self._last_channel = None
        reply = partial(channel.send, ChannelMethods.CloseOk())
        self.session.begin(ChannelsEnd([channel], [], channel.vhost, reply))

    def _other_method(self, channel: Channel | None, number: i64, payload: bytes) -> None:
        """Handle a method of channel 0, or of a channel that is not open."""
        if number == 0:
            self._connection_method(payload)
        elif channel is not None:
            self.channels.handle_while_closing(channel, int(self._frame_method), self.opened)
            self._last_channel = None
        elif self.state == ConnectionState.OPEN:
            method = methods.decode(payload)
            if method.index != CHANNEL_OPEN:
                raise AmqpError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'")
            self._open_channel(int(number))
        elif self.state == ConnectionState.OPENING:
            self._frame_method = NO_METHOD
            raise unexpected_frame(FRAME_METHOD, payload)
        elif self.state != ConnectionState.CLOSING:
            raise unexpected_method(self.state)

    # --- channel 0 --------------------------------------------------------------------------

    def _connection_method(self, payload: bytes) -> None:
        if self.state == ConnectionState.CLOSING and self._frame_method not in (
            CONNECTION_CLOSE,
            CONNECTION_CLOSE_OK,
        ):
            return
        method: Any = methods.decode(payload)
        if self._frame_method == CONNECTION_START_OK and self._pass_on is not None:
            self._introduction = introduction(payload)
        handler = HANDLERS.get(method.index)
        if handler is None:
            raise unexpected_method(self.state)
        reply = handler(self, method)
        if reply is not None:
            self.send(reply)

    def _start_ok(self, method: Any) -> Frame | None:
        check_state(self.state, ConnectionState.START)
        properties = method.client_properties or {}
        self.session.peer.introduce(method.mechanism, properties, self.broker.product)
        try_twice(self.broker.metadata_reader, self.session, partial(self._log_in, method))
        return None

    def _log_in(self, method: Any, is_last: bool) -> bool:
        login = handshake.log_in(self.broker, method, self.session.peer)
        if not login.refusal:
            handshake.take_user(self.broker, self.session, login.user)
            self.move(ConnectionEvent.START_OK)
            self.send(handshake.tune(self.broker.config.amqp))
            return True
        if is_last:
            self.session.logger.warning("login refused", user=login.user, reason=login.refusal)
            self._refuse_login(method.mechanism)
        return is_last

    def _refuse_login(self, mechanism: str) -> None:
        now = self._keepalive.last_received
        refusal = LoginRefusal(self.broker, self.session.peer, mechanism, now)
        self._frame_method = NO_METHOD
        if refusal.error is not None and refusal.delay_s == 0:
            self._send_close(refusal.error)
            return
        self._refusal = refusal.error
        self.move(ConnectionEvent.REFUSE)
        self._keepalive.set_deadline(refusal.delay_s)

    def _tune_ok(self, method: Any) -> Frame | None:
        check_state(self.state, ConnectionState.TUNE)
        handshake.check_tuning(method, self.broker.config.amqp)
        self.move(ConnectionEvent.TUNE_OK)
        self.channels.most = method.channel_max
        self.session.frame_max = method.frame_max
        self.reader.payload_max = method.frame_max
        self._keepalive.heartbeat_s = method.heartbeat
        return None

    def _open(self, method: Any) -> Frame | None:
        check_state(self.state, ConnectionState.OPENING)
        opening = partial(self._open_vhost, method.virtual_host)
        try_twice(self.broker.metadata_reader, self.session, opening)
        return None

    def _open_vhost(self, vhost: str, is_last: bool) -> bool:
        session = self.session
        if not is_elsewhere(self.broker, vhost, session):
            self._open_here(vhost)
            return True
        limits = (int(self.channels.most), int(session.frame_max), self.heartbeat_s)
        ends = (partial(self._open_here, vhost), self._fail)
        passing_on = PassingOn(vhost, self._introduction, limits, self.broker, session.user, *ends)
        self.move(ConnectionEvent.PASS_ON)
        self.passing_on = passing_on
        session.begin(passing_on)
        if self._pass_on is not None:
            self._pass_on(passing_on)
        return True

    def _open_here(self, name: str) -> None:
        session, broker = self.session, self.broker
        vhost = handshake.choose_vhost(broker, name, session.user, session.logger)
        self.move(ConnectionEvent.OPEN)
        self._introduction = b""
        self.opened = handshake.enter(broker, session, vhost, self.force_close)
        self.send(ConnectionMethods.OpenOk())

    def passed_on(self) -> bytes:
        """Another broker has opened it: this is its end here. Its output is to be flushed before.

        :returns: what the client has sent behind connection.open.
        """
        rest = self.reader.take_rest()
        self.move(ConnectionEvent.PASSED_ON)
        self.session.work = None
        self.session.close()
        return rest

    def _close(self, method: Any) -> Frame | None:
        """Its exclusive queues are deleted before the reply, so the client can declare them again
        at once."""
        self.closed_by_client = self.state == ConnectionState.OPEN
        self.session.logger.info("connection closed by client", user=self.session.user)
        self.session.begin(self._release_resources(self._send_close_ok))
        return None

    def _send_close_ok(self) -> None:
        """Answer connection.close: everything of the connection is released."""
        if self.state != ConnectionState.CLOSED:
            self.move(ConnectionEvent.CLOSE)
            self.send(ConnectionMethods.CloseOk())

    def _close_ok(self, method: Any) -> Frame | None:
        self.move(ConnectionEvent.CLOSE_OK)
        return None

    def _update_secret(self, method: Any) -> Frame | None:
        """Accept any secret: a password does not expire, so there is none to replace."""
        check_state(self.state, ConnectionState.OPEN)
        return ConnectionMethods.UpdateSecretOk()

    # --- channels ---------------------------------------------------------------------------

    def _open_channel(self, number: int) -> None:
        try:
            channel = self.channels.open(number, self.session, self.broker, self.opened)
        except AmqpError as error:
            if error.code is ReplyCode.NOT_ALLOWED:
                # RabbitMQ names no method in the refusals of a limit.
                self.next_error_about()
            raise
        channel.send(ChannelMethods.OpenOk())

    # --- errors and endings -----------------------------------------------------------------

    def on_frame_error(self, error: AmqpError) -> bool:
        self._answer_error(error)
        return self._may_read_on()

    def _answer_error(self, error: AmqpError) -> None:
        channel = self.channels.by_number.get(self._frame_channel)
        if error.closes_connection or channel is None or self.state != ConnectionState.OPEN:
            self._fail(error)
            return
        channel.confirms.flush()
        channel.move(ChannelEvent.FAIL)
        close = close_channel(self.session, error, int(channel.number), int(self._frame_method))
        self.session.begin(ChannelsEnd([channel], [], channel.vhost, partial(channel.send, close)))

    def on_malformed_frame(self, error: AmqpError) -> None:
        self.next_error_about()
        self._fail(error)

    def force_close(self, reason: str, logged: bool = True) -> None:
        """Close the connection from outside (CONNECTION_FORCED); `reason` is for the peer."""
        self.next_error_about()
        self._fail(AmqpError(ReplyCode.CONNECTION_FORCED, reason), logged)

    def internal_error(self) -> None:
        """Close the connection after a fault of the broker."""
        self.next_error_about()
        self._fail(AmqpError(ReplyCode.INTERNAL_ERROR, "the broker failed to handle a frame"))

    def next_error_about(self, channel: int = 0, method: int = NO_METHOD) -> None:
        """Forget the last frame: the next error, maybe one from outside, is about these."""
        self._frame_channel = channel
        self._frame_method = method

    def _fail(self, error: AmqpError, logged: bool = True) -> None:
        """Send connection.close, if the peer can read it."""
        if self.state not in ERROR_STATES:
            # It is closing already, or the protocol header has not come.
            self._abort()
            return
        self._send_close(error, logged)

    def _send_close(self, error: AmqpError, logged: bool = False) -> None:
        """Release what the connection uses, and send connection.close: the transport goes on."""
        channel, method = int(self._frame_channel), int(self._frame_method)
        close = close_connection(self.session, error, channel, method, logged)
        self.move(ConnectionEvent.FAIL)
        self.session.begin(self._release_resources(partial(self._finish_close, close)))
        self.session.request_flush()

    def _finish_close(self, close: Frame) -> None:
        """Send connection.close: everything of the connection is released."""
        if self.state == ConnectionState.CLOSING:
            self._keepalive.set_deadline(CLOSE_TIMEOUT_S)
            self.send(close)

    def disconnected(self, reason: str = "") -> None:
        """End everything: the socket is closed, for a `reason`."""
        if self.state != ConnectionState.CLOSED:
            if self.state == ConnectionState.OPEN:
                user = self.session.user
                self.session.logger.info("connection lost", reason=reason, user=user)
            self._abort()
        self.session.close()

    def _abort(self) -> None:
        """End the connection without a further frame, and without the replies that are held."""
        self.move(ConnectionEvent.DISCONNECT)
        release = self._release_resources(None)
        if not release.run(self.session.time_slice):
            self.broker.work.add(release)
        self.session.discard_held()

    def _release_resources(self, ended: Callable[[], None] | None) -> Work:
        """Leave the virtual host.

        :param ended: called when the work is done.
        :returns: the work that ends its channels and deletes its exclusive queues, after the work
            that is under way. There is none of it the second time.
        """
        session = self.session
        session.has_published = False
        session.throttled_by = None
        self.blocked = False
        ending = self.channels.disconnect()
        self._last_channel = None
        queues, session.exclusive_queues = list(session.exclusive_queues.values()), {}
        release = ChannelsEnd(ending, queues, session.vhost, ended)
        if session.vhost.name:
            session.vhost = NO_VHOST
            handshake.leave(self.broker, session, self.opened)
            self.opened = None
        under_way, session.work = session.work, None
        if isinstance(under_way, SecondTry):
            under_way = None
        return release if under_way is None else Consecutively(under_way, release)

    @property
    def heartbeat_s(self) -> int:
        """The interval of heartbeats in seconds; 0 is none."""
        return int(self._keepalive.heartbeat_s)

    def held_memory(self, unsent_bytes: int) -> HeldMemory:
        """What it holds; `unsent_bytes` is what the transport has of its output."""
        return held_by(self.channels.by_number.values(), unsent_bytes + self.session.unsent_bytes())

    # --- time -------------------------------------------------------------------------------

    def tick(self, now: float, is_read: bool = True) -> None:
        """Check deadlines and heartbeats at a monotonic time in seconds. A connection that is not
        read cannot be found silent."""
        session, keepalive = self.session, self._keepalive
        received = self._received_since_tick or self.blocked or not is_read
        keepalive.observe(now, received, session.sent_since_tick)
        if not session.sent_since_tick:
            session.shrink_buffer()
        self._received_since_tick = session.sent_since_tick = False
        if self.state != ConnectionState.OPEN:
            if self.state != ConnectionState.CLOSED and keepalive.is_past_deadline(now):
                self._deadline_is_over()
            return
        if keepalive.must_send_heartbeat(now):
            session.write(HEARTBEAT)
        if keepalive.is_peer_silent(now):
            session.logger.warning(
                "missed heartbeats from client", timeout=f"{keepalive.heartbeat_s}s"
            )
            self._abort()

    def _deadline_is_over(self) -> None:
        """The peer, or who else is waited for, has had its time."""
        if self.passing_on is not None:
            self.passing_on.is_down()
        elif self.state == ConnectionState.REFUSED and self._refusal is not None:
            self._send_close(self._refusal)
        else:
            if self.state not in (ConnectionState.CLOSING, ConnectionState.REFUSED):
                self.session.logger.warning("handshake timeout", state=self.state.name.lower())
            self._abort()

    # --- output -----------------------------------------------------------------------------

    def send(self, method: Frame) -> None:
        """Send a method on channel 0."""
        self.session.write(methods.encode(method, 0))

    def block(self, reason: str) -> None:
        """Mark the connection as not to be read, and tell the client."""
        self.blocked = True
        tell_blocked(self.session, reason)

    def unblock(self) -> None:
        """Undo `block`."""
        self.blocked = False
        tell_unblocked(self.session)


HANDLERS: Final[dict[int, Callable[[Connection, Any], Frame | None]]] = {
    ConnectionMethods.StartOk.index: Connection._start_ok,
    ConnectionMethods.TuneOk.index: Connection._tune_ok,
    ConnectionMethods.Open.index: Connection._open,
    ConnectionMethods.Close.index: Connection._close,
    ConnectionMethods.CloseOk.index: Connection._close_ok,
    ConnectionMethods.UpdateSecret.index: Connection._update_secret,
}
"""The methods of channel 0, by class id and method id. Each returns the reply, or None."""

"""A broker and its clients without sockets between them: tests say what is sent and received.

    alice.send(1, Queue.Declare(queue="q"))
    alice.expect(1, Queue.DeclareOk("q", 0, 0))

Rules:
- All that the broker sends has to be expected, in order, before the client sends anything more.
- Output is taken as the transport does: only after the connection requested a flush, and then the
  consumers that waited for the output are resumed.
- Time passes only by `advance_to` and `advance_clock`.
- A time slice has no time: all that can be interrupted is, after its first unit of work, and what
  the broker does on its own goes on after each slice of input.
- At the end all sockets are closed, and the broker must have released all that the clients used.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pamqp import commands
from pamqp.base import Frame
from pamqp.commands import Basic

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import Permission, VirtualHostEntity
from leveret.engine.queues.queue import Queue
from leveret.errors import ReplyCode
from leveret.protocol.channels.peer import Peer
from leveret.protocol.connections.connection import Connection
from tests.protocol import wire
from tests.protocol.wire import Content, Received

SLICE: Final = 1024
"""Octets of input that are read at a time: few, so that most tests take several slices."""

ENDLESS_NS: Final = 3_600_000_000_000
"""Nanoseconds of a time slice that does not end in a test."""

ALL_CAPABILITIES: Final = (
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "publisher_confirms",
)

FrameT = TypeVar("FrameT", bound=Frame)


class Log:
    """A logger that collects its events, for a test to read."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def debug(self, event: str, **values: object) -> None:
        self.events.append((event, values))

    def info(self, event: str, **values: object) -> None:
        self.events.append((event, values))

    def warning(self, event: str, **values: object) -> None:
        self.events.append((event, values))

    def of(self, event: str) -> dict[str, object]:
        """The values of the only event of that name."""
        (values,) = [values for name, values in self.events if name == event]
        return values


class Client:
    """One peer of the broker."""

    slice_ns = 0
    """Nanoseconds of its time slices: none, unless a test is about what one slice does."""

    def __init__(self, broker: Broker, *, from_loopback: bool = True, now: float = 0.0) -> None:
        self.log = Log()
        self.now = now
        self.reads = True
        """False for a client that does not read its socket."""
        self.decodes = True
        """False for a client that collects undecoded frames in `frames`: its messages need not be
        what pamqp can decode."""
        self.frames: list[bytes] = []
        self._broker = broker
        self.connection = Connection(
            broker,
            self._request_flush,
            self.log,
            peer=Peer(from_loopback=from_loopback),
            now=now,
        )
        self.transcript: list[str] = []
        self._received: deque[tuple[int, Received]] = deque()
        self._flush_requested = False

    # --- sending ----------------------------------------------------------------------------

    def feed(self, data: bytes, slice_bytes: int = SLICE) -> None:
        """Send octets."""
        self.expect_nothing()
        self.feed_unchecked(data, slice_bytes)

    def feed_unchecked(self, data: bytes, slice_bytes: int = SLICE) -> None:
        """Send octets, without expecting all that was received before."""
        time_slice = self._broker.time_slice
        time_slice.begin(self.slice_ns)
        more = self.connection.feed(data, slice_bytes)
        self.receive()
        while more:
            time_slice.begin(self.slice_ns)
            more = self.connection.work(max(slice_bytes, 1))
            self.receive()
        self._broker.work.run_all(time_slice)
        time_slice.begin(ENDLESS_NS)

    def send(self, channel: int, *methods: Frame) -> None:
        """Send methods on a channel."""
        data = wire.method_frames(channel, *methods)
        self._note_sent(*(wire.text_of(channel, method) for method in methods))
        self.feed(data)

    def publish(self, channel: int, routing_key: str, *messages: bytes, **how: Any) -> None:
        """Send messages; `how` is as in `wire.publish`."""
        self._note_sent(*(f"{channel} publish {routing_key} {body!r}"[:100] for body in messages))
        self.feed(b"".join(wire.publish(channel, routing_key, body, **how) for body in messages))

    def call(self, channel: int, method: Frame, reply: type[FrameT]) -> FrameT:
        """Send a request and return its reply."""
        self.send(channel, method)
        return self.expect_method(channel, reply)

    def open_channels(self, *channels: int) -> None:
        """Open channels."""
        for channel in channels:
            self.call(channel, commands.Channel.Open(), commands.Channel.OpenOk)

    def close_channels(self, *channels: int) -> None:
        """Close channels."""
        for channel in channels:
            self.call(channel, commands.Channel.Close(200, "done", 0, 0), commands.Channel.CloseOk)

    def reopen_channel(self, channel: int) -> None:
        """Answer the broker's channel.close, and open the channel again."""
        self.send(channel, commands.Channel.CloseOk())
        self.open_channels(channel)

    def declare(self, channel: int, *queues: str, **how: Any) -> None:
        """Declare queues."""
        for queue in queues:
            declare = wire.unvalidated(commands.Queue.Declare, queue=queue, **how)
            self.call(channel, declare, commands.Queue.DeclareOk)

    def consume(self, channel: int, queue: str, tag: str, **how: Any) -> None:
        """Consume from a queue; expect what it delivers at once next."""
        consume = wire.unvalidated(Basic.Consume, queue=queue, consumer_tag=tag, **how)
        self.send(channel, consume)
        self.expect(channel, Basic.ConsumeOk(tag))

    def advance_to(self, now: float) -> None:
        """Let time pass up to `now`, in seconds.

        No requests are read while too many replies wait.
        """
        self.now = now
        self.connection.tick(now, is_read=not self.connection.session.holds_too_much())

    def log_in(
        self,
        *,
        capabilities: Iterable[str] = ALL_CAPABILITIES,
        frame_max: int = 131_072,
        channel_max: int = 2047,
        heartbeat: int = 0,
        vhost: str = "/",
        product: str = "harness",
    ) -> None:
        """Go through the whole handshake."""
        self.feed(wire.PROTOCOL_HEADER)
        self.expect_method(0, commands.Connection.Start)
        start = start_ok(capabilities=capabilities, product=product)
        self.call(0, start, commands.Connection.Tune)
        self.send(0, commands.Connection.TuneOk(channel_max, frame_max, heartbeat))
        self.call(0, commands.Connection.Open(vhost), commands.Connection.OpenOk)

    def lose_socket(self) -> None:
        """Close the socket, without reading what the broker sent."""
        self._broker.time_slice.begin(self.slice_ns)
        self.connection.disconnected()
        self._broker.work.run_all(self._broker.time_slice)
        self.connection.session.take_output()
        self._received.clear()
        self._flush_requested = False

    # --- receiving --------------------------------------------------------------------------

    def expect(self, channel: int, *expected: Received) -> None:
        """Expect exactly this next."""
        self.receive()
        for each in expected:
            assert self._received, self._mismatch(wire.text_of(channel, each), "nothing")
            arrived = wire.text_of(*self._received.popleft())
            wanted = wire.text_of(channel, each)
            assert arrived == wanted, self._mismatch(wanted, arrived)
            self.transcript.append(f"  received {arrived}"[:200])

    def expect_method(self, channel: int, kind: type[FrameT]) -> FrameT:
        """Expect a method of a class next, with any arguments, and return it."""
        self.receive()
        assert self._received, self._mismatch(kind.name, "nothing")
        number, arrived = self._received.popleft()
        line = wire.text_of(number, arrived)
        assert isinstance(arrived, kind), self._mismatch(kind.name, line)
        assert number == channel, self._mismatch(f"{channel} {kind.name}", line)
        self.transcript.append(f"  received {line}"[:200])
        return arrived

    def expect_nothing(self) -> None:
        """Expect nothing more."""
        self.receive()
        unexpected = [wire.text_of(*each) for each in self._received]
        assert not unexpected, self._mismatch("nothing", "\n      ".join(unexpected))

    def receive_all(self) -> list[tuple[int, Received]]:
        """Everything that was received, for a test that is not about its order."""
        self.receive()
        arrived = list(self._received)
        self._received.clear()
        return arrived

    def expect_content(self, channel: int) -> Content:
        """Expect any message next, and return it."""
        self.receive()
        assert self._received, self._mismatch("a content", "nothing")
        number, arrived = self._received.popleft()
        line = wire.text_of(number, arrived)
        assert isinstance(arrived, Content), self._mismatch("a content", line)
        assert number == channel, self._mismatch(f"{channel} a content", line)
        self.transcript.append(f"  received {line}"[:200])
        return arrived

    def expect_delivery(self, channel: int, tag: str, number: int, body: bytes, **how: Any) -> None:
        """Expect a delivery to a consumer next; `number` is the delivery tag."""
        self.expect(channel, delivery(tag, number, body, **how))

    def expect_error(
        self, channel: int, code: ReplyCode, text: str, about: type[Frame] | int | None = None
    ) -> None:
        """Expect the channel, or the connection for channel 0, to be closed with an error.

        `about` is the method that it names, by its class or its ids; None for no method.
        """
        index = about if isinstance(about, int) else 0 if about is None else about.index
        kind = commands.Channel.Close if channel else commands.Connection.Close
        self.expect(
            channel, kind(int(code), f"{code.name} - {text}"[:255], index >> 16, index & 0xFFFF)
        )

    def expect_socket_closed(self) -> None:
        """Expect the broker to close the socket, without sending anything more."""
        self.expect_nothing()
        assert self.connection.finished, self._mismatch("the socket closed", "an open one")

    def receive(self) -> None:
        """Take the output for as long as there is any, if the client reads."""
        session = self.connection.session
        while self.reads and self._flush_requested:
            self._flush_requested = False
            output = session.take_output()
            if self.decodes:
                self._received.extend(wire.decode(output))
            else:
                self.frames.extend(wire.frames_in(output))
            session.resume_consumers()
            while session.suspended and session.writable():
                session.resume_consumers()

    # --- inside -----------------------------------------------------------------------------

    def _request_flush(self) -> None:
        self._flush_requested = True

    def _note_sent(self, *lines: str) -> None:
        self.transcript.extend(f"sent {line}"[:200] for line in lines)

    def _mismatch(self, wanted: str, arrived: str) -> str:
        so_far = "\n".join(self.transcript[-20:])
        return f"so far:\n{so_far}\n  not: {wanted}\n  but: {arrived}"


class Harness:
    """A broker and its clients, from an empty broker to an empty broker."""

    def __init__(self, config: Config | None = None) -> None:
        self.broker = Broker(config if config is not None else Config())
        self.broker.time_slice.begin(ENDLESS_NS)
        self.clients: list[Client] = []

    def connect(self, *, from_loopback: bool = True, now: float = 0.0) -> Client:
        """A client that has connected and sent nothing yet."""
        client = Client(self.broker, from_loopback=from_loopback, now=now)
        self.clients.append(client)
        return client

    def add_vhost(self, name: str) -> None:
        """Add a virtual host that the default user has access to."""
        self.broker.metadata.put(VirtualHostEntity(name))
        self.broker.metadata.put(Permission("guest", name, ".*", ".*", ".*"))

    def open_client(self, *channels: int, **how: Any) -> Client:
        """A client that has logged in and opened channels; `how` is as in `Client.log_in`."""
        client = self.connect()
        client.log_in(**how)
        client.open_channels(*channels)
        return client

    def advance_clock(self, milliseconds: int) -> None:
        """Advance the broker's clock, and run the timers that are due then."""
        clock = self.broker.clock
        clock.advance_to(clock.now + milliseconds)
        timers = self.broker.timers
        while 0 < timers.next_due() <= clock.now:
            timers.run(clock.now)

    def queue(self, name: str) -> Queue:
        """A queue of the broker."""
        return self.broker.vhosts["/"].queues[name]

    def has_queue(self, name: str) -> bool:
        """Whether the broker has that queue."""
        return name in self.broker.vhosts["/"].queues

    def has_exchange(self, name: str) -> bool:
        """Whether the broker has that exchange."""
        return name in self.broker.vhosts["/"].exchanges

    def close(self) -> None:
        """Expect nothing more for any client, and close all sockets."""
        for client in self.clients:
            client.expect_nothing()
        self.disconnect_all()

    def disconnect_all(self) -> None:
        """Close all sockets, and check that the broker released all that the clients used."""
        queues = list(self.broker.vhosts["/"].queues.values())
        for client in self.clients:
            client.lose_socket()
        assert len(self.broker.connections) == 0
        assert not self.broker.vhosts["/"].router.reply_routes, (
            "there are consumers of replies without a channel"
        )
        for queue in queues:
            assert queue.consumers == [], f"{queue.name} has consumers without a channel"
            assert queue.unacknowledged == 0, f"{queue.name} has deliveries without a channel"
            assert queue.owner is None or queue.deleted, f"{queue.name} has a closed owner"


def start_ok(
    *,
    mechanism: str = "PLAIN",
    response: str = "\0guest\0guest",
    capabilities: Iterable[str] = ALL_CAPABILITIES,
    name: str = "a test",
    product: str = "harness",
) -> commands.Connection.StartOk:
    """connection.start-ok of a client with those capabilities."""
    return commands.Connection.StartOk(
        client_properties={
            "product": product,
            "connection_name": name,
            "capabilities": dict.fromkeys(capabilities, True),
        },
        mechanism=mechanism,
        response=response,
        locale="en_US",
    )


def delivery(
    tag: str,
    number: int,
    body: bytes,
    *,
    key: str = "q",
    exchange: str = "",
    redelivered: bool = False,
    properties: Basic.Properties | None = None,
) -> Content:
    """A delivery to a consumer."""
    method = Basic.Deliver(tag, number, redelivered, exchange, key)
    return Content(method, body, properties or Basic.Properties())


def got(
    number: int,
    body: bytes,
    left: int = 0,
    *,
    key: str = "q",
    exchange: str = "",
    redelivered: bool = False,
) -> Content:
    """The reply to basic.get."""
    return Content(Basic.GetOk(number, redelivered, exchange, key, left), body)


def returned(body: bytes, *, key: str, exchange: str = "") -> Content:
    """A mandatory message that reached no queue."""
    return Content(Basic.Return(312, "NO_ROUTE", exchange, key), body)

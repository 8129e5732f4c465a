"""Clients of one broker without sockets between them: a test reads as what they say and hear.

    alice.says(1, Queue.Declare(queue="q"))
    alice.hears(1, Queue.DeclareOk("q", 0, 0))

Rules:
- All that comes has to be heard, in order, before the client says anything more.
- Output is taken as the transport does: only when the connection woke it, and then consumers that
  waited for the output are let on.
- Time passes by `passes` alone.
- At the end everybody's socket is gone, and with it all that they held in the broker.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pamqp import commands
from pamqp.base import Frame
from pamqp.commands import Basic

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.queues.queue import Queue
from leveret.errors import ReplyCode
from leveret.protocol.connections.connection import Connection
from tests.protocol import wire
from tests.protocol.wire import Content, Heard

SLICE: Final = 1024
"""Octets of input worked through at a time: small, so that most scripts take several slices."""

ALL_CAPABILITIES: Final = (
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "publisher_confirms",
)

FrameT = TypeVar("FrameT", bound=Frame)


class Log:
    """A logger that keeps its events, for a test to read."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

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

    def __init__(self, broker: Broker, *, from_loopback: bool = True, now: float = 0.0) -> None:
        self.log = Log()
        self.now = now
        self.reads = True
        """False for a client that leaves what is sent to it in the socket."""
        self.decodes = True
        """False for a client that keeps frames as they are in `frames`: what a stranger sent comes
        back to it as it is, and need not be what pamqp reads."""
        self.frames: list[bytes] = []
        self.connection = Connection(
            broker, self._wake, self.log, from_loopback=from_loopback, now=now
        )
        self.transcript: list[str] = []
        self._unheard: deque[tuple[int, Heard]] = deque()
        self._woken = False

    # --- saying -----------------------------------------------------------------------------

    def feeds(self, data: bytes, slice_bytes: int = SLICE) -> None:
        """Send octets."""
        self.hears_nothing()
        self.feeds_unheard(data, slice_bytes)

    def feeds_unheard(self, data: bytes, slice_bytes: int = SLICE) -> None:
        """Send octets, whatever is still to be heard."""
        more = self.connection.feed(data, slice_bytes)
        self.listens()
        while more:
            more = self.connection.work(max(slice_bytes, 1))
            self.listens()

    def says(self, channel: int, *methods: Frame) -> None:
        """Send methods on a channel."""
        data = wire.says(channel, *methods)
        self._say(*(wire.text_of(channel, method) for method in methods))
        self.feeds(data)

    def publishes(self, channel: int, routing_key: str, *messages: bytes, **how: Any) -> None:
        """Send messages; `how` is as in `wire.publish`."""
        self._say(*(f"{channel} publish {routing_key} {body!r}"[:100] for body in messages))
        self.feeds(b"".join(wire.publish(channel, routing_key, body, **how) for body in messages))

    def does(self, channel: int, method: Frame, reply: type[FrameT]) -> FrameT:
        """Send a request and hear its reply."""
        self.says(channel, method)
        return self.hears_a(channel, reply)

    def opens(self, *channels: int) -> None:
        """Open channels."""
        for channel in channels:
            self.does(channel, commands.Channel.Open(), commands.Channel.OpenOk)

    def closes(self, *channels: int) -> None:
        """Close channels."""
        for channel in channels:
            self.does(channel, commands.Channel.Close(200, "done", 0, 0), commands.Channel.CloseOk)

    def opens_again(self, channel: int) -> None:
        """Answer the broker's closing a channel, and open it again."""
        self.says(channel, commands.Channel.CloseOk())
        self.opens(channel)

    def declares(self, channel: int, *queues: str, **how: Any) -> None:
        """Declare queues."""
        for queue in queues:
            declare = wire.unvalidated(commands.Queue.Declare, queue=queue, **how)
            self.does(channel, declare, commands.Queue.DeclareOk)

    def consumes(self, channel: int, queue: str, tag: str, **how: Any) -> None:
        """Consume from a queue; what it delivers at once is to be heard next."""
        consume = wire.unvalidated(Basic.Consume, queue=queue, consumer_tag=tag, **how)
        self.says(channel, consume)
        self.hears(channel, Basic.ConsumeOk(tag))

    def passes(self, now: float) -> None:
        """Let time pass up to `now`, in seconds."""
        self.now = now
        self.connection.tick(now)

    def logs_in(
        self,
        *,
        capabilities: Iterable[str] = ALL_CAPABILITIES,
        frame_max: int = 131_072,
        channel_max: int = 2047,
        heartbeat: int = 0,
        vhost: str = "/",
    ) -> None:
        """Go through the whole handshake."""
        self.feeds(wire.PROTOCOL_HEADER)
        self.hears_a(0, commands.Connection.Start)
        self.does(0, start_ok(capabilities=capabilities), commands.Connection.Tune)
        self.says(0, commands.Connection.TuneOk(channel_max, frame_max, heartbeat))
        self.does(0, commands.Connection.Open(vhost), commands.Connection.OpenOk)

    def loses_its_socket(self) -> None:
        """The socket is gone, whatever was still to be said."""
        self.connection.disconnected()
        self.connection.session.take_output()
        self._unheard.clear()
        self._woken = False

    # --- hearing ----------------------------------------------------------------------------

    def hears(self, channel: int, *expected: Heard) -> None:
        """Hear exactly this next."""
        self.listens()
        for each in expected:
            assert self._unheard, self._story(wire.text_of(channel, each), "nothing")
            came = wire.text_of(*self._unheard.popleft())
            wanted = wire.text_of(channel, each)
            assert came == wanted, self._story(wanted, came)
            self.transcript.append(f"  hears {came}"[:200])

    def hears_a(self, channel: int, kind: type[FrameT]) -> FrameT:
        """Hear a method of a kind next, whatever its arguments; they are returned."""
        self.listens()
        assert self._unheard, self._story(kind.name, "nothing")
        number, came = self._unheard.popleft()
        line = wire.text_of(number, came)
        assert isinstance(came, kind), self._story(kind.name, line)
        assert number == channel, self._story(f"{channel} {kind.name}", line)
        self.transcript.append(f"  hears {line}"[:200])
        return came

    def hears_nothing(self) -> None:
        """Nothing more has come."""
        self.listens()
        unheard = [wire.text_of(*each) for each in self._unheard]
        assert not unheard, self._story("nothing", "\n      ".join(unheard))

    def hears_all(self) -> list[tuple[int, Heard]]:
        """Everything that has come, for a test that is not about its order."""
        self.listens()
        came = list(self._unheard)
        self._unheard.clear()
        return came

    def hears_a_content(self, channel: int) -> Content:
        """Hear a message next, whichever."""
        self.listens()
        assert self._unheard, self._story("a content", "nothing")
        number, came = self._unheard.popleft()
        line = wire.text_of(number, came)
        assert isinstance(came, Content), self._story("a content", line)
        assert number == channel, self._story(f"{channel} a content", line)
        self.transcript.append(f"  hears {line}"[:200])
        return came

    def gets(self, channel: int, tag: str, number: int, body: bytes, **how: Any) -> None:
        """A consumer is delivered a message; `number` is the delivery tag."""
        self.hears(channel, delivery(tag, number, body, **how))

    def is_refused(
        self, channel: int, code: ReplyCode, text: str, about: type[Frame] | int | None = None
    ) -> None:
        """The channel, or the connection for channel 0, is closed with an error.

        `about` is the method named in it, by its class or its ids; None names none.
        """
        index = about if isinstance(about, int) else 0 if about is None else about.index
        kind = commands.Channel.Close if channel else commands.Connection.Close
        self.hears(
            channel, kind(int(code), f"{code.name} - {text}"[:255], index >> 16, index & 0xFFFF)
        )

    def is_cut_off(self) -> None:
        """The broker closes the socket, with nothing more to say."""
        self.hears_nothing()
        assert self.connection.finished, self._story("the socket closed", "an open one")

    def listens(self) -> None:
        """Take the output as long as there is any, if the client reads at all."""
        session = self.connection.session
        while self.reads and self._woken:
            self._woken = False
            output = session.take_output()
            if self.decodes:
                self._unheard.extend(wire.heard_in(output))
            else:
                self.frames.extend(wire.frames_in(output))
            session.resume_consumers()

    # --- inside -----------------------------------------------------------------------------

    def _wake(self) -> None:
        self._woken = True

    def _say(self, *lines: str) -> None:
        self.transcript.extend(f"says {line}"[:200] for line in lines)

    def _story(self, wanted: str, came: str) -> str:
        so_far = "\n".join(self.transcript[-20:])
        return f"so far:\n{so_far}\n  not: {wanted}\n  but: {came}"


class Play:
    """A broker and its clients, from an empty broker to an empty broker."""

    def __init__(self, config: Config | None = None) -> None:
        self.broker = Broker(config if config is not None else Config())
        self.clients: list[Client] = []

    def dials(self, *, from_loopback: bool = True, now: float = 0.0) -> Client:
        """A client that has connected and said nothing yet."""
        client = Client(self.broker, from_loopback=from_loopback, now=now)
        self.clients.append(client)
        return client

    def opens(self, *channels: int, **how: Any) -> Client:
        """A client that has logged in and opened channels; `how` is as in `Client.logs_in`."""
        client = self.dials()
        client.logs_in(**how)
        client.opens(*channels)
        return client

    def waits(self, milliseconds: int) -> None:
        """Let the broker's clock go on, and ring what is due then."""
        clock = self.broker.clock
        clock.advance_to(clock.now + milliseconds)
        self.broker.timers.run(clock.now)

    def queue(self, name: str) -> Queue:
        """A queue of the broker."""
        return self.broker.vhosts["/"].queues[name]

    def has_queue(self, name: str) -> bool:
        """Whether the broker has that queue."""
        return name in self.broker.vhosts["/"].queues

    def has_exchange(self, name: str) -> bool:
        """Whether the broker has that exchange."""
        return name in self.broker.vhosts["/"].exchanges

    def ends(self) -> None:
        """Everybody has heard everything; all sockets go, and nothing is held any more."""
        for client in self.clients:
            client.hears_nothing()
        self.all_sockets_go()

    def all_sockets_go(self) -> None:
        """Cut everybody off and see that the broker lets go of them."""
        queues = list(self.broker.vhosts["/"].queues.values())
        for client in self.clients:
            client.loses_its_socket()
        assert self.broker.connections_open == 0
        assert not self.broker.vhosts["/"].router.reply_routes, "replies are awaited by nobody"
        for queue in queues:
            assert queue.consumers == [], f"{queue.name} has consumers of nobody"
            assert queue.unacknowledged == 0, f"{queue.name} has messages with nobody"
            assert queue.owner is None or queue.deleted, f"{queue.name} is of nobody"


def start_ok(
    *,
    mechanism: str = "PLAIN",
    response: str = "\0guest\0guest",
    capabilities: Iterable[str] = ALL_CAPABILITIES,
    name: str = "a test",
) -> commands.Connection.StartOk:
    """connection.start-ok of a client with those capabilities."""
    return commands.Connection.StartOk(
        client_properties={
            "product": "playbook",
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
    """What basic.get fetches."""
    return Content(Basic.GetOk(number, redelivered, exchange, key, left), body)


def returned(body: bytes, *, key: str, exchange: str = "") -> Content:
    """A mandatory message that reached no queue."""
    return Content(Basic.Return(312, "NO_ROUTE", exchange, key), body)

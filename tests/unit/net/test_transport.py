"""A transport with a fake socket: when it reads, when it pauses, and what it retains."""

import asyncio
import gc
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pamqp import commands, frame

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.limits import INPUT_SLICE_BYTES, OUTPUT_REPLIES_BYTES_MAX
from leveret.net.loop_scheduler import EARLY_ITERATIONS_MAX, LoopScheduler
from leveret.net.transport import AmqpTransport
from leveret.protocol.connections.passing_on import PassingOn
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.media.filesystem import FilesystemMedium
from tests.storage.owning import take
from tests.support.executors import StepExecutor
from tests.support.wire import PROTOCOL_HEADER, make_start_ok, marshal_content

HANDSHAKE = b"".join(
    [
        PROTOCOL_HEADER,
        frame.marshal(make_start_ok(), 0),
        frame.marshal(commands.Connection.TuneOk(2047, 131_072, 0), 0),
        frame.marshal(commands.Connection.Open("/"), 0),
        frame.marshal(commands.Channel.Open(), 1),
    ]
)


class Loop:
    """An event loop whose callbacks the test runs."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []
        self.now = 1.0

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def run(self) -> None:
        """Run callbacks until none is due."""
        while self._due:
            due, self._due = self._due, []
            for callback in due:
                callback()


class Socket:
    """A transport of asyncio whose peer reads nothing until `read`."""

    def __init__(self, protocol: AmqpTransport) -> None:
        self._protocol = protocol
        self._high = 0
        self.unread = b""
        self.reading = True
        self.closed = False
        self.ended = False
        """Whether the output was ended (end of file)."""
        self._paused = False
        self.ends: tuple[socket.socket, ...] = ()
        """The broker's and the peer's, for a test that asks the kernel about the connection."""

    def set_write_buffer_limits(self, high: int) -> None:
        self._high = high

    def get_extra_info(self, name: str) -> object:
        if name == "socket":
            return self.ends[0]
        return None if name == "ssl_object" else ("127.0.0.1", 40_000)

    def leave(self) -> None:
        """Close the connection as the peer: the kernel has received its end of file."""
        self.ends[1].shutdown(socket.SHUT_WR)

    def break_down(self) -> None:
        """Reset the connection."""
        self.ends[1].close()

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def write(self, data: bytes) -> None:
        self.unread += data
        if len(self.unread) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, parts: Iterable[bytes | memoryview]) -> None:
        self.write(b"".join(parts))

    def read(self) -> bytes:
        """Read as the peer: everything that was written."""
        data, self.unread = self.unread, b""
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()
        return data

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class NoTransports:
    """An owner that accepts every transport and retains none."""

    def add(self, transport: AmqpTransport) -> bool:
        return True

    def discard(self, transport: AmqpTransport) -> None:
        return None

    def pass_on(self, transport: AmqpTransport, passing_on: PassingOn) -> None:
        return None

    def passing_on_ended(self, passing_on: PassingOn) -> None:
        return None


class Client:
    """A connection to a broker in this process."""

    def __init__(self, broker: Broker, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
        scheduler = LoopScheduler(cast("asyncio.AbstractEventLoop", loop), broker)
        self._loop = loop
        self.transport = AmqpTransport(broker, scheduler, NoTransports(), lambda _count: None)
        self.socket = Socket(self.transport)
        self.transport.connection_made(cast("asyncio.Transport", self.socket))

    def send(self, data: bytes) -> None:
        self.transport.data_received(data)
        self._loop.run()


@pytest.fixture
def broker() -> Broker:
    return Broker(Config())


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def client(broker: Broker, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A connection with channel 1 open."""
    opened = Client(broker, loop, monkeypatch)
    opened.send(HANDSHAKE)
    opened.socket.read()
    return opened


@pytest.fixture
def known(client: Client) -> Iterator[Client]:
    """The connection, of which the kernel knows."""
    client.socket.ends = socket.socketpair()
    yield client
    for end in client.socket.ends:
        end.close()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Without the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def declare(queue: str = "q") -> bytes:
    return frame.marshal(commands.Queue.Declare(queue=queue), 1)


def publish(body: bytes) -> bytes:
    return marshal_content(commands.Basic.Publish(routing_key="q"), 1, body)


def test_the_socket_is_not_read_while_input_is_buffered(
    client: Client,
) -> None:
    client.send(declare())
    client.transport.data_received(publish(b"." * 100) * (INPUT_SLICE_BYTES // 100))
    reading_meanwhile = client.socket.reading
    client.send(declare())

    assert not reading_meanwhile
    assert client.socket.reading


def test_large_bodies_leave_while_they_are_read_and_others_get_their_turn(
    client: Client, loop: Loop
) -> None:
    consume = frame.marshal(commands.Basic.Consume(queue="q", no_ack=True), 1)
    client.send(declare() + consume)
    client.socket.read()
    octets = publish(b"." * 100_000) * 60
    received = b""
    polls = 0
    for at in range(0, len(octets), 250_000):
        while not client.socket.reading:
            polls += 1
            loop.run()
            received += client.socket.read()
        client.transport.data_received(octets[at : at + 250_000])
        received += client.socket.read()
    chunks = len(octets) // 250_000
    assert polls >= chunks // (EARLY_ITERATIONS_MAX + 1)
    loop.run()
    received += client.socket.read()
    assert received.count(b"." * 100_000) == 60


def test_requests_are_not_read_for_long_while_replies_are_not_read(
    client: Client,
) -> None:
    client.send(declare() + publish(b"." * 200_000) * 20)
    client.socket.read()
    get = frame.marshal(commands.Basic.Get(queue="q", no_ack=True), 1)
    sent = 0
    while client.socket.reading and sent < 20:
        client.send(get)
        sent += 1

    assert sent < 20
    assert OUTPUT_REPLIES_BYTES_MAX < len(client.socket.unread) < 2 * OUTPUT_REPLIES_BYTES_MAX

    client.socket.read()
    client._loop.run()
    assert client.socket.reading


def test_a_publisher_that_reads_no_deliveries_is_still_read(
    client: Client,
) -> None:
    consume = frame.marshal(commands.Basic.Consume(queue="q", no_ack=True), 1)
    client.send(declare() + consume)
    for _ in range(30):
        client.send(publish(b"." * 100_000))
        assert client.socket.reading

    assert len(client.socket.unread) < OUTPUT_REPLIES_BYTES_MAX
    received = b""
    while client.socket.unread:
        received += client.socket.read()
        client._loop.run()
    assert len(received) > 30 * 100_000


def test_a_blocked_publisher_is_read_again_when_it_is_closed(
    client: Client, broker: Broker
) -> None:
    broker.set_alarm("low on memory")
    client.send(declare() + publish(b"."))
    blocked = not client.socket.reading

    client.transport.force_close("bye")
    client._loop.run()
    assert blocked
    assert client.socket.reading
    client.send(frame.marshal(commands.Connection.CloseOk(), 0))

    assert client.socket.ended


def test_a_silent_client_is_closed_by_an_operator_though_that_takes_several_slices(
    client: Client, broker: Broker, loop: Loop
) -> None:
    client.send(declare() + frame.marshal(commands.Basic.Consume(queue="q"), 1))
    client.socket.read()
    (opened,) = broker.connections.all()
    broker.time_slice.begin(0)
    opened.close("by an operator")
    assert client.transport.connection.is_working()

    loop.run()
    _, _, close = frame.unmarshal(client.socket.read())
    assert isinstance(close, commands.Connection.Close)
    assert close.reply_text == "CONNECTION_FORCED - by an operator"
    client.send(frame.marshal(commands.Connection.CloseOk(), 0))
    assert client.socket.ended


@pytest.mark.parametrize("published", [False, True])
def test_a_gone_client_of_an_alarm_is_found_though_it_is_not_read(
    known: Client, broker: Broker, published: bool
) -> None:
    known.send(declare())
    broker.set_alarm("low on memory")
    known.transport.alarm_changed()
    if published:
        known.send(publish(b"."))
    known.transport.tick(2.0)
    assert not known.socket.closed

    known.socket.leave()
    known.transport.tick(2.5)
    # The event loop reads the others, and finds them itself.
    assert known.socket.closed == published


def test_who_published_before_an_alarm_is_read_until_it_publishes(
    client: Client, broker: Broker
) -> None:
    client.send(declare() + publish(b"."))
    broker.set_alarm("low on memory")
    client.transport.alarm_changed()
    client.send(declare())
    read = client.socket.reading

    client.send(publish(b"."))
    assert read
    assert not client.socket.reading


def test_who_was_not_told_of_an_alarm_yet_is_read_until_it_publishes(
    client: Client, broker: Broker
) -> None:
    client.send(declare() + publish(b"."))
    broker.set_alarm("low on memory")
    client.send(declare())
    read = client.socket.reading

    client.send(publish(b"."))
    client.transport.alarm_changed()
    assert read
    assert not client.socket.reading


def test_the_first_message_that_is_published_in_an_alarm_waits_for_its_end(
    client: Client, broker: Broker, loop: Loop
) -> None:
    client.send(declare() + frame.marshal(commands.Confirm.Select(), 1))
    broker.set_alarm("low on memory")
    client.transport.alarm_changed()
    client.send(declare() * 300 + publish(b".") + declare())
    loop.run()
    (queue,) = broker.vhosts["/"].queues.values()
    states = [(client.socket.reading, queue.message_count())]

    broker.set_alarm("")
    client.transport.alarm_changed()
    loop.run()
    states.append((client.socket.reading, queue.message_count()))
    assert states == [(False, 0), (True, 1)]


def test_who_was_not_told_of_the_end_of_an_alarm_is_not_blocked_by_the_next_one(
    client: Client, broker: Broker
) -> None:
    broker.set_alarm("low on memory")
    client.send(publish(b"."))
    read = [client.socket.reading]

    broker.set_alarm("")
    broker.set_alarm("low on disk")
    client.transport.alarm_changed()
    client._loop.run()
    read.append(client.socket.reading)

    client.send(publish(b"."))
    read.append(client.socket.reading)
    assert read == [False, True, False]


def test_a_body_that_goes_on_in_an_alarm_is_not_read_to_its_end(
    client: Client, broker: Broker
) -> None:
    header, *bodies = publish(b"." * 1_000_000).split(b"\xce\x03")
    client.send(header)
    broker.set_alarm("low on memory")
    client.transport.alarm_changed()
    client.send(b"\xce\x03" + bodies[0] + b"\xce")

    assert len(bodies) > 1
    assert not client.socket.reading


def test_a_lost_connection_is_freed_without_the_garbage_collector(
    broker: Broker, loop: Loop, monkeypatch: pytest.MonkeyPatch, no_collector: None
) -> None:
    """Objects of long connections are in the oldest generation, which is rarely collected."""
    client: Any = Client(broker, loop, monkeypatch)
    client.send(HANDSHAKE)
    consume = commands.Basic.Consume(queue="q", consumer_tag="tag")
    client.send(declare() + frame.marshal(consume, 1) + frame.marshal(commands.Confirm.Select(), 1))
    client.send(publish(b"." * 1_000) * 10)
    # Confirms and deliveries that are never flushed.
    client.transport.data_received(publish(b"."))

    client.socket.closed = True
    client.transport.connection_lost(None)
    loop.run()
    client.socket._protocol = None
    client = None

    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    left = [found for found in gc.garbage if type(found).__module__.startswith("leveret")]
    gc.set_debug(0)
    gc.garbage.clear()
    assert not left


@pytest.fixture
def disk(broker: Broker, tmp_path: Path) -> Iterator[StepExecutor]:
    """The broker's writing executor; request it before a client."""
    medium = FilesystemMedium(tmp_path)
    take(medium)
    disk = StepExecutor()
    broker.open_store(medium, disk, InlineExecutor(), lambda error: None)
    disk.run()
    yield disk
    disk.run()
    medium.close()


DURABLE = frame.marshal(commands.Queue.Declare(queue="durable", durable=True), 1)
CLOSE = frame.marshal(commands.Connection.Close(200, "bye", 0, 0), 0)


def test_a_closing_connection_ends_after_the_replies_that_wait_for_the_store(
    disk: StepExecutor, client: Client, loop: Loop
) -> None:
    client.send(DURABLE + CLOSE)
    early = client.socket.read()

    disk.run()
    loop.run()
    replies = client.socket.read()
    declare_ok = frame.marshal(commands.Queue.DeclareOk("durable", 0, 0), 1)
    assert early == b""
    assert replies == declare_ok + frame.marshal(commands.Connection.CloseOk(), 0)


def test_a_client_is_not_read_while_many_replies_wait_for_the_store(
    disk: StepExecutor, client: Client, loop: Loop
) -> None:
    mandatory = commands.Basic.Publish(routing_key="nowhere", mandatory=True)
    returned = marshal_content(mandatory, 1, b"." * 100_000)
    client.send(DURABLE)
    for _ in range(20):
        if client.socket.reading:
            client.send(returned)
    stopped = not client.socket.reading

    disk.run()
    loop.run()
    replies = client.socket.read()
    loop.run()
    assert stopped
    assert len(replies) > OUTPUT_REPLIES_BYTES_MAX
    assert client.socket.reading


def test_a_gone_client_is_found_while_its_replies_wait_for_the_store(
    disk: StepExecutor, known: Client
) -> None:
    hold_replies(known)
    known.socket.leave()
    known.transport.tick(1.5)
    found_at_once = known.socket.closed
    known.transport.tick(2.0)

    assert (found_at_once, known.socket.closed) == (False, True)


def test_a_broken_connection_is_found_at_once_though_it_is_not_read(
    disk: StepExecutor, known: Client
) -> None:
    hold_replies(known)
    known.socket.break_down()
    known.transport.tick(1.5)

    assert known.socket.closed


def hold_replies(client: Client) -> None:
    """Have so many replies wait for the store that the client is not read."""
    mandatory = commands.Basic.Publish(routing_key="nowhere", mandatory=True)
    client.send(DURABLE)
    while client.socket.reading:
        client.send(marshal_content(mandatory, 1, b"." * 100_000))


@pytest.mark.parametrize("is_read", [False, True])
def test_a_client_whose_socket_is_not_read_is_not_taken_for_dead(
    broker: Broker, loop: Loop, monkeypatch: pytest.MonkeyPatch, is_read: bool
) -> None:
    client = Client(broker, loop, monkeypatch)
    client.socket.ends = socket.socketpair()
    no_heartbeat, heartbeat = (
        frame.marshal(commands.Connection.TuneOk(2047, 131_072, each), 0) for each in (0, 1)
    )
    client.send(HANDSHAKE.replace(no_heartbeat, heartbeat))
    # The loop does not run, so that nothing of it is processed.
    client.transport.data_received(publish(b".") * (1 if is_read else INPUT_SLICE_BYTES))
    for tick in range(10):
        client.transport.tick(2.0 + tick / 2)

    assert client.socket.reading is is_read
    assert client.transport.connection.finished is is_read
    for end in client.socket.ends:
        end.close()

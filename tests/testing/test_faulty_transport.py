"""Connections that fail on order, as a client on a bare socket sees them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Confirm, Connection, Queue
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from leveret.config import Amqp, Config, Memory
from leveret.engine.broker import Broker
from leveret.engine.values.counters import TrafficCounters
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import OUTPUT_HIGH_WATER_BYTES
from leveret.net.server import AmqpServer
from leveret.testing.fault_orders import (
    Direction,
    DropConnection,
    FaultOrders,
    Refusal,
    RefuseConnections,
)
from leveret.testing.faulty_transport import FaultyConnections, FaultyTransport
from tests.support.brokers import wait_until
from tests.support.wire import (
    PROTOCOL_HEADER,
    ClosedByServerError,
    Wire,
    connect,
    make_start_ok,
)

HOST = "127.0.0.1"
LONG_S = 3600.0
"""A delay that no test waits for."""

ResultT = TypeVar("ResultT")


class Served:
    """A broker in a thread, whose sockets fail on order."""

    def __init__(self) -> None:
        self.orders = FaultOrders()
        self.connections = FaultyConnections(self.orders)
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._serve()])
        self._thread.start()
        assert self._ready.wait(60)

    async def _serve(self) -> None:
        config = Config(amqp=Amqp(listen=(f"{HOST}:0",)), memory=Memory(limit="90%"))
        server = AmqpServer(Broker(config), config, None, 100, self.connections.transport)
        await server.start()
        ((_, address),) = server.listeners()
        self.port = address.port
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        await server.stop("")

    def run(self, call: Callable[[], ResultT]) -> ResultT:
        """Call something in the event loop of the broker."""

        async def run() -> ResultT:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def refuse(self, how: Refusal, count: int = 1) -> None:
        self.run(lambda: self.orders.add(RefuseConnections(how, count)))

    def drop_open(self, after_frames: int, direction: Direction = "received") -> None:
        """Have the only open connection dropped."""

        def order() -> None:
            (transport,) = self.connections.open
            drop = DropConnection("drop", after_frames, direction)
            self.orders.add(drop)
            transport.drop(drop)

        self.run(order)

    def delay(self, seconds: float) -> None:
        self.run(lambda: self.connections.set_delay(seconds))

    def pending(self) -> list[str]:
        return self.run(lambda: [str(each) for each in self.orders.pending()])

    def only(self) -> FaultyTransport:
        (transport,) = self.connections.open
        return transport

    def traffic(self) -> TrafficCounters:
        return self.only().connection.session.traffic

    def connect(self) -> Wire:
        return connect(HOST, self.port)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.stop()


def works(served: Served) -> bool:
    """Whether a new connection gets back what it publishes."""
    with served.connect() as wire:
        wire.call(Queue.Declare(queue="works"), Queue.DeclareOk)
        publish(wire, "works", b"sound")
        wire.call(Basic.Get(queue="works"), Basic.GetOk)
        wire.read_one(ContentHeader)
        return wire.read_one(ContentBody).value == b"sound"


def begin(served: Served) -> None:
    """Connect, and read what the broker says first."""
    with Wire(HOST, served.port) as wire:
        wire.send_bytes(PROTOCOL_HEADER)
        wire.read_one(Connection.Start)


def publish(wire: Wire, queue: str, *bodies: bytes) -> None:
    for body in bodies:
        wire.send_content(Basic.Publish(routing_key=queue), 1, body)


class TestRefusals:
    def test_as_many_sockets_as_ordered_are_reset(self, served: Served) -> None:
        served.refuse("reset", 2)
        for left in (["refuse a connection: reset"], []):
            # The reset may come before connect has returned.
            with pytest.raises((ClosedByServerError, ConnectionResetError)):
                begin(served)
            assert served.pending() == left
        assert works(served)

    def test_a_login_is_refused_as_one_with_a_wrong_password(self, served: Served) -> None:
        served.refuse("login")
        with Wire(HOST, served.port) as wire:
            wire.send_bytes(PROTOCOL_HEADER)
            wire.read_one(Connection.Start)
            close = wire.call(make_start_ok(), Connection.Close, 0)
            assert (close.reply_code, close.class_id, close.method_id) == (403, 0, 0)
            assert close.reply_text == (
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                "For details see the broker logfile."
            )
            wire.send(Connection.CloseOk())
            assert wire.read_until_closed() == b""
        assert served.pending() == []
        assert works(served)

    def test_a_client_that_does_not_know_refusals_has_its_socket_closed(
        self, served: Served
    ) -> None:
        served.refuse("login")
        with Wire(HOST, served.port) as wire:
            wire.send_bytes(PROTOCOL_HEADER)
            wire.read_one(Connection.Start)
            wire.send(make_start_ok(capabilities={}))
            assert wire.read_until_closed() == b""

    @pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
    def test_the_limit_of_connections_is_reached(self, served: Served, cut: bool) -> None:
        served.refuse("limit")
        with Wire(HOST, served.port) as wire:
            wire.send_bytes(PROTOCOL_HEADER)
            wire.read_one(Connection.Start)
            tune = wire.call(make_start_ok(), Connection.Tune, 0)
            wire.send(Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
            octets = frame.marshal(Connection.Open("/"), 0)
            if cut:
                wire.send_bytes(octets[:9])
                wait_until(lambda: served.traffic().recv_oct == wire.bytes_sent)
                octets = octets[9:]
            wire.send_bytes(octets)
            close = wire.read_one(Connection.Close)
            assert (close.reply_code, close.class_id, close.method_id) == (530, 10, 40)
            assert close.reply_text.startswith(
                "NOT_ALLOWED - connection refused: node connection limit ("
            )
            wire.send(Connection.CloseOk())
            assert wire.read_until_closed() == b""
        assert works(served)

    def test_one_that_only_looks_whether_the_port_is_open_is_not_a_login(
        self, served: Served
    ) -> None:
        served.refuse("login")
        begin(served)
        assert served.pending() == ["refuse a connection: login"]


class TestDropsAfterReceivedFrames:
    def test_exactly_so_many_frames_are_processed_however_many_come(self, served: Served) -> None:
        with served.connect() as wire:
            wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
            wire.call(Confirm.Select(), Confirm.SelectOk)
            served.drop_open(6)
            with wire.at_once():
                publish(wire, "q", b"1", b"2", b"3", b"4")
            assert wire.read_one(Basic.Ack).delivery_tag == 2
            assert wire.read_until_closed() == b""
        assert served.pending() == []
        with served.connect() as wire:
            declared = wire.call(Queue.Declare(queue="q", passive=True), Queue.DeclareOk)
            assert declared.message_count == 2

    def test_frames_may_come_in_any_pieces_and_heartbeats_do_not_count(
        self, served: Served
    ) -> None:
        with served.connect() as wire:
            wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
            served.drop_open(4)
            with wire.at_once():
                publish(wire, "q", b"1")
                wire.send(Heartbeat())
            transport = served.only()
            wire.send(Queue.Purge(queue="q"), 1)
            wire.send(Queue.Delete(queue="q"), 1)
            assert wire.read_one(Queue.PurgeOk).message_count == 1
            assert wire.read_until_closed() == b""
            wait_until(lambda: transport not in served.connections.open)
        with served.connect() as wire:
            wire.call(Queue.Declare(queue="q", passive=True), Queue.DeclareOk)

    def test_at_once(self, served: Served) -> None:
        with served.connect() as wire:
            served.drop_open(0)
            assert wire.read_until_closed() == b""
        assert works(served)

    def test_the_next_connection_counts_from_its_first_frame(self, served: Served) -> None:
        with served.connect() as before:
            drop = DropConnection("drop", 2, "received")
            drop.unassigned = 1
            served.run(lambda: served.orders.add(drop))
            with Wire(HOST, served.port) as wire:
                wire.send_bytes(PROTOCOL_HEADER)
                wire.read_one(Connection.Start)
                tune = wire.call(make_start_ok(), Connection.Tune, 0)
                wire.send(Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
                assert wire.read_until_closed() == b""
            before.call(Queue.Declare(queue="q"), Queue.DeclareOk)
        assert works(served)

    def test_one_that_does_not_happen_stays_pending(self, served: Served) -> None:
        with served.connect() as wire:
            served.drop_open(3)
            wire.call(Connection.Close(200, "bye", 0, 0), Connection.CloseOk, 0)
        wait_until(lambda: not served.connections.open)
        assert served.pending() == ["drop"]

    def test_one_that_is_taken_back_does_not_happen(self, served: Served) -> None:
        with served.connect() as wire:
            served.drop_open(1)
            served.run(served.connections.clear)
            wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
            wire.call(Queue.Delete(queue="q"), Queue.DeleteOk)
        assert served.pending() == []


class TestDropsAfterSentFrames:
    def test_nothing_comes_after_so_many_frames(self, served: Served) -> None:
        with served.connect() as wire:
            wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
            publish(wire, "q", b"1", b"2", b"3")
            served.drop_open(5, "sent")
            wire.call(Basic.Consume(queue="q"), Basic.ConsumeOk)
            wire.read_one(Basic.Deliver)
            wire.read_one(ContentHeader)
            assert wire.read_one(ContentBody).value == b"1"
            wire.read_one(Basic.Deliver)
            assert wire.read_until_closed() == b""
        wait_until(lambda: not served.connections.open)
        with served.connect() as wire:
            declared = wire.call(Queue.Declare(queue="q", passive=True), Queue.DeclareOk)
            assert declared.message_count == 3


class TestDelay:
    def test_what_is_sent_waits_until_the_delay_is_switched_off_in_order(
        self, served: Served
    ) -> None:
        with served.connect() as wire:
            served.delay(LONG_S)
            for name in ("a", "b"):
                wire.send(Queue.Declare(queue=name), 1)
            wait_until(lambda: served.traffic().pending() > 0)
            served.delay(0)
            for name in ("a", "b"):
                assert wire.read_one(Queue.DeclareOk).queue == name
            wire.call(Queue.Declare(queue="c"), Queue.DeclareOk)

    def test_what_is_sent_comes_when_its_time_has_come(self, served: Served) -> None:
        served.delay(0.05)
        with served.connect() as wire:
            for name in ("a", "b", "c"):
                wire.call(Queue.Declare(queue=name), Queue.DeclareOk)

    def test_what_is_late_is_bounded_and_all_of_it_comes(self, served: Served) -> None:
        count, body = 64, bytes(OUTPUT_HIGH_WATER_BYTES // 8)
        with served.connect() as wire:
            wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
            publish(wire, "q", *[body] * count)
            served.delay(LONG_S)
            wire.send(Basic.Consume(queue="q", no_ack=True), 1)
            wait_until(lambda: served.traffic().pending() > OUTPUT_HIGH_WATER_BYTES)
            assert served.traffic().pending() < 4 * OUTPUT_HIGH_WATER_BYTES
            served.delay(0)
            wire.read_one(Basic.ConsumeOk)
            for _ in range(count):
                wire.read_one(Basic.Deliver)
                size = wire.read_one(ContentHeader).body_size
                while size:
                    size -= len(wire.read_one(ContentBody).value)

    def test_a_connection_that_is_closed_meanwhile_gets_what_is_late(self, served: Served) -> None:
        with served.connect() as wire:
            served.delay(0.05)
            wire.send(Queue.Declare(queue="q"), 1)
            wire.send(Connection.Close(200, "bye", 0, 0))
            wire.read_one(Queue.DeclareOk)
            wire.read_one(Connection.CloseOk)
        wait_until(lambda: not served.connections.open)


class TestChannels:
    def test_a_channel_is_closed_with_an_error_and_the_connection_goes_on(
        self, served: Served
    ) -> None:
        error = AmqpError(ReplyCode.PRECONDITION_FAILED, "as ordered")
        with served.connect() as wire:
            transport = served.only()
            assert served.run(lambda: transport.close_channel(1, error))
            close = wire.read_one(commands.Channel.Close)
            assert (close.reply_code, close.reply_text) == (
                406,
                "PRECONDITION_FAILED - as ordered",
            )
            assert not served.run(lambda: transport.close_channel(1, error))
            wire.send(commands.Channel.CloseOk(), 1)
            wire.open_channel()
            wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)

"""Storms and churn: clients come and go in great number, and nothing of them stays."""

import resource
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from pamqp import commands, frame

from tests.clients.peers import MEGABYTE, Peers, descriptors, resident_bytes, sockets
from tests.support.brokers import Broker, Leveret, wait_until
from tests.support.wire import PROTOCOL_HEADER, READ_TIMEOUT_S, make_start_ok

STORM = 300
STOP_MAX_S = 30.0
"""How long a stop may take: three seconds are the clients' to answer in, the rest is for a machine
that is busy."""

ROUNDS = 1_000
GROWTH_MAX = 2 * MEGABYTE
"""How much memory may grow by so many rounds of the same: 2 KiB for each."""

TIMES_MAX = 5
"""How often the rounds are done: a leak grows every time, what an allocator needs
more of does not."""


@pytest.fixture
def broker() -> Iterator[Leveret]:
    """A broker of each test's own, whose memory and descriptors are looked at."""
    with Leveret() as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Broker) -> Iterator[Peers]:
    """Connections to it."""
    with Peers(broker) as opened:
        yield opened


def come_and_go(broker: Broker, rounds: int) -> None:
    """Log in, open a channel, declare an exclusive queue, consume from it, and drop the socket."""
    script = b"".join(
        [
            PROTOCOL_HEADER,
            frame.marshal(make_start_ok(), 0),
            frame.marshal(commands.Connection.TuneOk(2047, 131_072, 60), 0),
            frame.marshal(commands.Connection.Open("/"), 0),
            frame.marshal(commands.Channel.Open(), 1),
            frame.marshal(commands.Queue.Declare(exclusive=True), 1),
            frame.marshal(commands.Basic.Consume(consumer_tag="last"), 1),
        ]
    )
    consuming = frame.marshal(commands.Basic.ConsumeOk("last"), 1)
    for _ in range(rounds):
        with socket.create_connection((broker.host, broker.port), READ_TIMEOUT_S) as client:
            client.sendall(script)
            received = b""
            while consuming not in received:
                data = client.recv(65_536)
                assert data, received
                received += data


def assert_memory_stays(broker: Broker, rounds: Callable[[int], None]) -> None:
    """Do rounds of the same until memory does not grow by them."""
    growths: list[int] = []
    while not growths or growths[-1] > GROWTH_MAX:
        assert len(growths) < TIMES_MAX, growths
        before = resident_bytes(broker)
        rounds(ROUNDS)
        growths.append(resident_bytes(broker) - before)


def test_a_storm_of_connections_is_served_and_leaves_no_sockets(
    peers: Peers, broker: Leveret
) -> None:
    before = sockets(broker)
    storm = [peers.connect() for _ in range(STORM)]
    # All at once, step by step: none waits for another.
    for peer in storm:
        peer.send_bytes(PROTOCOL_HEADER)
    for peer in storm:
        peer.read_one(commands.Connection.Start)
        peer.send(make_start_ok())
    for peer in storm:
        peer.read_one(commands.Connection.Tune)
        peer.send(commands.Connection.TuneOk(2047, 131_072, 0))
        peer.send(commands.Connection.Open("/"))
    for peer in storm:
        peer.read_one(commands.Connection.OpenOk)
        peer.open_channel()
        peer.declare("storm")
    assert sockets(broker) == before + STORM

    for peer in storm:
        peer.close_socket()
    wait_until(lambda: sockets(broker) == before, what="all sockets closed")


def test_connections_that_come_and_go_leave_nothing(peers: Peers, broker: Leveret) -> None:
    before = sockets(broker)

    assert_memory_stays(broker, lambda count: come_and_go(broker, count))

    wait_until(lambda: sockets(broker) == before, what="all sockets closed")
    assert "Traceback" not in broker.log_text()


def test_channels_consumers_and_queues_that_come_and_go_leave_nothing(
    peers: Peers, broker: Leveret, name: str
) -> None:
    peer = peers.log_in()
    peer.declare(name)

    def rounds(count: int) -> None:
        for number in range(count):
            peer.open_channel(2)
            peer.send(commands.Basic.Consume(queue=name, consumer_tag="tag", nowait=True), 2)
            queue = f"{name}-{number}"
            peer.send(commands.Queue.Declare(queue=queue, exclusive=True, nowait=True), 2)
            peer.send(commands.Queue.Bind(queue=queue, exchange="amq.topic", nowait=True), 2)
            peer.send(commands.Queue.Delete(queue=queue, nowait=True), 2)
            peer.call(commands.Channel.Close(200, "", 0, 0), commands.Channel.CloseOk, 2)

    assert_memory_stays(broker, rounds)
    declare = commands.Queue.Declare(queue=name, passive=True)
    assert peer.call(declare, commands.Queue.DeclareOk).consumer_count == 0


def test_the_broker_out_of_descriptors_keeps_who_it_has_and_takes_others_later(
    peers: Peers, broker: Leveret
) -> None:
    declaring = peers.log_in()
    declaring.declare("durable")
    limit = descriptors(broker) + 10
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (limit, limit))

    refused = [peers.connect() for _ in range(30)]
    wait_until(lambda: sum(peer.is_closed() for peer in refused) >= 15, what="some being refused")
    assert declaring.count("durable") == 0
    for peer in refused:
        peer.close_socket()
    wait_until(lambda: descriptors(broker) < limit - 5, what="descriptors closed")

    peers.log_in().declare("durable")
    assert "Traceback" not in broker.log_text()


def test_a_stop_is_quick_whatever_the_peers_do(peers: Peers, broker: Leveret) -> None:
    idle = [peers.log_in() for _ in range(50)]
    silent = [peers.connect() for _ in range(50)]
    stuck = peers.log_in()
    stuck.declare("stuck")
    stuck.consume("stuck")
    for _ in range(100):
        idle[0].publish("stuck", b"." * 100_000)
    idle[0].count("stuck")

    start = time.monotonic()

    assert broker.stop() == 0
    assert time.monotonic() - start < STOP_MAX_S
    assert silent[0].is_closed()
    assert idle[1].read_close() is not None

"""A broker that runs out of file descriptors serves on, and refuses what it has none for."""

import resource
from collections.abc import Iterator

import pytest
from pamqp import commands, heartbeat

from tests.clients.peers import Peer, Peers
from tests.support.brokers import Leveret, wait_until
from tests.support.wire import ClosedByServerError

DESCRIPTORS = 400
"""Most of them are reserved for the store."""

PERSISTENT = commands.Basic.Properties(delivery_mode=2)
SHORT = "no file descriptor is free"
REFUSED = "connection refused: too many sockets"


@pytest.fixture
def broker() -> Iterator[Leveret]:
    """A broker that may have few descriptors."""
    with Leveret(descriptors=DESCRIPTORS) as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Leveret) -> Iterator[Peers]:
    with Peers(broker) as opened:
        yield opened


def accepts(peers: Peers) -> bool:
    """Whether a new connection can log in."""
    try:
        peers.log_in()
    except ClosedByServerError:
        return False
    return True


def publish_durably(peer: Peer, queue: str) -> None:
    """Publish a persistent message, and wait for its confirm."""
    method = commands.Basic.Publish(routing_key=queue)
    peer.send_content(method, 1, b"kept", PERSISTENT)
    peer.read_one(commands.Basic.Ack)


def test_connections_leave_the_store_its_descriptors(
    peers: Peers, broker: Leveret, name: str
) -> None:
    peer = peers.log_in()
    peer.call(commands.Queue.Declare(queue=name, durable=True), commands.Queue.DeclareOk)
    peer.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
    idle = [peers.connect() for _ in range(DESCRIPTORS)]
    wait_until(lambda: idle[-1].is_closed(), what="the last connection being refused")

    publish_durably(peer, name)

    assert broker.log_text().count(REFUSED) >= 1
    assert "disk full" not in broker.log_text()
    for each in idle:
        each.close_socket()
    wait_until(lambda: accepts(peers), what="a connection being accepted again")


def test_what_comes_back_twice_a_second_comes_back_without_a_descriptor() -> None:
    # In memory, because a store that had to open a file meanwhile would rightly fail.
    with Leveret("--memory") as broker, Peers(broker) as peers:
        peer = peers.log_in(heartbeat=6)
        before = resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (0, before[1]))

        # It comes after six ticks, and nothing but ticks sends it.
        peer.read_one(heartbeat.Heartbeat)
        wait_until(lambda: SHORT in broker.log_text(), what="a log line")

        resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, before)
        peers.log_in()
        assert "internal error" not in broker.log_text()

"""Who does not get on with the handshake is cut after a while, and nobody else."""

import contextlib
from collections.abc import Iterator

import pytest
from pamqp import commands, heartbeat

from tests.clients.peers import Peer, Peers, log_lines
from tests.support.brokers import Leveret, wait_until
from tests.support.wire import PROTOCOL_HEADER, ClosedByServerError

TIMEOUT_S = 1.0
"""A machine that stands still for so long has any client cut: no test depends on who is quicker."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    """A broker that waits for nobody."""
    with Leveret(env={"LEVERET_AMQP_HANDSHAKE_TIMEOUT": str(TIMEOUT_S)}) as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Leveret) -> Iterator[Peers]:
    """Connections to it."""
    with Peers(broker) as opened:
        yield opened


def test_who_does_not_get_on_with_the_handshake_is_cut(peers: Peers, broker: Leveret) -> None:
    said = [b"", b"AMQP", PROTOCOL_HEADER, PROTOCOL_HEADER + b"\x01\0\0"]
    stuck = [peers.connect() for _ in said]
    for peer, octets in zip(stuck, said, strict=True):
        with contextlib.suppress(ClosedByServerError):
            peer.send_bytes(octets)

    for peer, octets in zip(stuck, said, strict=True):
        assert peer.read_until_closed().count(b"\xce") <= octets.count(PROTOCOL_HEADER)
        assert "handshake timeout" in log_lines(broker, peer.log_field)[0]


def test_a_heartbeat_does_not_prolong_the_handshake(peers: Peers, broker: Leveret) -> None:
    peer = peers.connect()
    with contextlib.suppress(ClosedByServerError):
        peer.send_bytes(PROTOCOL_HEADER)
        peer.read_one(commands.Connection.Start)

    def is_cut() -> bool:
        if not peer.is_closed():
            with contextlib.suppress(ClosedByServerError):
                peer.send(heartbeat.Heartbeat())
        return peer.is_closed()

    wait_until(is_cut, what="the connection being cut")
    assert len(log_lines(broker, peer.log_field)) == 1


def test_an_open_connection_outlives_the_handshake_timeout(peers: Peers, name: str) -> None:
    opened: list[Peer] = []

    def logs_in() -> bool:
        with contextlib.suppress(ClosedByServerError):
            opened.append(peers.log_in())
        return bool(opened)

    wait_until(logs_in, what="a login within the timeout")
    # Who connected later is cut, so the timeout is over for both.
    peers.connect().read_until_closed()

    opened[0].declare(name)

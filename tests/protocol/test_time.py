"""Heartbeats and deadlines, with a clock that the test sets."""

import pytest
from pamqp.commands import Channel, Connection, Queue

from leveret.config import Amqp, Config
from leveret.errors import ReplyCode
from leveret.limits import CLOSE_TIMEOUT_S
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, start_ok


def heartbeats_heard(client: Client, start: float, seconds: float) -> list[float]:
    """When the client receives a heartbeat, while the connection is ticked twice a second."""
    received = []
    for tick in range(1, int(seconds * 2) + 1):
        client.advance_to(start + tick / 2)
        arrived = client.receive_all()
        assert arrived in ([], [(0, "heartbeat")])
        received.extend([client.now] * len(arrived))
        client.feed(wire.HEARTBEAT)
    return received


@pytest.mark.parametrize("heartbeat", [1, 10, 60])
def test_a_quiet_broker_sends_a_heartbeat_every_half_interval(
    harness: Harness, heartbeat: int
) -> None:
    client = harness.open_client(1, heartbeat=heartbeat)
    client.advance_to(1.0)
    received = heartbeats_heard(client, 1.0, 10 * heartbeat)
    pauses = [later - sooner for sooner, later in zip([1.0, *received], received, strict=False)]
    assert len(pauses) >= 9
    assert max(pauses) <= heartbeat / 2 + 0.5, "half an interval, and the clock's half second"
    assert min(pauses) >= heartbeat / 2


def test_whatever_is_sent_counts_as_a_heartbeat(harness: Harness) -> None:
    client = harness.open_client(1, heartbeat=10)
    client.advance_to(1.0)
    client.advance_to(5.0)
    client.declare(1, "q")
    client.advance_to(9.0)
    client.advance_to(13.9)
    client.expect_nothing()
    client.advance_to(14.0)
    client.expect(0, "heartbeat")


def test_a_client_that_is_silent_for_two_intervals_is_cut_off(harness: Harness) -> None:
    client = harness.open_client(1, heartbeat=10)
    client.advance_to(1.0)
    client.advance_to(21.0)
    client.expect(0, "heartbeat")
    client.advance_to(21.1)
    client.expect_socket_closed()
    assert len(harness.broker.connections) == 0
    assert client.log.of("missed heartbeats from client") == {"timeout": "10s"}


@pytest.mark.parametrize("kept_alive_by", ["heartbeat", "method", "half a frame"])
def test_whatever_comes_keeps_the_connection(harness: Harness, kept_alive_by: str) -> None:
    client = harness.open_client(1, heartbeat=10)
    declare = wire.method_frames(1, Queue.Declare(queue="q", passive=False))
    for step in range(1, 9):
        client.advance_to(step * 15.0)
        client.receive_all()
        if kept_alive_by == "heartbeat":
            client.feed(wire.HEARTBEAT)
        elif kept_alive_by == "method":
            client.feed(declare)
        else:
            client.feed(declare[step - 1 : step])
    assert not client.connection.finished
    client.receive_all()


def test_without_a_heartbeat_silence_is_no_matter(harness: Harness) -> None:
    client = harness.open_client(1, heartbeat=0)
    client.advance_to(1.0)
    client.advance_to(1_000_000.0)
    client.expect_nothing()
    client.declare(1, "q")


def test_a_blocked_client_is_not_taken_for_dead(harness: Harness) -> None:
    """It is not read, so what it sends cannot be received."""
    client = harness.open_client(1, heartbeat=10)
    client.advance_to(1.0)
    client.connection.block("low on memory")
    client.expect(0, Connection.Blocked("low on memory"))
    for now in (20.0, 40.0, 60.0):
        client.advance_to(now)
        client.receive_all()
    assert not client.connection.finished
    client.connection.unblock()
    client.expect(0, Connection.Unblocked())
    client.advance_to(80.0)
    client.receive_all()
    assert not client.connection.finished
    client.advance_to(80.1)
    client.expect_socket_closed()


def steps_of_a_handshake() -> list[bytes]:
    return [
        wire.PROTOCOL_HEADER,
        wire.method_frames(0, start_ok()),
        wire.method_frames(0, Connection.TuneOk(2047, 131_072, 60)),
    ]


@pytest.mark.parametrize("steps", range(4))
def test_who_does_not_get_through_the_handshake_in_time_is_cut_off(
    harness: Harness, steps: int
) -> None:
    client = harness.connect(now=100.0)
    for step in steps_of_a_handshake()[:steps]:
        client.feed(step)
        client.receive_all()
    client.advance_to(109.9)
    client.feed(wire.HEARTBEAT if steps else b"A")
    assert not client.connection.finished
    client.advance_to(110.0)
    client.expect_socket_closed()
    assert "handshake timeout" in [event for event, _ in client.log.events]


def test_the_time_for_the_handshake_is_configured() -> None:
    harness = Harness(Config(amqp=Amqp(handshake_timeout=0.5)))
    client = harness.connect(now=7.0)
    client.advance_to(7.4)
    assert not client.connection.finished
    client.advance_to(7.5)
    client.expect_socket_closed()
    harness.close()


def test_once_open_there_is_no_deadline(alice: Client) -> None:
    alice.advance_to(1000.0)
    alice.declare(1, "q")


@pytest.mark.parametrize("talks", [False, True])
def test_who_does_not_answer_a_close_is_cut_off_after_a_while(alice: Client, talks: bool) -> None:
    alice.advance_to(50.0)
    alice.send(1, Channel.Flow(False))
    alice.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "active=false", Channel.Flow)
    alice.advance_to(50.0 + CLOSE_TIMEOUT_S - 0.1)
    if talks:
        alice.send(1, Queue.Declare(queue="q"))
    assert not alice.connection.finished
    alice.advance_to(50.0 + CLOSE_TIMEOUT_S)
    alice.expect_socket_closed()


def test_time_passes_a_closed_connection_by(alice: Client) -> None:
    alice.send(0, Connection.Close(200, "", 0, 0))
    alice.expect(0, Connection.CloseOk())
    alice.advance_to(1000.0)
    alice.expect_socket_closed()

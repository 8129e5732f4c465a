"""Heartbeats and deadlines, with a clock that the test turns."""

import pytest
from pamqp.commands import Channel, Connection, Queue

from leveret.config import Amqp, Config
from leveret.errors import ReplyCode
from leveret.limits import CLOSE_TIMEOUT_S
from tests.protocol import wire
from tests.protocol.playbook import Client, Play, start_ok


def heartbeats_heard(client: Client, start: float, seconds: float) -> list[float]:
    """When the client hears a heartbeat while the clock ticks on, twice a second."""
    heard = []
    for tick in range(1, int(seconds * 2) + 1):
        client.passes(start + tick / 2)
        came = client.hears_all()
        assert came in ([], [(0, "heartbeat")])
        heard.extend([client.now] * len(came))
        client.feeds(wire.HEARTBEAT)
    return heard


@pytest.mark.parametrize("heartbeat", [1, 10, 60])
def test_a_quiet_broker_sends_a_heartbeat_every_half_interval(play: Play, heartbeat: int) -> None:
    client = play.opens(1, heartbeat=heartbeat)
    client.passes(1.0)
    heard = heartbeats_heard(client, 1.0, 10 * heartbeat)
    pauses = [later - sooner for sooner, later in zip([1.0, *heard], heard, strict=False)]
    assert len(pauses) >= 9
    assert max(pauses) <= heartbeat / 2 + 0.5, "half an interval, and the clock's half second"
    assert min(pauses) >= heartbeat / 2


def test_whatever_is_sent_counts_as_a_heartbeat(play: Play) -> None:
    client = play.opens(1, heartbeat=10)
    client.passes(1.0)
    client.passes(5.0)
    client.declares(1, "q")
    client.passes(9.0)
    client.passes(13.9)
    client.hears_nothing()
    client.passes(14.0)
    client.hears(0, "heartbeat")


def test_a_client_that_is_silent_for_two_intervals_is_cut_off(play: Play) -> None:
    client = play.opens(1, heartbeat=10)
    client.passes(1.0)
    client.passes(21.0)
    client.hears(0, "heartbeat")
    client.passes(21.1)
    client.is_cut_off()
    assert play.broker.connections_open == 0
    assert client.log.of("missed heartbeats from client") == {"timeout": "10s"}


@pytest.mark.parametrize("kept_alive_by", ["heartbeat", "method", "half a frame"])
def test_whatever_comes_keeps_the_connection(play: Play, kept_alive_by: str) -> None:
    client = play.opens(1, heartbeat=10)
    declare = wire.says(1, Queue.Declare(queue="q", passive=False))
    for step in range(1, 9):
        client.passes(step * 15.0)
        client.hears_all()
        if kept_alive_by == "heartbeat":
            client.feeds(wire.HEARTBEAT)
        elif kept_alive_by == "method":
            client.feeds(declare)
        else:
            client.feeds(declare[step - 1 : step])
    assert not client.connection.finished
    client.hears_all()


def test_without_a_heartbeat_silence_is_no_matter(play: Play) -> None:
    client = play.opens(1, heartbeat=0)
    client.passes(1.0)
    client.passes(1_000_000.0)
    client.hears_nothing()
    client.declares(1, "q")


def test_a_blocked_client_is_not_taken_for_dead(play: Play) -> None:
    """It is not read, so what it sends cannot be heard."""
    client = play.opens(1, heartbeat=10)
    client.passes(1.0)
    client.connection.block("low on memory")
    client.hears(0, Connection.Blocked("low on memory"))
    for now in (20.0, 40.0, 60.0):
        client.passes(now)
        client.hears_all()
    assert not client.connection.finished
    client.connection.unblock()
    client.hears(0, Connection.Unblocked())
    client.passes(80.0)
    client.hears_all()
    assert not client.connection.finished
    client.passes(80.1)
    client.is_cut_off()


def steps_of_a_handshake() -> list[bytes]:
    return [
        wire.PROTOCOL_HEADER,
        wire.says(0, start_ok()),
        wire.says(0, Connection.TuneOk(2047, 131_072, 60)),
    ]


@pytest.mark.parametrize("steps", range(4))
def test_who_does_not_get_through_the_handshake_in_time_is_cut_off(play: Play, steps: int) -> None:
    client = play.dials(now=100.0)
    for step in steps_of_a_handshake()[:steps]:
        client.feeds(step)
        client.hears_all()
    client.passes(109.9)
    client.feeds(wire.HEARTBEAT if steps else b"A")
    assert not client.connection.finished
    client.passes(110.0)
    client.is_cut_off()
    assert "handshake timeout" in [event for event, _ in client.log.events]


def test_the_time_for_the_handshake_is_configured() -> None:
    play = Play(Config(amqp=Amqp(handshake_timeout=0.5)))
    client = play.dials(now=7.0)
    client.passes(7.4)
    assert not client.connection.finished
    client.passes(7.5)
    client.is_cut_off()
    play.ends()


def test_once_open_there_is_no_deadline(alice: Client) -> None:
    alice.passes(1000.0)
    alice.declares(1, "q")


@pytest.mark.parametrize("talks", [False, True])
def test_who_does_not_answer_a_close_is_cut_off_after_a_while(alice: Client, talks: bool) -> None:
    alice.passes(50.0)
    alice.says(1, Channel.Flow(False))
    alice.is_refused(0, ReplyCode.NOT_IMPLEMENTED, "active=false", Channel.Flow)
    alice.passes(50.0 + CLOSE_TIMEOUT_S - 0.1)
    if talks:
        alice.says(1, Queue.Declare(queue="q"))
    assert not alice.connection.finished
    alice.passes(50.0 + CLOSE_TIMEOUT_S)
    alice.is_cut_off()


def test_time_passes_a_closed_connection_by(alice: Client) -> None:
    alice.says(0, Connection.Close(200, "", 0, 0))
    alice.hears(0, Connection.CloseOk())
    alice.passes(1000.0)
    alice.is_cut_off()

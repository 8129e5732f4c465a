"""One saturating client does not starve another: what the other asks for comes promptly."""

import time
from collections.abc import Callable, Iterator

import pytest
from pamqp import commands

from tests.clients.peers import Peer, Peers, Sending
from tests.support.brokers import Broker, Leveret
from tests.support.wire import marshal_content

ROUNDS = 200
P99_MAX_S = 0.1
"""Far above what it takes (a few milliseconds, on a busy machine too), and far below what it takes
a starved client: as long as the saturating one goes on."""

FLOOD = 600_000
"""Messages of the saturating client, more than it can publish while the other is measured."""


@pytest.fixture
def broker() -> Iterator[Leveret]:
    """A broker of each test's own: the flood is gone with it."""
    with Leveret() as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Broker) -> Iterator[Peers]:
    """Connections to it."""
    with Peers(broker) as opened:
        yield opened


def saturate(peer: Peer, queue: str, body: bytes, count: int) -> Sending:
    """Publish as fast as the broker reads."""
    message = marshal_content(commands.Basic.Publish(routing_key=queue), 1, body)
    pieces = (message * 100 for _ in range(count // 100))
    return Sending(peer, pieces)


def latencies_s(ask: Callable[[], object]) -> list[float]:
    """How long each of ROUNDS questions took, shortest first."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - start)
    return sorted(taken)


@pytest.mark.parametrize("size", [16, 4_096])
def test_requests_are_answered_promptly_beside_a_saturating_publisher(
    peers: Peers, name: str, size: int
) -> None:
    asking, publisher = peers.log_in(), peers.log_in()
    asking.declare(name)
    flood = saturate(publisher, name, b"." * size, FLOOD if size < 1_000 else 60_000)

    taken = latencies_s(lambda: asking.count(name))

    assert flood.is_alive()
    print(f"p50 {taken[ROUNDS // 2] * 1000:.2f} ms, p99 {taken[-ROUNDS // 100] * 1000:.2f} ms")
    assert taken[-ROUNDS // 100] < P99_MAX_S


def test_messages_pass_promptly_beside_a_saturating_publisher(peers: Peers, name: str) -> None:
    playing, publisher = peers.log_in(), peers.log_in()
    playing.declare(name)
    playing.declare(f"{name}-flood")
    playing.consume(name)
    saturate(publisher, f"{name}-flood", b"." * 16, FLOOD)

    def ping() -> None:
        playing.publish(name, b"ping")
        assert playing.read_content() == b"ping"

    taken = latencies_s(ping)

    print(f"p50 {taken[ROUNDS // 2] * 1000:.2f} ms, p99 {taken[-ROUNDS // 100] * 1000:.2f} ms")
    assert taken[-ROUNDS // 100] < P99_MAX_S


def test_messages_pass_promptly_beside_ten_saturating_publishers(peers: Peers, name: str) -> None:
    playing = peers.log_in()
    playing.declare(name)
    playing.declare(f"{name}-flood")
    playing.consume(name)
    for _ in range(10):
        saturate(peers.log_in(), f"{name}-flood", b"." * 256, FLOOD // 10)

    def ping() -> None:
        playing.publish(name, b"ping")
        assert playing.read_content() == b"ping"

    assert latencies_s(ping)[-ROUNDS // 100] < P99_MAX_S


def test_a_login_is_prompt_beside_a_saturating_publisher(peers: Peers, name: str) -> None:
    publisher = peers.log_in()
    publisher.declare(name)
    saturate(publisher, name, b"." * 16, FLOOD)

    assert latencies_s(peers.log_in)[-ROUNDS // 100] < P99_MAX_S

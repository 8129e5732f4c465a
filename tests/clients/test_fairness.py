"""One saturating client does not starve another: what the other asks for comes promptly."""

import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from pamqp import commands

from tests.clients.peers import Peer, Peers, Sending
from tests.support.brokers import Broker, Leveret
from tests.support.wire import marshal_content

ROUNDS = 200
P99_MAX_S = 0.2
"""Far above what it takes (a few milliseconds, on a busy machine too), and far below what it takes
a starved client: as long as the saturating one goes on."""

ROUNDS_MIN = 50
"""Questions that have to be answered while the flood goes on, for the figure to say anything."""

FLOOD = 2_000_000
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


def p99_s(ask: Callable[[], object], floods: Sequence[Sending]) -> float:
    """How long all but the slowest of up to ROUNDS questions took, asked while the floods go on."""
    taken: list[float] = []
    while len(taken) < ROUNDS and all(flood.is_alive() for flood in floods):
        start = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - start)
    assert len(taken) >= ROUNDS_MIN, "the flood was over too soon"
    taken.sort()
    p99 = taken[-1 - len(taken) // 100]
    print(
        f"{len(taken)} asked: p50 {taken[len(taken) // 2] * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms"
    )
    return p99


@pytest.mark.parametrize("size", [16, 4_096])
def test_requests_are_answered_promptly_beside_a_saturating_publisher(
    peers: Peers, name: str, size: int
) -> None:
    asking, publisher = peers.log_in(), peers.log_in()
    asking.declare(name)
    flood = saturate(publisher, name, b"." * size, FLOOD if size < 1_000 else 100_000)

    assert p99_s(lambda: asking.count(name), [flood]) < P99_MAX_S


def test_messages_pass_promptly_beside_a_saturating_publisher(peers: Peers, name: str) -> None:
    playing, publisher = peers.log_in(), peers.log_in()
    playing.declare(name)
    playing.declare(f"{name}-flood")
    playing.consume(name)
    flood = saturate(publisher, f"{name}-flood", b"." * 16, FLOOD)

    def ping() -> None:
        playing.publish(name, b"ping")
        assert playing.read_content() == b"ping"

    assert p99_s(ping, [flood]) < P99_MAX_S


def test_messages_pass_promptly_beside_ten_saturating_publishers(peers: Peers, name: str) -> None:
    playing = peers.log_in()
    playing.declare(name)
    playing.declare(f"{name}-flood")
    playing.consume(name)
    floods = [saturate(peers.log_in(), f"{name}-flood", b"." * 256, FLOOD // 20) for _ in range(10)]

    def ping() -> None:
        playing.publish(name, b"ping")
        assert playing.read_content() == b"ping"

    assert p99_s(ping, floods) < P99_MAX_S


def test_a_login_is_prompt_beside_a_saturating_publisher(peers: Peers, name: str) -> None:
    publisher = peers.log_in()
    publisher.declare(name)
    flood = saturate(publisher, name, b"." * 16, FLOOD)

    assert p99_s(peers.log_in, [flood]) < P99_MAX_S

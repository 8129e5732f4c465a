"""One saturating client does not starve another: what the other asks for comes promptly.

How promptly is measured in what the broker reads of the flood meanwhile, which is the same on any
machine; how long it took is printed.
"""

import time
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest
from pamqp import commands

from tests.clients.peers import MEGABYTE, Peer, Peers, Sending
from tests.support.brokers import Broker, Leveret, wait_until
from tests.support.wire import marshal_content

pytestmark = pytest.mark.alone

ROUNDS = 100
"""Questions, all of which have to be answered while the flood goes on."""

BESIDE_MAX_BYTES = 8 * MEGABYTE
"""What the broker may read of the flood between a question and its answer: far more than it does. A
starved client would wait as long as the flood goes on."""


@pytest.fixture
def broker() -> Iterator[Leveret]:
    """A broker of each test's own: the flood ends with it."""
    with Leveret() as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Broker) -> Iterator[Peers]:
    """Connections to it, for which the kernel keeps no more than so much."""
    with Peers(broker, buffer_bytes=MEGABYTE) as opened:
        yield opened


class Flood(Sending):
    """Publishes as fast as the broker reads, without end."""

    def __init__(self, peer: Peer, queue: str, size: int) -> None:
        self.peer = peer
        publish = commands.Basic.Publish(routing_key=queue)
        super().__init__(peer, repeat(marshal_content(publish, 1, b"." * size) * 100))


def bytes_beside(ask: Callable[[], object], *floods: Flood) -> int:
    """What the broker reads of the floods between a question and its answer: the most, but for a
    quarter of the questions. Where other processes want the cores, an answer waits for this one to
    read it while the flood goes on, and the broker cannot help it."""
    latencies: list[float] = []
    beside: list[int] = []

    def sent() -> int:
        return sum(flood.peer.bytes_sent for flood in floods)

    wait_until(lambda: all(flood.sent for flood in floods), what="the flood")
    for _ in range(ROUNDS):
        start, before = time.perf_counter(), sent()
        ask()
        beside.append(sent() - before)
        latencies.append(time.perf_counter() - start)
    assert all(flood.is_alive() for flood in floods)
    latencies.sort()
    beside.sort()
    print(f"p50 {latencies[ROUNDS // 2] * 1000:.2f} ms, p99 {latencies[-2] * 1000:.2f} ms")
    print(f"p50 {beside[ROUNDS // 2]} bytes, p99 {beside[-2]} bytes of the flood beside it")
    return beside[ROUNDS * 3 // 4]


@pytest.mark.parametrize("size", [16, 4_096])
def test_requests_are_answered_promptly_beside_a_saturating_publisher(
    peers: Peers, name: str, size: int
) -> None:
    asking, publisher = peers.log_in(), peers.log_in()
    asking.declare(name)
    flood = Flood(publisher, name, size)

    assert bytes_beside(lambda: asking.count(name), flood) < BESIDE_MAX_BYTES


def test_messages_pass_promptly_beside_a_saturating_publisher(peers: Peers, name: str) -> None:
    playing, publisher = peers.log_in(), peers.log_in()
    playing.declare(name)
    playing.declare(f"{name}-flood")
    playing.consume(name)
    flood = Flood(publisher, f"{name}-flood", 16)

    def ping() -> None:
        playing.publish(name, b"ping")
        assert playing.read_content() == b"ping"

    assert bytes_beside(ping, flood) < BESIDE_MAX_BYTES


def test_messages_pass_promptly_beside_ten_saturating_publishers(peers: Peers, name: str) -> None:
    playing = peers.log_in()
    playing.declare(name)
    playing.declare(f"{name}-flood")
    playing.consume(name)
    floods = [Flood(peers.log_in(), f"{name}-flood", 256) for _ in range(10)]

    def ping() -> None:
        playing.publish(name, b"ping")
        assert playing.read_content() == b"ping"

    assert bytes_beside(ping, *floods) < BESIDE_MAX_BYTES


def test_a_login_is_prompt_beside_a_saturating_publisher(peers: Peers, name: str) -> None:
    publisher = peers.log_in()
    publisher.declare(name)
    flood = Flood(publisher, name, 16)

    assert bytes_beside(peers.log_in, flood) < BESIDE_MAX_BYTES

"""Peers that do not read: what they can cost is bounded, nobody else pays, and nothing is lost."""

from collections.abc import Iterator
from itertools import repeat

import pytest
from pamqp import commands, frame

from tests.clients.peers import (
    MEGABYTE,
    Numbered,
    Peer,
    Peers,
    Sender,
    Sending,
    Watch,
    resident_bytes,
)
from tests.support.brokers import Broker, Leveret, wait_until
from tests.support.wire import READ_TIMEOUT_S, marshal_content

COST_MAX = 24 * MEGABYTE
"""What a peer that does not read may cost: the buffers of its connection, and what the broker
needs to serve the others meanwhile."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    """A broker of these tests' own, whose memory is looked at."""
    with Leveret() as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Broker) -> Iterator[Peers]:
    """Connections to it, for which the kernel keeps little."""
    with Peers(broker, buffer_bytes=128 * 1024) as opened:
        yield opened


def test_a_consumer_that_does_not_read_gets_no_more_until_it_reads_on(
    peers: Peers, name: str
) -> None:
    count, size = 400, 64 * 1024
    stuck, publisher = peers.log_in(), peers.log_in()
    stuck.declare(name)
    stuck.consume(name)
    Sender(publisher, name, size, count).join(READ_TIMEOUT_S)

    # The kernel's buffers and the broker's hold a few of them for it.
    assert publisher.count(name) > count / 2

    arrived = [Numbered.number(stuck.read_content()) for _ in range(count)]
    assert arrived == list(range(count))
    assert publisher.delete(name) == 0


def test_a_consumer_that_does_not_read_costs_its_neighbours_nothing(
    peers: Peers, name: str
) -> None:
    count = 2_000
    stuck, working, publisher = peers.log_in(), peers.log_in(), peers.log_in()
    stuck.declare(name)
    stuck.consume(name, no_ack=True)
    flood = Sender(publisher, name, 64 * 1024, 200)
    flood.join(READ_TIMEOUT_S)
    wait_until(lambda: flood.sent == 200)

    # It shares the queue, and what it did not take goes to the other.
    working.consume(name)
    sender = Sender(publisher, name, 100, count)
    last = -1
    while last != count - 1:
        body = working.read_content()
        last = Numbered.number(body) if len(body) == 100 else last
    sender.join(READ_TIMEOUT_S)
    assert sender.error is None


@pytest.mark.parametrize("no_ack", [True, False])
def test_a_backlog_is_not_moved_into_the_buffers_of_a_consumer_that_does_not_read(
    peers: Peers, broker: Leveret, name: str, no_ack: bool
) -> None:
    # The kernel keeps some megabytes for each at the broker's end, and what is unacknowledged there
    # is in memory: for three it is far less than the backlog.
    consumers = [peers.log_in() for _ in range(3)]
    consumers[0].declare(name)
    sender = Sender(peers.log_in(), name, 16 * 1024, 2_000)
    sender.join(READ_TIMEOUT_S)
    wait_until(lambda: consumers[0].count(name) == 2_000)
    with Watch(lambda: resident_bytes(broker)) as memory:
        before = memory.most
        for consumer in consumers:
            consumer.consume(name, no_ack=no_ack)
        # Each got what it takes at once: the answer comes behind it.
        for consumer in consumers:
            consumer.send(commands.Basic.Qos(), 1)
        peers.log_in().count(name)
    assert memory.most < before + COST_MAX
    peers.log_in().delete(name)


LONG_NAME = "q" * 255
ASKED_BYTES_MAX = 128 * MEGABYTE
"""Who asks and is stopped by nothing asks for so much, which no buffer takes."""


def request_of(kind: str) -> bytes:
    """A request with an answer that is as large, or larger."""
    if kind == "get":
        return frame.marshal(commands.Basic.Get(queue=LONG_NAME, no_ack=True), 1)
    if kind == "declare":
        return frame.marshal(commands.Queue.Declare(queue=LONG_NAME, passive=True), 1)
    publish = commands.Basic.Publish(routing_key="nowhere", mandatory=True)
    return marshal_content(publish, 1, b"." * 100_000)


def count_answers(peer: Peer) -> int:
    """Read what was asked for up to the answer of a request that came last, basic.qos."""
    count = 0
    while not isinstance(answer := peer.read().frame, commands.Basic.QosOk):
        count += 1
        if isinstance(answer, commands.Basic.GetOk | commands.Basic.Return):
            peer.read_body()
    return count


@pytest.mark.parametrize("kind", ["get", "declare", "return"])
@pytest.mark.parametrize("at_once", [1, 200])
def test_who_asks_and_does_not_read_the_answers_waits_until_it_does(
    peers: Peers, broker: Leveret, kind: str, at_once: int
) -> None:
    asking, bystander = peers.log_in(), peers.log_in()
    bystander.declare(LONG_NAME)
    request, ready = request_of(kind) * at_once, 600 if kind == "get" else 0
    Sender(peers.log_in(), LONG_NAME, 100_000, ready).settle()
    wait_until(lambda: bystander.count(LONG_NAME) == ready)
    with Watch(lambda: resident_bytes(broker)) as memory:
        before = memory.most
        sending = Sending(asking, repeat(request, ASKED_BYTES_MAX // len(request)))
        sending.settle()
        assert bystander.count(LONG_NAME) >= ready / 2

    assert sending.is_alive()
    assert memory.most < before + COST_MAX

    sending.finish(frame.marshal(commands.Basic.Qos(), 1))
    answers = count_answers(asking)
    sending.join()
    assert answers == sending.sent * at_once
    bystander.delete(LONG_NAME)


def test_who_publishes_without_reading_what_it_consumes_is_read_on(peers: Peers, name: str) -> None:
    both = peers.log_in()
    both.declare(name)
    both.consume(name)
    count, size = 300, 100_000

    # All of it before the first delivery is read: far more than the kernel's buffers take.
    sender = Sender(both, name, size, count)
    sender.join(READ_TIMEOUT_S)
    assert sender.sent == count

    arrived = [Numbered.number(both.read_content()) for _ in range(count)]
    assert arrived == list(range(count))

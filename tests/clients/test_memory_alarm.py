"""The memory alarm: publishers wait above the limit, consumers drain on, nothing is lost.

The broker keeps everything in memory: one with a directory puts the middle of a long queue there,
and it takes other things than a queue to fill its memory.
"""

import re
from collections.abc import Callable, Iterator

import pytest
from pamqp import commands, heartbeat

from tests.clients.peers import (
    MEGABYTE,
    Numbered,
    Peer,
    Peers,
    Sender,
    Watch,
    log_lines,
    resident_bytes,
)
from tests.support.brokers import Leveret, wait_until
from tests.support.wire import BODY, READ_TIMEOUT_S, marshal_content, raw_frame, raw_header

HEADROOM = 24 * MEGABYTE
"""Memory the broker of these tests may take beyond what it takes idle: more than the share of the
limit that one connection may hold."""

OVERSHOOT_MAX = 64 * MEGABYTE
"""Beyond the limit: what is received between two looks at the memory, and what it takes in memory,
which for messages of a few bytes is several times as much."""

MARGIN = 2 * MEGABYTE
"""Memory above the limit that no alarm ends with by itself: a broker that does nothing gave back
0.4 MB."""

LARGE = 256 * 1024
SMALL = 400
BLOCKED = "connection.blocked"
HEARTBEATS = b"\x08\0\0\0\0\0\0\xce" * 1_000


@pytest.fixture(scope="module")
def limit() -> int:
    """A limit a little above what an idle broker takes."""
    with Leveret("--memory") as idle, Peers(idle) as peers:
        peers.log_in()
        return resident_bytes(idle) + HEADROOM


@pytest.fixture
def broker(limit: int) -> Iterator[Leveret]:
    """A broker that may take little memory."""
    with Leveret("--memory", env={"LEVERET_MEMORY_LIMIT": str(limit)}) as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Leveret) -> Iterator[Peers]:
    """Connections to it, for which the kernel keeps little."""
    with Peers(broker, buffer_bytes=128 * 1024) as opened:
        yield opened


def raise_alarm(peers: Peers, queue: str, size: int = LARGE) -> Peer:
    """Fill a queue until the alarm is on, and the publisher blocked; the publisher.

    The alarm stays on: queues are declared until more memory is taken than the broker happens to
    give back.
    """
    publisher = peers.log_in(BLOCKED)
    publisher.declare(queue)
    message = marshal_content(commands.Basic.Publish(routing_key=queue), 1, b"." * size)
    publisher.fill(message, 1024 * MEGABYTE, publisher.has_answer)
    assert publisher.read_one(commands.Connection.Blocked).reason == "low on memory"
    told = re.search(r"memory_limit_bytes=(\d+)", peers.broker.log_text())
    assert told
    declarer = peers.log_in()
    number = 0
    while resident_bytes(peers.broker) < int(told[1]) + MARGIN:
        with declarer.at_once():
            for _ in range(100):
                number += 1
                more = f"{queue}-more-{number}"
                declarer.send(commands.Queue.Declare(queue=more, nowait=True), 1)
        declarer.count(queue)
    return publisher


def drain(consumer: Peer, queue: str) -> None:
    """Empty a queue."""
    consumer.call(commands.Queue.Purge(queue=queue), commands.Queue.PurgeOk)


@pytest.mark.parametrize(("size", "count"), [(LARGE, 400), (SMALL, 120_000)])
def test_a_publisher_waits_while_memory_is_low_and_every_message_arrives_once_in_order(
    peers: Peers, broker: Leveret, limit: int, name: str, size: int, count: int
) -> None:
    publisher = peers.log_in(BLOCKED)
    publisher.declare(name)
    with Watch(lambda: resident_bytes(broker)) as memory:
        sender = Sender(publisher, name, size, count)
        assert publisher.read_one(commands.Connection.Blocked).reason == "low on memory"
        consumer = peers.log_in(BLOCKED)
        consumer.consume(name)
        arrived = [Numbered.number(consumer.read_content()) for _ in range(count)]
        sender.join(READ_TIMEOUT_S)

    assert arrived == list(range(count))
    assert not sender.is_alive()
    assert memory.most < limit + OVERSHOOT_MAX
    publisher.read_one(commands.Connection.Unblocked)
    wait_until(lambda: resident_bytes(broker) < limit, what="memory below the limit again")


def test_a_blocked_publisher_is_not_read(peers: Peers, name: str) -> None:
    publisher = raise_alarm(peers, name)
    bystander = peers.log_in()
    queued = bystander.count(name)

    assert publisher.fill(HEARTBEATS, 64 * MEGABYTE) < 64 * MEGABYTE
    assert bystander.count(name) == queued


@pytest.mark.parametrize("size", [LARGE, SMALL, 0])
def test_the_alarm_clears_over_an_empty_queue(peers: Peers, name: str, size: int) -> None:
    publisher = raise_alarm(peers, name, size)

    drain(peers.log_in(), name)

    publisher.read_one(commands.Connection.Unblocked)


def test_publishing_goes_on_after_every_alarm(peers: Peers, name: str) -> None:
    publisher = peers.log_in(BLOCKED)
    publisher.declare(name)
    purger = peers.log_in()
    sender = Sender(publisher, name, LARGE, 600)

    for _ in range(3):
        publisher.read_one(commands.Connection.Blocked)
        drain(purger, name)
        publisher.read_one(commands.Connection.Unblocked)

    drain(purger, name)
    wait_until(lambda: sender.sent == 600 or purger.count(name) > 0)


def test_a_client_without_the_capability_is_blocked_and_told_nothing(
    peers: Peers, broker: Leveret, name: str
) -> None:
    publisher = peers.log_in()
    publisher.declare(name)
    message = marshal_content(commands.Basic.Publish(routing_key=name), 1, b"." * LARGE)
    sent = publisher.fill(message, 256 * MEGABYTE, lambda: bool(log_lines(broker, "alarm")))
    assert sent < 256 * MEGABYTE

    drain(peers.log_in(), name)

    publisher.send_bytes(message[sent % len(message) :])
    # Were the first frame now connection.blocked or unblocked, this would find it.
    assert publisher.count(name) > 0
    lines = log_lines(broker, publisher.log_field)
    told = ("connection opened", "connection blocked", "connection unblocked")
    assert [sum(event in line for line in lines) for event in told] == [1, 1, 1]


def test_who_only_consumes_is_never_blocked(peers: Peers, broker: Leveret, name: str) -> None:
    consumer = peers.log_in(BLOCKED)
    consumer.declare(name)
    raise_alarm(peers, name)

    consumer.call(commands.Basic.Qos(prefetch_count=1), commands.Basic.QosOk)
    consumer.consume(name, no_ack=False)
    for tag in range(1, 21):
        assert consumer.read_content()
        consumer.send(commands.Basic.Ack(tag), 1)

    assert not [line for line in log_lines(broker, consumer.log_field) if "blocked" in line]


def test_who_published_before_the_alarm_may_acknowledge_declare_and_close(
    peers: Peers, broker: Leveret, name: str
) -> None:
    worker = peers.log_in(BLOCKED)
    worker.declare(f"{name}-2")
    for number in range(20):
        worker.publish(f"{name}-2", b"%d" % number)
    worker.call(commands.Basic.Qos(prefetch_count=10), commands.Basic.QosOk)
    worker.consume(f"{name}-2", no_ack=False)
    first = [worker.read_content() for _ in range(10)]
    raise_alarm(peers, name)

    worker.send(commands.Basic.Ack(10, multiple=True), 1)
    second = [worker.read_content() for _ in range(10)]
    worker.declare(f"{name}-3")
    worker.call(commands.Connection.Close(200, "", 0, 0), commands.Connection.CloseOk, 0)

    assert first + second == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize("leave", [Peer.close_socket, Peer.reset])
def test_what_a_blocked_client_used_is_free_once_it_is_gone(
    peers: Peers, name: str, leave: Callable[[Peer], None]
) -> None:
    single = commands.Queue.Declare(queue=f"{name}-2", arguments={"x-single-active-consumer": True})
    blocked = peers.log_in(BLOCKED)
    blocked.call(single, commands.Queue.DeclareOk)
    blocked.publish(f"{name}-2", b"unacknowledged")
    blocked.consume(f"{name}-2", no_ack=False)
    assert blocked.read_content()
    raise_alarm(peers, name)
    blocked.publish(name, b"in the alarm")
    blocked.read_one(commands.Connection.Blocked)
    waiting = peers.log_in()
    waiting.consume(f"{name}-2", no_ack=False)

    leave(blocked)

    assert waiting.read_content() == b"unacknowledged"


def test_a_new_publisher_is_blocked_as_it_begins_to_publish(peers: Peers, name: str) -> None:
    raise_alarm(peers, name)
    late = peers.log_in(BLOCKED)
    late.declare(f"{name}-2")

    late.send(commands.Basic.Publish(routing_key=f"{name}-2"), 1)

    assert late.read_one(commands.Connection.Blocked).reason == "low on memory"
    drain(peers.log_in(), name)
    late.read_one(commands.Connection.Unblocked)


def test_heartbeats_go_on_while_a_publisher_is_blocked(peers: Peers, name: str) -> None:
    raise_alarm(peers, name)
    publisher = peers.log_in(BLOCKED, heartbeat=2)
    publisher.publish(name, b"one more")
    arrived = publisher.read().frame
    while isinstance(arrived, heartbeat.Heartbeat):
        arrived = publisher.read().frame
    assert isinstance(arrived, commands.Connection.Blocked)

    # They come twice an interval at most: four take as long as a silent client is put up with.
    for _ in range(4):
        publisher.read_one(heartbeat.Heartbeat)

    drain(peers.log_in(), name)
    arrived = publisher.read().frame
    while isinstance(arrived, heartbeat.Heartbeat):
        arrived = publisher.read().frame
    assert isinstance(arrived, commands.Connection.Unblocked)


def test_the_log_says_when_the_alarm_begins_and_ends(
    peers: Peers, broker: Leveret, limit: int, name: str
) -> None:
    publisher = raise_alarm(peers, name)
    drain(peers.log_in(), name)
    publisher.read_one(commands.Connection.Unblocked)

    assert f"limit_bytes={limit}" in log_lines(broker, "alarm")[0]
    assert log_lines(broker, "cleared")


def test_who_holds_half_a_message_that_fills_the_memory_is_closed(
    peers: Peers, broker: Leveret, name: str
) -> None:
    holder = peers.log_in(BLOCKED)
    bystander = peers.log_in()
    bystander.declare(name)
    # The first half of a message of 120 MB.
    holder.send(commands.Basic.Publish(routing_key=name), 1)
    holder.send_bytes(raw_header(1, 60, 120 * MEGABYTE))
    holder.fill(raw_frame(BODY, 1, b"." * 100_000), 100 * MEGABYTE, holder.has_answer)

    close = holder.read_close()

    assert close is not None
    assert close.reply_code == 320
    assert "memory is low, and this connection holds" in close.reply_text
    lines = log_lines(broker, holder.log_field)
    assert any("share_bytes=" in line and "incomplete_bytes=" in line for line in lines)
    wait_until(lambda: bool(log_lines(broker, "cleared")), what="the end of the alarm")

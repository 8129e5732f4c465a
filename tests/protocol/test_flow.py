"""Slow consumers and fast publishers: others do not wait, memory is bounded, nothing is lost."""

from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Connection, Queue, Tx

from leveret.errors import ReplyCode
from leveret.limits import (
    OUTPUT_HIGH_WATER_BYTES,
    OUTPUT_REPLIES_BYTES_MAX,
    THROTTLED_BACKLOG_MESSAGES,
)
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.media.filesystem import FilesystemMedium
from tests.protocol import wire
from tests.protocol.harness import ALL_CAPABILITIES, Client, Harness
from tests.storage.owning import take

KILOBYTE = bytes(1024)
MESSAGE_BYTES = len(wire.publish(1, "q", KILOBYTE)) + 64
"""At most what one message of a kilobyte is on the wire."""


def bodies_heard(client: Client) -> list[bytes]:
    contents = [received for _, received in client.receive_all()]
    assert all(isinstance(received, wire.Content) for received in contents)
    return [received.body for received in contents if isinstance(received, wire.Content)]


def one_output(client: Client) -> list[bytes]:
    """The bodies of what the socket of a client takes at once."""
    session = client.connection.session
    received = [content for _, content in wire.decode(session.take_output())]
    session.resume_consumers()
    return [content.body for content in received if isinstance(content, wire.Content)]


def numbered(count: int, size: int = 1024) -> list[bytes]:
    return [b"%d" % number + bytes(size) for number in range(count)]


def _store_failed(error: StorageError) -> None:
    raise error


# --- consumers that do not read --------------------------------------------------------------


def test_a_consumer_that_does_not_read_is_delivered_a_bounded_amount(harness: Harness) -> None:
    slow, publisher = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    slow.consume(1, "q", "c", no_ack=True)
    slow.reads = False
    messages = numbered(1000)
    publisher.publish(1, "q", *messages)
    waiting = slow.connection.session.output_size()
    assert OUTPUT_HIGH_WATER_BYTES <= waiting < OUTPUT_HIGH_WATER_BYTES + 2 * MESSAGE_BYTES
    assert harness.queue("q").message_count() > 500
    slow.reads = True
    assert bodies_heard(slow) == messages


def test_others_go_on_while_one_does_not_read(harness: Harness) -> None:
    slow, quick, publisher = harness.open_client(1), harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    slow.consume(1, "q", "c", no_ack=True)
    quick.consume(1, "q", "c", no_ack=True)
    slow.reads = False
    messages = numbered(1000)
    received = []
    for message in messages:
        publisher.publish(1, "q", message)
        received += bodies_heard(quick)
    assert harness.queue("q").message_count() == 0
    assert len(received) > 700
    slow.reads = True
    assert sorted(received + bodies_heard(slow)) == sorted(messages)


def test_a_paused_session_is_delivered_nothing_until_it_is_let_on(harness: Harness) -> None:
    """`paused` is the transport's word for a socket that takes no more."""
    slow, publisher = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    slow.consume(1, "q", "c")
    slow.connection.session.write_paused = True
    publisher.publish(1, "q", b"1", b"2")
    slow.expect_nothing()
    slow.connection.session.resume_consumers()
    slow.expect_nothing()
    slow.connection.session.write_paused = False
    slow.connection.session.resume_consumers()
    slow.expect_delivery(1, "c", 1, b"1")
    slow.expect_delivery(1, "c", 2, b"2")


def test_a_consumer_held_up_for_both_reasons_goes_on_when_both_are_over(harness: Harness) -> None:
    slow, publisher = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    slow.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    slow.consume(1, "q", "c")
    publisher.publish(1, "q", b"1", b"2", b"3")
    slow.expect_delivery(1, "c", 1, b"1")
    slow.connection.session.write_paused = True
    slow.send(1, Basic.Ack(1))
    slow.expect_nothing()
    slow.connection.session.write_paused = False
    slow.connection.session.resume_consumers()
    slow.expect_delivery(1, "c", 2, b"2")
    slow.send(1, Basic.Ack(2))
    slow.expect_delivery(1, "c", 3, b"3")


def test_a_consumer_that_is_held_up_can_be_cancelled_or_lost(harness: Harness) -> None:
    slow, lost, publisher = harness.open_client(1), harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    for client in (slow, lost):
        client.consume(1, "q", "c")
        client.connection.session.write_paused = True
    publisher.publish(1, "q", b"1")
    slow.call(1, Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    lost.lose_socket()
    for client in (slow, lost):
        client.connection.session.write_paused = False
        assert client.connection.session.suspended == {}
        client.connection.session.resume_consumers()
    slow.expect_nothing()
    assert harness.queue("q").message_count() == 1


def test_a_consumer_whose_queue_goes_while_it_is_held_up_is_told(harness: Harness) -> None:
    slow, other = harness.open_client(1), harness.open_client(1)
    other.declare(1, "q")
    slow.consume(1, "q", "c")
    slow.connection.session.write_paused = True
    other.publish(1, "q", b"1")
    other.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    slow.expect(1, Basic.Cancel("c", True))
    assert slow.connection.session.suspended == {}


# --- requests whose answers are not read -----------------------------------------------------


def test_requests_wait_while_their_answers_are_not_taken(harness: Harness) -> None:
    client, publisher = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    size = 100_000
    messages = numbered(100, size)
    publisher.publish(1, "q", *messages)
    client.reads = False
    connection = client.connection
    requests = wire.method_frames(1, *[Basic.Get(queue="q", no_ack=True)] * 100)
    assert connection.feed(requests, 1_000_000), "there is more to work through"
    waiting = connection.session.output_size()
    assert OUTPUT_REPLIES_BYTES_MAX < waiting < OUTPUT_REPLIES_BYTES_MAX + 2 * size
    assert harness.queue("q").message_count() > 80
    client.reads = True
    received = bodies_heard(client)
    while connection.work(1_000_000):
        received += bodies_heard(client)
    assert received + bodies_heard(client) == messages


def test_requests_that_wait_may_be_followed_by_more(harness: Harness) -> None:
    client, publisher = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    messages = numbered(60, 100_000)
    publisher.publish(1, "q", *messages)
    client.reads = False
    connection = client.connection
    requests = wire.method_frames(1, *[Basic.Get(queue="q", no_ack=True)] * 30)
    assert connection.feed(requests + requests[:5], 1_000_000)
    assert connection.feed(requests[5:], 0)
    client.reads = True
    received = bodies_heard(client)
    while connection.work(1_000_000):
        received += bodies_heard(client)
    assert received + bodies_heard(client) == messages


def test_a_slice_is_about_as_large_as_was_asked_for(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    one = wire.publish(1, "q", b"x" * 100)
    connection = alice.connection
    more = connection.feed(one * 100, len(one) * 10)
    assert harness.queue("q").message_count() == 10
    rounds = 1
    while more:
        more = connection.work(len(one) * 10)
        rounds += 1
    assert rounds == 10
    assert harness.queue("q").message_count() == 100


def test_a_slice_holds_more_octets_of_large_bodies(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    one = wire.publish(1, "q", bytes(50_000))
    connection = alice.connection
    more = connection.feed(one * 100, 16_384)
    handled = [harness.queue("q").message_count()]
    while more:
        more = connection.work(16_384)
        handled.append(harness.queue("q").message_count() - sum(handled))
    assert sum(handled) == 100
    assert all(7 <= count <= 14 for count in handled[:-1])


# --- publishers ------------------------------------------------------------------------------


def test_a_publisher_is_held_while_consumers_work_on_a_long_backlog(harness: Harness) -> None:
    publisher, worker = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")

    def throttled() -> bool:
        was = publisher.connection.session.throttled_by is not None
        publisher.connection.session.throttled_by = None
        return was

    publisher.publish(1, "q", *[b"x"] * (THROTTLED_BACKLOG_MESSAGES + 10))
    assert not throttled(), "without consumers, throttling is of no use"
    worker.send(1, Basic.Get(queue="q", no_ack=True))
    worker.expect_content(1)
    publisher.publish(1, "q", b"x")
    assert throttled()
    harness.advance_clock(2)
    publisher.publish(1, "q", b"x")
    assert not throttled(), "no message has left since"


@pytest.mark.parametrize("size", [20_000, 100_000, 262_144, 1_048_576])
def test_large_messages_meet_their_consumer_in_memory(
    harness: Harness, tmp_path: Path, size: int
) -> None:
    """A publisher that outruns its consumer, whose socket takes an output now and then, is held
    until the messages were taken, and none goes to disk."""
    medium = FilesystemMedium(tmp_path)
    take(medium)
    harness.broker.open_store(medium, InlineExecutor(), InlineExecutor(), _store_failed)
    publisher, consumer = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    consumer.consume(1, "q", "c", no_ack=True)
    consumer.reads = False
    messages = numbered(30_000_000 // size, size)
    session = publisher.connection.session
    published, step = 0, 0
    received: list[bytes] = []
    while len(received) < len(messages):
        step += 1
        harness.advance_clock(1)
        for _ in range(4):
            if published < len(messages) and not session.is_throttled():
                publisher.publish(1, "q", messages[published])
                published += 1
        if step % 3 == 0:
            assert not [name for name in medium.list() if name.startswith("queue")]
            received += one_output(consumer)
        harness.broker.commit()
    assert received == messages
    medium.close()


def test_a_publisher_is_not_held_for_long_by_a_consumer_that_takes_nothing(
    harness: Harness,
) -> None:
    publisher, consumer = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    consumer.consume(1, "q", "c", no_ack=True)
    consumer.reads = False
    publisher.publish(1, "q", *numbered(20, 200_000))
    session = publisher.connection.session
    assert session.is_throttled()
    harness.advance_clock(100)
    assert not session.is_throttled()
    publisher.publish(1, "q", *numbered(20, 200_000))
    assert not session.is_throttled()


def test_a_publisher_that_receives_waits_but_once(harness: Harness, alice: Client) -> None:
    """What holds it may be a message that it has to acknowledge."""
    alice.declare(1, "q")
    alice.reads = False
    alice.feed(wire.method_frames(1, Basic.Consume(queue="q", no_ack=True)))
    alice.publish(1, "q", *numbered(20, 200_000))
    assert alice.connection.session.throttled_by is not None
    assert not alice.connection.session.is_throttled()


def test_a_blocked_publisher_is_told_why_and_when_it_is_over(alice: Client) -> None:
    alice.connection.block("low on memory")
    alice.expect(0, Connection.Blocked("low on memory"))
    assert alice.connection.blocked
    alice.connection.unblock()
    alice.expect(0, Connection.Unblocked())
    assert not alice.connection.blocked


def test_who_cannot_read_it_is_blocked_without_a_word(harness: Harness) -> None:
    names = [name for name in ALL_CAPABILITIES if name != "connection.blocked"]
    client = harness.open_client(1, capabilities=names)
    client.connection.block("low on memory")
    client.connection.unblock()
    client.expect_nothing()


@pytest.mark.parametrize("mode", ["plain", "confirms", "transaction"])
def test_only_who_publishes_concerns_an_alarm(harness: Harness, alice: Client, mode: str) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c", no_ack=True)
    sessions = [alice.connection.session]
    assert [session.has_published for session in sessions] == [False]
    if mode == "confirms":
        alice.call(1, Confirm.Select(), Confirm.SelectOk)
    elif mode == "transaction":
        alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "q", b"1")
    assert [session.has_published for session in sessions] == [True]
    alice.receive_all()


def test_consumers_of_a_blocked_connection_go_on(
    harness: Harness, alice: Client, bob: Client
) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c", no_ack=True)
    alice.connection.block("low on memory")
    alice.expect(0, Connection.Blocked("low on memory"))
    bob.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")


def test_a_refused_peer_that_does_not_read_holds_nothing(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c")
    alice.reads = False
    alice.feed(wire.frame(4, 1, b""))
    assert harness.queue("q").consumers == []
    assert len(harness.broker.connections) == 0
    alice.reads = True
    alice.expect_error(0, ReplyCode.FRAME_ERROR, "type 4, all octets = <<>>: unknown_frame")

"""Direct reply-to: replies without a queue, from a server to the requesting channel."""

from typing import Final

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Queue, Tx

from leveret.errors import ReplyCode
from leveret.limits import (
    MESSAGE_OVERHEAD_BYTES,
    OUTPUT_HIGH_WATER_BYTES,
    REPLIES_WAITING_BYTES_MAX,
)
from leveret.protocol.channels.direct_reply_to import ReplySink
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, delivery, returned
from tests.protocol.wire import Content

REPLY_TO: Final = "amq.rabbitmq.reply-to"
ASKING: Final = Basic.Properties(reply_to=REPLY_TO)


@pytest.fixture
def alice(alice: Client) -> Client:
    """A client that consumes replies, and has the queue `q` for requests."""
    alice.declare(1, "q")
    alice.consume(1, REPLY_TO, "replies", no_ack=True)
    return alice


def asks(requester: Client, server: Client, channel: int = 1) -> str:
    """Send a request to the server, and return the name for replies that it reads."""
    requester.publish(channel, "q", b"request", properties=ASKING)
    server.send(1, Basic.Get(queue="q", no_ack=True))
    request = server.expect_content(1)
    assert request.body == b"request"
    return request.properties.reply_to or ""


def reply(number: int, body: bytes, name: str) -> Content:
    """A reply, as the requester gets it."""
    return delivery("replies", number, body, key=name)


# --- asking and answering -----------------------------------------------------------------------


def test_a_reply_comes_from_another_connection(alice: Client, bob: Client) -> None:
    name = asks(alice, bob)
    bob.publish(1, name, b"1", b"2", properties=Basic.Properties(correlation_id="7"))
    for number, body in ((1, b"1"), (2, b"2")):
        properties = Basic.Properties(correlation_id="7")
        alice.expect(1, delivery("replies", number, body, key=name, properties=properties))


def test_a_channel_answers_itself(alice: Client) -> None:
    name = asks(alice, alice)
    alice.publish(1, name, b"1")
    alice.expect(1, reply(2, b"1", name))


def test_the_name_cannot_be_guessed_and_stays_the_same(alice: Client, bob: Client) -> None:
    bob.consume(1, REPLY_TO, "replies", no_ack=True)
    names = [asks(client, bob) for client in (alice, alice, bob)]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith(f"{REPLY_TO}.") and len(name) == 44 for name in names)


def test_each_channel_has_replies_of_its_own(harness: Harness, alice: Client, bob: Client) -> None:
    alice.open_channels(2)
    alice.consume(2, REPLY_TO, "replies", no_ack=True)
    for channel in (2, 1):
        name = asks(alice, bob, channel)
        bob.publish(1, name, b"1")
        alice.expect(channel, reply(1, b"1", name))
    assert len(harness.broker.vhosts["/"].router.reply_routes) == 2


def test_only_the_reply_to_of_a_request_changes(alice: Client, bob: Client) -> None:
    """A table that pamqp cannot read, and properties around it, arrive octet by octet."""
    name = asks(alice, bob)
    table = b"\0\0\0\x0e\x01\xffx\0\0\0\x02\xfe\xff\x01bu\xff\xff"

    def header(reply_to: str) -> bytes:
        octets = reply_to.encode()
        flags = b"\xa6\x08"
        properties = b"\x03a/b" + table + b"\x01c" + bytes([len(octets)]) + octets + b"\x01a"
        return wire.frame(wire.HEADER, 1, b"\0\x3c\0\0" + bytes(8) + flags + properties)

    alice.feed(wire.method_frames(1, Basic.Publish(routing_key="q")) + header(REPLY_TO))
    bob.decodes = False
    bob.send(1, Basic.Get(queue="q", no_ack=True))
    bob.receive()
    assert bob.frames[1:] == [header(name)]


def test_a_reply_goes_beside_its_route_to_who_is_in_copy(alice: Client, bob: Client) -> None:
    name = asks(alice, bob)
    for header in ("CC", "BCC"):
        bob.publish(1, "nowhere", b"1", properties=Basic.Properties(headers={header: [name]}))
    assert [content.body for content in (alice.expect_content(1), alice.expect_content(1))] == [
        b"1",
        b"1",
    ]


def test_the_prefetch_of_the_channel_does_not_hold_replies_up(alice: Client, bob: Client) -> None:
    name = asks(alice, bob)
    alice.call(1, Basic.Qos(prefetch_count=1, global_=True), Basic.QosOk)
    alice.consume(1, "q", "c")
    bob.publish(1, "q", b"held")
    bob.publish(1, name, b"1", b"2")
    alice.expect_delivery(1, "c", 1, b"held")
    alice.expect(1, reply(2, b"1", name), reply(3, b"2", name))


def test_a_reply_in_a_transaction_waits_for_the_commit(alice: Client, bob: Client) -> None:
    name = asks(alice, bob)
    bob.call(1, Tx.Select(), Tx.SelectOk)
    bob.publish(1, name, b"never")
    bob.call(1, Tx.Rollback(), Tx.RollbackOk)
    bob.publish(1, name, b"1")
    alice.expect_nothing()
    bob.call(1, Tx.Commit(), Tx.CommitOk)
    alice.expect(1, reply(1, b"1", name))


# --- the end of a name --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [Basic.Cancel(consumer_tag="replies"), Channel.Close(200, "done", 0, 0)],
    ids=["cancel", "channel close"],
)
def test_the_name_ends_with_its_consumer(
    harness: Harness, alice: Client, bob: Client, end: Frame
) -> None:
    name = asks(alice, bob)
    bob.publish(1, name, b"there", mandatory=True)
    alice.expect(1, reply(1, b"there", name))
    alice.send(1, end)
    alice.receive_all()
    bob.publish(1, name, b"gone", mandatory=True)
    bob.expect(1, returned(b"gone", key=name))
    assert not harness.broker.vhosts["/"].router.reply_routes


def test_the_name_ends_with_a_connection_that_is_lost(alice: Client, bob: Client) -> None:
    name = asks(alice, bob)
    alice.lose_socket()
    bob.publish(1, name, b"gone", mandatory=True)
    bob.expect(1, returned(b"gone", key=name))


def test_a_transaction_that_outlives_the_name_has_its_reply_returned(
    alice: Client, bob: Client
) -> None:
    name = asks(alice, bob)
    bob.call(1, Tx.Select(), Tx.SelectOk)
    bob.publish(1, name, b"late", mandatory=True)
    alice.call(1, Basic.Cancel(consumer_tag="replies"), Basic.CancelOk)
    bob.send(1, Tx.Commit())
    bob.expect(1, returned(b"late", key=name), Tx.CommitOk())


def test_a_consumer_that_begins_again_has_another_name(alice: Client, bob: Client) -> None:
    first = asks(alice, bob)
    alice.call(1, Basic.Cancel(consumer_tag="replies"), Basic.CancelOk)
    alice.consume(1, REPLY_TO, "replies", no_ack=True)
    second = asks(alice, bob)
    bob.publish(1, first, b"lost")
    bob.publish(1, second, b"1")
    alice.expect(1, reply(1, b"1", second))


def test_the_name_leads_nowhere_in_another_virtual_host(harness: Harness, alice: Client) -> None:
    harness.add_vhost("other")
    stranger = harness.open_client(1, vhost="other")
    name = asks(alice, alice)
    stranger.publish(1, name, b"1", mandatory=True)
    stranger.expect(1, returned(b"1", key=name))


# --- a requester that does not read -------------------------------------------------------------


def test_a_requester_that_does_not_read_loses_what_is_too_much(
    harness: Harness, alice: Client, bob: Client
) -> None:
    name = asks(alice, bob)
    size = 64 * 1024
    waiting = REPLIES_WAITING_BYTES_MAX // (size + MESSAGE_OVERHEAD_BYTES)
    count = waiting + 2 * OUTPUT_HIGH_WATER_BYTES // size
    alice.reads = False
    for number in range(2 * count):
        bob.publish(1, name, number.to_bytes(2, "big") * (size // 2), mandatory=True)
    [replies] = harness.broker.vhosts["/"].router.reply_routes[name].sinks
    assert isinstance(replies, ReplySink)
    assert replies.queue.message_count() <= waiting + 1
    assert alice.log.of("replies dropped") == {"channel": 1, "reason": "requester does not read"}

    alice.reads = True
    alice.receive()
    received = [content for _, content in alice.receive_all() if isinstance(content, Content)]
    numbers = [int.from_bytes(content.body[:2], "big") for content in received]
    assert waiting <= len(numbers) < count
    assert numbers == list(range(len(numbers)))

    bob.publish(1, name, b"heard again")
    alice.expect(1, reply(len(numbers) + 1, b"heard again", name))


def test_a_requester_that_does_not_read_is_nobody_elses_trouble(
    harness: Harness, alice: Client, bob: Client
) -> None:
    carol = harness.open_client(1)
    carol.consume(1, REPLY_TO, "replies", no_ack=True)
    to_alice, to_carol = asks(alice, bob), asks(carol, bob)
    alice.reads = False
    for number in range(1, 200):
        bob.publish(1, to_alice, bytes(64 * 1024))
        bob.publish(1, to_carol, b"1")
        carol.expect(1, reply(number, b"1", to_carol))
    assert bob.connection.session.throttled_by is None
    alice.lose_socket()


def test_what_waits_for_a_requester_goes_with_its_consumer(alice: Client, bob: Client) -> None:
    name = asks(alice, bob)
    alice.reads = False
    for _ in range(10):
        bob.publish(1, name, bytes(64 * 1024))
    alice.feed_unchecked(wire.method_frames(1, Basic.Cancel(consumer_tag="replies")))
    alice.reads = True
    alice.receive()
    received = [each for _, each in alice.receive_all()]
    assert len(received) < 10
    assert isinstance(received[-1], Basic.CancelOk)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_ack", "text"),
    [(False, "reply consumer cannot acknowledge"), (True, "reply consumer already set")],
)
def test_a_second_consumer_of_replies_is_refused(
    harness: Harness, alice: Client, bob: Client, no_ack: bool, text: str
) -> None:
    alice.send(1, Basic.Consume(queue=REPLY_TO, consumer_tag="more", no_ack=no_ack))
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, text, Basic.Consume)
    assert not harness.broker.vhosts["/"].router.reply_routes
    alice.reopen_channel(1)
    alice.consume(1, REPLY_TO, "replies", no_ack=True)
    name = asks(alice, bob)
    bob.publish(1, name, b"1")
    alice.expect(1, reply(1, b"1", name))


def test_a_request_without_a_consumer_is_refused_on_its_channel(alice: Client) -> None:
    alice.open_channels(2)
    alice.publish(2, "q", b"request", properties=ASKING)
    alice.expect_error(
        2,
        ReplyCode.PRECONDITION_FAILED,
        "fast reply consumer does not exist",
        Basic.Publish,
    )
    alice.send(1, Basic.Get(queue="q"))
    alice.expect(1, Basic.GetEmpty())


@pytest.mark.parametrize("passive", [False, True])
def test_a_name_is_there_to_be_declared_as_long_as_its_consumer(
    alice: Client, bob: Client, passive: bool
) -> None:
    name = asks(alice, bob)
    for queue in (REPLY_TO, name):
        bob.send(1, Queue.Declare(queue=queue, passive=passive))
        bob.expect(1, Queue.DeclareOk(queue, 0, 1))
    alice.call(1, Basic.Cancel(consumer_tag="replies"), Basic.CancelOk)
    bob.send(1, Queue.Declare(queue=name, passive=passive))
    bob.expect_error(1, ReplyCode.NOT_FOUND, f"no queue '{name}' in vhost '/'", Queue.Declare)

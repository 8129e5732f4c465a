"""Channels: opened, closed by either side, opened again; and what does not concern the others."""

import pytest
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue, Tx

from leveret.engine.queues.message_memory import DECLARED_BYTES, SHARE_DIVISOR, MemoryLevel
from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, got

NO_EXCHANGE = "no exchange 'nowhere' in vhost '/'"


def close_channel(code: int = 200) -> Channel.Close:
    return Channel.Close(code, "done", 0, 0)


@pytest.mark.parametrize("number", [1, 2, 2047, 32_767, 32_768, 65_535])
def test_any_number_can_be_opened_and_used(harness: Harness, number: int) -> None:
    client = harness.open_client(number)
    client.declare(number, "q")
    client.publish(number, "q", b"1")
    client.send(number, Basic.Get(queue="q"))
    client.expect(number, got(1, b"1"))
    client.consume(number, "q", "c")
    client.publish(number, "q", b"2")
    client.expect_delivery(number, "c", 2, b"2")


def test_a_closed_channel_can_be_opened_again(alice: Client) -> None:
    for _ in range(3):
        alice.send(1, close_channel())
        alice.expect(1, Channel.CloseOk())
        alice.open_channels(1)
    alice.declare(1, "q")


def test_a_channel_opened_again_knows_nothing_of_before(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "q", b"never committed")
    alice.send(1, close_channel())
    alice.expect(1, Channel.CloseOk())
    alice.open_channels(1)
    alice.send(1, Tx.Commit())
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, "channel is not transactional", Tx.Commit)
    assert harness.queue("q").message_count() == 0


def test_opening_an_open_channel_closes_the_connection(alice: Client) -> None:
    alice.send(1, Channel.Open())
    alice.expect_error(0, ReplyCode.CHANNEL_ERROR, "second 'channel.open' seen", Channel.Open)


@pytest.mark.parametrize(
    "method", [Queue.Declare(queue="q"), Basic.Ack(1), close_channel(), Channel.CloseOk()]
)
def test_a_channel_never_opened_takes_nothing(alice: Client, method: Queue.Declare) -> None:
    alice.send(9, method)
    alice.expect_error(0, ReplyCode.CHANNEL_ERROR, "expected 'channel.open'", type(method))


def test_channel_max_is_a_count_of_open_channels(harness: Harness) -> None:
    client = harness.open_client(100, 7, channel_max=2)
    client.send(7, close_channel())
    client.expect(7, Channel.CloseOk())
    client.open_channels(8)
    client.send(9, Channel.Open())
    client.expect_error(
        0,
        ReplyCode.NOT_ALLOWED,
        "number of channels opened (2) has reached the negotiated channel_max (2)",
    )


@pytest.mark.parametrize("method", [Channel.CloseOk(), Channel.FlowOk(True)])
def test_an_answer_nobody_asked_for_closes_the_connection(
    alice: Client, method: Channel.FlowOk
) -> None:
    alice.send(1, method)
    alice.expect_error(0, ReplyCode.COMMAND_INVALID, "unimplemented method", type(method))


@pytest.mark.parametrize(
    "method",
    [
        Queue.DeclareOk("q", 0, 0),
        Basic.Deliver("c", 1, False, "", "q"),
        Basic.CancelOk("c"),
        Exchange.BindOk(),
        Connection.Close(200, "", 0, 0),
        Connection.StartOk(),
    ],
)
def test_a_method_that_is_not_for_a_channel_closes_the_connection(
    alice: Client, method: Queue.DeclareOk
) -> None:
    alice.send(1, method)
    alice.expect_error(0, ReplyCode.COMMAND_INVALID, "unimplemented method", type(method))


def test_flow_is_always_on(alice: Client) -> None:
    alice.send(1, Channel.Flow(True))
    alice.expect(1, Channel.FlowOk(True))
    alice.send(1, Channel.Flow(False))
    alice.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "active=false", Channel.Flow)


def test_access_is_granted_to_who_still_asks(alice: Client) -> None:
    """The class access is older than 0-9-1, so pamqp cannot read the answer."""
    alice.reads = False
    alice.feed(wire.method_frame(1, 0x001E000A, b"\x05/data\x1c"))
    answer = alice.connection.session.take_output()
    assert answer == wire.method_frame(1, 0x001E000B, b"\0\x01")


class TestBetweenCloseAndCloseOk:
    @pytest.fixture
    def refused(self, harness: Harness) -> Client:
        """A client whose channel 1 was closed and who has not answered; 2 is open."""
        client = harness.open_client(1, 2)
        client.declare(2, "q")
        client.publish(1, "k", b"", exchange="nowhere")
        client.expect_error(1, ReplyCode.NOT_FOUND, NO_EXCHANGE, Basic.Publish)
        return client

    def test_all_frames_are_ignored(self, harness: Harness, refused: Client) -> None:
        refused.publish(1, "q", b"lost", b"lost too", mandatory=True)
        refused.publish(1, "k", b"", exchange="nowhere")
        refused.send(
            1,
            Queue.Declare(queue="r"),
            Basic.Get(queue="q"),
            Basic.Ack(99),
            Channel.Flow(False),
            Basic.Deliver("c", 1, False, "", "q"),
        )
        refused.feed(wire.content_body(1, b"by itself"))
        refused.expect_nothing()
        assert not harness.has_queue("r")
        assert harness.queue("q").message_count() == 0

    def test_arguments_are_not_even_looked_at(self, refused: Client) -> None:
        refused.feed(wire.method_frame(1, Queue.Declare.index, b"\xff\xff\xff"))
        refused.expect_nothing()

    def test_close_ok_frees_the_number(self, refused: Client) -> None:
        refused.send(1, Channel.CloseOk())
        refused.expect_nothing()
        refused.open_channels(1)
        refused.declare(1, "r")

    def test_a_close_that_crosses_is_answered_and_close_ok_still_expected(
        self, refused: Client
    ) -> None:
        refused.send(1, close_channel())
        refused.expect(1, Channel.CloseOk())
        refused.send(1, Channel.CloseOk())
        refused.expect_nothing()
        refused.open_channels(1)
        refused.declare(1, "r")

    def test_other_channels_go_on(self, harness: Harness, refused: Client) -> None:
        refused.publish(2, "q", b"kept")
        refused.send(2, Basic.Get(queue="q", no_ack=True))
        refused.expect(2, got(1, b"kept"))

    def test_what_breaks_framing_still_closes_the_connection(self, refused: Client) -> None:
        refused.feed(wire.frame(4, 1, b"what"))
        refused.expect_error(
            0, ReplyCode.FRAME_ERROR, 'type 4, all octets = <<"what">>: unknown_frame'
        )


def test_a_channel_that_closes_gives_back_what_it_held_in_order(harness: Harness) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.publish(1, "q", b"1", b"2", b"3")
    client.send(1, Basic.Get(queue="q"), Basic.Get(queue="q"))
    client.expect(1, got(1, b"1", 2), got(2, b"2", 1))
    client.send(1, close_channel())
    client.expect(1, Channel.CloseOk())
    client.consume(2, "q", "c", no_ack=True)
    client.expect_delivery(2, "c", 1, b"1", redelivered=True)
    client.expect_delivery(2, "c", 2, b"2", redelivered=True)
    client.expect_delivery(2, "c", 3, b"3")


def test_a_refused_channel_gives_back_what_it_held(harness: Harness) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.publish(1, "q", b"1")
    client.consume(1, "q", "c")
    client.expect_delivery(1, "c", 1, b"1")
    client.send(1, Basic.Ack(7))
    client.expect_error(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 7", Basic.Ack)
    client.send(2, Basic.Get(queue="q", no_ack=True))
    client.expect(2, got(1, b"1", redelivered=True))
    assert harness.queue("q").consumers == []


def test_a_lost_socket_gives_back_what_all_its_channels_held(harness: Harness, bob: Client) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.publish(1, "q", b"1", b"2", b"3")
    client.send(2, Basic.Get(queue="q"))
    client.expect(2, got(1, b"1", 2))
    client.consume(1, "q", "c")
    client.expect_delivery(1, "c", 1, b"2")
    client.expect_delivery(1, "c", 2, b"3")
    client.lose_socket()
    bob.consume(1, "q", "c", no_ack=True)
    for number, body in enumerate((b"1", b"2", b"3"), 1):
        bob.expect_delivery(1, "c", number, body, redelivered=True)


def test_a_content_under_way_ends_with_its_channel(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.open_channels(2)
    begun = wire.method_frames(2, Basic.Publish(routing_key="q")) + wire.content_header(2, 10)
    alice.feed(begun + wire.content_body(2, b"half"))
    alice.feed(wire.method_frames(2, close_channel()))
    alice.expect_error(
        0,
        ReplyCode.UNEXPECTED_FRAME,
        "expected content body, got non content body frame instead",
        Basic.Publish,
    )
    assert harness.queue("q").message_count() == 0


def test_no_channel_is_opened_while_memory_is_exhausted(harness: Harness) -> None:
    """Tens of thousands of them take as much as many queues do."""
    client, other = harness.open_client(1, 2), harness.open_client(1, 2)
    memory = harness.broker.memory
    memory.limit(4 * DECLARED_BYTES * SHARE_DIVISOR - 1)
    memory.check(MemoryLevel.EXHAUSTED)
    client.send(3, Channel.Open())
    client.expect_error(0, ReplyCode.RESOURCE_ERROR, "the broker is low on memory", Channel.Open)
    # The channels of that connection have ended, so there is room.
    other.open_channels(3)

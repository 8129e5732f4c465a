"""Channels: opened, closed by either side, opened again; and what does not concern the others."""

import pytest
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue, Tx

from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.playbook import Client, Play, got

NO_EXCHANGE = "no exchange 'nowhere' in vhost '/'"


def close_channel(code: int = 200) -> Channel.Close:
    return Channel.Close(code, "done", 0, 0)


@pytest.mark.parametrize("number", [1, 2, 2047, 32_767, 32_768, 65_535])
def test_any_number_can_be_opened_and_used(play: Play, number: int) -> None:
    client = play.opens(number)
    client.declares(number, "q")
    client.publishes(number, "q", b"1")
    client.says(number, Basic.Get(queue="q"))
    client.hears(number, got(1, b"1"))
    client.consumes(number, "q", "c")
    client.publishes(number, "q", b"2")
    client.gets(number, "c", 2, b"2")


def test_a_closed_channel_can_be_opened_again(alice: Client) -> None:
    for _ in range(3):
        alice.says(1, close_channel())
        alice.hears(1, Channel.CloseOk())
        alice.opens(1)
    alice.declares(1, "q")


def test_a_channel_opened_again_knows_nothing_of_before(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    alice.does(1, Tx.Select(), Tx.SelectOk)
    alice.publishes(1, "q", b"never committed")
    alice.says(1, close_channel())
    alice.hears(1, Channel.CloseOk())
    alice.opens(1)
    alice.says(1, Tx.Commit())
    alice.is_refused(1, ReplyCode.PRECONDITION_FAILED, "channel is not transactional", Tx.Commit)
    assert play.queue("q").message_count() == 0


def test_opening_an_open_channel_closes_the_connection(alice: Client) -> None:
    alice.says(1, Channel.Open())
    alice.is_refused(0, ReplyCode.CHANNEL_ERROR, "second 'channel.open' seen", Channel.Open)


@pytest.mark.parametrize(
    "method", [Queue.Declare(queue="q"), Basic.Ack(1), close_channel(), Channel.CloseOk()]
)
def test_a_channel_never_opened_takes_nothing(alice: Client, method: Queue.Declare) -> None:
    alice.says(9, method)
    alice.is_refused(0, ReplyCode.CHANNEL_ERROR, "expected 'channel.open'", type(method))


def test_channel_max_is_a_count_of_open_channels(play: Play) -> None:
    client = play.opens(100, 7, channel_max=2)
    client.says(7, close_channel())
    client.hears(7, Channel.CloseOk())
    client.opens(8)
    client.says(9, Channel.Open())
    client.is_refused(
        0,
        ReplyCode.NOT_ALLOWED,
        "number of channels opened (2) has reached the negotiated channel_max (2)",
    )


@pytest.mark.parametrize("method", [Channel.CloseOk(), Channel.FlowOk(True)])
def test_an_answer_nobody_asked_for_closes_the_connection(
    alice: Client, method: Channel.FlowOk
) -> None:
    alice.says(1, method)
    alice.is_refused(0, ReplyCode.COMMAND_INVALID, "unimplemented method", type(method))


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
    alice.says(1, method)
    alice.is_refused(0, ReplyCode.COMMAND_INVALID, "unimplemented method", type(method))


def test_flow_is_always_on(alice: Client) -> None:
    alice.says(1, Channel.Flow(True))
    alice.hears(1, Channel.FlowOk(True))
    alice.says(1, Channel.Flow(False))
    alice.is_refused(0, ReplyCode.NOT_IMPLEMENTED, "active=false", Channel.Flow)


def test_access_is_granted_to_who_still_asks(alice: Client) -> None:
    """The class access is older than 0-9-1, so pamqp cannot read the answer."""
    alice.reads = False
    alice.feeds(wire.method_frame(1, 0x001E000A, b"\x05/data\x1c"))
    answer = alice.connection.session.take_output()
    assert answer == wire.method_frame(1, 0x001E000B, b"\0\x01")


class TestBetweenCloseAndCloseOk:
    @pytest.fixture
    def refused(self, play: Play) -> Client:
        """A client whose channel 1 was closed and who has not answered; 2 is open."""
        client = play.opens(1, 2)
        client.declares(2, "q")
        client.publishes(1, "k", b"", exchange="nowhere")
        client.is_refused(1, ReplyCode.NOT_FOUND, NO_EXCHANGE, Basic.Publish)
        return client

    def test_all_frames_are_ignored(self, play: Play, refused: Client) -> None:
        refused.publishes(1, "q", b"lost", b"lost too", mandatory=True)
        refused.publishes(1, "k", b"", exchange="nowhere")
        refused.says(
            1,
            Queue.Declare(queue="r"),
            Basic.Get(queue="q"),
            Basic.Ack(99),
            Channel.Flow(False),
            Basic.Deliver("c", 1, False, "", "q"),
        )
        refused.feeds(wire.content_body(1, b"by itself"))
        refused.hears_nothing()
        assert not play.has_queue("r")
        assert play.queue("q").message_count() == 0

    def test_arguments_are_not_even_looked_at(self, refused: Client) -> None:
        refused.feeds(wire.method_frame(1, Queue.Declare.index, b"\xff\xff\xff"))
        refused.hears_nothing()

    def test_close_ok_frees_the_number(self, refused: Client) -> None:
        refused.says(1, Channel.CloseOk())
        refused.hears_nothing()
        refused.opens(1)
        refused.declares(1, "r")

    def test_a_close_that_crosses_is_answered_and_close_ok_still_expected(
        self, refused: Client
    ) -> None:
        refused.says(1, close_channel())
        refused.hears(1, Channel.CloseOk())
        refused.says(1, Channel.CloseOk())
        refused.hears_nothing()
        refused.opens(1)
        refused.declares(1, "r")

    def test_other_channels_go_on(self, play: Play, refused: Client) -> None:
        refused.publishes(2, "q", b"kept")
        refused.says(2, Basic.Get(queue="q", no_ack=True))
        refused.hears(2, got(1, b"kept"))

    def test_what_breaks_framing_still_closes_the_connection(self, refused: Client) -> None:
        refused.feeds(wire.frame(4, 1, b"what"))
        refused.is_refused(
            0, ReplyCode.FRAME_ERROR, 'type 4, all octets = <<"what">>: unknown_frame'
        )


def test_a_channel_that_closes_gives_back_what_it_held_in_order(play: Play) -> None:
    client = play.opens(1, 2)
    client.declares(1, "q")
    client.publishes(1, "q", b"1", b"2", b"3")
    client.says(1, Basic.Get(queue="q"), Basic.Get(queue="q"))
    client.hears(1, got(1, b"1", 2), got(2, b"2", 1))
    client.says(1, close_channel())
    client.hears(1, Channel.CloseOk())
    client.consumes(2, "q", "c", no_ack=True)
    client.gets(2, "c", 1, b"1", redelivered=True)
    client.gets(2, "c", 2, b"2", redelivered=True)
    client.gets(2, "c", 3, b"3")


def test_a_refused_channel_gives_back_what_it_held(play: Play) -> None:
    client = play.opens(1, 2)
    client.declares(1, "q")
    client.publishes(1, "q", b"1")
    client.consumes(1, "q", "c")
    client.gets(1, "c", 1, b"1")
    client.says(1, Basic.Ack(7))
    client.is_refused(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 7", Basic.Ack)
    client.says(2, Basic.Get(queue="q", no_ack=True))
    client.hears(2, got(1, b"1", redelivered=True))
    assert play.queue("q").consumers == []


def test_a_lost_socket_gives_back_what_all_its_channels_held(play: Play, bob: Client) -> None:
    client = play.opens(1, 2)
    client.declares(1, "q")
    client.publishes(1, "q", b"1", b"2", b"3")
    client.says(2, Basic.Get(queue="q"))
    client.hears(2, got(1, b"1", 2))
    client.consumes(1, "q", "c")
    client.gets(1, "c", 1, b"2")
    client.gets(1, "c", 2, b"3")
    client.loses_its_socket()
    bob.consumes(1, "q", "c", no_ack=True)
    for number, body in enumerate((b"1", b"2", b"3"), 1):
        bob.gets(1, "c", number, body, redelivered=True)


def test_a_content_under_way_ends_with_its_channel(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    alice.opens(2)
    begun = wire.says(2, Basic.Publish(routing_key="q")) + wire.content_header(2, 10)
    alice.feeds(begun + wire.content_body(2, b"half"))
    alice.feeds(wire.says(2, close_channel()))
    alice.is_refused(
        0,
        ReplyCode.UNEXPECTED_FRAME,
        "expected content body, got non content body frame instead",
        Basic.Publish,
    )
    assert play.queue("q").message_count() == 0

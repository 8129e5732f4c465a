"""Where messages go, which come back, and when they are confirmed."""

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Confirm, Exchange, Queue

from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import ENDLESS_NS, Client, Harness, got, returned


@pytest.fixture(autouse=True)
def one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which publishes one ack confirms depends on what is done in one slice."""
    monkeypatch.setattr(Client, "slice_ns", ENDLESS_NS)


@pytest.fixture
def publisher(harness: Harness) -> Client:
    """A client with confirms on channel 1, and the queue `q`."""
    client = harness.open_client(1)
    client.declare(1, "q")
    client.call(1, Confirm.Select(), Confirm.SelectOk)
    return client


# --- routes ----------------------------------------------------------------------------------


def test_the_default_exchange_leads_to_the_queue_of_that_name(alice: Client) -> None:
    alice.declare(1, "q", "r")
    alice.publish(1, "q", b"1")
    alice.publish(1, "r", b"2")
    alice.send(1, Basic.Get(queue="q"), Basic.Get(queue="r"))
    alice.expect(1, got(1, b"1", key="q"), got(2, b"2", key="r"))


def test_a_queue_gets_a_message_once_however_many_ways_lead_to_it(
    harness: Harness, alice: Client
) -> None:
    alice.declare(1, "q")
    for key in ("#", "*", "a"):
        alice.call(1, Queue.Bind(queue="q", exchange="amq.topic", routing_key=key), Queue.BindOk)
    alice.call(1, Exchange.Bind(destination="amq.topic", source="amq.fanout"), Exchange.BindOk)
    alice.call(
        1,
        Exchange.Bind(destination="amq.fanout", source="amq.topic", routing_key="#"),
        Exchange.BindOk,
    )
    alice.publish(1, "a", b"1", exchange="amq.fanout")
    assert harness.queue("q").message_count() == 1


def test_a_route_is_found_anew_when_bindings_change(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q", "r")
    bind = Queue.Bind(queue="q", exchange="amq.direct", routing_key="k")
    alice.call(1, bind, Queue.BindOk)
    alice.publish(1, "k", b"1", exchange="amq.direct")
    alice.call(1, Queue.Bind(queue="r", exchange="amq.direct", routing_key="k"), Queue.BindOk)
    alice.publish(1, "k", b"2", exchange="amq.direct")
    unbind = Queue.Unbind(queue="q", exchange="amq.direct", routing_key="k")
    alice.call(1, unbind, Queue.UnbindOk)
    alice.publish(1, "k", b"3", exchange="amq.direct")
    assert harness.queue("q").message_count() == 2
    assert harness.queue("r").message_count() == 2


def test_a_queue_declared_again_is_found_by_who_published_to_it_before(alice: Client) -> None:
    for number, body in enumerate((b"1", b"2"), 1):
        alice.declare(1, "q")
        alice.publish(1, "q", body)
        alice.send(1, Basic.Get(queue="q", no_ack=True))
        alice.expect(1, got(number, body))
        alice.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)


def test_headers_route_by_each_messages_own(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.call(
        1,
        Queue.Bind(queue="q", exchange="amq.headers", arguments={"x-match": "all", "a": 1}),
        Queue.BindOk,
    )
    for value in (1, 2, 1):
        properties = Basic.Properties(headers={"a": value})
        alice.publish(1, "", b"x", exchange="amq.headers", properties=properties)
    alice.publish(1, "", b"x", exchange="amq.headers")
    assert harness.queue("q").message_count() == 2


def test_an_alternate_exchange_takes_what_would_be_lost(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.call(
        1,
        Exchange.Declare(
            exchange="x", exchange_type="direct", arguments={"alternate-exchange": "amq.fanout"}
        ),
        Exchange.DeclareOk,
    )
    alice.publish(1, "k", b"nobody", exchange="x", mandatory=True)
    alice.expect(1, returned(b"nobody", key="k", exchange="x"))
    alice.call(1, Queue.Bind(queue="q", exchange="amq.fanout"), Queue.BindOk)
    alice.publish(1, "k", b"kept", exchange="x", mandatory=True)
    alice.expect_nothing()
    assert harness.queue("q").message_count() == 1


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "properties", "code", "text"),
    [
        ("nowhere", None, ReplyCode.NOT_FOUND, "no exchange 'nowhere' in vhost '/'"),
        (
            "amq.rabbitmq.trace",
            None,
            ReplyCode.ACCESS_REFUSED,
            "cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'",
        ),
        (
            "",
            Basic.Properties(user_id="somebody"),
            ReplyCode.PRECONDITION_FAILED,
            "user_id property set to 'somebody' but authenticated user was 'guest'",
        ),
        (
            "",
            Basic.Properties(expiration="abc"),
            ReplyCode.PRECONDITION_FAILED,
            "invalid expiration 'abc': no_integer",
        ),
        (
            "",
            Basic.Properties(expiration="10ms"),
            ReplyCode.PRECONDITION_FAILED,
            "invalid expiration '10ms': {leftover_string,\"ms\"}",
        ),
        (
            "nowhere",
            Basic.Properties(user_id="somebody"),
            ReplyCode.NOT_FOUND,
            "no exchange 'nowhere' in vhost '/'",
        ),
    ],
)
def test_a_message_is_refused_on_its_channel(
    harness: Harness, exchange: str, properties: Basic.Properties | None, code: ReplyCode, text: str
) -> None:
    client = harness.open_client(1, 2)
    client.declare(2, "q")
    client.publish(1, "q", b"1", exchange=exchange, properties=properties, mandatory=True)
    client.expect_error(1, code, text, Basic.Publish)
    client.publish(2, "q", b"2")
    assert harness.queue("q").message_count() == 1
    client.reopen_channel(1)


@pytest.mark.parametrize("expiration", ["0", "1000", "4294967295"])
def test_an_expiration_in_milliseconds_is_taken(alice: Client, expiration: str) -> None:
    alice.declare(1, "q")
    properties = Basic.Properties(expiration=expiration, user_id="guest")
    alice.publish(1, "q", b"1", properties=properties)
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    assert alice.expect_content(1).properties.expiration == expiration


def test_immediate_is_not_implemented(alice: Client) -> None:
    alice.send(1, Basic.Publish(routing_key="q", immediate=True))
    alice.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "immediate=true", Basic.Publish)


# --- returns ---------------------------------------------------------------------------------


def test_a_mandatory_message_without_a_queue_comes_back_whole(alice: Client) -> None:
    properties = Basic.Properties(message_id="m", headers={"a": "b"})
    alice.publish(1, "k", b"body", mandatory=True, properties=properties)
    back = alice.expect_content(1)
    assert wire.text_of(1, back.method) == wire.text_of(1, returned(b"", key="k").method)
    assert (back.body, back.properties) == (b"body", properties)


def test_what_is_not_mandatory_or_has_a_queue_does_not_come_back(alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "k", b"dropped")
    alice.publish(1, "q", b"kept", mandatory=True)
    alice.expect_nothing()


# --- confirms --------------------------------------------------------------------------------


def test_each_message_is_confirmed(publisher: Client) -> None:
    publisher.publish(1, "q", b"1")
    publisher.expect(1, Basic.Ack(1, False))
    publisher.publish(1, "q", b"2")
    publisher.expect(1, Basic.Ack(2, False))


def test_messages_of_one_turn_are_confirmed_by_one_ack(publisher: Client) -> None:
    messages = b"".join(wire.publish(1, "q", b"x") for _ in range(10))
    publisher.feed(messages, slice_bytes=100_000)
    publisher.expect(1, Basic.Ack(10, True))
    publisher.publish(1, "q", b"x")
    publisher.expect(1, Basic.Ack(11, False))


def test_messages_of_many_turns_are_each_confirmed_once(publisher: Client) -> None:
    messages = b"".join(wire.publish(1, "q", b"x" * 50) for _ in range(100))
    publisher.feed(messages, slice_bytes=300)
    confirmed = 0
    acks = publisher.receive_all()
    for _, ack in acks:
        assert isinstance(ack, Basic.Ack)
        assert ack.delivery_tag is not None
        assert ack.delivery_tag > confirmed
        assert ack.multiple or ack.delivery_tag == confirmed + 1
        confirmed = ack.delivery_tag
    assert confirmed == 100
    assert 10 < len(acks) < 100


def test_a_message_without_a_queue_is_confirmed(publisher: Client) -> None:
    publisher.publish(1, "missing", b"1")
    publisher.expect(1, Basic.Ack(1, False))


def test_a_return_comes_before_its_confirm_and_behind_earlier_ones(publisher: Client) -> None:
    publisher.feed(
        wire.publish(1, "q", b"1")
        + wire.publish(1, "q", b"2")
        + wire.publish(1, "missing", b"3", mandatory=True)
        + wire.publish(1, "q", b"4"),
        slice_bytes=100_000,
    )
    publisher.expect(1, Basic.Ack(2, True), returned(b"3", key="missing"), Basic.Ack(4, True))


def test_numbers_begin_at_the_select_and_go_on_over_a_second_one(harness: Harness) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.publish(1, "q", b"unconfirmed", b"unconfirmed")
    client.call(1, Confirm.Select(), Confirm.SelectOk)
    client.publish(1, "q", b"1")
    client.expect(1, Basic.Ack(1, False))
    client.call(1, Confirm.Select(), Confirm.SelectOk)
    client.publish(1, "q", b"2")
    client.expect(1, Basic.Ack(2, False))
    client.publish(2, "q", b"on a channel without confirms")
    client.expect_nothing()


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (Queue.Declare(queue="q"), Queue.DeclareOk("q", 2, 0)),
        (Basic.Get(queue="q"), got(1, b"1", 1)),
        (Basic.Get(queue="q", no_ack=True), got(1, b"1", 1)),
    ],
)
def test_a_reply_comes_behind_the_confirms_of_what_was_before_it(
    publisher: Client, request_: Frame, reply: Frame
) -> None:
    publisher.feed(
        wire.publish(1, "q", b"1") + wire.publish(1, "q", b"2") + wire.method_frames(1, request_),
        slice_bytes=100_000,
    )
    publisher.expect(1, Basic.Ack(2, True), reply)


def test_what_was_taken_is_confirmed_before_the_channel_is_refused(publisher: Client) -> None:
    publisher.feed(
        wire.publish(1, "q", b"1")
        + wire.publish(1, "q", b"2")
        + wire.publish(1, "k", b"3", exchange="nowhere"),
        slice_bytes=100_000,
    )
    publisher.expect(1, Basic.Ack(2, True))
    publisher.expect_error(
        1, ReplyCode.NOT_FOUND, "no exchange 'nowhere' in vhost '/'", Basic.Publish
    )


def test_what_was_taken_is_confirmed_before_the_connection_is_refused(publisher: Client) -> None:
    publisher.feed(
        wire.publish(1, "q", b"1") + wire.publish(1, "q", b"2") + wire.frame(4, 1, b""),
        slice_bytes=100_000,
    )
    publisher.expect(1, Basic.Ack(2, True))
    publisher.expect_error(0, ReplyCode.FRAME_ERROR, "type 4, all octets = <<>>: unknown_frame")


def test_what_was_taken_is_confirmed_before_a_close_is_answered(publisher: Client) -> None:
    close = wire.channel_close(1)
    publisher.feed(wire.publish(1, "q", b"1") + close, slice_bytes=100_000)
    publisher.expect(1, Basic.Ack(1, False))
    publisher.expect(1, wire.CHANNEL_CLOSE_OK)


def test_nothing_is_confirmed_that_was_not_taken(publisher: Client) -> None:
    half = wire.method_frames(1, Basic.Publish(routing_key="q")) + wire.content_header(1, 10)
    publisher.feed(half + wire.content_body(1, b"half"))
    publisher.expect_nothing()

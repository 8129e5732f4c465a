"""Frames that are none: each is answered with its error, and never with anything else."""

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue, Tx

from leveret.errors import ReplyCode
from leveret.limits import INITIAL_FRAME_BYTES_MAX
from tests.protocol import wire
from tests.protocol.harness import Client, Harness


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (wire.frame(4, 1, b"what"), 'type 4, all octets = <<"what">>: unknown_frame'),
        (wire.frame(0, 0, b""), "type 0, all octets = <<>>: unknown_frame"),
        (wire.frame(255, 9, b"\0\1"), "type 255, all octets = <<0,1>>: unknown_frame"),
        (wire.frame(8, 0, b"beat"), 'type 8, all octets = <<"beat">>: unknown_frame'),
        (wire.frame(1, 1, b"\0\x32\0"), "type 1, all octets = <<0,50,0>>: unknown_frame"),
        (wire.frame(1, 1, b""), "type 1, all octets = <<>>: unknown_frame"),
        (
            wire.frame(1, 1, b"\0\x3c\0\x0a", end=0),
            "type 1, all octets = <<0,60,0,10>>: {invalid_frame_end_marker,0}",
        ),
        (
            wire.frame(3, 1, b"body", end=0xCF),
            'type 3, all octets = <<"body">>: {invalid_frame_end_marker,207}',
        ),
    ],
)
def test_a_frame_that_is_none_closes_the_connection(
    alice: Client, bob: Client, octets: bytes, text: str
) -> None:
    alice.feed(octets)
    alice.expect_error(0, ReplyCode.FRAME_ERROR, text)
    bob.declare(1, "q")


@pytest.mark.parametrize("channel", [1, 9, 65_535])
def test_a_heartbeat_belongs_to_channel_0(alice: Client, channel: int) -> None:
    alice.feed(wire.frame(8, channel, b""))
    alice.expect_error(0, ReplyCode.UNEXPECTED_FRAME, "type 8, all octets = <<>>")


@pytest.mark.parametrize("frame_max", [4096, 131_072])
def test_a_frame_larger_than_agreed_is_refused_at_its_size(
    harness: Harness, frame_max: int
) -> None:
    client = harness.open_client(1, frame_max=frame_max)
    client.feed(wire.frame(3, 1, bytes(frame_max + 1))[:8])
    client.expect_error(
        0,
        ReplyCode.FRAME_ERROR,
        f"type 3, all octets = <<>>: {{frame_too_large,{frame_max + 1},{frame_max - 8}}}",
    )


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_no_size_is_too_large_to_be_refused(alice: Client, size: int) -> None:
    alice.feed(b"\x01\x00\x01" + size.to_bytes(4, "big") + b"\0")
    alice.expect_error(
        0,
        ReplyCode.FRAME_ERROR,
        f"type 1, all octets = <<>>: {{frame_too_large,{size},131064}}",
    )


def test_the_largest_frame_has_eight_octets_of_grace(harness: Harness) -> None:
    client = harness.open_client(1, frame_max=4096)
    client.declare(1, "q")
    client.publish(1, "q", bytes(4096), cut_at=4096)
    client.send(1, Basic.Get(queue="q", no_ack=True))
    assert client.expect_content(1).frames == (4088, 8)


def test_before_tune_ok_frames_are_small(harness: Harness) -> None:
    client = harness.connect()
    client.feed(wire.PROTOCOL_HEADER)
    client.receive_all()
    size = INITIAL_FRAME_BYTES_MAX + 1
    client.feed(wire.frame(1, 0, bytes(size)))
    client.expect_error(
        0,
        ReplyCode.FRAME_ERROR,
        f"type 1, all octets = <<>>: {{frame_too_large,{size},{size - 9}}}",
    )


def test_nothing_behind_a_broken_frame_is_obeyed(harness: Harness, alice: Client) -> None:
    declare = wire.method_frames(1, Queue.Declare(queue="q"))
    alice.feed(wire.frame(3, 1, bytes(131_073)) + declare)
    alice.expect_method(0, Connection.Close)
    alice.feed(declare)
    alice.expect_nothing()
    assert not harness.has_queue("q")


METHODS: tuple[Frame, ...] = (
    Basic.Publish(routing_key="q"),
    Basic.Ack(1),
    Basic.Nack(1),
    Basic.Reject(1),
    Basic.Qos(prefetch_count=1),
    Basic.Consume(queue="q"),
    Basic.Get(queue="q"),
    Basic.Cancel(consumer_tag="c"),
    Queue.Declare(queue="q"),
    Queue.Bind(queue="q", exchange="amq.direct"),
    Queue.Unbind(queue="q", exchange="amq.direct"),
    Queue.Delete(queue="q"),
    Exchange.Declare(exchange="x"),
    Exchange.Bind(destination="x", source="y"),
    Tx.Select(),
    Channel.Flow(True),
    Channel.Close(200, "", 0, 0),
)


def described(octets: bytes) -> str:
    return f"cannot decode <<{','.join(map(str, octets))}>>"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("how", ["an octet too long", "an octet too short", "without any"])
def test_arguments_that_do_not_fit_close_the_connection(
    alice: Client, method: Frame, how: str
) -> None:
    arguments = method.marshal()
    if how == "an octet too long":
        arguments += b"\0"
    elif how == "an octet too short":
        arguments = arguments[:-1]
    else:
        arguments = b""
    if arguments == method.marshal():
        alice.feed(wire.method_frame(1, method.index, arguments))
        alice.expect(1, Tx.SelectOk())
        return
    alice.feed(wire.method_frame(1, method.index, arguments))
    alice.expect_error(0, ReplyCode.FRAME_ERROR, described(arguments), method.index)


def test_a_long_text_about_what_cannot_be_decoded_is_cut(alice: Client) -> None:
    alice.feed(wire.method_frame(1, Tx.Select.index, b"\xff" * 500))
    close = alice.expect_method(0, Connection.Close)
    text = f"FRAME_ERROR - {described(bytes([255] * 500))}"
    assert close.reply_text == f"{text[:252]}..."


@pytest.mark.parametrize("index", [0x0063000A, 0x00320063, 0xFFFFFFFF, 0, 0x003C0063])
def test_an_unknown_method_closes_the_connection(alice: Client, index: int) -> None:
    alice.feed(wire.method_frame(1, index))
    alice.expect_error(0, ReplyCode.COMMAND_INVALID, "unimplemented method", index)


def test_a_name_that_is_not_utf_8_closes_the_connection(alice: Client) -> None:
    alice.feed(wire.method_frame(1, Queue.Declare.index, b"\0\0\x02\xff\xfe\0\0\0\0\0"))
    close = alice.expect_method(0, Connection.Close)
    assert close.reply_text == "FRAME_ERROR - Malformed UTF-8 in shortstr"


def test_an_exchange_name_that_is_not_utf_8_is_an_error_the_peer_can_read(alice: Client) -> None:
    """basic.publish is parsed by hand and takes any octets; a reply text is always UTF-8."""
    arguments = b"\0\0\x02\xff\xfe\x01q\0"
    publish = wire.method_frame(1, Basic.Publish.index, arguments)
    alice.feed(publish + wire.content_header(1, 0))
    ((channel, close),) = alice.receive_all()
    assert isinstance(close, Channel.Close | Connection.Close)
    assert (channel, close.reply_code) in ((1, ReplyCode.NOT_FOUND), (0, ReplyCode.FRAME_ERROR))


def test_a_routing_key_may_be_any_octets(alice: Client) -> None:
    arguments = b"\0\0\0\x02\xff\xfe\x01"
    publish = wire.method_frame(1, Basic.Publish.index, arguments)
    alice.reads = False
    alice.feed(publish + wire.content_header(1, 0))
    (back, *_) = wire.frames_in(alice.connection.session.take_output())
    assert b"NO_ROUTE\0\x02\xff\xfe" in back


def test_a_method_without_content_needs_no_ticket(alice: Client) -> None:
    """Reserved fields may hold anything, as in RabbitMQ."""
    alice.feed(wire.method_frame(1, Queue.Declare.index, b"\xff\xff\x01q\xe0\0\0\0\0"))
    alice.expect(1, Queue.DeclareOk("q", 0, 0))
    alice.send(1, Queue.Declare(queue="q", passive=True))
    alice.expect(1, Queue.DeclareOk("q", 0, 0))

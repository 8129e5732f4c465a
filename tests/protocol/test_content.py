"""Content: a method, a header, and any number of body frames."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Connection, Queue

from leveret.config import Amqp, Config
from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, got

PUBLISH = wire.method_frames(1, Basic.Publish(routing_key="q"))


@pytest.fixture
def consumer(harness: Harness) -> Client:
    """A client with the queue `q`, and the consumer `c` of it on channel 9."""
    client = harness.open_client(1, 2, 9)
    client.declare(9, "q")
    client.consume(9, "q", "c", no_ack=True)
    return client


@pytest.mark.parametrize(
    "parts",
    [
        [b"whole"],
        [b"in ", b"several ", b"frames"],
        [b"", b"an empty", b"", b" frame", b"", b""],
        [b"x"] * 100,
        [b"a" * 131_064, b"b"],
    ],
)
def test_body_frames_are_put_together(consumer: Client, parts: list[bytes]) -> None:
    body = b"".join(parts)
    while parts and not parts[-1]:
        parts.pop()
    frames = b"".join(wire.content_body(1, part) for part in parts)
    consumer.feed(PUBLISH + wire.content_header(1, len(body)) + frames)
    consumer.expect_delivery(9, "c", 1, body)


def test_an_empty_body_has_no_frame(consumer: Client) -> None:
    consumer.feed(PUBLISH + wire.content_header(1, 0))
    content = consumer.expect_content(9)
    assert (content.body, content.frames) == (b"", ())


def test_a_body_frame_behind_an_empty_body_is_unexpected(consumer: Client) -> None:
    consumer.feed(PUBLISH + wire.content_header(1, 0) + wire.content_body(1, b""))
    consumer.expect_delivery(9, "c", 1, b"")
    consumer.expect_error(
        0,
        ReplyCode.UNEXPECTED_FRAME,
        "expected method frame, got non method frame instead",
    )


def test_channels_may_send_contents_at_the_same_time(consumer: Client) -> None:
    def frames(channel: int, *parts: bytes) -> list[bytes]:
        return [
            wire.method_frames(channel, Basic.Publish(routing_key="q")),
            wire.content_header(channel, sum(map(len, parts))),
            *(wire.content_body(channel, part) for part in parts),
        ]

    one = frames(1, b"one ", b"on ", b"channel 1")
    two = frames(2, b"two ", b"on ", b"channel 2")
    mixed = [octets for pair in zip(one, two, strict=True) for octets in pair]
    consumer.feed(b"".join(mixed))
    consumer.expect_delivery(9, "c", 1, b"one on channel 1")
    consumer.expect_delivery(9, "c", 2, b"two on channel 2")


def test_methods_of_other_channels_and_heartbeats_may_come_between(consumer: Client) -> None:
    consumer.feed(PUBLISH + wire.HEARTBEAT + wire.content_header(1, 4))
    consumer.declare(2, "r")
    consumer.feed(wire.content_body(1, b"ha") + wire.HEARTBEAT + wire.content_body(1, b"lf"))
    consumer.expect_delivery(9, "c", 1, b"half")


PROPERTIES = [
    Basic.Properties(content_type="text/plain", delivery_mode=2),
    Basic.Properties(headers={"a": 1, "b": "x", "c": {"d": [True, None]}}, priority=9),
    Basic.Properties(
        content_encoding="gzip",
        correlation_id="c",
        reply_to="r",
        expiration="1000",
        message_id="m",
        message_type="t",
        user_id="guest",
        app_id="a",
    ),
]


@pytest.mark.parametrize("properties", PROPERTIES)
def test_properties_reach_the_consumer_as_they_were_sent(
    consumer: Client, properties: Basic.Properties
) -> None:
    consumer.publish(1, "q", b"x", properties=properties)
    consumer.expect_delivery(9, "c", 1, b"x", properties=properties)


def test_properties_are_each_messages_own(consumer: Client) -> None:
    """The last header is remembered, as publishers mostly repeat it."""
    for number, priority in enumerate((1, 1, 2, 1), 1):
        properties = Basic.Properties(priority=priority)
        consumer.publish(1, "q", b"x", properties=properties)
        consumer.expect_delivery(9, "c", number, b"x", properties=properties)
    consumer.publish(1, "q", b"y")
    consumer.expect_delivery(9, "c", 5, b"y")


@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 8176, 8177, 100_000])
@pytest.mark.parametrize("how", ["delivered", "got", "returned"])
def test_frames_are_no_larger_than_the_receiver_takes(
    harness: Harness, size: int, how: str
) -> None:
    body = bytes(octet & 0xFF for octet in range(size))
    small = harness.open_client(1, frame_max=4096)
    large = harness.open_client(1)
    small.declare(1, "q")
    if how == "returned":
        small.publish(1, "missing", body, mandatory=True, cut_at=4088)
    else:
        large.publish(1, "q", body, cut_at=131_064)
    if how == "delivered":
        small.consume(1, "q", "c", no_ack=True)
    elif how == "got":
        small.send(1, Basic.Get(queue="q", no_ack=True))
    content = small.expect_content(1)
    assert content.body == body
    whole, rest = divmod(size, 4088)
    assert content.frames == (4088,) * whole + ((rest,) if rest else ())


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(1, 2000))
def test_any_cut_of_a_body_gives_the_same_message(parts: list[bytes], slice_bytes: int) -> None:
    harness = Harness()
    client = harness.open_client(1)
    client.declare(1, "q")
    body = b"".join(parts)
    while parts and not parts[-1]:
        parts.pop()
    frames = b"".join(wire.content_body(1, part) for part in parts)
    client.feed(PUBLISH + wire.content_header(1, len(body)) + frames, slice_bytes)
    client.send(1, Basic.Get(queue="q", no_ack=True))
    client.expect(1, got(1, body))
    harness.close()


# --- what may not come -----------------------------------------------------------------------

NOT_A_METHOD = "expected method frame, got non method frame instead"
NOT_A_HEADER = "expected content header for class 60, got non content header frame instead"
NOT_A_BODY = "expected content body, got non content body frame instead"
QUEUE_HEADER = wire.frame(wire.HEADER, 1, b"\0\x32\0\0" + bytes(8) + b"\0\0")
WEIGHTY_HEADER = wire.frame(wire.HEADER, 1, b"\0\x3c\0\x01" + bytes(8) + b"\0\0")
HALF = PUBLISH + wire.content_header(1, 10) + wire.content_body(1, b"half")


@pytest.mark.parametrize(
    ("octets", "text", "about"),
    [
        (wire.content_body(1, b"x"), NOT_A_METHOD, None),
        (wire.content_header(1, 1), NOT_A_METHOD, None),
        (wire.content_body(7, b"x"), NOT_A_METHOD, None),
        (wire.content_header(7, 1), NOT_A_METHOD, None),
        (PUBLISH + wire.content_body(1, b"x"), NOT_A_HEADER, Basic.Publish),
        (PUBLISH + wire.method_frames(1, Channel.Flow(True)), NOT_A_HEADER, Basic.Publish),
        (PUBLISH + PUBLISH, NOT_A_HEADER, Basic.Publish),
        (PUBLISH + wire.method_frames(1, Basic.Ack(1)), NOT_A_HEADER, Basic.Publish),
        (PUBLISH + WEIGHTY_HEADER, NOT_A_HEADER, Basic.Publish),
        (
            PUBLISH + QUEUE_HEADER,
            "expected content header for class 60, got one for class 50 instead",
            Basic.Publish,
        ),
        (HALF + wire.method_frames(1, Channel.Flow(True)), NOT_A_BODY, Basic.Publish),
        (HALF + PUBLISH, NOT_A_BODY, Basic.Publish),
        (HALF + wire.content_header(1, 10), NOT_A_BODY, Basic.Publish),
        (
            wire.content_body(0, b"x"),
            'type 3, all octets = <<"x">>',
            None,
        ),
        (
            wire.frame(wire.HEADER, 0, b"y" * 14),
            'type 2, all octets = <<"yyyyyyyyyyyyyy">>',
            None,
        ),
    ],
)
def test_a_frame_out_of_turn_is_unexpected(
    harness: Harness, octets: bytes, text: str, about: type[Frame] | None
) -> None:
    client = harness.open_client(1)
    client.declare(1, "q")
    client.feed(octets)
    client.expect_error(0, ReplyCode.UNEXPECTED_FRAME, text, about)
    assert harness.queue("q").message_count() == 0


@pytest.mark.parametrize("parts", [[b"123456"], [b"123", b"456"], [b"12345678"] * 2])
def test_a_body_longer_than_announced_closes_the_connection(
    harness: Harness, alice: Client, parts: list[bytes]
) -> None:
    alice.declare(1, "q")
    bodies = b"".join(wire.content_body(1, part) for part in parts)
    alice.feed(PUBLISH + wire.content_header(1, 5) + bodies)
    alice.expect_error(
        0,
        ReplyCode.FRAME_ERROR,
        "content body frame exceeds remaining content size",
        Basic.Publish,
    )
    assert harness.queue("q").message_count() == 0


@pytest.mark.parametrize("size", [1001, 10**12, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_message_larger_than_allowed_is_refused_at_its_header(size: int) -> None:
    harness = Harness(Config(amqp=Amqp(max_message_size=1000)))
    client = harness.open_client(1, 2)
    client.declare(2, "q")
    client.publish(2, "q", bytes(1000))
    header = wire.frame(wire.HEADER, 1, b"\0\x3c\0\0" + size.to_bytes(8, "big") + b"\0\0")
    client.feed(PUBLISH + header + wire.content_body(1, b"in flight"))
    client.expect_error(
        1,
        ReplyCode.PRECONDITION_FAILED,
        f"message size {size} is larger than configured max size 1000",
        Basic.Publish,
    )
    client.send(2, Queue.Declare(queue="q", passive=True))
    client.expect(2, Queue.DeclareOk("q", 1, 0))
    harness.close()


@pytest.mark.parametrize(
    "properties",
    [
        b"",
        b"\x80\x00",
        b"\x80\x00\x05text",
        b"\x80\x00\x04textmore",
        b"\x20\x00\0\0\0\x03\x01k?",
        b"\x20\x00\0\0\0\x05\x01kI\0\0",
        b"\x00\x01\x00\x00",
        b"\x10\x00",
    ],
)
def test_malformed_properties_close_the_connection_and_reach_nobody(
    harness: Harness, consumer: Client, properties: bytes
) -> None:
    header = wire.frame(wire.HEADER, 1, b"\0\x3c\0\0" + bytes(8) + properties)
    consumer.feed(PUBLISH + header)
    close = consumer.expect_method(0, Connection.Close)
    assert close.reply_code in (ReplyCode.SYNTAX_ERROR, ReplyCode.FRAME_ERROR)
    assert harness.queue("q").message_count() == 0


def test_unused_property_flags_are_no_matter(consumer: Client) -> None:
    header = wire.frame(wire.HEADER, 1, b"\0\x3c\0\0" + bytes(8) + b"\x00\x02")
    consumer.feed(PUBLISH + header)
    assert consumer.expect_content(9).body == b""


def test_a_large_header_counts_until_its_content_is_complete_and_is_not_kept(
    consumer: Client,
) -> None:
    """A connection may have thousands of channels, with a header of a whole frame each."""
    header = wire.content_header(1, 2, Basic.Properties(headers={"x": "y" * 100_000}))
    connection = consumer.connection
    for _ in range(2):
        consumer.feed(PUBLISH + header + wire.content_body(1, b"1"))
        assert connection.held_memory(0).incomplete_bytes > 100_000
        consumer.feed(wire.content_body(1, b"2"))
        assert consumer.expect_content(9).body == b"12"
        assert connection.held_memory(0).incomplete_bytes == 0
        assert all(not channel.content.header for channel in connection.channels.by_number.values())

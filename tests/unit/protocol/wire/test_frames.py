"""The frames written by hand, read by pamqp."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librt.strings import BytesWriter
from pamqp.commands import Basic

from leveret.engine.values.message import Message
from leveret.protocol.wire import frames
from leveret.protocol.wire.output_parts import REFERRED_BODY_BYTES, OutputParts
from tests.protocol import wire
from tests.protocol.wire import Content

short_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
numbers = st.integers(0, 65_535)
tags = st.integers(0, 2**63 - 1)
frame_sizes = st.sampled_from([4096, 4097, 10_000, 131_072, 1_000_000])
bodies = st.one_of(
    st.binary(max_size=50),
    st.sampled_from([4087, 4088, 4089, 8176, 8177, 8191, 8192, 20_000, 131_065, 300_000]).map(
        lambda size: b"x" * size
    ),
)


def short(text: str) -> bytes:
    octets = text.encode()
    return bytes((len(octets),)) + octets


def written(write: Callable[[BytesWriter, OutputParts], None]) -> bytes:
    out, parts = BytesWriter(), OutputParts()
    write(out, parts)
    size = parts.size + len(out)
    octets = b"".join(parts.take(out))
    assert (len(octets), parts.size, len(out)) == (size, 0, 0)
    return octets


def message(exchange: str, key: str, body: bytes) -> Message:
    """A message with a content type and a priority."""
    header = wire.content_header(0, len(body), PROPERTIES)[7:-1]
    return Message(short(exchange) + short(key), header, body, False)


PROPERTIES = Basic.Properties(content_type="text/plain", priority=3)


def sizes(body: bytes, frame_max: int) -> tuple[int, ...]:
    whole, rest = divmod(len(body), frame_max - 8)
    return (frame_max - 8,) * whole + ((rest,) if rest else ())


def only_content(octets: bytes, channel: int) -> Content:
    ((number, content),) = wire.decode(octets)
    assert number == channel
    assert isinstance(content, Content)
    assert content.properties == PROPERTIES
    return content


@pytest.mark.parametrize("channel", [0, 1, 32_767, 32_768, 65_535])
def test_a_channel_number_keeps_its_octets(channel: int) -> None:
    number = int(frames.wire_number(channel))
    assert number.to_bytes(2, "big", signed=True) == channel.to_bytes(2, "big")


@settings(deadline=None)
@given(short_texts, tags, st.booleans(), short_texts, short_texts, bodies, numbers, frame_sizes)
def test_a_delivery_is_read_as_it_was_written(
    consumer: str,
    tag: int,
    redelivered: bool,
    exchange: str,
    key: str,
    body: bytes,
    channel: int,
    frame_max: int,
) -> None:
    octets = written(
        lambda out, parts: frames.write_deliver(
            out,
            parts,
            frames.DeliveryTemplate(),
            frames.wire_number(channel),
            short(consumer),
            tag,
            redelivered,
            message(exchange, key, body),
            frame_max,
        )
    )
    content = only_content(octets, channel)
    assert isinstance(content.method, Basic.Deliver)
    assert dict(content.method) == {
        "consumer_tag": consumer,
        "delivery_tag": tag,
        "redelivered": redelivered,
        "exchange": exchange,
        "routing_key": key,
    }
    assert (content.body, content.frames) == (body, sizes(body, frame_max))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.booleans()),
        max_size=12,
    ),
    numbers,
)
def test_deliveries_by_template_are_those_without(
    messages: list[tuple[int, int, int, bool]], channel: int
) -> None:
    """Messages with the same route and header objects, in any order, with bodies of sizes that
    their headers do not say as well."""
    routes = [short("") + short(key) for key in ("k", "l", "k" * 200)]
    headers = [wire.content_header(0, size)[7:-1] for size in (3, 3, 0)]
    number = frames.wire_number(channel)
    template = frames.DeliveryTemplate()
    for tag, (route, header, size, redelivered) in enumerate(messages):
        delivered = Message(routes[route], headers[header], b"b" * (size * 3), False)
        expected = by_template(frames.DeliveryTemplate(), number, tag, redelivered, delivered)
        assert by_template(template, number, tag, redelivered, delivered) == expected


def by_template(
    template: frames.DeliveryTemplate, number: int, tag: int, redelivered: bool, delivered: Message
) -> bytes:
    return written(
        lambda out, parts: frames.write_deliver(
            out, parts, template, number, short("c"), tag, redelivered, delivered, 4096
        )
    )


def test_a_message_like_the_two_before_is_written_by_template() -> None:
    template = frames.DeliveryTemplate()
    alike = message("x", "k", b"body")
    for expected in (0, 4, 4):
        by_template(template, frames.wire_number(1), 1, False, alike)
        assert template.size == expected


@settings(deadline=None)
@given(tags, st.booleans(), short_texts, bodies, st.integers(0, 2**31 - 1), numbers, frame_sizes)
def test_a_fetched_message_is_read_as_it_was_written(
    tag: int,
    redelivered: bool,
    key: str,
    body: bytes,
    left: int,
    channel: int,
    frame_max: int,
) -> None:
    octets = written(
        lambda out, parts: frames.write_get_ok(
            out,
            parts,
            frames.wire_number(channel),
            tag,
            redelivered,
            message("x", key, body),
            left,
            frame_max,
        )
    )
    content = only_content(octets, channel)
    assert isinstance(content.method, Basic.GetOk)
    assert dict(content.method) == {
        "delivery_tag": tag,
        "redelivered": redelivered,
        "exchange": "x",
        "routing_key": key,
        "message_count": left,
    }
    assert (content.body, content.frames) == (body, sizes(body, frame_max))


@settings(deadline=None)
@given(short_texts, short_texts, bodies, numbers, frame_sizes)
def test_a_return_is_read_as_it_was_written(
    exchange: str, key: str, body: bytes, channel: int, frame_max: int
) -> None:
    octets = written(
        lambda out, parts: frames.write_return(
            out, parts, frames.wire_number(channel), message(exchange, key, body), frame_max
        )
    )
    content = only_content(octets, channel)
    assert isinstance(content.method, Basic.Return)
    assert dict(content.method) == {
        "reply_code": 312,
        "reply_text": "NO_ROUTE",
        "exchange": exchange,
        "routing_key": key,
    }
    assert (content.body, content.frames) == (body, sizes(body, frame_max))


@settings(deadline=None)
@given(tags, st.booleans(), numbers)
def test_a_confirm_is_read_as_it_was_written(tag: int, multiple: bool, channel: int) -> None:
    octets = written(
        lambda out, _: frames.write_ack(out, frames.wire_number(channel), tag, multiple)
    )
    assert octets == wire.method_frames(channel, Basic.Ack(tag, multiple))


@pytest.mark.parametrize("size", [REFERRED_BODY_BYTES, 131_064, 200_000])
def test_a_large_body_is_not_copied(size: int) -> None:
    body = bytes(size)
    out, parts = BytesWriter(), OutputParts()
    frames.write_content(out, parts, frames.wire_number(1), message("", "k", body), 131_072)
    large = [part for part in parts.take(out) if len(part) > 100]
    assert sum(len(part) for part in large) == size
    for part in large:
        assert part is body or (isinstance(part, memoryview) and part.obj is body)


def test_a_small_body_leaves_in_the_same_write_as_its_frames() -> None:
    out, parts = BytesWriter(), OutputParts()
    body = bytes(REFERRED_BODY_BYTES - 1)
    frames.write_content(out, parts, frames.wire_number(1), message("", "k", body), 131_072)
    assert parts.size == 0
    assert len(out) > len(body)


def test_the_heartbeat_is_that_of_the_specification() -> None:
    assert wire.frame(8, 0, b"") == frames.HEARTBEAT


def test_the_numbers_of_the_hot_methods_are_pamqps() -> None:
    assert Basic.Publish.index == frames.BASIC_PUBLISH
    assert Basic.Return.index == frames.BASIC_RETURN
    assert Basic.Deliver.index == frames.BASIC_DELIVER
    assert Basic.GetOk.index == frames.BASIC_GET_OK
    assert Basic.Ack.index == frames.BASIC_ACK
    assert Basic.Reject.index == frames.BASIC_REJECT
    assert Basic.Nack.index == frames.BASIC_NACK

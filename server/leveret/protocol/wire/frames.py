"""The frames of the hot path, written by hand: deliveries, content, confirms.

A frame is type, channel and size, the payload, and the frame-end octet (AMQP 0-9-1, section
4.2.3). They are written to the output's writer; a large body becomes one of the parts that are sent
before what is in the writer (output_parts.py). Channel numbers come as `i16`, the way librt writes
them: 32,768 and up are negative there, and `wire_number` converts them. All other methods are
written by `methods.py`.
"""

from typing import Final

from librt.strings import BytesWriter, write_i16_be, write_i32_be, write_i64_be
from mypy_extensions import i16, i32, i64

from leveret.engine.values.message import Message
from leveret.limits import FRAME_MIN_SIZE, FRAME_OVERHEAD
from leveret.protocol.wire.output_parts import REFERRED_BODY_BYTES, OutputParts

FRAME_METHOD: Final = 1
FRAME_HEADER: Final = 2
FRAME_BODY: Final = 3
FRAME_HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE

ENVELOPE_BYTES: Final = 7
"""Octets of a frame before its payload: type, channel and size."""

CONNECTION_START_OK: Final = 0x000A000B
CONNECTION_CLOSE: Final = 0x000A0032
CONNECTION_CLOSE_OK: Final = 0x000A0033
CHANNEL_OPEN: Final = 0x0014000A
CHANNEL_CLOSE: Final = 0x00140028
CHANNEL_CLOSE_OK: Final = 0x00140029
BASIC_PUBLISH: Final = 0x003C0028
BASIC_RETURN: Final = 0x003C0032
BASIC_DELIVER: Final = 0x003C003C
BASIC_GET_OK: Final = 0x003C0047
BASIC_ACK: Final = 0x003C0050
BASIC_REJECT: Final = 0x003C005A
BASIC_NACK: Final = 0x003C0078

TEMPLATE_BODY_BYTES: Final = FRAME_MIN_SIZE - FRAME_OVERHEAD
"""Octets of a body up to which its delivery may be written by a template: it fits into one frame,
whatever the frame-max. With larger ones a template makes no difference."""

TEMPLATE_BYTES: Final = 1024
"""Octets of route and header up to which a channel keeps a template."""

NO_ROUTE_REPLY: Final = b"\x01\x38\x08NO_ROUTE"
"""Reply code 312 and its text, as basic.return begins."""

HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"


def wire_number(channel: int) -> i16:
    """A channel number, 0 to 65,535, as the signed integer with the same two octets."""
    return i16(channel - 0x10000 if channel >= 0x8000 else channel)


class DeliveryTemplate:
    """What the deliveries of one channel have between delivery tag and body.

    Most messages of a publisher differ in their body only: they have the same route and header, as
    the same objects. What these become is encoded once, when they are delivered for the second
    time.
    """

    def __init__(self) -> None:
        self.route = b""
        self.header = b""
        self.size: i64 = 0
        """Octets of the bodies; 0 while only the objects are known."""
        self.octets = b""

    def learn(self, channel: i16, message: Message) -> None:
        """Have the next messages like this one written quickly, if they are to be expected."""
        route, header = message.route, message.header
        size: i64 = len(message.body)
        if size == 0 or size > TEMPLATE_BODY_BYTES or len(header) + len(route) > TEMPLATE_BYTES:
            return
        if header is not self.header or route is not self.route:
            self.route = route
            self.header = header
            self.size = 0
        else:
            out = BytesWriter()
            out.append(0)
            out.write(route)
            out.append(FRAME_END)
            _write_header(out, channel, header)
            _begin_body(out, channel, size)
            self.octets = out.getvalue()
            self.size = size


def write_deliver(
    out: BytesWriter,
    parts: OutputParts,
    template: DeliveryTemplate,
    channel: i16,
    consumer_tag: bytes,
    delivery_tag: i64,
    redelivered: bool,
    message: Message,
    frame_max: i64,
) -> None:
    """Write basic.deliver with its content; `consumer_tag` is a short string, length first."""
    route = message.route
    body = message.body
    if (
        message.header is template.header
        and route is template.route
        and len(body) == template.size
        and not redelivered
        and template.size != 0
    ):
        out.append(FRAME_METHOD)
        write_i16_be(out, channel)
        write_i32_be(out, i32(len(consumer_tag) + len(route) + 13))
        write_i32_be(out, BASIC_DELIVER)
        out.write(consumer_tag)
        write_i64_be(out, delivery_tag)
        out.write(template.octets)
        out.write(body)
        out.append(FRAME_END)
        return
    template.learn(channel, message)
    out.append(FRAME_METHOD)
    write_i16_be(out, channel)
    write_i32_be(out, i32(len(consumer_tag) + len(route) + 13))
    write_i32_be(out, BASIC_DELIVER)
    out.write(consumer_tag)
    write_i64_be(out, delivery_tag)
    out.append(1 if redelivered else 0)
    out.write(route)
    out.append(FRAME_END)
    write_content(out, parts, channel, message, frame_max)


def write_content(
    out: BytesWriter, parts: OutputParts, channel: i16, message: Message, frame_max: i64
) -> None:
    """Write the content header, and the body in frames of at most the peer's `frame_max`."""
    _write_header(out, channel, message.header)
    body = message.body
    size: i64 = len(body)
    payload_max = frame_max - FRAME_OVERHEAD
    if size >= REFERRED_BODY_BYTES and payload_max >= REFERRED_BODY_BYTES:
        _refer_to_body(out, parts, channel, body, payload_max)
    elif size <= payload_max:
        if size != 0:
            _write_body(out, channel, body)
    else:
        position: i64 = 0
        while position < size:
            _write_body(out, channel, body[position : position + payload_max])
            position += payload_max


def _write_header(out: BytesWriter, channel: i16, header: bytes) -> None:
    out.append(FRAME_HEADER)
    write_i16_be(out, channel)
    write_i32_be(out, i32(len(header)))
    out.write(header)
    out.append(FRAME_END)


def _write_body(out: BytesWriter, channel: i16, body: bytes) -> None:
    _begin_body(out, channel, len(body))
    out.write(body)
    out.append(FRAME_END)


def _begin_body(out: BytesWriter, channel: i16, size: i64) -> None:
    out.append(FRAME_BODY)
    write_i16_be(out, channel)
    write_i32_be(out, i32(size))


def _refer_to_body(
    out: BytesWriter, parts: OutputParts, channel: i16, body: bytes, payload_max: i64
) -> None:
    """As writing the body, in frames of at most `payload_max` octets, but without a copy."""
    size: i64 = len(body)
    if size <= payload_max:
        _begin_body(out, channel, size)
        parts.refer(out, body)
        out.append(FRAME_END)
        return
    octets = memoryview(body)
    position: i64 = 0
    while position < size:
        stop = min(position + payload_max, size)
        _begin_body(out, channel, stop - position)
        parts.refer(out, octets[position:stop])
        out.append(FRAME_END)
        position = stop


def write_return(
    out: BytesWriter, parts: OutputParts, channel: i16, message: Message, frame_max: i64
) -> None:
    """Write basic.return of a message that reached no queue, with its content."""
    _write_routed(out, channel, BASIC_RETURN, NO_ROUTE_REPLY, message.route, b"")
    write_content(out, parts, channel, message, frame_max)


def write_get_ok(
    out: BytesWriter,
    parts: OutputParts,
    channel: i16,
    delivery_tag: i64,
    redelivered: bool,
    message: Message,
    message_count: i64,
    frame_max: i64,
) -> None:
    """Write basic.get-ok with its content; `message_count` is how many remain in the queue."""
    before = BytesWriter()
    write_i64_be(before, delivery_tag)
    before.append(1 if redelivered else 0)
    after = BytesWriter()
    write_i32_be(after, i32(message_count & 0x7FFFFFFF))
    route = message.route
    _write_routed(out, channel, BASIC_GET_OK, before.getvalue(), route, after.getvalue())
    write_content(out, parts, channel, message, frame_max)


def _write_routed(
    out: BytesWriter, channel: i16, method: i32, before: bytes, route: bytes, after: bytes
) -> None:
    """Write a method with exchange and routing key among its arguments, as the message has them."""
    out.append(FRAME_METHOD)
    write_i16_be(out, channel)
    write_i32_be(out, i32(4 + len(before) + len(route) + len(after)))
    write_i32_be(out, method)
    out.write(before)
    out.write(route)
    out.write(after)
    out.append(FRAME_END)


def write_ack(out: BytesWriter, channel: i16, delivery_tag: i64, multiple: bool) -> None:
    """Write basic.ack, which confirms publishes (RabbitMQ: Publisher Confirms)."""
    out.append(FRAME_METHOD)
    write_i16_be(out, channel)
    write_i32_be(out, 13)
    write_i32_be(out, BASIC_ACK)
    write_i64_be(out, delivery_tag)
    out.append(1 if multiple else 0)
    out.append(FRAME_END)


def write_nack(out: BytesWriter, channel: i16, delivery_tag: i64) -> None:
    """Write basic.nack, which tells that one publish was refused (RabbitMQ: Publisher Confirms)."""
    out.append(FRAME_METHOD)
    write_i16_be(out, channel)
    write_i32_be(out, 13)
    write_i32_be(out, BASIC_NACK)
    write_i64_be(out, delivery_tag)
    out.append(0)
    out.append(FRAME_END)

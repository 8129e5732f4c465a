"""Frames that are broken, out of order or of the wrong kind, on an open connection."""

import struct

from pamqp import body, commands, frame, header, heartbeat

from leveret.errors import ReplyCode
from tests.parity.reasons import SURPLUS, UNREADABLE_METHOD, UNREADABLE_PROPERTIES
from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.transcript import connection_refused, got
from tests.support.wire import (
    BODY,
    FRAME_END,
    HEADER,
    HEARTBEAT,
    METHOD,
    long_string,
    raw_frame,
    raw_header,
    raw_method,
    raw_table,
    short_string,
    table,
)

Basic = commands.Basic
Connection = commands.Connection
Channel = commands.Channel
Queue = commands.Queue

PUBLISH = Basic.Publish(0, "", "nowhere")


@scenario()
def a_heartbeat_is_ignored(session: Session) -> None:
    client = session.connect()
    client.send(heartbeat.Heartbeat(), 0)
    client.drain()


@scenario()
def a_heartbeat_on_channel_1(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(HEARTBEAT, 1, b""))
    client.receive_until_closed()


@scenario()
def a_heartbeat_with_a_payload(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(HEARTBEAT, 0, b"x"))
    client.receive_until_closed()


@scenario()
def a_heartbeat_on_a_channel_that_is_not_open(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(HEARTBEAT, 7, b""))
    client.receive_until_closed()


@scenario()
def a_frame_larger_than_frame_max(session: Session) -> None:
    client = session.connect(tune_ok=Connection.TuneOk(2047, 4096, 0))
    client.raw(struct.pack(">BHI", BODY, 1, 5000) + b"\0" * 5000 + bytes([FRAME_END]))
    client.receive_until_closed()


@scenario()
def a_frame_one_byte_larger_than_frame_max(session: Session) -> None:
    client = session.connect(tune_ok=Connection.TuneOk(2047, 4096, 0))
    client.send(PUBLISH)
    client.send(header.ContentHeader(body_size=4089))
    client.raw(raw_frame(BODY, 1, b"x" * 4089))
    client.drain()


@scenario()
def a_frame_as_large_as_frame_max_is_accepted(session: Session) -> None:
    client = session.connect(tune_ok=Connection.TuneOk(2047, 4096, 0))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(Basic.Publish(0, "", "q"))
    client.send(header.ContentHeader(body_size=4088))
    client.raw(raw_frame(BODY, 1, b"x" * 4088))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def a_bad_frame_end_on_a_method(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(METHOD, 1, b"\x00\x3c\x00\x0a", end=0))
    client.receive_until_closed()


@scenario()
def a_bad_frame_end_on_a_body(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(header.ContentHeader(body_size=1))
    client.raw(raw_frame(BODY, 1, b"x", end=0x00))
    client.receive_until_closed()


@scenario()
def an_unknown_frame_type(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(4, 1, b"what"))
    client.receive_until_closed()


@scenario()
def an_unknown_frame_type_on_channel_0(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(0, 0, b""))
    client.receive_until_closed()


@scenario()
def a_method_frame_too_short_for_its_ids(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(METHOD, 1, b"\x00\x3c"))
    client.receive_until_closed()


@scenario()
def an_empty_method_frame(session: Session) -> None:
    client = session.connect()
    client.raw(raw_frame(METHOD, 1, b""))
    client.receive_until_closed()


@scenario(
    differs=UNREADABLE_METHOD,
    leveret=connection_refused(ReplyCode.COMMAND_INVALID, "unimplemented method", 99, 10),
)
def an_unknown_class(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 99, 10))
    client.receive_until_closed()


@scenario(
    differs=UNREADABLE_METHOD,
    leveret=connection_refused(ReplyCode.COMMAND_INVALID, "unimplemented method", 50, 99),
)
def an_unknown_method_of_a_known_class(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 50, 99))
    client.receive_until_closed()


@scenario(
    differs=UNREADABLE_METHOD,
    leveret=connection_refused(ReplyCode.COMMAND_INVALID, "unimplemented method", 10, 99),
)
def an_unknown_method_on_channel_0(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(0, 10, 99))
    client.receive_until_closed()


@scenario()
def a_servers_method_on_an_open_channel(session: Session) -> None:
    client = session.connect()
    client.send(Queue.DeclareOk("q", 0, 0))
    client.receive_until_closed()


@scenario()
def a_servers_deliver_on_an_open_channel(session: Session) -> None:
    client = session.connect()
    client.send(Basic.Deliver("t", 1, False, "", "q"))
    client.send(header.ContentHeader(body_size=0))
    client.receive_until_closed()


@scenario()
def arguments_cut_short(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 50, 10, b"\0\0" + b"\x05qu"))
    client.receive_until_closed()


@scenario()
def arguments_missing(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 60, 20))
    client.receive_until_closed()


@scenario()
def arguments_a_byte_too_long(session: Session) -> None:
    client = session.connect()
    payload = frame.marshal(Queue.Declare(0, "q", exclusive=True), 1)[7:-1]
    client.raw(raw_frame(METHOD, 1, payload + b"\0"))
    client.receive_until_closed()


@scenario()
def arguments_a_byte_too_long_for_a_method_without_arguments(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 90, 10, b"\0"))
    client.receive_until_closed()


@scenario()
def a_table_longer_than_its_frame(session: Session) -> None:
    client = session.connect()
    arguments = b"\0\0" + short_string("q") + b"\0" + struct.pack(">I", 100) + b"abc"
    client.raw(raw_method(1, 50, 10, arguments))
    client.receive_until_closed()


@scenario(
    differs=UNREADABLE_METHOD,
    leveret=connection_refused(
        ReplyCode.SYNTAX_ERROR, "queue.declare: unknown type b'?' in field table", 50, 10
    ),
)
def a_table_with_an_unknown_field_type(session: Session) -> None:
    client = session.connect()
    arguments = b"\0\0" + short_string("q") + b"\x04" + raw_table(("k", b"?", b"\0"))
    client.raw(raw_method(1, 50, 10, arguments))
    client.receive_until_closed()


@scenario(
    differs=UNREADABLE_METHOD,
    leveret=connection_refused(
        ReplyCode.SYNTAX_ERROR, "queue.declare: value out of bounds in field table", 50, 10
    ),
)
def a_table_with_a_cut_field(session: Session) -> None:
    client = session.connect()
    arguments = b"\0\0" + short_string("q") + b"\x04" + long_string(b"\x01kI\0\0")
    client.raw(raw_method(1, 50, 10, arguments))
    client.receive_until_closed()


@scenario()
def a_table_with_a_key_twice(session: Session) -> None:
    client = session.connect()
    fields = raw_table(("k", b"t", b"\0"), ("k", b"t", b"\x01"))
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q") + b"\x04" + fields))
    client.drain()


@scenario()
def a_table_nested_deeply_is_accepted(session: Session) -> None:
    client = session.connect()
    value = table({})
    for _ in range(40):
        value = raw_table(("k", b"F", value))
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q") + b"\x04" + value))
    client.drain()


@scenario()
def unused_bits_of_a_method_are_ignored(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q") + b"\xe4" + table({})))
    client.drain()


@scenario()
def a_ticket_that_is_not_0_is_ignored(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 50, 10, b"\xff\xff" + short_string("q") + b"\x04" + table({})))
    client.drain()


@scenario(
    differs="`connection.close` names the method that caused it, here queue.declare (class 50, "
    "method 10); RabbitMQ names none.",
    leveret=connection_refused(ReplyCode.FRAME_ERROR, "Malformed UTF-8 in shortstr", 50, 10),
)
def a_name_that_is_not_utf8(session: Session) -> None:
    client = session.connect()
    arguments = b"\0\0" + short_string(b"\xff\xfe") + b"\x01" + table({})
    client.raw(raw_method(1, 50, 10, arguments))
    client.drain()


@scenario()
def a_body_without_a_method(session: Session) -> None:
    client = session.connect()
    client.send(body.ContentBody(b"x"))
    client.receive_until_closed()


@scenario()
def a_header_without_a_method(session: Session) -> None:
    client = session.connect()
    client.send(header.ContentHeader(body_size=1))
    client.receive_until_closed()


@scenario()
def a_method_instead_of_a_header(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(Basic.Qos(0, 1))
    client.receive_until_closed()


@scenario()
def a_method_instead_of_a_body(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(header.ContentHeader(body_size=1))
    client.send(Basic.Qos(0, 1))
    client.receive_until_closed()


@scenario()
def a_body_instead_of_a_header(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(body.ContentBody(b"x"))
    client.receive_until_closed()


@scenario()
def a_second_header_instead_of_a_body(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(header.ContentHeader(body_size=1))
    client.send(header.ContentHeader(body_size=1))
    client.receive_until_closed()


@scenario()
def a_header_of_another_class(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.raw(raw_header(1, 50, 0))
    client.receive_until_closed()


@scenario()
def a_header_cut_short(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.raw(raw_frame(HEADER, 1, b"\x00\x3c\0\0\0\0"))
    client.receive_until_closed()


@scenario()
def a_header_with_a_weight(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(Basic.Publish(0, "", "q"))
    client.raw(raw_frame(HEADER, 1, struct.pack(">HHQH", 60, 9, 0, 0)))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario(
    differs=UNREADABLE_PROPERTIES,
    leveret=[
        got(Queue.DeclareOk("q", 0, 0)),
        *connection_refused(
            ReplyCode.SYNTAX_ERROR,
            "malformed properties: property list of the wrong length",
            60,
            40,
        ),
    ],
)
def properties_cut_short(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(Basic.Publish(0, "", "q"))
    client.raw(raw_header(1, 60, 0, b"\x80\x00\x05ab"))
    client.receive_until_closed()


@scenario()
def properties_with_an_unknown_flag(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(Basic.Publish(0, "", "q"))
    client.raw(raw_header(1, 60, 0, b"\x00\x02"))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario(
    differs=UNREADABLE_PROPERTIES,
    leveret=[
        got(Queue.DeclareOk("q", 0, 0)),
        *connection_refused(
            ReplyCode.SYNTAX_ERROR,
            "malformed properties: property list of the wrong length",
            60,
            40,
        ),
    ],
)
def properties_followed_by_a_byte_too_many(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(Basic.Publish(0, "", "q"))
    client.raw(raw_header(1, 60, 0, b"\x10\x00\x02\x07"))
    client.receive_until_closed()


@scenario(
    differs=SURPLUS,
    leveret=connection_refused(
        ReplyCode.FRAME_ERROR, "content body frame exceeds remaining content size", 60, 40
    ),
)
def a_body_larger_than_declared(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(header.ContentHeader(body_size=3))
    client.send(body.ContentBody(b"four"))
    client.drain()


@scenario(
    differs=SURPLUS,
    leveret=connection_refused(
        ReplyCode.FRAME_ERROR, "content body frame exceeds remaining content size", 60, 40
    ),
)
def a_second_body_frame_larger_than_what_remains(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(header.ContentHeader(body_size=3))
    client.send(body.ContentBody(b"12"))
    client.send(body.ContentBody(b"34"))
    client.drain()


@scenario()
def a_body_frame_after_an_empty_content(session: Session) -> None:
    client = session.connect()
    client.send(PUBLISH)
    client.send(header.ContentHeader(body_size=0))
    client.send(body.ContentBody(b""))
    client.receive_until_closed()


@scenario()
def empty_body_frames_within_a_content(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(Basic.Publish(0, "", "q"))
    client.send(header.ContentHeader(body_size=2))
    for piece in (b"", b"a", b"", b"b"):
        client.send(body.ContentBody(piece))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def a_heartbeat_within_a_content_is_ignored(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(Basic.Publish(0, "", "q"))
    client.send(heartbeat.Heartbeat(), 0)
    client.send(header.ContentHeader(body_size=1))
    client.send(heartbeat.Heartbeat(), 0)
    client.send(body.ContentBody(b"x"))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def contents_of_two_channels_interleave(session: Session) -> None:
    client = session.connect()
    client.open(2)
    client.do(Queue.Declare(0, "q", exclusive=True))
    for channel in (1, 2):
        client.send(Basic.Publish(0, "", "q"), channel)
    for channel in (2, 1):
        client.send(header.ContentHeader(body_size=2), channel)
    for channel in (1, 2, 1, 2):
        client.send(body.ContentBody(str(channel).encode()), channel)
    client.drain("q", ch=1)
    client.drain("q", ch=2)
    client.do(Queue.Purge(0, "q"))


@scenario()
def a_body_of_many_frames_is_cut_for_a_smaller_frame_max(session: Session) -> None:
    publisher = session.connect("a")
    publisher.do(Queue.Declare(0, "q"))
    publisher.publish("", "q", bytes(range(256)) * 800)
    publisher.drain("q")
    consumer = session.connect("b", tune_ok=Connection.TuneOk(2047, 4096, 0))
    consumer.do(Basic.Get(0, "q", True))


@scenario()
def a_frame_on_a_channel_never_opened(session: Session) -> None:
    client = session.connect()
    client.send(Queue.Declare(0, "q"), 5)
    client.receive_until_closed()


@scenario()
def a_header_on_a_channel_never_opened(session: Session) -> None:
    client = session.connect()
    client.send(header.ContentHeader(body_size=1), 5)
    client.receive_until_closed()


@scenario()
def a_body_on_channel_0(session: Session) -> None:
    client = session.connect()
    client.send(body.ContentBody(b"x"), 0)
    client.receive_until_closed()


@scenario()
def a_header_on_channel_0(session: Session) -> None:
    client = session.connect()
    client.send(header.ContentHeader(body_size=1), 0)
    client.receive_until_closed()


@scenario()
def a_malformed_method_on_a_channel_never_opened(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(5, 50, 10, b"\0"))
    client.receive_until_closed()

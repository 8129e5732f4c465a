"""Protocol headers, connection.start to connection.open, and what a server refuses on the way."""

from pamqp import commands, header, heartbeat

from leveret.errors import ReplyCode
from tests.parity.reasons import CLOSED_EARLY, REASON_BEFORE_LOGIN
from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.transcript import connection_refused, got
from tests.support.wire import (
    CAPABILITIES,
    FRAME_END,
    METHOD,
    PROTOCOL_HEADER,
    connection_close,
    long_string,
    make_start_ok,
    raw_frame,
    raw_method,
    short_string,
    table,
)

Connection = commands.Connection
Channel = commands.Channel
Queue = commands.Queue


def greeted(session: Session) -> Client:
    """A client that has read connection.start."""
    client = session.open_socket()
    with session.unrecorded():
        client.raw(PROTOCOL_HEADER)
        client.receive_until(Connection.Start)
    return client


def tuning(session: Session) -> Client:
    """A client that has read connection.tune."""
    client = greeted(session)
    with session.unrecorded():
        client.send(make_start_ok(), 0)
        client.receive_until(Connection.Tune)
    return client


def tuned(session: Session) -> Client:
    """A client that has sent a tune-ok the server accepts."""
    client = tuning(session)
    with session.unrecorded():
        client.send(Connection.TuneOk(2047, 131_072, 0), 0)
    return client


def start_ok_bytes(mechanism: str, response: bytes) -> bytes:
    """A start-ok whose response is any bytes."""
    properties = table({"capabilities": CAPABILITIES})
    arguments = properties + short_string(mechanism) + long_string(response) + short_string("en_US")
    return raw_method(0, 10, 11, arguments)


@scenario()
def the_whole_handshake(session: Session) -> None:
    client = session.open_socket()
    client.raw(PROTOCOL_HEADER)
    client.receive_until(Connection.Start)
    client.send(make_start_ok(), 0)
    client.receive_until(Connection.Tune)
    client.send(Connection.TuneOk(2047, 131_072, 0), 0)
    client.send(Connection.Open("/"), 0)
    client.receive_until(Connection.OpenOk)
    client.open(1)
    client.send(connection_close(), 0)
    client.receive_until(Connection.CloseOk)


@scenario()
def header_of_0_9_is_taken_for_0_9_1(session: Session) -> None:
    client = session.open_socket()
    client.raw(b"AMQP\x01\x01\x00\x09")
    client.receive_until(Connection.Start)


@scenario(
    differs="A client that asks for AMQP 0-8 gets the protocol header of 0-9-1 and is "
    "disconnected; RabbitMQ speaks 0-8, too.",
    leveret=[got(header.ProtocolHeader(), 0), "a < closed"],
)
def header_of_0_8(session: Session) -> None:
    client = session.open_socket()
    client.raw(b"AMQP\x01\x01\x08\x00")
    client.receive_until(Connection.Start)


@scenario()
def header_of_0_10_is_answered_with_ours(session: Session) -> None:
    client = session.open_socket()
    client.raw(b"AMQP\x01\x01\x00\x0a")
    client.receive_until_closed()


@scenario()
def header_of_1_0_is_answered_with_ours(session: Session) -> None:
    client = session.open_socket()
    client.raw(b"AMQP\x00\x01\x00\x00")
    client.receive_until_closed()


@scenario()
def header_of_an_unknown_version_is_answered_with_ours(session: Session) -> None:
    client = session.open_socket()
    client.raw(b"AMQP\x00\x00\x09\x02")
    client.receive_until_closed()


@scenario()
def bytes_that_are_no_header_are_answered_with_ours(session: Session) -> None:
    client = session.open_socket()
    client.raw(b"ABCDEFGH")
    client.receive_until_closed()


@scenario()
def an_http_request_is_answered_with_our_header(session: Session) -> None:
    client = session.open_socket()
    client.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.receive_until_closed()


@scenario()
def a_tls_hello_is_answered_with_our_header(session: Session) -> None:
    client = session.open_socket()
    client.raw(bytes.fromhex("160301010001000100fc0303"))
    client.receive_until_closed()


@scenario()
def amqplain_logs_in(session: Session) -> None:
    client = greeted(session)
    client.raw(start_ok_bytes("AMQPLAIN", table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]))
    client.receive_until(Connection.Tune)


@scenario()
def amqplain_with_a_wrong_password_is_403(session: Session) -> None:
    client = greeted(session)
    client.raw(start_ok_bytes("AMQPLAIN", table({"LOGIN": "guest", "PASSWORD": "no"})[4:]))
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.SYNTAX_ERROR, "response of the login mechanism is invalid", 10, 11
    ),
)
def amqplain_without_password(session: Session) -> None:
    client = greeted(session)
    client.raw(start_ok_bytes("AMQPLAIN", table({"LOGIN": "guest"})[4:]))
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.SYNTAX_ERROR, "response of the login mechanism is invalid", 10, 11
    ),
)
def amqplain_that_is_no_table(session: Session) -> None:
    client = greeted(session)
    client.raw(start_ok_bytes("AMQPLAIN", b"\x05LO"))
    client.receive_until_closed()


@scenario(
    differs="A PLAIN login may have an authorization identity before the user's name, as on "
    "RabbitMQ 4, and it is ignored; RabbitMQ 3.10 closes the socket.",
    leveret=[got(Connection.Tune(2047, 131_072, 60), 0)],
)
def plain_with_an_authorization_identity_logs_in(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(response="someone\x00guest\x00guest"), 0)
    client.receive_until(Connection.Tune)


@scenario()
def plain_with_a_wrong_password_is_403(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(response="\x00guest\x00wrong"), 0)
    client.receive_until_closed()


@scenario()
def plain_with_an_unknown_user_is_403(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(response="\x00nobody\x00guest"), 0)
    client.receive_until_closed()


@scenario()
def plain_with_an_empty_password_is_403(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(response="\x00guest\x00"), 0)
    client.receive_until_closed()


@scenario()
def a_failed_login_without_the_capability_is_a_hang_up(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(response="\x00guest\x00wrong", capabilities={}), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.SYNTAX_ERROR, "response of the login mechanism is invalid", 10, 11
    ),
)
def plain_that_is_malformed(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(response="guest"), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.SYNTAX_ERROR, "response of the login mechanism is invalid", 10, 11
    ),
)
def plain_with_one_part_too_many(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(response="\x00guest\x00guest\x00more"), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.COMMAND_INVALID, "unknown authentication mechanism 'MAGIC'", 10, 11
    ),
)
def an_unknown_mechanism(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(mechanism="MAGIC"), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.COMMAND_INVALID, "unknown authentication mechanism 'EXTERNAL'", 10, 11
    ),
)
def a_known_mechanism_that_is_not_offered(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(mechanism="EXTERNAL"), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.COMMAND_INVALID, "unknown authentication mechanism 'plain'", 10, 11
    ),
)
def a_mechanism_in_lower_case(session: Session) -> None:
    client = greeted(session)
    client.send(make_start_ok(mechanism="plain"), 0)
    client.receive_until_closed()


@scenario()
def an_unknown_locale_is_accepted(session: Session) -> None:
    client = greeted(session)
    start_ok = make_start_ok()
    start_ok.locale = "xx_XX"
    client.send(start_ok, 0)
    client.receive_until(Connection.Tune)


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.CHANNEL_ERROR, "unexpected method in connection state starting", 10, 40
    ),
)
def a_method_out_of_turn_before_login(session: Session) -> None:
    client = greeted(session)
    client.send(Connection.Open("/"), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.FRAME_ERROR, "type 65, all octets = <<>>: {frame_too_large,1342177289,8184}", 0, 0
    ),
)
def a_second_header_instead_of_start_ok(session: Session) -> None:
    client = greeted(session)
    client.raw(PROTOCOL_HEADER)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.CHANNEL_ERROR, "unexpected method in connection state starting", 20, 10
    ),
)
def a_channel_method_before_login(session: Session) -> None:
    client = greeted(session)
    client.send(Channel.Open(), 1)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.FRAME_ERROR, "type 1, all octets = <<>>: {frame_too_large,9004,8184}", 0, 0
    ),
)
def a_start_ok_larger_than_the_frames_before_login(session: Session) -> None:
    client = greeted(session)
    client.raw(raw_frame(METHOD, 0, b"\x00\x0a\x00\x0b" + b"\0" * 9000))
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.FRAME_ERROR,
        "type 1, all octets = <<0,10,0,11>>: {invalid_frame_end_marker,205}",
        0,
        0,
    ),
)
def a_bad_frame_end_before_login(session: Session) -> None:
    client = greeted(session)
    client.raw(raw_frame(METHOD, 0, b"\x00\x0a\x00\x0b", end=FRAME_END - 1))
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(ReplyCode.FRAME_ERROR, "cannot decode <<0,0,0,0>>", 10, 11),
)
def a_truncated_start_ok(session: Session) -> None:
    client = greeted(session)
    client.raw(raw_method(0, 10, 11, table({})))
    client.receive_until_closed()


@scenario()
def a_heartbeat_before_login_is_ignored(session: Session) -> None:
    client = greeted(session)
    client.send(heartbeat.Heartbeat(), 0)
    client.send(make_start_ok(), 0)
    client.receive_until(Connection.Tune)


@scenario()
def capabilities_of_the_wrong_type(session: Session) -> None:
    client = greeted(session)
    start_ok = make_start_ok()
    start_ok.client_properties["capabilities"] = "all"
    client.send(start_ok, 0)
    client.receive_until(Connection.Tune)


@scenario()
def tune_ok_with_smaller_values_is_accepted(session: Session) -> None:
    client = tuning(session)
    client.send(Connection.TuneOk(10, 4096, 0), 0)
    client.send(Connection.Open("/"), 0)
    client.receive_until(Connection.OpenOk)


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.NOT_ALLOWED,
        "negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)",
        10,
        31,
    ),
)
def tune_ok_with_frame_max_0(session: Session) -> None:
    client = tuning(session)
    client.send(Connection.TuneOk(2047, 0, 0), 0)
    client.send(Connection.Open("/"), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.NOT_ALLOWED,
        "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
        10,
        31,
    ),
)
def tune_ok_with_frame_max_below_the_minimum(session: Session) -> None:
    client = tuning(session)
    client.send(Connection.TuneOk(2047, 4095, 0), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.NOT_ALLOWED,
        "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        10,
        31,
    ),
)
def tune_ok_with_frame_max_above_the_servers(session: Session) -> None:
    client = tuning(session)
    client.send(Connection.TuneOk(2047, 131_073, 0), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.NOT_ALLOWED,
        "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        10,
        31,
    ),
)
def tune_ok_with_channel_max_0(session: Session) -> None:
    client = tuning(session)
    client.send(Connection.TuneOk(0, 131_072, 0), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.NOT_ALLOWED,
        "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
        10,
        31,
    ),
)
def tune_ok_with_channel_max_above_the_servers(session: Session) -> None:
    client = tuning(session)
    client.send(Connection.TuneOk(2048, 131_072, 0), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.CHANNEL_ERROR, "unexpected method in connection state tuning", 10, 40
    ),
)
def open_before_tune_ok(session: Session) -> None:
    client = tuning(session)
    client.send(Connection.Open("/"), 0)
    client.receive_until_closed()


@scenario(
    differs=REASON_BEFORE_LOGIN,
    leveret=connection_refused(
        ReplyCode.CHANNEL_ERROR, "unexpected method in connection state tuning", 10, 11
    ),
)
def a_second_start_ok(session: Session) -> None:
    client = tuning(session)
    client.send(make_start_ok(), 0)
    client.receive_until_closed()


@scenario()
def open_of_a_missing_vhost(session: Session) -> None:
    client = tuned(session)
    client.send(Connection.Open("nowhere"), 0)
    client.receive_until_closed()


@scenario()
def open_of_an_empty_vhost(session: Session) -> None:
    client = tuned(session)
    client.send(Connection.Open(""), 0)
    client.receive_until_closed()


@scenario()
def a_channel_method_before_open(session: Session) -> None:
    client = tuned(session)
    client.send(Channel.Open(), 1)
    client.receive_until_closed()


@scenario(
    differs=CLOSED_EARLY,
    leveret=[got(Connection.CloseOk(), 0)],
)
def close_before_open(session: Session) -> None:
    client = tuned(session)
    client.send(connection_close("changed my mind"), 0)
    client.receive_until(Connection.CloseOk)


@scenario(
    differs=CLOSED_EARLY,
    leveret=[got(Connection.CloseOk(), 0), "a < closed"],
)
def close_before_start_ok(session: Session) -> None:
    client = greeted(session)
    client.send(connection_close("changed my mind"), 0)
    client.receive_until_closed()


@scenario()
def a_second_connection_open(session: Session) -> None:
    client = session.connect()
    client.send(Connection.Open("/"), 0)
    client.receive_until_closed()


@scenario()
def a_start_ok_after_open(session: Session) -> None:
    client = session.connect()
    client.send(make_start_ok(), 0)
    client.receive_until_closed()


@scenario()
def an_unasked_connection_close_ok(session: Session) -> None:
    client = session.connect()
    client.send(Connection.CloseOk(), 0)
    client.receive_until_closed()


@scenario()
def a_servers_method_on_channel_0(session: Session) -> None:
    client = session.connect()
    client.send(Connection.OpenOk(), 0)
    client.receive_until_closed()


@scenario()
def a_channel_method_on_channel_0(session: Session) -> None:
    client = session.connect()
    client.send(Channel.Open(), 0)
    client.receive_until_closed()


@scenario()
def a_queue_method_on_channel_0(session: Session) -> None:
    client = session.connect()
    client.send(Queue.Declare(0, "q"), 0)
    client.receive_until_closed()


@scenario()
def a_connection_method_on_channel_1(session: Session) -> None:
    client = session.connect()
    client.send(connection_close("wrong channel"), 1)
    client.receive_until_closed()


@scenario()
def update_secret_with_plain_credentials(session: Session) -> None:
    client = session.connect()
    client.send(Connection.UpdateSecret("new", "because"), 0)
    client.receive_until(Connection.UpdateSecretOk)
    client.drain()


@scenario()
def close_with_channels_open_and_messages_unsettled(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    client.publish("", "q", b"one")
    client.drain("q")
    client.do(commands.Basic.Get(0, "q"))
    client.send(connection_close(), 0)
    client.receive_until(Connection.CloseOk)
    other = session.connect("b")
    other.do(commands.Basic.Get(0, "q", True))


@scenario()
def an_exclusive_queue_is_gone_before_close_ok(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.send(connection_close(), 0)
    client.receive_until(Connection.CloseOk)
    other = session.connect("b")
    other.do(Queue.Declare(0, "q", passive=True))

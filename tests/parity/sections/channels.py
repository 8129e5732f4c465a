"""Channels: open, close, reopen, flow, access.request, and what a closed channel ignores."""

from pamqp import commands

from leveret.errors import ReplyCode
from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.transcript import channel_refused, got
from tests.support.wire import channel_close, long_string, raw_method, short_string

Basic = commands.Basic
Connection = commands.Connection
Channel = commands.Channel
Exchange = commands.Exchange
Queue = commands.Queue


@scenario()
def open_and_close_and_open_again(session: Session) -> None:
    client = session.connect()
    client.open(9)
    client.send(channel_close(), 9)
    client.receive_until(Channel.CloseOk)
    client.open(9)
    client.do(Queue.Declare(0, "q", exclusive=True), ch=9)


@scenario()
def a_second_open(session: Session) -> None:
    client = session.connect()
    client.send(Channel.Open())
    client.receive_until_closed()


@scenario()
def close_of_a_channel_never_opened(session: Session) -> None:
    client = session.connect()
    client.send(channel_close(), 5)
    client.receive_until_closed()


@scenario()
def close_ok_on_a_channel_never_opened(session: Session) -> None:
    client = session.connect()
    client.send(Channel.CloseOk(), 5)
    client.receive_until_closed()


@scenario()
def an_unasked_close_ok_on_an_open_channel(session: Session) -> None:
    client = session.connect()
    client.send(Channel.CloseOk())
    client.receive_until_closed()


@scenario()
def the_highest_channel_number_is_accepted(session: Session) -> None:
    client = session.connect(tune_ok=Connection.TuneOk(100, 131_072, 0))
    client.open(100)
    client.do(Queue.Declare(0, "q", exclusive=True), ch=100)


@scenario()
def a_channel_number_above_channel_max(session: Session) -> None:
    client = session.connect(tune_ok=Connection.TuneOk(100, 131_072, 0))
    client.open(101)
    client.drain(ch=101)


@scenario()
def more_channels_than_channel_max(session: Session) -> None:
    client = session.connect(tune_ok=Connection.TuneOk(2, 131_072, 0))
    client.open(2)
    client.send(Channel.Open(), 3)
    client.receive_until_closed()


@scenario()
def a_method_that_is_not_open_on_a_number_above_channel_max(session: Session) -> None:
    client = session.connect(tune_ok=Connection.TuneOk(100, 131_072, 0))
    client.send(Queue.Declare(0, "q"), 101)
    client.receive_until_closed()


@scenario()
def flow_true_is_answered(session: Session) -> None:
    client = session.connect()
    client.send(Channel.Flow(True))
    client.receive_until(Channel.FlowOk)


@scenario()
def flow_false_is_not_implemented(session: Session) -> None:
    client = session.connect()
    client.send(Channel.Flow(False))
    client.receive_until_closed()


@scenario()
def an_unasked_flow_ok(session: Session) -> None:
    client = session.connect()
    client.send(Channel.FlowOk(True))
    client.receive_until_closed()


@scenario()
def access_request_is_answered_with_ticket_1(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 30, 10, short_string("/data") + b"\x1f"))
    client.drain()


@scenario()
def a_channel_error_leaves_other_channels_alone(session: Session) -> None:
    client = session.connect()
    client.open(2)
    client.do(Queue.Declare(0, "q", exclusive=True), ch=2)
    client.do(Queue.Declare(0, "missing", passive=True), ch=1)
    client.publish("", "q", b"still here", ch=2)
    client.drain("q", ch=2)
    client.do(Basic.Get(0, "q", True), ch=2)


@scenario()
def a_channel_may_be_reopened_after_an_error(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "missing", passive=True))
    client.open(1)
    client.do(Queue.Declare(0, "q", exclusive=True))


@scenario()
def frames_are_ignored_between_close_and_close_ok(session: Session) -> None:
    client = session.connect()
    client.answers_channel_close = False
    client.do(Queue.Declare(0, "missing", passive=True))
    client.send(Queue.Declare(0, "q"))
    client.publish("", "q", b"ignored")
    client.send(Basic.Ack(17))
    client.send(Queue.DeclareOk("wrong", 0, 0))
    client.send(Channel.CloseOk())
    client.open(1)
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def a_close_that_crosses_the_servers_close_is_answered(session: Session) -> None:
    client = session.connect()
    client.answers_channel_close = False
    client.do(Queue.Declare(0, "missing", passive=True))
    client.send(channel_close())
    client.receive_until(Channel.CloseOk)


@scenario(
    differs="While Leveret waits for `channel.close-ok`, it ignores all other methods of the "
    "channel, as the specification says; RabbitMQ closes the connection if one of them is"
    " `channel.open`.",
    leveret=[
        *channel_refused(ReplyCode.NOT_FOUND, "no queue 'missing' in vhost '/'", 50, 10),
        got(Channel.OpenOk()),
    ],
)
def a_second_open_between_close_and_close_ok(session: Session) -> None:
    client = session.connect()
    client.answers_channel_close = False
    client.do(Queue.Declare(0, "missing", passive=True))
    client.send(Channel.Open())
    client.send(Channel.CloseOk())
    client.open(1)
    client.drain()


@scenario()
def open_before_the_servers_close_was_answered(session: Session) -> None:
    client = session.connect()
    client.answers_channel_close = False
    client.do(Queue.Declare(0, "missing", passive=True))
    client.open(2)
    client.do(Queue.Declare(0, "q", exclusive=True), ch=2)


@scenario()
def pipelined_methods_after_an_error_are_dropped(session: Session) -> None:
    client = session.connect()
    client.answers_channel_close = False
    client.send(Exchange.Declare(0, "missing", passive=True))
    client.send(Exchange.Declare(0, "x"))
    client.send(Queue.Declare(0, "q"))
    client.receive_until(Channel.Close)
    client.send(Channel.CloseOk())
    client.open(1)
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def closing_a_channel_requeues_what_it_had_not_settled(session: Session) -> None:
    client = session.connect()
    client.open(2)
    client.do(Queue.Declare(0, "q", exclusive=True))
    for content in (b"one", b"two"):
        client.publish("", "q", content)
    client.drain("q")
    client.do(Basic.Get(0, "q"), ch=2)
    client.do(Basic.Get(0, "q"), ch=2)
    client.send(channel_close(), 2)
    client.receive_until(Channel.CloseOk)
    client.drain("q")
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q", True))


@scenario()
def the_reply_text_of_a_close_is_any_string(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 20, 40, b"\x00\x00" + short_string("x" * 255) + b"\0\x3c\0\x0a"))
    client.receive_until(Channel.CloseOk)


@scenario()
def channel_open_with_an_out_of_band_string(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(2, 20, 10, short_string("whatever")))
    client.receive_until(Channel.OpenOk)


@scenario()
def a_connection_error_on_a_channel_closes_the_connection(session: Session) -> None:
    client = session.connect()
    client.open(2)
    client.send(Channel.Flow(False), 2)
    client.receive_until_closed()


@scenario()
def a_long_string_where_a_method_has_none(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 20, 20, long_string("flow")))
    client.receive_until_closed()

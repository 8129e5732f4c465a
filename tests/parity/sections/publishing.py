"""Publishing: routing, returns, confirms, and what is checked in a message."""

import datetime
from decimal import Decimal

from pamqp import commands, common

from leveret.errors import ReplyCode
from tests.parity.reasons import UNREADABLE_PROPERTIES
from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.transcript import channel_refused, connection_refused
from tests.support.wire import raw_header, raw_table

Basic = commands.Basic
Confirm = commands.Confirm
Queue = commands.Queue


def with_queue(session: Session) -> Client:
    """A client with an exclusive queue q."""
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "q", exclusive=True))
    return client


def confirming(session: Session) -> Client:
    """A client with an exclusive queue q and confirms on."""
    client = with_queue(session)
    with session.unrecorded():
        client.do(Confirm.Select())
    return client


@scenario()
def to_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.publish("missing", "k", b"x")
    client.drain()


@scenario()
def to_the_default_exchange_with_an_unknown_key(session: Session) -> None:
    client = session.connect()
    client.publish("", "missing", b"x")
    client.drain()


@scenario()
def mandatory_to_the_default_exchange_with_an_unknown_key(session: Session) -> None:
    client = session.connect()
    client.publish("", "missing", b"x", mandatory=True)
    client.drain()


@scenario()
def mandatory_and_routed_is_not_returned(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"x", mandatory=True)
    client.drain("q")


@scenario()
def mandatory_to_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.publish("missing", "k", b"x", mandatory=True)
    client.drain()


@scenario()
def immediate_is_not_implemented(session: Session) -> None:
    client = session.connect()
    client.publish("", "missing", b"x", immediate=True)
    client.receive_until_closed()


@scenario()
def returns_come_in_order_of_publishing(session: Session) -> None:
    client = session.connect()
    for number in range(3):
        client.publish("", "missing", str(number).encode(), mandatory=True)
    client.drain()


@scenario()
def a_return_carries_all_properties(session: Session) -> None:
    client = session.connect()
    client.publish(
        "",
        "missing",
        b"x",
        mandatory=True,
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"a": 1, "nested": {"b": [1, "two", None, True, 2.5]}},
        delivery_mode=2,
        priority=9,
        correlation_id="correlation",
        reply_to="reply",
        expiration="60000",
        message_id="message",
        timestamp=datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        message_type="type",
        user_id="guest",
        app_id="app",
    )
    client.drain()


@scenario()
def header_values_of_every_type_come_back(session: Session) -> None:
    client = with_queue(session)
    values: common.FieldTable = {
        "byte": -1,
        "short": -300,
        "int": -70_000,
        "long": -5_000_000_000,
        "float": 0.5,
        "decimal": Decimal("3.14"),
        "text": "café",
        "time": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        "table": {"empty": {}, "list": [[], {}]},
        "void": None,
        "bytes": bytearray(b"\x00\xff"),
    }
    client.publish("", "q", b"", headers=values)
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def a_message_keeps_its_properties_and_route(session: Session) -> None:
    client = with_queue(session)
    client.do(Queue.Bind(0, "q", "amq.topic", "#"))
    client.publish("amq.topic", "a.b", b"x", content_type="text/plain", headers={"k": "v"})
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def an_empty_message(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"")
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def the_users_own_user_id_is_accepted(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"x", user_id="guest")
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def another_users_user_id(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"x", user_id="somebody")
    client.drain("q")


@scenario()
def a_wrong_user_id_to_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.publish("missing", "q", b"x", user_id="somebody")
    client.drain()


@scenario()
def expirations(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    for text in ("60000", "abc", "-1", "10ms", " 10", "1.5", "4294967295", "1000000000000"):
        client.publish("", "q", b"x", expiration=text)
        client.drain("q")
        client.reopen_if_closed()


@scenario()
def an_expiration_of_an_unroutable_message(session: Session) -> None:
    client = session.connect()
    client.publish("", "missing", b"x", expiration="abc")
    client.drain()


@scenario(
    differs="A message that is larger than the largest allowed is refused when its header says "
    "so; RabbitMQ receives the whole body first.",
    leveret=channel_refused(
        ReplyCode.PRECONDITION_FAILED,
        "message size 1000000000000 is larger than configured max size 134217728",
        60,
        40,
    ),
)
def a_size_beyond_the_limit(session: Session) -> None:
    client = with_queue(session)
    client.send(Basic.Publish(0, "", "q"))
    client.raw(raw_header(1, 60, 1_000_000_000_000))
    client.drain()


@scenario()
def a_priority_above_9_is_carried(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"x", priority=200)
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def a_delivery_mode_that_is_neither_1_nor_2(session: Session) -> None:
    client = with_queue(session)
    client.send(Basic.Publish(0, "", "q"))
    client.raw(raw_header(1, 60, 0, b"\x10\x00\x07"))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def cc_adds_routes(session: Session) -> None:
    client = with_queue(session)
    client.do(Queue.Declare(0, "q2", exclusive=True))
    client.publish("", "q", b"x", headers={"CC": ["q2", "q"]})
    client.drain("q", "q2")
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q2", True))


@scenario()
def bcc_adds_routes_and_is_taken_out(session: Session) -> None:
    client = with_queue(session)
    client.do(Queue.Declare(0, "q2", exclusive=True))
    client.publish("", "q", b"x", headers={"BCC": ["q2"], "other": 1})
    client.drain("q", "q2")
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q2", True))


@scenario()
def cc_that_is_no_array(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"x", headers={"CC": "q"})
    client.drain("q")


@scenario()
def cc_with_something_that_is_no_string(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"x", headers={"CC": ["q", 1]})
    client.drain("q")


@scenario()
def confirm_select_twice(session: Session) -> None:
    client = session.connect()
    client.do(Confirm.Select())
    client.do(Confirm.Select())
    client.do(Confirm.Select(nowait=True))


@scenario()
def each_publish_is_confirmed(session: Session) -> None:
    client = confirming(session)
    for number in range(3):
        client.publish("", "q", str(number).encode())
        client.drain("q")


@scenario()
def an_unroutable_publish_is_confirmed(session: Session) -> None:
    client = confirming(session)
    client.publish("", "missing", b"x")
    client.drain()


@scenario()
def a_return_comes_before_its_confirm(session: Session) -> None:
    client = confirming(session)
    client.publish("", "missing", b"x", mandatory=True)
    client.drain()
    client.publish("amq.fanout", "", b"y", mandatory=True)
    client.drain()


@scenario()
def confirms_count_from_select_on(session: Session) -> None:
    client = with_queue(session)
    client.publish("", "q", b"not counted")
    client.do(Confirm.Select(), "q")
    client.publish("", "q", b"counted")
    client.drain("q")


@scenario()
def confirms_are_counted_channel_by_channel(session: Session) -> None:
    client = confirming(session)
    client.open(2)
    client.do(Confirm.Select(), ch=2)
    for channel in (1, 2, 2):
        client.publish("", "q", b"x", ch=channel)
        client.drain("q", ch=channel)


@scenario()
def a_publish_to_a_missing_exchange_is_not_confirmed(session: Session) -> None:
    client = confirming(session)
    client.publish("missing", "k", b"x")
    client.drain()
    client.open(1)
    client.do(Confirm.Select())
    client.publish("", "q", b"x")
    client.drain("q")


@scenario()
def a_persistent_message_in_a_transient_queue_is_confirmed(session: Session) -> None:
    client = confirming(session)
    client.publish("", "q", b"x", delivery_mode=2)
    client.drain("q")


@scenario()
def a_persistent_message_in_a_durable_queue_is_confirmed(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", durable=True))
    client.do(Confirm.Select())
    client.publish("", "q", b"x", delivery_mode=2)
    client.receive_until(Basic.Ack)


@scenario()
def a_message_is_confirmed_without_being_acknowledged(session: Session) -> None:
    client = confirming(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.publish("", "q", b"x")
    client.drain("q")


@scenario(
    differs=UNREADABLE_PROPERTIES,
    leveret=connection_refused(
        ReplyCode.SYNTAX_ERROR, "malformed properties: unknown type b'?' in field table", 60, 40
    ),
)
def a_header_table_that_is_malformed(session: Session) -> None:
    client = with_queue(session)
    client.send(Basic.Publish(0, "", "q"))
    client.raw(raw_header(1, 60, 0, b"\x20\x00" + raw_table(("k", b"?", b""))))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))

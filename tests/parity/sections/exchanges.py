"""Exchanges: declaring, deleting, binding to each other."""

from pamqp import commands, common

from leveret.errors import ReplyCode
from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.steps import bound_queues, declare_exchange, route
from tests.parity.transcript import channel_refused
from tests.support.wire import raw_method, short_string

Basic = commands.Basic
Exchange = commands.Exchange
Queue = commands.Queue


def declare_with(name: str, arguments: common.FieldTable, kind: str = "direct") -> Exchange.Declare:
    """exchange.declare with arguments."""
    return Exchange.Declare(0, name, kind, arguments=arguments)


@scenario()
def declare_and_redeclare_the_same(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", durable=True))
    client.do(declare_exchange("x", durable=True))
    client.do(declare_exchange("x", passive=True))


@scenario()
def declare_without_waiting(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", nowait=True))
    client.do(declare_exchange("x", passive=True))


@scenario()
def passive_declare_of_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", passive=True))


@scenario()
def passive_declare_does_not_look_at_the_type(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("amq.direct", "no such type", passive=True))


@scenario()
def redeclare_with_another_type(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(declare_exchange("x", "fanout"))


@scenario()
def redeclare_with_another_durability(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(declare_exchange("x", durable=True))


@scenario()
def redeclare_with_another_auto_delete(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", auto_delete=True))
    client.do(declare_exchange("x"))


@scenario()
def redeclare_with_another_internal(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(declare_exchange("x", internal=True))


@scenario()
def redeclare_names_the_first_of_several_differences(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(declare_exchange("x", "fanout", durable=True, auto_delete=True, internal=True))
    client.open(1)
    client.do(declare_exchange("x", durable=True, auto_delete=True, internal=True))
    client.open(1)
    client.do(declare_exchange("x", auto_delete=True, internal=True))


@scenario()
def redeclare_with_an_alternate_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(declare_with("x", {"alternate-exchange": "amq.fanout"}))


@scenario()
def redeclare_without_its_alternate_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x", {"alternate-exchange": "amq.fanout"}))
    client.do(declare_exchange("x"))


@scenario()
def redeclare_with_another_alternate_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x", {"alternate-exchange": "amq.fanout"}))
    client.do(declare_with("x", {"alternate-exchange": "amq.topic"}))


@scenario()
def redeclare_with_other_unknown_arguments_is_accepted(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x", {"a": 1}))
    client.do(declare_with("x", {"b": "two"}))


@scenario()
def an_alternate_exchange_of_the_wrong_type(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x", {"alternate-exchange": 70_000}))


@scenario()
def an_alternate_exchange_may_be_missing(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x", {"alternate-exchange": "missing"}))
    client.publish("x", "k", b"returned", mandatory=True)
    client.drain()


@scenario(
    differs="Declaring an exchange of an unknown type closes the channel with 406, as on RabbitMQ"
    " 4; RabbitMQ 3.10 closes the connection with 503.",
    leveret=channel_refused(ReplyCode.PRECONDITION_FAILED, "unknown exchange type 'magic'", 40, 10),
)
def an_unknown_type(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", "magic"))


@scenario()
def a_reserved_name(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("amq.mine"))


@scenario()
def a_reserved_name_passively(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("amq.mine", passive=True))


@scenario()
def redeclare_a_predeclared_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("amq.direct", "direct", durable=True))
    client.do(declare_exchange("amq.match", "headers", durable=True))
    client.do(declare_exchange("amq.topic", "topic"))


@scenario()
def every_predeclared_exchange_is_there(session: Session) -> None:
    client = session.connect()
    for name in ("direct", "fanout", "topic", "headers", "match", "rabbitmq.trace"):
        client.do(declare_exchange(f"amq.{name}", passive=True))


@scenario()
def declare_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange(""))


@scenario()
def declare_the_default_exchange_passively(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("", passive=True))


@scenario()
def a_name_with_line_ends(session: Session) -> None:
    client = session.connect()
    name = short_string("x\r\ny")
    client.raw(raw_method(1, 40, 10, b"\0\0" + name + short_string("direct") + b"\0\0\0\0\0"))
    client.drain()
    client.do(declare_exchange("xy"))
    client.do(Exchange.Delete(0, "xy"))


@scenario()
def a_name_of_255_bytes(session: Session) -> None:
    client = session.connect()
    name = short_string("x" * 255)
    client.raw(raw_method(1, 40, 10, b"\0\0" + name + short_string("direct") + b"\x02\0\0\0\0"))
    client.drain()
    client.raw(raw_method(1, 40, 20, b"\0\0" + name + b"\0"))
    client.drain()


@scenario()
def delete_and_delete_again(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(Exchange.Delete(0, "x"))
    client.do(Exchange.Delete(0, "x"))
    client.do(declare_exchange("x", passive=True))


@scenario()
def delete_a_predeclared_exchange(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Delete(0, "amq.direct"))


@scenario()
def delete_a_reserved_name_that_is_missing(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Delete(0, "amq.missing"))


@scenario()
def delete_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Delete(0, ""))


@scenario()
def delete_if_unused(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "x", "k"))
    client.do(Exchange.Delete(0, "x", if_unused=True))
    client.open(1)
    client.do(Queue.Unbind(0, "q", "x", "k"))
    client.do(Exchange.Delete(0, "x", if_unused=True))


@scenario()
def delete_if_unused_when_missing(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Delete(0, "x", if_unused=True))


@scenario()
def being_a_destination_is_no_use(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    client.do(Exchange.Bind(0, "x", "amq.direct", "k"))
    client.do(Exchange.Delete(0, "x", if_unused=True))


@scenario()
def auto_delete_with_the_last_binding(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", auto_delete=True))
    bound_queues(client, "x", "q1", "q2")
    client.do(Queue.Unbind(0, "q1", "x", "q1"))
    client.do(declare_exchange("x", passive=True))
    client.do(Queue.Delete(0, "q2"))
    client.do(declare_exchange("x", passive=True))


@scenario()
def auto_delete_cascades_over_exchange_bindings(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("up", "fanout", auto_delete=True))
    client.do(declare_exchange("down", "fanout", auto_delete=True))
    client.do(Exchange.Bind(0, "down", "up"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "down"))
    client.do(Queue.Delete(0, "q"))
    client.do(declare_exchange("down", passive=True))
    client.open(1)
    client.do(declare_exchange("up", passive=True))


@scenario()
def publish_to_an_internal_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", internal=True))
    client.publish("x", "k", b"no")
    client.drain()


@scenario()
def an_internal_exchange_routes_what_another_hands_on(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("inner", "fanout", internal=True))
    client.do(declare_exchange("outer", "fanout"))
    client.do(Exchange.Bind(0, "inner", "outer"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "inner"))
    route(client, "outer", "k", "q")


@scenario()
def bind_and_unbind_exchanges(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", "fanout"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "x"))
    client.do(Exchange.Bind(0, "x", "amq.direct", "k"))
    client.do(Exchange.Bind(0, "x", "amq.direct", "k"))
    route(client, "amq.direct", "k", "q")
    client.do(Exchange.Unbind(0, "x", "amq.direct", "k"))
    route(client, "amq.direct", "k", "q")
    client.do(Exchange.Unbind(0, "x", "amq.direct", "k"))


@scenario()
def bind_and_unbind_without_waiting(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", "fanout"))
    client.do(Exchange.Bind(0, "x", "amq.direct", "k", nowait=True))
    client.do(Exchange.Unbind(0, "x", "amq.direct", "k", nowait=True))
    client.do(Exchange.Delete(0, "x", nowait=True))
    client.do(declare_exchange("x", passive=True))


@scenario()
def bind_from_a_missing_source(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Bind(0, "amq.fanout", "missing", "k"))


@scenario()
def bind_to_a_missing_destination(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Bind(0, "missing", "amq.fanout", "k"))


@scenario()
def bind_where_both_are_missing(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Bind(0, "missing", "gone", "k"))


@scenario()
def unbind_where_both_are_missing(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Unbind(0, "missing", "gone", "k"))


@scenario()
def bind_from_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Bind(0, "amq.fanout", "", "k"))


@scenario()
def bind_to_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Bind(0, "", "amq.fanout", "k"))


@scenario()
def unbind_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(Exchange.Unbind(0, "", "amq.fanout", "k"))


@scenario()
def a_cycle_is_cut_and_a_queue_gets_one_copy(session: Session) -> None:
    client = session.connect()
    for name in ("x1", "x2"):
        client.do(declare_exchange(name, "fanout"))
    client.do(Exchange.Bind(0, "x2", "x1"))
    client.do(Exchange.Bind(0, "x1", "x2"))
    client.do(Exchange.Bind(0, "x1", "x1"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "x1"))
    client.do(Queue.Bind(0, "q", "x2"))
    route(client, "x1", "k", "q")


@scenario()
def the_alternate_exchange_gets_what_is_not_routed(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("other", "fanout"))
    client.do(declare_with("x", {"alternate-exchange": "other"}))
    bound_queues(client, "x", "k")
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "other"))
    route(client, "x", "k", "k", "q")
    route(client, "x", "unknown", "k", "q")


@scenario()
def a_message_its_alternate_exchange_cannot_route_is_returned(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("other"))
    client.do(declare_with("x", {"alternate-exchange": "other"}))
    client.publish("x", "k", b"returned", mandatory=True)
    client.drain()


@scenario()
def alternate_exchanges_in_a_circle(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x1", {"alternate-exchange": "x2"}))
    client.do(declare_with("x2", {"alternate-exchange": "x1"}))
    client.publish("x1", "k", b"returned", mandatory=True)
    client.drain()


@scenario()
def deleting_an_exchange_unbinds_it(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    bound_queues(client, "x", "k")
    client.do(Exchange.Delete(0, "x"))
    client.do(declare_exchange("x"))
    route(client, "x", "k", "k")

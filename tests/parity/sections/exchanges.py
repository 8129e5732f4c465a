"""Exchanges: declaring, deleting, binding to each other, and the types' routing."""

from pamqp import commands, common

from leveret.errors import ReplyCode
from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.transcript import channel_refused
from tests.support.wire import raw_method, raw_table, short_string

Basic = commands.Basic
Exchange = commands.Exchange
Queue = commands.Queue


def declare(
    name: str,
    kind: str = "direct",
    *,
    passive: bool = False,
    durable: bool = False,
    auto_delete: bool = False,
    internal: bool = False,
    nowait: bool = False,
) -> Exchange.Declare:
    """exchange.declare without arguments."""
    return Exchange.Declare(0, name, kind, passive, durable, auto_delete, internal, nowait)


def declare_with(name: str, arguments: common.FieldTable, kind: str = "direct") -> Exchange.Declare:
    """exchange.declare with arguments."""
    return Exchange.Declare(0, name, kind, arguments=arguments)


def bound_queues(client: Client, exchange: str, *keys: str) -> None:
    """A queue named as its binding key (@ for *), for every key."""
    for key in keys:
        queue = key.replace("*", "@")
        client.do(Queue.Declare(0, queue, exclusive=True))
        client.do(Queue.Bind(0, queue, exchange, key))


def route(client: Client, exchange: str, key: str, *queues: str) -> None:
    """Publish mandatory, and show what came into the queues."""
    client.publish(exchange, key, key.encode(), mandatory=True)
    client.settle(*queues)
    for queue in queues:
        client.do(Queue.Purge(0, queue))


@scenario()
def declare_and_redeclare_the_same(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", durable=True))
    client.do(declare("x", durable=True))
    client.do(declare("x", passive=True))


@scenario()
def declare_without_waiting(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", nowait=True))
    client.do(declare("x", passive=True))


@scenario()
def passive_declare_of_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", passive=True))


@scenario()
def passive_declare_does_not_look_at_the_type(session: Session) -> None:
    client = session.connect()
    client.do(declare("amq.direct", "no such type", passive=True))


@scenario()
def redeclare_with_another_type(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    client.do(declare("x", "fanout"))


@scenario()
def redeclare_with_another_durability(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    client.do(declare("x", durable=True))


@scenario()
def redeclare_with_another_auto_delete(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", auto_delete=True))
    client.do(declare("x"))


@scenario()
def redeclare_with_another_internal(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    client.do(declare("x", internal=True))


@scenario()
def redeclare_names_the_first_of_several_differences(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    client.do(declare("x", "fanout", durable=True, auto_delete=True, internal=True))
    client.open(1)
    client.do(declare("x", durable=True, auto_delete=True, internal=True))
    client.open(1)
    client.do(declare("x", auto_delete=True, internal=True))


@scenario()
def redeclare_with_an_alternate_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    client.do(declare_with("x", {"alternate-exchange": "amq.fanout"}))


@scenario()
def redeclare_without_its_alternate_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x", {"alternate-exchange": "amq.fanout"}))
    client.do(declare("x"))


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
    client.settle()


@scenario(
    differs="an unknown exchange type closes the channel with 406, as in 4.x",
    leveret=channel_refused(ReplyCode.PRECONDITION_FAILED, "unknown exchange type 'magic'", 40, 10),
)
def an_unknown_type(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", "magic"))


@scenario()
def a_reserved_name(session: Session) -> None:
    client = session.connect()
    client.do(declare("amq.mine"))


@scenario()
def a_reserved_name_passively(session: Session) -> None:
    client = session.connect()
    client.do(declare("amq.mine", passive=True))


@scenario()
def redeclare_a_predeclared_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("amq.direct", "direct", durable=True))
    client.do(declare("amq.match", "headers", durable=True))
    client.do(declare("amq.topic", "topic"))


@scenario()
def every_predeclared_exchange_is_there(session: Session) -> None:
    client = session.connect()
    for name in ("direct", "fanout", "topic", "headers", "match", "rabbitmq.trace"):
        client.do(declare(f"amq.{name}", passive=True))


@scenario()
def declare_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare(""))


@scenario()
def declare_the_default_exchange_passively(session: Session) -> None:
    client = session.connect()
    client.do(declare("", passive=True))


@scenario()
def a_name_with_line_ends(session: Session) -> None:
    client = session.connect()
    name = short_string("x\r\ny")
    client.raw(raw_method(1, 40, 10, b"\0\0" + name + short_string("direct") + b"\0\0\0\0\0"))
    client.settle()
    client.do(declare("xy"))
    client.do(Exchange.Delete(0, "xy"))


@scenario()
def a_name_of_255_bytes(session: Session) -> None:
    client = session.connect()
    name = short_string("x" * 255)
    client.raw(raw_method(1, 40, 10, b"\0\0" + name + short_string("direct") + b"\x02\0\0\0\0"))
    client.settle()
    client.raw(raw_method(1, 40, 20, b"\0\0" + name + b"\0"))
    client.settle()


@scenario()
def delete_and_delete_again(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    client.do(Exchange.Delete(0, "x"))
    client.do(Exchange.Delete(0, "x"))
    client.do(declare("x", passive=True))


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
    client.do(declare("x"))
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
    client.do(declare("x"))
    client.do(Exchange.Bind(0, "x", "amq.direct", "k"))
    client.do(Exchange.Delete(0, "x", if_unused=True))


@scenario()
def auto_delete_with_the_last_binding(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", auto_delete=True))
    bound_queues(client, "x", "q1", "q2")
    client.do(Queue.Unbind(0, "q1", "x", "q1"))
    client.do(declare("x", passive=True))
    client.do(Queue.Delete(0, "q2"))
    client.do(declare("x", passive=True))


@scenario()
def auto_delete_cascades_over_exchange_bindings(session: Session) -> None:
    client = session.connect()
    client.do(declare("up", "fanout", auto_delete=True))
    client.do(declare("down", "fanout", auto_delete=True))
    client.do(Exchange.Bind(0, "down", "up"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "down"))
    client.do(Queue.Delete(0, "q"))
    client.do(declare("down", passive=True))
    client.open(1)
    client.do(declare("up", passive=True))


@scenario()
def publish_to_an_internal_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", internal=True))
    client.publish("x", "k", b"no")
    client.settle()


@scenario()
def an_internal_exchange_routes_what_another_hands_on(session: Session) -> None:
    client = session.connect()
    client.do(declare("inner", "fanout", internal=True))
    client.do(declare("outer", "fanout"))
    client.do(Exchange.Bind(0, "inner", "outer"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "inner"))
    route(client, "outer", "k", "q")


@scenario()
def bind_and_unbind_exchanges(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", "fanout"))
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
    client.do(declare("x", "fanout"))
    client.do(Exchange.Bind(0, "x", "amq.direct", "k", nowait=True))
    client.do(Exchange.Unbind(0, "x", "amq.direct", "k", nowait=True))
    client.do(Exchange.Delete(0, "x", nowait=True))
    client.do(declare("x", passive=True))


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
        client.do(declare(name, "fanout"))
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
    client.do(declare("other", "fanout"))
    client.do(declare_with("x", {"alternate-exchange": "other"}))
    bound_queues(client, "x", "k")
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "other"))
    route(client, "x", "k", "k", "q")
    route(client, "x", "unknown", "k", "q")


@scenario()
def a_message_its_alternate_exchange_cannot_route_is_returned(session: Session) -> None:
    client = session.connect()
    client.do(declare("other"))
    client.do(declare_with("x", {"alternate-exchange": "other"}))
    client.publish("x", "k", b"returned", mandatory=True)
    client.settle()


@scenario()
def alternate_exchanges_in_a_circle(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x1", {"alternate-exchange": "x2"}))
    client.do(declare_with("x2", {"alternate-exchange": "x1"}))
    client.publish("x1", "k", b"returned", mandatory=True)
    client.settle()


@scenario()
def direct_routes_by_the_whole_key(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    bound_queues(client, "x", "a", "a.b")
    client.do(Queue.Bind(0, "a.b", "x", "a"))
    route(client, "x", "a", "a", "a.b")
    route(client, "x", "a.b", "a", "a.b")
    route(client, "x", "A", "a", "a.b")
    route(client, "x", "", "a", "a.b")


@scenario()
def fanout_routes_whatever_the_key(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", "fanout"))
    bound_queues(client, "x", "a", "b")
    route(client, "x", "anything", "a", "b")


@scenario()
def topic_matches_words(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", "topic"))
    patterns = ("*.b", "#", "a.#", "#.b", "a.*.c", "a.#.c", "*", "a", "#.#", "*.#", "..", "a.**")
    bound_queues(client, "x", *patterns)
    for key in ("a", "a.b", "a.c", "a.b.c", "a.b.b.c", "", ".", "..", "a.", ".b", "a.**", "A.b"):
        route(client, "x", key, *(pattern.replace("*", "@") for pattern in patterns))


@scenario()
def topic_forgets_an_unbound_pattern(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", "topic"))
    bound_queues(client, "x", "a.*")
    client.do(Queue.Bind(0, "a.@", "x", "#.b"))
    route(client, "x", "a.b", "a.@")
    client.do(Queue.Unbind(0, "a.@", "x", "a.*"))
    route(client, "x", "a.b", "a.@")
    route(client, "x", "a.c", "a.@")
    client.do(Queue.Unbind(0, "a.@", "x", "#.b"))
    route(client, "x", "a.b", "a.@")


HEADERS: tuple[common.FieldTable, ...] = (
    {"a": 1, "b": "x"},
    {"a": 1},
    {"a": 2, "b": "x"},
    {"a": 1, "b": "x", "c": True, "x-y": 1},
    {"a": "1", "b": "x"},
    {},
)


def match_headers(client: Client, arguments: common.FieldTable) -> None:
    """Bind a queue with arguments, publish all HEADERS, and show which came."""
    client.do(declare("x", "headers"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "x", "", arguments=arguments))
    for headers in HEADERS:
        client.publish("x", "", b"", mandatory=True, headers=headers)
        client.settle("q")
        client.do(Queue.Purge(0, "q"))
    client.publish("x", "", b"", mandatory=True)
    client.settle("q")
    client.do(Queue.Purge(0, "q"))


@scenario()
def headers_match_all(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "all", "a": 1, "b": "x"})


@scenario()
def headers_match_all_by_default(session: Session) -> None:
    match_headers(session.connect(), {"a": 1, "b": "x"})


@scenario()
def headers_match_any(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "any", "a": 1, "b": "x"})


@scenario()
def headers_match_all_ignores_names_that_begin_with_x(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "all", "a": 1, "x-y": 2})


@scenario()
def headers_match_any_ignores_names_that_begin_with_x(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "any", "a": 2, "x-y": 1})


@scenario()
def headers_match_all_with_x(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "all-with-x", "a": 1, "x-y": 1})


@scenario()
def headers_match_any_with_x(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "any-with-x", "a": 2, "x-y": 1})


@scenario()
def headers_match_all_of_nothing(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "all"})


@scenario()
def headers_match_any_of_nothing(session: Session) -> None:
    match_headers(session.connect(), {"x-match": "any"})


@scenario()
def headers_match_without_arguments(session: Session) -> None:
    match_headers(session.connect(), {})


@scenario()
def headers_void_tests_for_existence(session: Session) -> None:
    match_headers(session.connect(), {"a": None})


@scenario()
def headers_equal_numbers_of_other_types_match(session: Session) -> None:
    match_headers(session.connect(), {"a": 1.0})


@scenario()
def headers_integer_widths_do_not_matter(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", "headers"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    wide = raw_table(("a", b"l", b"\0\0\0\0\0\0\0\x01"))
    start = b"\0\0" + short_string("q") + short_string("x") + short_string("") + b"\0"
    client.raw(raw_method(1, 50, 20, start + wide))
    client.settle()
    client.publish("x", "", b"", mandatory=True, headers={"a": 1})
    client.settle("q")
    client.do(Queue.Purge(0, "q"))


@scenario()
def headers_match_of_an_unknown_value(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "amq.headers", "", arguments={"x-match": "some"}))


@scenario()
def headers_match_of_the_wrong_type(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "amq.headers", "", arguments={"x-match": 70_000}))


@scenario()
def headers_bindings_differ_by_their_arguments(session: Session) -> None:
    client = session.connect()
    client.do(declare("x", "headers"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    for value in (1, 2):
        client.do(Queue.Bind(0, "q", "x", "", arguments={"a": value}))
    client.do(Queue.Unbind(0, "q", "x", "", {"a": 1}))
    for value in (1, 2):
        client.publish("x", "", b"", mandatory=True, headers={"a": value})
        client.settle("q")


@scenario()
def deleting_an_exchange_unbinds_it(session: Session) -> None:
    client = session.connect()
    client.do(declare("x"))
    bound_queues(client, "x", "k")
    client.do(Exchange.Delete(0, "x"))
    client.do(declare("x"))
    route(client, "x", "k", "k")

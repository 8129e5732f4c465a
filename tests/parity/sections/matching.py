"""Which bindings a message matches: direct, fanout, topic and headers exchanges."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.steps import bound_queues, declare_exchange, route
from tests.support.wire import raw_method, raw_table, short_string

Basic = commands.Basic
Exchange = commands.Exchange
Queue = commands.Queue


@scenario()
def direct_routes_by_the_whole_key(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x"))
    bound_queues(client, "x", "a", "a.b")
    client.do(Queue.Bind(0, "a.b", "x", "a"))
    route(client, "x", "a", "a", "a.b")
    route(client, "x", "a.b", "a", "a.b")
    route(client, "x", "A", "a", "a.b")
    route(client, "x", "", "a", "a.b")


@scenario()
def fanout_routes_whatever_the_key(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", "fanout"))
    bound_queues(client, "x", "a", "b")
    route(client, "x", "anything", "a", "b")


@scenario()
def topic_matches_words(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", "topic"))
    patterns = ("*.b", "#", "a.#", "#.b", "a.*.c", "a.#.c", "*", "a", "#.#", "*.#", "..", "a.**")
    bound_queues(client, "x", *patterns)
    for key in ("a", "a.b", "a.c", "a.b.c", "a.b.b.c", "", ".", "..", "a.", ".b", "a.**", "A.b"):
        route(client, "x", key, *(pattern.replace("*", "@") for pattern in patterns))


@scenario()
def topic_forgets_an_unbound_pattern(session: Session) -> None:
    client = session.connect()
    client.do(declare_exchange("x", "topic"))
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
    client.do(declare_exchange("x", "headers"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "x", "", arguments=arguments))
    for headers in HEADERS:
        client.publish("x", "", b"", mandatory=True, headers=headers)
        client.drain("q")
        client.do(Queue.Purge(0, "q"))
    client.publish("x", "", b"", mandatory=True)
    client.drain("q")
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
    client.do(declare_exchange("x", "headers"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    wide = raw_table(("a", b"l", b"\0\0\0\0\0\0\0\x01"))
    start = b"\0\0" + short_string("q") + short_string("x") + short_string("") + b"\0"
    client.raw(raw_method(1, 50, 20, start + wide))
    client.drain()
    client.publish("x", "", b"", mandatory=True, headers={"a": 1})
    client.drain("q")
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
    client.do(declare_exchange("x", "headers"))
    client.do(Queue.Declare(0, "q", exclusive=True))
    for value in (1, 2):
        client.do(Queue.Bind(0, "q", "x", "", arguments={"a": value}))
    client.do(Queue.Unbind(0, "q", "x", "", {"a": 1}))
    for value in (1, 2):
        client.publish("x", "", b"", mandatory=True, headers={"a": value})
        client.drain("q")

"""Queue arguments: which values are accepted, what is compared on redeclaring, and the texts."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.support.wire import raw_method, raw_table, short_string

Queue = commands.Queue


def declare_with(name: str, **arguments: common.FieldValue) -> Queue.Declare:
    """queue.declare with arguments, their underscores written as hyphens."""
    named: common.FieldTable = {key.replace("_", "-"): value for key, value in arguments.items()}
    return Queue.Declare(0, name, arguments=named)


@scenario()
def unknown_arguments_are_accepted_and_not_compared(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_unknown=1, other="y"))
    client.do(Queue.Declare(0, "q"))


@scenario()
def redeclare_with_an_argument_it_had_not(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    client.do(declare_with("q", x_message_ttl=20_000))
    client.open(1)
    client.do(declare_with("q", x_message_ttl=200_000))
    client.open(1)
    client.do(declare_with("q", x_dead_letter_exchange="dlx"))
    client.open(1)
    client.do(declare_with("q", x_single_active_consumer=True))


@scenario()
def redeclare_without_an_argument_it_had(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_message_ttl=1_800_000, x_max_length=10))
    client.do(declare_with("q", x_max_length=10))
    client.open(1)
    client.do(Queue.Declare(0, "q"))


@scenario()
def redeclare_with_another_value(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_message_ttl=20_000, x_overflow="drop-head"))
    client.do(declare_with("q", x_message_ttl=1_800_000, x_overflow="drop-head"))
    client.open(1)
    client.do(declare_with("q", x_message_ttl=20_000, x_overflow="reject-publish"))
    client.open(1)
    client.do(declare_with("q", x_message_ttl=20_000))


@scenario()
def redeclare_with_an_equal_value_that_is_no_integer(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_max_length=1))
    client.do(declare_with("q", x_max_length=1.0))
    client.open(1)
    client.do(declare_with("q", x_max_length=True))


@scenario()
def redeclare_with_equal_values_of_other_integer_types(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_message_ttl=100))
    wide = raw_table(("x-message-ttl", b"l", b"\0\0\0\0\0\0\0\x64"))
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q") + b"\0" + wide))
    client.drain()


@scenario()
def redeclare_with_the_queue_type_left_out(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_queue_type="classic"))
    client.do(Queue.Declare(0, "q"))


@scenario()
def redeclare_with_the_queue_type_spelled_out(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    client.do(declare_with("q", x_queue_type="classic"))


def check_values(session: Session, name: str, *values: common.FieldValue) -> None:
    """Declare a queue with each value of an argument."""
    client = session.connect()
    for value in values:
        client.do(Queue.Declare(0, "q", arguments={name: value}))
        if not client.reopen_if_closed():
            client.do(Queue.Delete(0, "q"))


TOO_MANY_MS = 1_000_000_000_000


@scenario()
def values_of_x_message_ttl(session: Session) -> None:
    values = (0, -5, "20000", 1.5, True, None, 4_294_967_295, TOO_MANY_MS)
    check_values(session, "x-message-ttl", *values)


@scenario()
def values_of_x_expires(session: Session) -> None:
    check_values(session, "x-expires", 1_000_000, 0, -1, "soon", TOO_MANY_MS)


@scenario()
def values_of_x_max_length(session: Session) -> None:
    check_values(session, "x-max-length", 0, -1, "ten", 1_000_000_000_000)


@scenario()
def values_of_x_max_length_bytes(session: Session) -> None:
    check_values(session, "x-max-length-bytes", 0, -1, "ten", 1_000_000_000_000)


@scenario()
def values_of_x_overflow(session: Session) -> None:
    values = ("drop-head", "reject-publish", "reject-publish-dlx", "explode", 1)
    check_values(session, "x-overflow", *values)


@scenario()
def values_of_x_max_priority(session: Session) -> None:
    check_values(session, "x-max-priority", 0, 255, 256, -1, "high")


@scenario()
def values_of_x_dead_letter_exchange(session: Session) -> None:
    check_values(session, "x-dead-letter-exchange", "missing", "", 70_000)


@scenario()
def values_of_x_single_active_consumer(session: Session) -> None:
    check_values(session, "x-single-active-consumer", True, False, "yes", 1)


@scenario()
def values_of_x_queue_mode(session: Session) -> None:
    check_values(session, "x-queue-mode", "default", "lazy", "quick", 1)


@scenario()
def values_of_x_queue_version(session: Session) -> None:
    check_values(session, "x-queue-version", 1, 2, 3, "2")


@scenario()
def values_of_x_queue_type(session: Session) -> None:
    check_values(session, "x-queue-type", "classic", "magic", 1)


@scenario()
def a_dead_letter_routing_key_without_an_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_dead_letter_routing_key="k"))


@scenario()
def a_dead_letter_routing_key_of_the_wrong_type(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_dead_letter_exchange="x", x_dead_letter_routing_key=70_000))


@scenario()
def of_two_wrong_arguments_one_is_named(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("q", x_message_ttl=-1, x_expires=0))
    client.open(1)
    client.do(declare_with("q", x_expires=0, x_message_ttl=-1))


@scenario()
def integer_types_in_the_texts(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    for kind, value in (
        (b"b", b"\x64"),
        (b"B", b"\x64"),
        (b"s", b"\0\x64"),
        (b"u", b"\0\x64"),
        (b"I", b"\0\0\0\x64"),
        (b"i", b"\0\0\0\x64"),
        (b"l", b"\0\0\0\0\0\0\0\x64"),
        (b"L", b"\0\0\0\0\0\0\0\x64"),
    ):
        arguments = raw_table(("x-message-ttl", kind, value))
        client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q") + b"\0" + arguments))
        client.drain()
        client.reopen_if_closed()


@scenario()
def an_argument_twice(session: Session) -> None:
    client = session.connect()
    twice = raw_table(("x-expires", b"I", b"\0\1\0\0"), ("x-expires", b"I", b"\0\2\0\0"))
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q") + b"\0" + twice))
    client.drain()

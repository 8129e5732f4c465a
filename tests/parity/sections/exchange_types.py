"""The exchange types that RabbitMQ has in plugins: what they refuse, and what they do at a bind."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.sections.exchanges import declare_with
from tests.parity.session import Client, Session

Basic = commands.Basic
Exchange = commands.Exchange
Queue = commands.Queue

HASH = "x-consistent-hash"
HISTORY = "x-recent-history"


def bind_with_weight(session: Session, key: str) -> None:
    """Bind a queue to a consistent hash exchange with this key."""
    client = session.connect()
    client.do(declare_with("x", {}, HASH))
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Queue.Bind(0, "q", "x", key))


def history(client: Client, *bodies: bytes, **arguments: common.FieldValue) -> None:
    """A recent history exchange `x` that these went through, and a queue `q`."""
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    client.do(declare_with("x", named, HISTORY))
    client.do(Queue.Declare(0, "q", exclusive=True))
    for body in bodies:
        client.publish("x", f"key of {body.decode()}", body, mandatory=True)
    client.drain()


def take_all(client: Client) -> None:
    """Show what is in the queue."""
    client.drain("q")
    for _ in range(3):
        client.do(Basic.Get(0, "q", True))


@scenario()
def a_weight_that_is_no_integer(session: Session) -> None:
    bind_with_weight(session, "1.5")


@scenario()
def a_weight_that_is_empty(session: Session) -> None:
    bind_with_weight(session, "")


@scenario()
def a_weight_in_other_digits(session: Session) -> None:
    bind_with_weight(session, "\u0663")


@scenario()
def a_weight_of_zero(session: Session) -> None:
    bind_with_weight(session, "0")


@scenario()
def a_weight_with_a_sign(session: Session) -> None:
    bind_with_weight(session, "+1")


@scenario()
def a_hash_of_a_header_and_a_property(session: Session) -> None:
    both: common.FieldTable = {"hash-header": "h", "hash-property": "message_id"}
    session.connect().do(declare_with("x", both, HASH))


@scenario()
def a_hash_of_an_unknown_property(session: Session) -> None:
    session.connect().do(declare_with("x", {"hash-property": "app_id"}, HASH))


@scenario()
def arguments_of_the_type_are_not_looked_at_again(session: Session) -> None:
    client = session.connect()
    client.do(declare_with("x", {}, HASH))
    client.do(declare_with("x", {"hash-property": "app_id"}, HASH))


@scenario()
def every_message_goes_to_the_one_queue_of_a_hash(session: Session) -> None:
    for kind in (HASH, "x-modulus-hash", "x-random"):
        client = session.connect()
        client.do(declare_with("x", {}, kind))
        client.publish("x", "k", b"none", mandatory=True)
        client.drain()
        client.do(Queue.Declare(0, "q", exclusive=True))
        client.do(Queue.Bind(0, "q", "x", "1"))
        client.publish("x", "k", b"one", mandatory=True)
        client.drain("q")
        client.do(Exchange.Delete(0, "x"))
        client.do(Queue.Delete(0, "q"))


@scenario()
def a_history_length_of_zero(session: Session) -> None:
    session.connect().do(declare_with("x", {"x-recent-history-length": 0}, HISTORY))


@scenario()
def a_history_length_that_is_text(session: Session) -> None:
    session.connect().do(declare_with("x", {"x-recent-history-length": "5"}, HISTORY))


@scenario()
def a_history_length_that_is_true(session: Session) -> None:
    session.connect().do(declare_with("x", {"x-recent-history-length": True}, HISTORY))


@scenario()
def a_queue_that_is_bound_gets_the_history(session: Session) -> None:
    client = session.connect()
    history(client, b"one", b"two", b"three", x_recent_history_length=2)
    client.do(Queue.Bind(0, "q", "x", ""))
    take_all(client)


@scenario()
def a_queue_that_is_bound_the_same_again_gets_nothing(session: Session) -> None:
    client = session.connect()
    history(client, b"one")
    client.do(Queue.Bind(0, "q", "x", ""))
    take_all(client)
    client.do(Queue.Bind(0, "q", "x", ""))
    take_all(client)


@scenario()
def a_queue_that_is_bound_with_another_key_gets_the_history_again(session: Session) -> None:
    client = session.connect()
    history(client, b"one")
    client.do(Queue.Bind(0, "q", "x", ""))
    take_all(client)
    client.do(Queue.Bind(0, "q", "x", "k"))
    take_all(client)


@scenario()
def a_message_not_to_be_kept(session: Session) -> None:
    client = session.connect()
    history(client)
    for value in (True, False):
        client.publish("x", "k", b"", headers={"x-recent-history-no-store": value})
    client.do(Queue.Bind(0, "q", "x", ""))
    take_all(client)

"""Queue types: what a quorum queue must be, what a stream is answered, and types on redeclaring."""

from pamqp import commands, common

from leveret.errors import ReplyCode
from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.transcript import connection_refused, got

Basic = commands.Basic
Queue = commands.Queue


def typed(
    queue_type: str, /, name: str = "q", *, durable: bool = True, **arguments: common.FieldValue
) -> Queue.Declare:
    """queue.declare of a type with further arguments, their underscores written as hyphens."""
    named: common.FieldTable = {key.replace("_", "-"): value for key, value in arguments.items()}
    return Queue.Declare(0, name, durable=durable, arguments={"x-queue-type": queue_type, **named})


@scenario()
def a_quorum_queue_takes_and_gives_messages(session: Session) -> None:
    client = session.connect()
    client.ask(typed("quorum"), Queue.DeclareOk)
    client.publish("", "q", b"1", delivery_mode=2)
    client.drain("q")
    client.ask(Queue.Purge(0, "q"), Queue.PurgeOk)


@scenario()
def a_quorum_queue_is_declared_again(session: Session) -> None:
    client = session.connect()
    client.ask(typed("quorum"), Queue.DeclareOk)
    client.ask(typed("quorum"), Queue.DeclareOk)
    client.do(typed("classic"))
    client.open(1)
    client.do(Queue.Declare(0, "q", durable=True))


@scenario()
def a_classic_queue_is_declared_again_as_another_type(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", durable=True))
    for queue_type in ("quorum", "stream", "magic"):
        client.do(typed(queue_type))
        client.open(1)


@scenario()
def a_transient_quorum_queue(session: Session) -> None:
    client = session.connect()
    client.do(typed("quorum", durable=False))


@scenario()
def an_exclusive_quorum_queue(session: Session) -> None:
    client = session.connect()
    arguments: common.FieldTable = {"x-queue-type": "quorum"}
    client.do(Queue.Declare(0, "q", durable=True, exclusive=True, arguments=arguments))


@scenario()
def an_auto_delete_quorum_queue(session: Session) -> None:
    client = session.connect()
    arguments: common.FieldTable = {"x-queue-type": "quorum"}
    for durable in (True, False):
        client.do(Queue.Declare(0, "q", durable=durable, auto_delete=True, arguments=arguments))
        client.open(1)


@scenario()
def a_quorum_queue_without_a_name(session: Session) -> None:
    client = session.connect()
    client.do(typed("quorum", ""))


@scenario()
def a_quorum_queue_with_priorities(session: Session) -> None:
    client = session.connect()
    client.do(typed("quorum", x_max_priority=5))


@scenario()
def a_wrong_argument_is_named_before_what_a_quorum_queue_must_be(session: Session) -> None:
    client = session.connect()
    client.do(typed("quorum", durable=False, x_message_ttl=-5))


@scenario()
def an_unknown_type_is_named_before_other_wrong_arguments(session: Session) -> None:
    client = session.connect()
    client.do(typed("magic", x_expires=0))
    client.open(1)
    client.do(typed("magic", x_dead_letter_exchange=70_000))


@scenario(
    differs="Queues of every type accept `x-delivery-limit`; RabbitMQ has it in quorum queues "
    "only.",
    leveret=[got(Queue.DeclareOk("q", 0, 0))],
)
def a_delivery_limit_on_a_classic_queue(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", durable=True, arguments={"x-delivery-limit": 5}))


@scenario(
    differs="Streams do not exist in Leveret, and declaring one is refused with 540.",
    leveret=connection_refused(
        ReplyCode.NOT_IMPLEMENTED, "queue type 'stream' is not supported", 50, 10
    ),
)
def a_stream(session: Session) -> None:
    client = session.connect()
    client.send(typed("stream"))
    client.receive_until(Queue.DeclareOk)
    if client.disconnected:
        client.receive_until_closed()


@scenario()
def invalid_arguments_of_a_queue_that_exists_are_different_ones(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    client.do(Queue.Declare(0, "q", arguments={"x-message-ttl": -5}))
    client.open(1)
    client.do(Queue.Declare(0, "q", arguments={"x-dead-letter-exchange": 70_000}))


@scenario()
def two_differing_arguments_are_named_in_an_order_of_their_own(session: Session) -> None:
    client = session.connect()
    client.do(
        Queue.Declare(
            0,
            "q",
            arguments={
                "x-single-active-consumer": True,
                "x-max-length": 5,
                "x-dead-letter-exchange": "",
                "x-message-ttl": 50,
                "x-expires": 500_000,
            },
        )
    )
    known: common.FieldTable = {}
    for name, value in (
        ("x-expires", 500_000),
        ("x-message-ttl", 50),
        ("x-dead-letter-exchange", ""),
        ("x-max-length", 5),
    ):
        client.do(Queue.Declare(0, "q", arguments=dict(known)))
        client.open(1)
        known[name] = value
    client.do(Queue.Declare(0, "q", arguments=known))

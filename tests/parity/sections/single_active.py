"""Single active consumer: who is active, who is next, and what comes back when it changes."""

from pamqp import body, commands, common, header

from leveret.errors import ReplyCode
from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.transcript import channel_refused, got
from tests.support.wire import channel_close

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue


def declare(client: Client, *, queue_type: str = "", auto_delete: bool = False) -> None:
    """Declare the queue q with a single active consumer."""
    arguments: common.FieldTable = {"x-single-active-consumer": True}
    if queue_type:
        arguments["x-queue-type"] = queue_type
    method = Queue.Declare(
        0, "q", durable=bool(queue_type), auto_delete=auto_delete, arguments=arguments
    )
    client.ask(method, Queue.DeclareOk)


def with_queue(session: Session) -> Client:
    """A client with that queue and three channels."""
    client = session.connect()
    declare(client)
    client.open(2)
    client.open(3)
    return client


def publish(client: Client, *contents: bytes) -> None:
    """Publish to the queue q, one after the other."""
    for content in contents:
        client.publish("", "q", content)
        client.drain("q")


def consume(client: Client, tag: str, ch: int, priority: int | None = None) -> None:
    """Consume from the queue q; the priority None is the argument left out."""
    arguments: common.FieldTable = {} if priority is None else {"x-priority": priority}
    client.do(Basic.Consume(0, "q", tag, arguments=arguments), "q", ch=ch)


@scenario()
def the_first_consumer_is_the_active_one(session: Session) -> None:
    client = with_queue(session)
    consume(client, "one", 1)
    consume(client, "two", 1)
    publish(client, b"1", b"2", b"3")
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def the_next_one_follows_when_the_active_one_is_cancelled(session: Session) -> None:
    client = with_queue(session)
    for tag in ("one", "two", "three"):
        consume(client, tag, 1)
    publish(client, b"1")
    client.do(Basic.Cancel("one"), "q")
    publish(client, b"2")
    consume(client, "one", 1)
    publish(client, b"3")
    client.do(Basic.Cancel("two"), "q")
    publish(client, b"4")
    client.do(Basic.Cancel("three"), "q")
    publish(client, b"5")


@scenario()
def cancelling_who_waits_changes_nothing(session: Session) -> None:
    client = with_queue(session)
    for tag in ("one", "two", "three"):
        consume(client, tag, 1)
    client.do(Basic.Cancel("two"))
    publish(client, b"1")
    client.do(Basic.Cancel("one"))
    publish(client, b"2")


@scenario(
    differs="When the active consumer of a queue with `x-single-active-consumer` is cancelled, "
    "the next one gets the waiting messages at once; RabbitMQ 3.10 waits for another "
    "event of the queue if the prefetch of the cancelled one was used up.",
    leveret=[
        got(Queue.DeclareOk("q", 0, 0)),
        got(Basic.QosOk()),
        got(Basic.ConsumeOk("one")),
        got(Basic.ConsumeOk("two")),
        got(Basic.Deliver("one", 1, False, "", "q")),
        got(header.ContentHeader(body_size=1)),
        got(body.ContentBody(b"1")),
        got(Basic.CancelOk("one")),
        got(Basic.Deliver("two", 2, False, "", "q")),
        got(header.ContentHeader(body_size=1)),
        got(body.ContentBody(b"2")),
    ],
)
def what_waits_goes_to_the_next_one_when_a_full_one_is_cancelled(session: Session) -> None:
    client = session.connect()
    declare(client)
    client.do(Basic.Qos(0, 1))
    consume(client, "one", 1)
    consume(client, "two", 1)
    publish(client, b"1", b"2")
    client.do(Basic.Cancel("one"), "q")


@scenario()
def who_is_full_keeps_its_turn(session: Session) -> None:
    client = with_queue(session)
    client.do(Basic.Qos(0, 1))
    consume(client, "one", 1)
    consume(client, "two", 1)
    publish(client, b"1", b"2")
    client.do(Basic.Ack(1), "q")


@scenario()
def what_a_closed_channel_held_comes_first(session: Session) -> None:
    client = with_queue(session)
    client.do(Basic.Qos(0, 2), ch=2)
    consume(client, "one", 2)
    consume(client, "two", 1)
    for content in (b"1", b"2", b"3"):
        client.publish("", "q", content)
    client.drain("q")
    client.drain(ch=2)
    client.send(channel_close(), 2)
    client.receive_until(Channel.CloseOk, *[Basic.Deliver] * 3)


@scenario()
def what_a_lost_connection_held_comes_first(session: Session) -> None:
    worker = session.connect()
    declare(worker)
    worker.do(Basic.Qos(0, 1))
    consume(worker, "one", 1)
    other = session.connect("b")
    consume(other, "two", 1)
    publish(worker, b"1", b"2")
    worker.drop()
    other.receive_until(Basic.Deliver, Basic.Deliver)


@scenario()
def a_connection_is_lost_with_two_of_its_consumers(session: Session) -> None:
    worker = session.connect()
    declare(worker)
    consume(worker, "one", 1)
    worker.open(2)
    consume(worker, "two", 2)
    other = session.connect("b")
    consume(other, "three", 1)
    publish(worker, b"1")
    worker.drop()
    other.receive_until(Basic.Deliver)


@scenario()
def an_exclusive_consumer_is_refused(session: Session) -> None:
    client = with_queue(session)
    client.do(Basic.Consume(0, "q", "one", exclusive=True))
    client.open(1)
    consume(client, "one", 1)
    client.do(Basic.Consume(0, "q", "two", exclusive=True), ch=2)


@scenario()
def get_goes_beside_the_active_one(session: Session) -> None:
    client = with_queue(session)
    client.do(Basic.Qos(0, 1))
    consume(client, "one", 1)
    publish(client, b"1", b"2")
    client.do(Basic.Get(0, "q"), ch=2)


@scenario()
def a_higher_priority_that_comes_later(session: Session) -> None:
    client = with_queue(session)
    consume(client, "low", 1, 1)
    publish(client, b"1")
    consume(client, "high", 1, 10)
    publish(client, b"2")
    client.do(Basic.Ack(1))
    publish(client, b"3")


@scenario()
def the_highest_priority_is_next(session: Session) -> None:
    client = with_queue(session)
    for tag, priority in (("one", 1), ("low", -1), ("middle", None), ("high", 10), ("high2", 10)):
        consume(client, tag, 1, priority)
    publish(client, b"1")
    for number, tag in enumerate(("one", "high", "high2", "middle")):
        client.do(Basic.Cancel(tag), "q")
        publish(client, b"%d" % (number + 2))


@scenario()
def all_are_told_when_the_queue_is_deleted(session: Session) -> None:
    client = with_queue(session)
    consume(client, "one", 2)
    consume(client, "two", 3)
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    client.receive_until(Basic.Cancel, Basic.Cancel)


@scenario()
def an_auto_delete_queue_goes_with_the_last_one(session: Session) -> None:
    client = session.connect()
    declare(client, auto_delete=True)
    consume(client, "one", 1)
    consume(client, "two", 1)
    client.do(Basic.Cancel("one"))
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Cancel("two"))
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def it_is_compared_on_declaring_again(session: Session) -> None:
    client = session.connect()
    declare(client)
    declare(client)
    client.do(Queue.Declare(0, "q", arguments={"x-single-active-consumer": False}))
    client.open(1)
    client.do(Queue.Declare(0, "q"))


@scenario()
def get_from_such_a_quorum_queue(session: Session) -> None:
    client = session.connect()
    declare(client, queue_type="quorum")
    client.do(Basic.Get(0, "q"))


@scenario()
def a_quorum_queue_has_one_active_consumer(session: Session) -> None:
    client = session.connect()
    declare(client, queue_type="quorum")
    client.ask(Basic.Consume(0, "q", "one"), Basic.ConsumeOk)
    client.ask(Basic.Consume(0, "q", "two"), Basic.ConsumeOk)
    for content in (b"1", b"2"):
        client.publish("", "q", content)
        client.receive_until(Basic.Deliver)


@scenario(
    differs="Exclusive consumers are exclusive in every queue; RabbitMQ ignores `exclusive` in "
    "quorum queues with a single active consumer.",
    leveret=[
        got(Queue.DeclareOk("q", 0, 0)),
        *channel_refused(
            ReplyCode.ACCESS_REFUSED, "queue 'q' in vhost '/' in exclusive use", 60, 20
        ),
    ],
)
def an_exclusive_consumer_of_such_a_quorum_queue(session: Session) -> None:
    client = session.connect()
    declare(client, queue_type="quorum")
    client.do(Basic.Consume(0, "q", "one", exclusive=True))

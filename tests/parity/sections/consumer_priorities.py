"""Consumer priorities: who is served first, and who when the first can take nothing."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.support.wire import channel_close

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue


def publish(client: Client, *contents: bytes) -> None:
    """Publish to the queue q, one after the other."""
    for content in contents:
        client.publish("", "q", content)
        client.drain("q")


def consume(client: Client, tag: str, priority: int | None, prefetch: int = 0) -> None:
    """Consume from the queue q with a priority; None is the argument left out."""
    client.do(Basic.Qos(0, prefetch))
    arguments: common.FieldTable = {} if priority is None else {"x-priority": priority}
    client.do(Basic.Consume(0, "q", tag, arguments=arguments), "q")


def with_consumers(session: Session, **priorities: int | None) -> Client:
    """A client with a queue q and a consumer for each tag, of that priority, prefetch 1 each."""
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    for tag, priority in priorities.items():
        consume(client, tag, priority, 1)
    return client


@scenario()
def a_higher_priority_is_served_first(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    consume(client, "low", None)
    consume(client, "high", 10)
    publish(client, b"1", b"2", b"3")


@scenario()
def without_the_argument_the_priority_is_0(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    consume(client, "below", -1)
    consume(client, "absent", None)
    consume(client, "zero", 0)
    publish(client, b"1", b"2", b"3", b"4")


@scenario()
def a_full_consumer_lets_the_next_priority_have_messages(session: Session) -> None:
    client = with_consumers(session, low=-5, middle=None, high=5)
    publish(client, b"1", b"2", b"3", b"4")
    client.do(Basic.Ack(2), "q")
    client.do(Basic.Ack(3), "q")
    client.do(Basic.Ack(1), "q")
    publish(client, b"5", b"6")


@scenario()
def consumers_of_equal_priority_take_turns(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    for tag, priority in (("low", 1), ("one", 2), ("two", 2), ("lower", 0), ("three", 2)):
        consume(client, tag, priority)
    publish(client, b"1", b"2", b"3", b"4", b"5")


@scenario()
def who_has_room_again_comes_behind_its_equals(session: Session) -> None:
    client = with_consumers(session, one=2)
    consume(client, "two", 2)
    consume(client, "three", 2)
    publish(client, b"1", b"2", b"3", b"4")
    client.do(Basic.Ack(1), "q")
    publish(client, b"5", b"6", b"7", b"8")


@scenario()
def a_newcomer_of_higher_priority_is_served_from_then_on(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    consume(client, "one", 1)
    publish(client, b"1")
    consume(client, "two", 2)
    publish(client, b"2")
    client.do(Basic.Cancel("two"))
    publish(client, b"3")


@scenario()
def what_comes_back_goes_to_the_higher_priority(session: Session) -> None:
    client = with_consumers(session, low=1)
    publish(client, b"1")
    consume(client, "high", 2, 1)
    client.do(Basic.Reject(1, True), "q")


@scenario()
def a_channel_that_closes_leaves_its_messages_to_the_lower_priority(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q"))
    consume(client, "low", -1)
    client.open(2)
    client.do(Basic.Consume(0, "q", "high", arguments={"x-priority": 1}), "q", ch=2)
    client.publish("", "q", b"1")
    client.drain("q", ch=2)
    client.send(channel_close(), 2)
    client.receive_until(Channel.CloseOk, Basic.Deliver)

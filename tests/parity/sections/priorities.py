"""Queues with priorities: what is delivered first, what comes back where, and what is dropped."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue


def with_priorities(
    session: Session, max_priority: int = 10, arguments: common.FieldTable | None = None
) -> Client:
    """A client with a queue q with priorities."""
    client = session.connect()
    table: common.FieldTable = {"x-max-priority": max_priority} | (arguments or {})
    client.do(Queue.Declare(0, "q", arguments=table))
    return client


def publish(client: Client, *contents: tuple[bytes, int | None]) -> None:
    """Publish to the queue q: contents and priorities; None is the property left out."""
    for content, priority in contents:
        if priority is None:
            client.publish("", "q", content)
        else:
            client.publish("", "q", content, priority=priority)
        client.drain("q")


def get_all(client: Client, count: int) -> None:
    """Fetch so many messages and one more, none of which is acknowledged."""
    for _ in range(count + 1):
        client.do(Basic.Get(0, "q"), "q")


@scenario()
def the_highest_priority_comes_first_and_then_the_oldest(session: Session) -> None:
    client = with_priorities(session)
    publish(client, (b"1", 1), (b"2", 5), (b"3", 1), (b"4", 10), (b"5", 5), (b"6", 0))
    get_all(client, 6)


@scenario()
def no_priority_is_0_and_one_above_the_maximum_is_the_maximum(session: Session) -> None:
    client = with_priorities(session, 3)
    publish(client, (b"1", None), (b"2", 0), (b"3", 3), (b"4", 255), (b"5", 4), (b"6", None))
    get_all(client, 6)


@scenario()
def a_consumer_is_served_by_priority(session: Session) -> None:
    client = with_priorities(session)
    publish(client, (b"1", 1), (b"2", 5), (b"3", 1), (b"4", 9))
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "tag"), "q")
    publish(client, (b"5", 9), (b"6", 2))
    for tag in range(1, 7):
        client.do(Basic.Ack(tag), "q")


@scenario()
def a_message_that_comes_back_goes_to_its_old_place_within_its_priority(session: Session) -> None:
    client = with_priorities(session)
    publish(client, (b"1", 1), (b"2", 5), (b"3", 1), (b"4", 5))
    for _ in range(3):
        client.do(Basic.Get(0, "q"), "q")
    publish(client, (b"5", 7), (b"6", 1))
    client.do(Basic.Nack(3, True, True), "q")
    get_all(client, 6)


@scenario()
def messages_of_a_channel_that_closes_go_to_their_old_places(session: Session) -> None:
    client = with_priorities(session)
    publish(client, (b"1", 1), (b"2", 5), (b"3", 3))
    client.open(2)
    client.do(Basic.Consume(0, "q", "tag"), "q", ch=2)
    client.send(Channel.Close(200, "bye", 0, 0), 2)
    client.receive_until(Channel.CloseOk)
    publish(client, (b"4", 5), (b"5", 3))
    get_all(client, 5)


@scenario()
def with_a_maximum_of_0_there_is_one_priority(session: Session) -> None:
    client = with_priorities(session, 0)
    publish(client, (b"1", 0), (b"2", 9), (b"3", None))
    get_all(client, 3)


@scenario()
def a_full_queue_drops_the_highest_priority_first(session: Session) -> None:
    client = with_priorities(session, arguments={"x-max-length": 3})
    publish(client, (b"1", 1), (b"2", 5), (b"3", 5), (b"4", 0), (b"5", 1))
    get_all(client, 3)


@scenario()
def a_full_queue_drops_what_comes_if_it_has_the_highest_priority(session: Session) -> None:
    client = with_priorities(session, arguments={"x-max-length": 2})
    publish(client, (b"1", 1), (b"2", 1), (b"3", 9))
    get_all(client, 2)


@scenario()
def a_queue_full_of_bytes_drops_the_highest_priority_first(session: Session) -> None:
    client = with_priorities(session, arguments={"x-max-length-bytes": 10})
    publish(client, (b"1111", 1), (b"2222", 5), (b"33", 1), (b"4", 2))
    get_all(client, 3)


@scenario()
def a_full_queue_refuses_whatever_the_priority(session: Session) -> None:
    client = with_priorities(session, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    publish(client, (b"1", 1), (b"2", 1), (b"3", 9))
    get_all(client, 2)


@scenario()
def purge_and_delete_count_every_priority(session: Session) -> None:
    client = with_priorities(session)
    publish(client, (b"1", 1), (b"2", 5), (b"3", 9), (b"4", None))
    client.do(Basic.Get(0, "q"), "q")
    client.do(Queue.Purge(0, "q"), "q")
    publish(client, (b"5", 1), (b"6", 5))
    client.do(Basic.Nack(1), "q")
    client.do(Queue.Delete(0, "q"))


@scenario()
def nothing_waits_while_a_consumer_is_ready(session: Session) -> None:
    client = with_priorities(session)
    client.do(Basic.Consume(0, "q", "tag", no_ack=True))
    publish(client, (b"1", 1), (b"2", 9), (b"3", None))


@scenario()
def a_message_with_a_time_to_live_of_0_expires_in_any_priority(session: Session) -> None:
    client = with_priorities(session)
    client.publish("", "q", b"1", priority=5, expiration="0")
    client.drain("q")
    publish(client, (b"2", 1))
    get_all(client, 1)

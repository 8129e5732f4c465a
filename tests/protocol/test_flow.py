"""Who is too slow or too fast: nobody else waits, memory is bounded, and nothing is lost."""

import pytest
from pamqp.commands import Basic, Confirm, Connection, Queue, Tx

from leveret.errors import ReplyCode
from leveret.limits import (
    OUTPUT_HIGH_WATER_BYTES,
    OUTPUT_REPLIES_BYTES_MAX,
    THROTTLED_BACKLOG_MESSAGES,
)
from tests.protocol import wire
from tests.protocol.playbook import ALL_CAPABILITIES, Client, Play

KILOBYTE = bytes(1024)
MESSAGE_BYTES = len(wire.publish(1, "q", KILOBYTE)) + 64
"""At most what one message of a kilobyte is on the wire."""


def bodies_heard(client: Client) -> list[bytes]:
    came = [heard for _, heard in client.hears_all()]
    assert all(isinstance(heard, wire.Content) for heard in came)
    return [heard.body for heard in came if isinstance(heard, wire.Content)]


def numbered(count: int, size: int = 1024) -> list[bytes]:
    return [b"%d" % number + bytes(size) for number in range(count)]


# --- consumers that do not read --------------------------------------------------------------


def test_a_consumer_that_does_not_read_is_delivered_a_bounded_amount(play: Play) -> None:
    slow, publisher = play.opens(1), play.opens(1)
    publisher.declares(1, "q")
    slow.consumes(1, "q", "c", no_ack=True)
    slow.reads = False
    messages = numbered(1000)
    publisher.publishes(1, "q", *messages)
    waiting = len(slow.connection.session.output)
    assert OUTPUT_HIGH_WATER_BYTES <= waiting < OUTPUT_HIGH_WATER_BYTES + 2 * MESSAGE_BYTES
    assert play.queue("q").message_count() > 500
    slow.reads = True
    assert bodies_heard(slow) == messages


def test_others_go_on_while_one_does_not_read(play: Play) -> None:
    slow, quick, publisher = play.opens(1), play.opens(1), play.opens(1)
    publisher.declares(1, "q")
    slow.consumes(1, "q", "c", no_ack=True)
    quick.consumes(1, "q", "c", no_ack=True)
    slow.reads = False
    messages = numbered(1000)
    heard = []
    for message in messages:
        publisher.publishes(1, "q", message)
        heard += bodies_heard(quick)
    assert play.queue("q").message_count() == 0
    assert len(heard) > 700
    slow.reads = True
    assert sorted(heard + bodies_heard(slow)) == sorted(messages)


def test_a_paused_session_is_delivered_nothing_until_it_is_let_on(play: Play) -> None:
    """`paused` is the transport's word for a socket that takes no more."""
    slow, publisher = play.opens(1), play.opens(1)
    publisher.declares(1, "q")
    slow.consumes(1, "q", "c")
    slow.connection.session.write_paused = True
    publisher.publishes(1, "q", b"1", b"2")
    slow.hears_nothing()
    slow.connection.session.resume_consumers()
    slow.hears_nothing()
    slow.connection.session.write_paused = False
    slow.connection.session.resume_consumers()
    slow.gets(1, "c", 1, b"1")
    slow.gets(1, "c", 2, b"2")


def test_a_consumer_held_up_for_both_reasons_goes_on_when_both_are_over(play: Play) -> None:
    slow, publisher = play.opens(1), play.opens(1)
    publisher.declares(1, "q")
    slow.does(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    slow.consumes(1, "q", "c")
    publisher.publishes(1, "q", b"1", b"2", b"3")
    slow.gets(1, "c", 1, b"1")
    slow.connection.session.write_paused = True
    slow.says(1, Basic.Ack(1))
    slow.hears_nothing()
    slow.connection.session.write_paused = False
    slow.connection.session.resume_consumers()
    slow.gets(1, "c", 2, b"2")
    slow.says(1, Basic.Ack(2))
    slow.gets(1, "c", 3, b"3")


def test_a_consumer_that_is_held_up_can_be_cancelled_or_lost(play: Play) -> None:
    slow, lost, publisher = play.opens(1), play.opens(1), play.opens(1)
    publisher.declares(1, "q")
    for client in (slow, lost):
        client.consumes(1, "q", "c")
        client.connection.session.write_paused = True
    publisher.publishes(1, "q", b"1")
    slow.does(1, Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    lost.loses_its_socket()
    for client in (slow, lost):
        client.connection.session.write_paused = False
        assert client.connection.session.suspended == {}
        client.connection.session.resume_consumers()
    slow.hears_nothing()
    assert play.queue("q").message_count() == 1


def test_a_consumer_whose_queue_goes_while_it_is_held_up_is_told(play: Play) -> None:
    slow, other = play.opens(1), play.opens(1)
    other.declares(1, "q")
    slow.consumes(1, "q", "c")
    slow.connection.session.write_paused = True
    other.publishes(1, "q", b"1")
    other.does(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    slow.hears(1, Basic.Cancel("c", True))
    assert slow.connection.session.suspended == {}


# --- requests whose answers are not read -----------------------------------------------------


def test_requests_wait_while_their_answers_are_not_taken(play: Play) -> None:
    client, publisher = play.opens(1), play.opens(1)
    publisher.declares(1, "q")
    size = 100_000
    messages = numbered(100, size)
    publisher.publishes(1, "q", *messages)
    client.reads = False
    connection = client.connection
    requests = wire.says(1, *[Basic.Get(queue="q", no_ack=True)] * 100)
    assert connection.feed(requests, 1_000_000), "there is more to work through"
    waiting = len(connection.session.output)
    assert OUTPUT_REPLIES_BYTES_MAX < waiting < OUTPUT_REPLIES_BYTES_MAX + 2 * size
    assert play.queue("q").message_count() > 80
    client.reads = True
    heard = bodies_heard(client)
    while connection.work(1_000_000):
        heard += bodies_heard(client)
    assert heard + bodies_heard(client) == messages


def test_requests_that_wait_may_be_followed_by_more(play: Play) -> None:
    client, publisher = play.opens(1), play.opens(1)
    publisher.declares(1, "q")
    messages = numbered(60, 100_000)
    publisher.publishes(1, "q", *messages)
    client.reads = False
    connection = client.connection
    requests = wire.says(1, *[Basic.Get(queue="q", no_ack=True)] * 30)
    assert connection.feed(requests + requests[:5], 1_000_000)
    assert connection.feed(requests[5:], 0)
    client.reads = True
    heard = bodies_heard(client)
    while connection.work(1_000_000):
        heard += bodies_heard(client)
    assert heard + bodies_heard(client) == messages


def test_a_slice_is_about_as_large_as_was_asked_for(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    one = wire.publish(1, "q", b"x" * 100)
    connection = alice.connection
    more = connection.feed(one * 100, len(one) * 10)
    assert play.queue("q").message_count() == 10
    rounds = 1
    while more:
        more = connection.work(len(one) * 10)
        rounds += 1
    assert rounds == 10
    assert play.queue("q").message_count() == 100


# --- publishers ------------------------------------------------------------------------------


def test_a_publisher_is_held_while_consumers_work_on_a_long_backlog(play: Play) -> None:
    publisher, worker = play.opens(1), play.opens(1)
    publisher.declares(1, "q")

    def held() -> bool:
        was = publisher.connection.session.throttled
        publisher.connection.session.throttled = False
        return was

    publisher.publishes(1, "q", *[b"x"] * (THROTTLED_BACKLOG_MESSAGES + 10))
    assert not held(), "where nobody consumes, holding helps nobody"
    worker.says(1, Basic.Get(queue="q", no_ack=True))
    worker.hears_a_content(1)
    publisher.publishes(1, "q", b"x")
    assert held()
    publisher.publishes(1, "q", b"x")
    assert not held(), "nothing has left since"


def test_a_blocked_publisher_is_told_why_and_when_it_is_over(alice: Client) -> None:
    alice.connection.block("low on memory")
    alice.hears(0, Connection.Blocked("low on memory"))
    assert alice.connection.blocked
    alice.connection.unblock()
    alice.hears(0, Connection.Unblocked())
    assert not alice.connection.blocked


def test_who_cannot_read_it_is_blocked_without_a_word(play: Play) -> None:
    names = [name for name in ALL_CAPABILITIES if name != "connection.blocked"]
    client = play.opens(1, capabilities=names)
    client.connection.block("low on memory")
    client.connection.unblock()
    client.hears_nothing()


@pytest.mark.parametrize("mode", ["plain", "confirms", "transaction"])
def test_only_who_publishes_concerns_an_alarm(play: Play, alice: Client, mode: str) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c", no_ack=True)
    sessions = [alice.connection.session]
    assert [session.has_published for session in sessions] == [False]
    if mode == "confirms":
        alice.does(1, Confirm.Select(), Confirm.SelectOk)
    elif mode == "transaction":
        alice.does(1, Tx.Select(), Tx.SelectOk)
    alice.publishes(1, "q", b"1")
    assert [session.has_published for session in sessions] == [True]
    alice.hears_all()


def test_consumers_of_a_blocked_connection_go_on(play: Play, alice: Client, bob: Client) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c", no_ack=True)
    alice.connection.block("low on memory")
    alice.hears(0, Connection.Blocked("low on memory"))
    bob.publishes(1, "q", b"1")
    alice.gets(1, "c", 1, b"1")


def test_a_refused_peer_that_does_not_read_holds_nothing(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c")
    alice.reads = False
    alice.feeds(wire.frame(4, 1, b""))
    assert play.queue("q").consumers == []
    assert play.broker.connections_open == 0
    alice.reads = True
    alice.is_refused(0, ReplyCode.FRAME_ERROR, "type 4, all octets = <<>>: unknown_frame")

"""Messages and queues that expire: by the queue, by the message, and what keeps them."""

import time

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.support.brokers import wait_until

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue
Tx = commands.Tx

SOON_MS = 50
IDLE_MS = 250
"""What has to be used before it expires is used by the same write that makes it."""

LATE_MS = 3_600_000


def with_queues(session: Session, arguments: common.FieldTable | None = None) -> Client:
    """A client with a queue q whose dead letters go to the queue dead."""
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "dead"))
    declare(client, arguments)
    client.drain()
    return client


def declare(client: Client, arguments: common.FieldTable | None) -> None:
    """Declare a queue q whose dead letters go to the queue dead, and read nothing."""
    table: common.FieldTable = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    client.send(Queue.Declare(0, "q", arguments=table | (arguments or {})))


def publish(client: Client, content: bytes, expiration: int | None = None) -> None:
    """Publish to the queue q, with a time to live in milliseconds if the message is to have one."""
    if expiration is None:
        client.publish("", "q", content)
    else:
        client.publish("", "q", content, expiration=str(expiration))
    client.drain("q")


def wait_until_due() -> None:
    """Wait until the millisecond of what was published is over.

    Nothing shows that a message is due that is not at the head of its queue.
    """
    due = time.monotonic() + 0.02
    wait_until(lambda: time.monotonic() > due, what="the time to live of what is behind the head")


def see_dead(client: Client, count: int) -> None:
    """Wait for so many dead letters, and fetch them."""
    client.wait_for_depth("dead", count)
    for _ in range(count):
        client.do(Basic.Get(0, "dead", True))


@scenario()
def messages_expire_by_the_queue(session: Session) -> None:
    client = with_queues(session, {"x-message-ttl": SOON_MS})
    publish(client, b"1")
    publish(client, b"2")
    see_dead(client, 2)
    client.do(Basic.Get(0, "q"))


@scenario()
def a_message_expires_by_itself(session: Session) -> None:
    client = with_queues(session)
    publish(client, b"1", SOON_MS)
    see_dead(client, 1)
    client.do(Basic.Get(0, "q"))


@scenario()
def of_the_message_and_the_queue_the_shorter_time_counts(session: Session) -> None:
    client = with_queues(session, {"x-message-ttl": SOON_MS})
    publish(client, b"1", LATE_MS)
    see_dead(client, 1)
    client.do(Queue.Declare(0, "p", arguments={"x-message-ttl": LATE_MS}))
    client.publish("", "p", b"2", expiration=str(SOON_MS))
    client.wait_for_depth("p", 0)


@scenario()
def only_the_message_at_the_head_expires(session: Session) -> None:
    client = with_queues(session)
    publish(client, b"1")
    publish(client, b"2", 1)
    publish(client, b"3", 1)
    publish(client, b"4")
    client.do(Queue.Declare(0, "q", passive=True))
    wait_until_due()
    client.do(Basic.Get(0, "q", True), "q")
    see_dead(client, 2)
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Get(0, "q", True))


@scenario()
def a_message_with_0_expires_if_nobody_takes_it(session: Session) -> None:
    client = with_queues(session)
    publish(client, b"1", 0)
    client.do(Queue.Declare(0, "q", passive=True))
    see_dead(client, 1)


@scenario()
def a_message_with_0_is_delivered_to_a_consumer_that_is_ready(session: Session) -> None:
    client = with_queues(session)
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "tag"))
    publish(client, b"1", 0)
    publish(client, b"2", 0)
    see_dead(client, 1)
    client.do(Basic.Nack(1, False, True), "q")
    see_dead(client, 1)


@scenario()
def a_queue_with_0_delivers_to_a_consumer_that_is_ready(session: Session) -> None:
    client = with_queues(session, {"x-message-ttl": 0})
    publish(client, b"1")
    see_dead(client, 1)
    client.do(Basic.Consume(0, "q", "tag", no_ack=True))
    publish(client, b"2")


@scenario()
def a_message_that_comes_back_keeps_its_time(session: Session) -> None:
    client = with_queues(session)
    with client.at_once():
        client.publish("", "q", b"1", expiration=str(2 * IDLE_MS))
        client.send(Basic.Get(0, "q"))
        client.send(Basic.Nack(1, False, True))
        client.send(Basic.Get(0, "q"))
    client.drain("q")
    publish(client, b"2", 1)
    see_dead(client, 1)
    client.do(Basic.Reject(2, True), "q")
    see_dead(client, 1)


@scenario()
def a_message_with_a_client_does_not_expire(session: Session) -> None:
    client = with_queues(session)
    with client.at_once():
        client.publish("", "q", b"1", expiration=str(IDLE_MS))
        client.send(Basic.Get(0, "q"))
    client.drain("q")
    publish(client, b"2", 2 * IDLE_MS)
    see_dead(client, 1)
    client.do(Basic.Ack(1), "q")
    client.do(Queue.Declare(0, "dead", passive=True))


@scenario()
def a_message_that_did_not_expire_is_delivered_with_its_expiration(session: Session) -> None:
    client = with_queues(session)
    publish(client, b"1", LATE_MS)
    client.do(Basic.Get(0, "q", True))


@scenario()
def an_expiration_may_have_a_sign_and_zeros(session: Session) -> None:
    client = with_queues(session)
    for expiration in ("+0", "000", "-0"):
        client.publish("", "q", b"1", expiration=expiration)
        client.drain("q")
        see_dead(client, 1)


@scenario()
def an_expired_message_is_gone_where_there_are_no_dead_letters(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", arguments={"x-message-ttl": SOON_MS}))
    publish(client, b"1")
    client.wait_for_depth("q", 0)
    client.do(Basic.Get(0, "q"))
    client.do(Queue.Delete(0, "q"))


@scenario()
def an_expired_message_is_confirmed(session: Session) -> None:
    client = with_queues(session)
    client.do(commands.Confirm.Select())
    client.publish("", "q", b"1", expiration="0", delivery_mode=2, mandatory=True)
    client.receive_until(Basic.Ack)
    see_dead(client, 1)


@scenario()
def a_message_in_a_transaction_lives_from_the_commit_on(session: Session) -> None:
    client = with_queues(session)
    client.do(Tx.Select())
    client.publish("", "q", b"1", expiration="0")
    client.drain("q")
    client.do(Queue.Declare(0, "dead", passive=True))
    client.ask(Tx.Commit(), Tx.CommitOk, "q")
    see_dead(client, 1)


@scenario()
def a_consumer_that_comes_late_gets_what_did_not_expire(session: Session) -> None:
    client = with_queues(session)
    publish(client, b"1", 1)
    publish(client, b"2")
    publish(client, b"3", 1)
    publish(client, b"4")
    see_dead(client, 1)
    wait_until_due()
    client.do(Basic.Consume(0, "q", "tag", no_ack=True), "q")
    see_dead(client, 1)


@scenario()
def a_queue_that_nobody_uses_goes(session: Session) -> None:
    client = session.connect()
    with client.at_once():
        client.send(Queue.Declare(0, "q", arguments={"x-expires": IDLE_MS}))
        client.publish("", "q", b"1")
    client.drain()
    client.wait_for_deletion("q")
    client.do(Basic.Get(0, "q"))


@scenario()
def dead_letters_are_not_made_of_what_a_queue_has_that_goes(session: Session) -> None:
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "dead"))
    with client.at_once():
        declare(client, {"x-expires": IDLE_MS})
        client.publish("", "q", b"1")
    client.drain()
    client.wait_for_deletion("q")
    client.do(Queue.Declare(0, "dead", passive=True))


@scenario()
def dead_letters_are_not_made_of_what_is_purged_or_deleted(session: Session) -> None:
    client = with_queues(session)
    publish(client, b"1")
    client.do(Queue.Purge(0, "q"))
    publish(client, b"2")
    client.do(Queue.Delete(0, "q"))
    client.do(Queue.Declare(0, "dead", passive=True))


@scenario()
def a_queue_with_a_consumer_does_not_go(session: Session) -> None:
    client = session.connect()
    with client.at_once():
        client.send(Queue.Declare(0, "q", arguments={"x-expires": IDLE_MS}))
        client.send(Basic.Consume(0, "q", "tag"))
    client.drain()
    client.do(Queue.Declare(0, "other", arguments={"x-expires": 2 * IDLE_MS}))
    client.wait_for_deletion("other")
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Cancel("tag"))
    client.wait_for_deletion("q")
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def a_message_unacknowledged_does_not_keep_a_queue(session: Session) -> None:
    client = session.connect()
    with client.at_once():
        client.send(Queue.Declare(0, "q", arguments={"x-expires": IDLE_MS}))
        client.publish("", "q", b"1")
        client.send(Basic.Get(0, "q"))
    client.drain()
    client.wait_for_deletion("q")
    client.do(Basic.Ack(1))

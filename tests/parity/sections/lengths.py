"""Queues with a length: what is dropped, what is refused, and who is told."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session

Basic = commands.Basic
Channel = commands.Channel
Confirm = commands.Confirm
Exchange = commands.Exchange
Queue = commands.Queue
Tx = commands.Tx

REJECT = {"x-overflow": "reject-publish"}
REJECT_DLX = {"x-overflow": "reject-publish-dlx"}


def with_length(session: Session, arguments: common.FieldTable, *, dead: bool = False) -> Client:
    """A client with a queue q, whose dead letters go to a queue dead if there are to be any."""
    client = session.connect()
    table: common.FieldTable = dict(arguments)
    if dead:
        table |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        with session.unrecorded():
            client.do(Queue.Declare(0, "dead"))
    client.do(Queue.Declare(0, "q", arguments=table))
    return client


def publish(client: Client, *contents: bytes) -> None:
    """Publish to the queue q, one by one."""
    for content in contents:
        client.publish("", "q", content)
        client.drain("q")


def get_all(client: Client, count: int, queue: str = "q") -> None:
    """Fetch so many messages and one more, none of which is acknowledged."""
    for _ in range(count + 1):
        client.do(Basic.Get(0, queue), queue)


@scenario()
def a_full_queue_drops_its_head(session: Session) -> None:
    client = with_length(session, {"x-max-length": 2})
    publish(client, b"1", b"2", b"3", b"4")
    get_all(client, 2)


@scenario()
def a_full_queue_of_bytes_drops_as_many_as_it_takes(session: Session) -> None:
    client = with_length(session, {"x-max-length-bytes": 10})
    publish(client, b"11", b"22", b"33333", b"4444")
    client.do(Queue.Declare(0, "q", passive=True))
    publish(client, b"7777777777")
    client.do(Queue.Declare(0, "q", passive=True))
    publish(client, b"88888888888")
    client.do(Queue.Declare(0, "q", passive=True))
    publish(client, b"9")
    get_all(client, 1)


@scenario()
def a_message_without_a_body_needs_no_bytes(session: Session) -> None:
    client = with_length(session, {"x-max-length-bytes": 0})
    publish(client, b"", b"", b"1", b"")
    get_all(client, 3)


@scenario()
def both_lengths_hold(session: Session) -> None:
    client = with_length(session, {"x-max-length": 3, "x-max-length-bytes": 5})
    publish(client, b"1", b"2", b"3", b"4", b"55")
    client.do(Queue.Declare(0, "q", passive=True))
    publish(client, b"6666")
    get_all(client, 2)


@scenario()
def what_is_unacknowledged_does_not_count(session: Session) -> None:
    client = with_length(session, {"x-max-length": 2})
    publish(client, b"1", b"2")
    client.do(Basic.Get(0, "q"))
    publish(client, b"3")
    client.do(Queue.Declare(0, "q", passive=True))
    publish(client, b"4")
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Nack(1, False, True), "q")
    client.do(Queue.Declare(0, "q", passive=True))
    get_all(client, 2)


@scenario()
def what_comes_back_to_a_full_queue_is_at_its_head_and_dropped(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1}, dead=True)
    publish(client, b"1")
    client.do(Basic.Get(0, "q"))
    publish(client, b"2")
    client.do(Basic.Reject(1, True), "q", "dead")
    get_all(client, 1)
    get_all(client, 1, "dead")


@scenario()
def a_length_of_0_drops_what_nobody_is_waiting_for(session: Session) -> None:
    client = with_length(session, {"x-max-length": 0}, dead=True)
    publish(client, b"1")
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Consume(0, "q", "tag", no_ack=True))
    publish(client, b"2")
    client.do(Basic.Cancel("tag"))
    get_all(client, 1, "dead")


@scenario()
def a_length_of_0_refuses_what_nobody_is_waiting_for(session: Session) -> None:
    client = with_length(session, {"x-max-length": 0, **REJECT})
    client.do(Confirm.Select())
    publish(client, b"1")
    client.do(Basic.Consume(0, "q", "tag", no_ack=True))
    publish(client, b"2")


@scenario()
def a_consumer_that_is_full_does_not_keep_a_queue_from_dropping(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1})
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "tag"))
    publish(client, b"1", b"2", b"3")
    client.do(Basic.Ack(1), "q")


@scenario()
def what_is_dropped_is_confirmed(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1})
    client.do(Confirm.Select())
    publish(client, b"1", b"2")
    client.publish("", "q", b"3", mandatory=True)
    client.drain("q")
    get_all(client, 1)


@scenario()
def a_full_queue_refuses_with_confirms(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT})
    client.do(Confirm.Select())
    publish(client, b"1", b"2", b"3")
    client.do(Basic.Get(0, "q", True), "q")
    publish(client, b"4")
    get_all(client, 1)


@scenario()
def a_full_queue_refuses_without_confirms_and_says_nothing(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT})
    publish(client, b"1", b"2")
    client.publish("", "q", b"3", mandatory=True)
    client.drain("q")
    get_all(client, 1)


@scenario()
def a_queue_full_of_bytes_refuses(session: Session) -> None:
    client = with_length(session, {"x-max-length-bytes": 5, **REJECT})
    client.do(Confirm.Select())
    publish(client, b"123", b"4", b"5", b"6", b"7")
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Get(0, "q", True), "q")
    publish(client, b"123456789", b"8")
    get_all(client, 3)


@scenario()
def a_queue_of_bytes_takes_or_refuses_what_is_larger_than_its_room(session: Session) -> None:
    client = with_length(session, {"x-max-length-bytes": 5, **REJECT})
    client.do(Confirm.Select())
    publish(client, b"123456789")
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def a_refusing_queue_takes_back_what_is_unacknowledged(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT})
    client.do(Confirm.Select())
    publish(client, b"1")
    client.do(Basic.Get(0, "q"))
    publish(client, b"2")
    client.do(Basic.Nack(1, False, True), "q")
    client.do(Queue.Declare(0, "q", passive=True))
    publish(client, b"3")
    get_all(client, 2)


@scenario()
def one_of_two_queues_refuses(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT})
    client.do(Queue.Declare(0, "p"))
    client.do(Exchange.Declare(0, "x", "fanout"))
    client.do(Queue.Bind(0, "q", "x"))
    client.do(Queue.Bind(0, "p", "x"))
    client.do(Confirm.Select())
    for content in (b"1", b"2"):
        client.publish("x", "", content)
        client.drain("q", "p")
    get_all(client, 1)
    get_all(client, 2, "p")


@scenario()
def a_refusal_in_a_transaction(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT})
    client.open(2)
    client.do(Tx.Select())
    client.publish("", "q", b"1")
    client.publish("", "q", b"2")
    client.drain("q")
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Queue.Declare(0, "q", passive=True), ch=2)
    client.do(Basic.Get(0, "q"), ch=2)


@scenario()
def a_refusal_in_a_transaction_that_acknowledges(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT})
    client.do(Queue.Declare(0, "p"))
    client.open(2)
    client.publish("", "p", b"taken")
    client.do(Basic.Get(0, "p"), "p")
    client.do(Tx.Select())
    client.publish("", "q", b"1")
    client.publish("", "q", b"2")
    client.send(Basic.Ack(1))
    client.drain("q")
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Queue.Declare(0, "p", passive=True), ch=2)


@scenario()
def a_full_queue_refuses_and_makes_a_dead_letter(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT_DLX}, dead=True)
    client.do(Confirm.Select())
    publish(client, b"1", b"2")
    client.do(Queue.Declare(0, "q", passive=True))
    get_all(client, 1, "dead")


@scenario()
def a_full_queue_that_only_refuses_makes_no_dead_letter(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT}, dead=True)
    publish(client, b"1", b"2")
    client.do(Queue.Declare(0, "dead", passive=True))


@scenario()
def what_a_full_queue_drops_is_a_dead_letter(session: Session) -> None:
    client = with_length(session, {"x-max-length": 2}, dead=True)
    publish(client, b"1", b"2", b"3", b"4")
    get_all(client, 2)
    get_all(client, 2, "dead")


@scenario()
def a_refused_message_that_would_have_expired_is_refused(session: Session) -> None:
    client = with_length(session, {"x-max-length": 1, **REJECT}, dead=True)
    client.do(Confirm.Select())
    publish(client, b"1")
    client.publish("", "q", b"2", expiration="0")
    client.drain("q")
    client.do(Queue.Declare(0, "dead", passive=True))

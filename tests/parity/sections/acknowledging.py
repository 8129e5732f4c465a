"""Settling: ack, nack, reject and recover, and where messages go that come back."""

import warnings

from pamqp import commands

from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.steps import with_messages
from tests.support.wire import channel_close

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue


@scenario()
def no_ack_deliveries_count_in_the_tags(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(2))


@scenario()
def an_ack_of_a_no_ack_delivery(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Ack(1))


@scenario()
def ack_of_an_unknown_tag(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Ack(9))


@scenario()
def nack_of_an_unknown_tag(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Nack(9))


@scenario()
def reject_of_an_unknown_tag(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Reject(9))


@scenario()
def ack_of_tag_0(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(0))


@scenario()
def reject_of_tag_0(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Reject(0))


@scenario()
def ack_twice(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q"))
    client.send(Basic.Ack(1))
    client.do(Basic.Ack(1))


@scenario()
def ack_on_another_channel(session: Session) -> None:
    client = with_messages(session, b"1")
    client.open(2)
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(1), ch=2)


@scenario()
def ack_multiple_up_to_a_tag(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3")
    for _ in range(3):
        client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(2, True))
    client.do(Basic.Nack(3))
    client.drain("q")
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Ack(3))


@scenario()
def ack_multiple_of_tag_0_means_all(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(0, True))
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Ack(2))


@scenario()
def ack_multiple_of_tag_0_without_anything_unsettled(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Ack(0, True))


@scenario()
def ack_multiple_of_an_unknown_tag(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(9, True))


@scenario()
def ack_multiple_of_a_settled_tag(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(2))
    client.do(Basic.Ack(2, True))


@scenario()
def nack_multiple_requeues_in_order(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3")
    for _ in range(3):
        client.do(Basic.Get(0, "q"))
    client.do(Basic.Nack(2, True, True), "q")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Get(0, "q"))


@scenario()
def nack_without_requeue_drops(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Nack(1, False, False), "q")
    client.do(Basic.Get(0, "q"))


@scenario()
def reject_with_requeue(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Reject(1, True), "q")
    client.do(Basic.Get(0, "q"))


@scenario()
def reject_without_requeue_drops(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Reject(1, False), "q")
    client.do(Basic.Get(0, "q"))


@scenario()
def requeued_messages_take_their_old_places(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3", b"4")
    for _ in range(3):
        client.do(Basic.Get(0, "q"))
    client.do(Basic.Reject(3, True), "q")
    client.do(Basic.Reject(1, True), "q")
    client.do(Basic.Reject(2, True), "q")
    for _ in range(4):
        client.do(Basic.Get(0, "q", True))


@scenario()
def a_rejected_message_goes_to_the_only_consumer_again(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "tag"), "q")
    client.do(Basic.Reject(1, True), "q")
    client.do(Basic.Ack(2))


@scenario()
def recover_requeues(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Recover(True), "q")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Get(0, "q"))


@scenario()
def recover_delivers_to_the_consumer_again(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Consume(0, "q", "tag"), "q")
    client.do(Basic.Recover(True), "q")
    client.do(Basic.Ack(0, True))


@scenario()
def recover_without_anything_unsettled(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Recover(True))


@scenario()
def recover_without_requeue_is_not_implemented(session: Session) -> None:
    client = session.connect()
    client.send(Basic.Recover(False))
    client.receive_until_closed()


def recover_async(requeue: bool) -> Basic.RecoverAsync:
    """basic.recover-async, which pamqp warns of because the specification deprecates it."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return Basic.RecoverAsync(requeue)


@scenario()
def recover_async_requeues_without_a_reply(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q"))
    client.do(recover_async(True), "q")
    client.do(Basic.Get(0, "q"))


@scenario()
def recover_async_without_requeue_is_not_implemented(session: Session) -> None:
    client = session.connect()
    client.send(recover_async(False))
    client.receive_until_closed()


@scenario()
def what_a_cancelled_consumer_holds_can_be_settled(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3")
    client.do(Basic.Consume(0, "q", "one"), "q")
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    client.receive_until(Basic.Cancel)
    client.do(Basic.Ack(1))
    client.do(Basic.Nack(2, False, True))
    client.do(Basic.Reject(3, False))


@scenario()
def an_ack_after_its_queue_was_deleted_is_accepted(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q"))
    client.do(Queue.Delete(0, "q"))
    client.do(Basic.Ack(1))


@scenario()
def a_consumers_channel_closing_hands_its_messages_to_another(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.open(2)
    client.do(Basic.Consume(0, "q", "one"), "q", ch=2)
    client.do(Basic.Consume(0, "q", "two"), "q", ch=1)
    client.send(channel_close(), 2)
    client.receive_until(Channel.CloseOk, Basic.Deliver, Basic.Deliver)


@scenario()
def a_lost_connection_hands_its_messages_to_another(session: Session) -> None:
    worker = with_messages(session, b"1")
    worker.do(Basic.Consume(0, "q", "one"), "q")
    other = session.connect("b")
    other.do(Basic.Consume(0, "q", "two"), "q")
    worker.drop()
    other.receive_until(Basic.Deliver)


@scenario()
def a_message_requeued_by_one_channel_is_redelivered_to_another(session: Session) -> None:
    client = with_messages(session, b"1")
    client.open(2)
    client.do(Basic.Get(0, "q"), ch=1)
    client.do(Basic.Nack(1), "q", ch=1)
    client.do(Basic.Get(0, "q"), ch=2)

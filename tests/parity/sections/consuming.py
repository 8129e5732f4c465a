"""Consuming: qos, consume, cancel, get, acknowledging, requeueing, recovering."""

import warnings

from pamqp import body, commands, common, header

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.transcript import got
from tests.support.wire import channel_close

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue


def with_messages(session: Session, *contents: bytes) -> Client:
    """A client with a shared queue q holding these contents."""
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "q"))
        for content in contents:
            client.publish("", "q", content)
        client.settle("q")
    return client


@scenario()
def qos_is_answered(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Qos(0, 10, False))
    client.do(Basic.Qos(0, 10, True))
    client.do(Basic.Qos(0, 0, False))


@scenario()
def a_prefetch_size_is_not_implemented(session: Session) -> None:
    client = session.connect()
    client.send(Basic.Qos(4096, 0, False))
    client.until_closed()


@scenario()
def consume_and_get_a_message(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.publish("", "q", b"1", content_type="text/plain")
    client.settle("q")
    client.do(Basic.Ack(1))
    client.do(Queue.Delete(0, "q"))


@scenario()
def messages_that_wait_come_after_consume_ok(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Consume(0, "q", "tag", no_ack=True), "q")


@scenario()
def consume_without_waiting(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Consume(0, "q", "tag", no_ack=True, nowait=True), "q")


@scenario()
def a_server_names_a_consumer(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "", no_ack=True))
    client.publish("", "q", b"1")
    client.settle("q")


@scenario()
def a_consumer_tag_used_again(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.send(Basic.Consume(0, "q", "tag"))
    client.until_closed()


@scenario()
def a_consumer_tag_used_again_after_cancel(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.do(Basic.Cancel("tag"))
    client.do(Basic.Consume(0, "q", "tag"))


@scenario()
def a_consumer_tag_on_another_channel_is_another(session: Session) -> None:
    client = with_messages(session)
    client.open(2)
    client.do(Basic.Consume(0, "q", "tag"), ch=1)
    client.do(Basic.Consume(0, "q", "tag"), ch=2)


@scenario()
def consume_from_a_missing_queue(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Consume(0, "missing", "tag"))


@scenario()
def an_exclusive_consumer_shuts_others_out(session: Session) -> None:
    client = with_messages(session)
    client.open(2)
    client.do(Basic.Consume(0, "q", "one", exclusive=True), ch=1)
    client.do(Basic.Consume(0, "q", "two"), ch=2)
    client.open(2)
    client.do(Basic.Consume(0, "q", "two", exclusive=True), ch=2)
    client.do(Basic.Cancel("one"), ch=1)
    client.open(2)
    client.do(Basic.Consume(0, "q", "two"), ch=2)


@scenario()
def an_exclusive_consumer_after_another(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Consume(0, "q", "two", exclusive=True))


@scenario()
def get_beside_an_exclusive_consumer(session: Session) -> None:
    client = with_messages(session)
    client.open(2)
    client.do(Basic.Consume(0, "q", "one", exclusive=True), ch=1)
    client.do(Basic.Get(0, "q", True), ch=2)


@scenario()
def no_local_is_ignored(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Consume(0, "q", "tag", no_local=True, no_ack=True), "q")


@scenario()
def unknown_consumer_arguments_are_accepted(session: Session) -> None:
    client = with_messages(session, b"1")
    arguments: common.FieldTable = {"x-unknown": 1, "x-cancel-on-ha-failover": True}
    client.do(Basic.Consume(0, "q", "tag", no_ack=True, arguments=arguments), "q")


@scenario()
def a_consumer_priority_that_is_no_number(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag", arguments={"x-priority": "high"}))


@scenario()
def cancel_stops_deliveries_and_keeps_the_unsettled(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.publish("", "q", b"1")
    client.settle("q")
    client.do(Basic.Cancel("tag"))
    client.publish("", "q", b"2")
    client.settle("q")
    client.do(Basic.Ack(1))
    client.do(Queue.Delete(0, "q"))


@scenario()
def cancel_of_an_unknown_tag(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Cancel("unknown"))


@scenario()
def cancel_without_waiting(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.do(Basic.Cancel("tag", True))
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def a_clients_cancel_ok(session: Session) -> None:
    client = session.connect()
    client.do(Basic.CancelOk("tag"))


@scenario()
def get_from_a_missing_queue(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Get(0, "missing"))


@scenario()
def get_from_an_empty_queue(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Get(0, "q"))


@scenario()
def get_counts_what_is_left(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q", True))


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
    client.settle("q")
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
    client.until_closed()


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
    client.until_closed()


@scenario()
def deleting_a_queue_cancels_its_consumers(session: Session) -> None:
    consumer = with_messages(session)
    consumer.do(Basic.Consume(0, "q", "one"))
    consumer.open(2)
    consumer.do(Basic.Consume(0, "q", "two"), ch=2)
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    consumer.expires_at(Basic.Cancel, Basic.Cancel)
    consumer.settle()


@scenario()
def deleting_a_queue_cancels_silently_without_the_capability(session: Session) -> None:
    consumer = session.connect(capabilities=False)
    consumer.do(Queue.Declare(0, "q"))
    consumer.do(Basic.Consume(0, "q", "one"))
    consumer.do(Queue.Delete(0, "q"))
    consumer.settle()
    consumer.do(Queue.Declare(0, "q"))
    consumer.do(Basic.Consume(0, "q", "one"))


@scenario()
def deleting_without_waiting_cancels_consumers_of_the_same_channel(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "one"))
    client.send(Queue.Delete(0, "q", nowait=True))
    client.expires_at(Basic.Cancel)
    client.settle()


@scenario()
def deleting_an_exclusive_queue_cancels_its_consumers(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.open(2)
    client.do(Basic.Consume(0, "q", "one"), ch=2)
    client.send(Queue.Delete(0, "q"))
    client.expires_at(Queue.DeleteOk, Basic.Cancel)


@scenario()
def deleting_an_auto_delete_queue_cancels_its_consumers(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", auto_delete=True))
    client.do(Basic.Consume(0, "q", "one"))
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    client.expires_at(Basic.Cancel)
    client.do(Basic.Cancel("one"))


@scenario()
def an_auto_delete_queue_goes_with_its_last_consumer_silently(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", auto_delete=True))
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Consume(0, "q", "two"))
    client.do(Basic.Cancel("one"))
    client.do(Basic.Cancel("two"))
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def what_a_cancelled_consumer_holds_can_be_settled(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3")
    client.do(Basic.Consume(0, "q", "one"), "q")
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    client.expires_at(Basic.Cancel)
    client.do(Basic.Ack(1))
    client.do(Basic.Nack(2, False, True))
    client.do(Basic.Reject(3, False))


@scenario()
def a_tag_the_server_cancelled_can_be_used_again(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "one"))
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    client.expires_at(Basic.Cancel)
    client.do(Queue.Declare(0, "q"))
    client.do(Basic.Consume(0, "q", "one"))
    client.publish("", "q", b"1")
    client.settle("q")


@scenario()
def an_ack_after_its_queue_was_deleted_is_accepted(session: Session) -> None:
    client = with_messages(session, b"1")
    client.do(Basic.Get(0, "q"))
    client.do(Queue.Delete(0, "q"))
    client.do(Basic.Ack(1))


@scenario()
def prefetch_limits_each_consumer(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3", b"4", b"5")
    client.do(Basic.Qos(0, 2))
    client.do(Basic.Consume(0, "q", "one"), "q")
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "two"), "q")
    client.do(Basic.Ack(1), "q")
    client.do(Basic.Ack(3), "q")


@scenario()
def a_prefetch_for_new_consumers_leaves_old_ones_alone(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Qos(0, 1))
    for content in (b"1", b"2", b"3"):
        client.publish("", "q", content)
    client.settle("q")


@scenario()
def a_global_prefetch_limits_the_channel(session: Session) -> None:
    client = with_messages(session)
    client.do(Queue.Declare(0, "q2"))
    client.do(Basic.Qos(0, 2, True))
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Consume(0, "q2", "two"))
    for queue in ("q", "q2", "q"):
        client.publish("", queue, queue.encode())
        client.settle(queue)
    client.send(Basic.Ack(1))
    client.expires_at(Basic.Deliver)


@scenario()
def a_global_prefetch_is_raised_and_lifted(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3", b"4")
    client.do(Basic.Qos(0, 1, True))
    client.do(Basic.Consume(0, "q", "tag"), "q")
    client.send(Basic.Qos(0, 2, True))
    client.expires_at(Basic.QosOk, Basic.Deliver)
    client.send(Basic.Qos(0, 0, True))
    client.expires_at(Basic.QosOk, Basic.Deliver, Basic.Deliver)


@scenario()
def both_prefetches_apply(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3", b"4")
    client.do(Basic.Qos(0, 2, False))
    client.do(Basic.Qos(0, 3, True))
    client.do(Basic.Consume(0, "q", "one"), "q")
    client.do(Basic.Consume(0, "q", "two"), "q")


@scenario(
    differs="a prefetch for new consumers does not remove the channel's limit",
    leveret=[
        got(Basic.QosOk()),
        got(Basic.QosOk()),
        got(Basic.ConsumeOk("one")),
        got(Basic.Deliver("one", 1, False, "", "q")),
        got(header.ContentHeader(body_size=1)),
        got(body.ContentBody(b"1")),
        got(Basic.ConsumeOk("two")),
    ],
)
def a_prefetch_for_new_consumers_after_a_global_one(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Qos(0, 1, True))
    client.do(Basic.Qos(0, 2, False))
    client.do(Basic.Consume(0, "q", "one"), "q")
    client.do(Basic.Consume(0, "q", "two"), "q")


@scenario()
def get_is_not_limited_by_prefetch(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.do(Basic.Qos(0, 1, True))
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Get(0, "q"))


@scenario()
def no_ack_consumers_are_not_limited(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3")
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "tag", no_ack=True), "q")


@scenario()
def consumers_take_turns(session: Session) -> None:
    client = with_messages(session)
    for tag in ("one", "two", "three"):
        client.do(Basic.Consume(0, "q", tag, no_ack=True))
    for number in range(7):
        client.publish("", "q", str(number).encode())
        client.settle("q")


@scenario()
def consumers_of_two_channels_take_turns(session: Session) -> None:
    client = with_messages(session)
    client.open(2)
    client.do(Basic.Consume(0, "q", "one", no_ack=True), ch=1)
    client.do(Basic.Consume(0, "q", "two", no_ack=True), ch=2)
    for number in range(4):
        client.publish("", "q", str(number).encode())
        client.settle("q", ch=1)
        client.settle(ch=2)


@scenario()
def a_full_consumer_is_skipped(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Qos(0, 0))
    client.do(Basic.Consume(0, "q", "two"))
    for number in range(4):
        client.publish("", "q", str(number).encode())
        client.settle("q")
    client.do(Basic.Ack(1), "q")
    for number in range(2):
        client.publish("", "q", str(number).encode())
        client.settle("q")


@scenario()
def a_consumers_channel_closing_hands_its_messages_to_another(session: Session) -> None:
    client = with_messages(session, b"1", b"2")
    client.open(2)
    client.do(Basic.Consume(0, "q", "one"), "q", ch=2)
    client.do(Basic.Consume(0, "q", "two"), "q", ch=1)
    client.send(channel_close(), 2)
    client.expires_at(Channel.CloseOk, Basic.Deliver, Basic.Deliver)


@scenario()
def a_lost_connection_hands_its_messages_to_another(session: Session) -> None:
    worker = with_messages(session, b"1")
    worker.do(Basic.Consume(0, "q", "one"), "q")
    other = session.connect("b")
    other.do(Basic.Consume(0, "q", "two"), "q")
    worker.drop()
    other.expires_at(Basic.Deliver)


@scenario()
def a_message_requeued_by_one_channel_is_redelivered_to_another(session: Session) -> None:
    client = with_messages(session, b"1")
    client.open(2)
    client.do(Basic.Get(0, "q"), ch=1)
    client.do(Basic.Nack(1), "q", ch=1)
    client.do(Basic.Get(0, "q"), ch=2)


@scenario()
def a_consumer_argument_is_checked_before_who_consumes(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "one", exclusive=True))
    client.open(2)
    client.do(Basic.Consume(0, "q", "two", arguments={"x-priority": 1.5}), ch=2)
    client.open(2)
    client.do(Basic.Consume(0, "missing", "two", arguments={"x-priority": 1.5}), ch=2)


@scenario()
def consumer_priorities_of_any_size(session: Session) -> None:
    client = with_messages(session)
    for value in (-1, 0, 10, 10**12):
        client.do(Basic.Consume(0, "q", f"tag{value}", arguments={"x-priority": value}))

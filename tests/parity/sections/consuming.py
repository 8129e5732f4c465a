"""Consuming: consume, cancel, get, and who gets the next message."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.steps import with_messages

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue


@scenario()
def consume_and_get_a_message(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.publish("", "q", b"1", content_type="text/plain")
    client.drain("q")
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
    client.drain("q")


@scenario()
def a_consumer_tag_used_again(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "tag"))
    client.send(Basic.Consume(0, "q", "tag"))
    client.receive_until_closed()


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
    client.drain("q")
    client.do(Basic.Cancel("tag"))
    client.publish("", "q", b"2")
    client.drain("q")
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
def deleting_a_queue_cancels_its_consumers(session: Session) -> None:
    consumer = with_messages(session)
    consumer.do(Basic.Consume(0, "q", "one"))
    consumer.open(2)
    consumer.do(Basic.Consume(0, "q", "two"), ch=2)
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    consumer.receive_until(Basic.Cancel, Basic.Cancel)
    consumer.drain()


@scenario()
def deleting_a_queue_cancels_silently_without_the_capability(session: Session) -> None:
    consumer = session.connect(capabilities=False)
    consumer.do(Queue.Declare(0, "q"))
    consumer.do(Basic.Consume(0, "q", "one"))
    consumer.do(Queue.Delete(0, "q"))
    consumer.drain()
    consumer.do(Queue.Declare(0, "q"))
    consumer.do(Basic.Consume(0, "q", "one"))


@scenario()
def deleting_without_waiting_cancels_consumers_of_the_same_channel(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "one"))
    client.send(Queue.Delete(0, "q", nowait=True))
    client.receive_until(Basic.Cancel)
    client.drain()


@scenario()
def deleting_an_exclusive_queue_cancels_its_consumers(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.open(2)
    client.do(Basic.Consume(0, "q", "one"), ch=2)
    client.send(Queue.Delete(0, "q"))
    client.receive_until(Queue.DeleteOk, Basic.Cancel)


@scenario()
def deleting_an_auto_delete_queue_cancels_its_consumers(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", auto_delete=True))
    client.do(Basic.Consume(0, "q", "one"))
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    client.receive_until(Basic.Cancel)
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
def a_tag_the_server_cancelled_can_be_used_again(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Consume(0, "q", "one"))
    other = session.connect("b")
    other.do(Queue.Delete(0, "q"))
    client.receive_until(Basic.Cancel)
    client.do(Queue.Declare(0, "q"))
    client.do(Basic.Consume(0, "q", "one"))
    client.publish("", "q", b"1")
    client.drain("q")


@scenario()
def consumers_take_turns(session: Session) -> None:
    client = with_messages(session)
    for tag in ("one", "two", "three"):
        client.do(Basic.Consume(0, "q", tag, no_ack=True))
    for number in range(7):
        client.publish("", "q", str(number).encode())
        client.drain("q")


@scenario()
def consumers_of_two_channels_take_turns(session: Session) -> None:
    client = with_messages(session)
    client.open(2)
    client.do(Basic.Consume(0, "q", "one", no_ack=True), ch=1)
    client.do(Basic.Consume(0, "q", "two", no_ack=True), ch=2)
    for number in range(4):
        client.publish("", "q", str(number).encode())
        client.drain("q", ch=1)
        client.drain(ch=2)


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

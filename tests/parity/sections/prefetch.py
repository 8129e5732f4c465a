"""basic.qos: what a consumer and a channel get before they settle."""

from pamqp import body, commands, header

from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.steps import with_messages
from tests.parity.transcript import got

Basic = commands.Basic
Channel = commands.Channel
Queue = commands.Queue


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
    client.receive_until_closed()


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
    client.drain("q")


@scenario()
def a_global_prefetch_limits_the_channel(session: Session) -> None:
    client = with_messages(session)
    client.do(Queue.Declare(0, "q2"))
    client.do(Basic.Qos(0, 2, True))
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Consume(0, "q2", "two"))
    for queue in ("q", "q2", "q"):
        client.publish("", queue, queue.encode())
        client.drain(queue)
    client.send(Basic.Ack(1))
    client.receive_until(Basic.Deliver)


@scenario()
def a_global_prefetch_is_raised_and_lifted(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3", b"4")
    client.do(Basic.Qos(0, 1, True))
    client.do(Basic.Consume(0, "q", "tag"), "q")
    client.send(Basic.Qos(0, 2, True))
    client.receive_until(Basic.QosOk, Basic.Deliver)
    client.send(Basic.Qos(0, 0, True))
    client.receive_until(Basic.QosOk, Basic.Deliver, Basic.Deliver)


@scenario()
def both_prefetches_apply(session: Session) -> None:
    client = with_messages(session, b"1", b"2", b"3", b"4")
    client.do(Basic.Qos(0, 2, False))
    client.do(Basic.Qos(0, 3, True))
    client.do(Basic.Consume(0, "q", "one"), "q")
    client.do(Basic.Consume(0, "q", "two"), "q")


@scenario(
    differs="A prefetch for new consumers (basic.qos without `global`) leaves a limit of the "
    "whole channel as it is; RabbitMQ removes it.",
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
def a_full_consumer_is_skipped(session: Session) -> None:
    client = with_messages(session)
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Qos(0, 0))
    client.do(Basic.Consume(0, "q", "two"))
    for number in range(4):
        client.publish("", "q", str(number).encode())
        client.drain("q")
    client.do(Basic.Ack(1), "q")
    for number in range(2):
        client.publish("", "q", str(number).encode())
        client.drain("q")

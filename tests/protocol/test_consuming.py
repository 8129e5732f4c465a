"""Consumers: begun, alone, cancelled by either side."""

import pytest
from pamqp.commands import Basic, Queue

from leveret.config import Amqp, Config
from leveret.engine.queues.message_memory import DECLARED_BYTES, SHARE_DIVISOR, MemoryLevel
from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import ALL_CAPABILITIES, Client, Harness, got

NO_NOTIFY = tuple(name for name in ALL_CAPABILITIES if name != "consumer_cancel_notify")
IN_EXCLUSIVE_USE = "queue 'q' in vhost '/' in exclusive use"


def test_the_reply_comes_before_the_first_delivery(alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2")
    alice.send(1, Basic.Consume(queue="q", consumer_tag="c"))
    alice.expect(1, Basic.ConsumeOk("c"))
    alice.expect_delivery(1, "c", 1, b"1")
    alice.expect_delivery(1, "c", 2, b"2")


def test_a_consumer_without_a_tag_is_given_one(alice: Client) -> None:
    alice.declare(1, "q")
    alice.send(1, Basic.Consume(queue="q"), Basic.Consume(queue="q"))
    tags = [alice.expect_method(1, Basic.ConsumeOk).consumer_tag or "" for _ in range(2)]
    assert all(tag.startswith("amq.ctag-") and len(tag) == 31 for tag in tags)
    assert tags[0] != tags[1]


def test_a_tag_is_used_once_on_a_channel(harness: Harness) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.consume(1, "q", "c")
    client.consume(2, "q", "c")
    client.send(1, Basic.Consume(queue="q", consumer_tag="c"))
    client.expect_error(
        0, ReplyCode.NOT_ALLOWED, "attempt to reuse consumer tag 'c'", Basic.Consume
    )


def test_a_cancelled_tag_can_be_used_again(alice: Client) -> None:
    alice.declare(1, "q")
    for _ in range(2):
        alice.consume(1, "q", "c")
        alice.send(1, Basic.Cancel(consumer_tag="c"))
        alice.expect(1, Basic.CancelOk("c"))


def test_no_consumer_begins_while_memory_is_exhausted(harness: Harness) -> None:
    """Whose tags and arguments no alarm stops, as it blocks publishers only."""
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.consume(1, "q", "a")
    client.consume(2, "q", "b")
    memory = harness.broker.memory
    memory.limit(5 * DECLARED_BYTES * SHARE_DIVISOR - 1)
    memory.check(MemoryLevel.EXHAUSTED)
    client.send(1, Basic.Consume(queue="q", consumer_tag="c"))
    client.expect_error(
        1,
        ReplyCode.PRECONDITION_FAILED,
        "consumer 'c' is refused: the broker is low on memory",
        Basic.Consume,
    )
    # What ends makes room: channel 1 has, and its consumer.
    client.consume(2, "q", "c")


def test_consumers_of_a_channel_may_be_limited() -> None:
    harness = Harness(Config(amqp=Amqp(consumers_per_channel=2)))
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    for channel, tag in ((1, "a"), (1, "b"), (2, "c")):
        client.consume(channel, "q", tag)
    client.send(1, Basic.Consume(queue="q", consumer_tag="d"))
    client.expect_error(
        0, ReplyCode.NOT_ALLOWED, "reached maximum (2) of consumers per channel", Basic.Consume
    )
    harness.close()


def test_an_exclusive_consumer_is_alone(harness: Harness, alice: Client, bob: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c", exclusive=True)
    for exclusive in (False, True):
        bob.send(1, Basic.Consume(queue="q", exclusive=exclusive))
        bob.expect_error(1, ReplyCode.ACCESS_REFUSED, IN_EXCLUSIVE_USE, Basic.Consume)
        bob.reopen_channel(1)
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.call(1, Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    bob.consume(1, "q", "d")
    alice.send(1, Basic.Consume(queue="q", exclusive=True))
    alice.expect_error(1, ReplyCode.ACCESS_REFUSED, IN_EXCLUSIVE_USE, Basic.Consume)
    bob.expect_delivery(1, "d", 1, b"1", redelivered=True)


def test_get_is_not_consuming_so_it_may_come_beside_an_exclusive_consumer(
    alice: Client, bob: Client
) -> None:
    alice.declare(1, "q")
    alice.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consume(1, "q", "c", exclusive=True)
    alice.publish(1, "q", b"1", b"2")
    alice.expect_delivery(1, "c", 1, b"1")
    bob.send(1, Basic.Get(queue="q", no_ack=True))
    bob.expect(1, got(1, b"2"))


def test_cancelling_stops_deliveries_and_leaves_what_was_delivered(
    harness: Harness, alice: Client
) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c")
    alice.publish(1, "q", b"1", b"2")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.expect_delivery(1, "c", 2, b"2")
    alice.send(1, Basic.Cancel(consumer_tag="c"))
    alice.expect(1, Basic.CancelOk("c"))
    alice.publish(1, "q", b"3")
    alice.send(1, Basic.Ack(1))
    alice.send(1, Basic.Reject(2, True))
    alice.expect_nothing()
    assert harness.queue("q").message_count() == 2


def test_cancelling_what_is_not_there_is_answered(alice: Client) -> None:
    alice.send(1, Basic.Cancel(consumer_tag="nobody"))
    alice.expect(1, Basic.CancelOk("nobody"))


@pytest.mark.parametrize("held_up_by", ["prefetch", "nothing"])
def test_a_consumer_can_be_cancelled_whether_or_not_it_is_held_up(
    harness: Harness, alice: Client, held_up_by: str
) -> None:
    alice.declare(1, "q")
    alice.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consume(1, "q", "c")
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")
    if held_up_by == "prefetch":
        alice.publish(1, "q", b"2")
    alice.call(1, Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    assert harness.queue("q").consumers == []
    alice.send(1, Basic.Ack(1))
    alice.consume(1, "q", "c")
    if held_up_by == "prefetch":
        alice.expect_delivery(1, "c", 2, b"2")


def test_no_local_is_ignored(alice: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c", no_local=True)
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")


# --- the queue is deleted --------------------------------------------------------------------


def test_a_consumer_is_told_that_its_queue_is_gone(alice: Client, bob: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c")
    bob.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    alice.expect(1, Basic.Cancel("c", True))
    alice.declare(1, "q")
    alice.consume(1, "q", "c")


def test_who_cannot_read_it_is_not_told(harness: Harness, bob: Client) -> None:
    client = harness.open_client(1, capabilities=NO_NOTIFY)
    client.declare(1, "q")
    client.consume(1, "q", "c")
    bob.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    client.expect_nothing()
    client.declare(1, "q")
    client.consume(1, "q", "c")


def test_all_consumers_of_a_queue_are_told(harness: Harness, alice: Client) -> None:
    others = [harness.open_client(1, 2) for _ in range(2)]
    alice.declare(1, "q")
    for other in others:
        other.consume(1, "q", "a")
        other.consume(2, "q", "b")
    alice.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    for other in others:
        assert [wire.text_of(*received) for received in other.receive_all()] == [
            wire.text_of(1, Basic.Cancel("a", True)),
            wire.text_of(2, Basic.Cancel("b", True)),
        ]


def test_deleting_a_queue_one_consumes_is_answered_before_it_is_told(alice: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c")
    alice.send(1, Queue.Delete(queue="q"))
    assert [wire.text_of(*each) for each in alice.receive_all()] == [
        wire.text_of(1, Queue.DeleteOk(0)),
        wire.text_of(1, Basic.Cancel("c", True)),
    ]


def test_a_consumer_whose_queue_is_gone_may_be_cancelled_and_settled(
    alice: Client, bob: Client
) -> None:
    alice.declare(1, "q")
    alice.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consume(1, "q", "c")
    alice.publish(1, "q", b"1", b"2")
    alice.expect_delivery(1, "c", 1, b"1")
    bob.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    alice.expect(1, Basic.Cancel("c", True))
    alice.send(1, Basic.Cancel(consumer_tag="c"))
    alice.expect(1, Basic.CancelOk("c"))
    alice.send(1, Basic.Ack(1))
    alice.expect_nothing()

"""Single active consumer over the wire (RabbitMQ: Consumers, Single Active Consumer)."""

import pytest
from pamqp.commands import Basic, Channel, Queue

from leveret.errors import ReplyCode
from tests.protocol.harness import Client, Harness, got

IN_EXCLUSIVE_USE = "queue 'q' in vhost '/' in exclusive use"
SINGLE_ACTIVE = {"x-single-active-consumer": True}


def declares(client: Client, **how: object) -> None:
    client.declare(1, "q", arguments={**SINGLE_ACTIVE}, **how)


def two_consumers(alice: Client, bob: Client) -> None:
    """Alice's consumer is active and takes two at a time; Bob's waits."""
    declares(alice)
    alice.call(1, Basic.Qos(prefetch_count=2), Basic.QosOk)
    alice.consume(1, "q", "a")
    bob.consume(1, "q", "b")


def test_one_gets_everything_and_the_other_nothing(
    harness: Harness, alice: Client, bob: Client
) -> None:
    two_consumers(alice, bob)
    alice.publish(1, "q", b"1", b"2", b"3")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    bob.expect_nothing()
    assert harness.queue("q").message_count() == 1
    assert alice.call(1, Queue.Declare(queue="q", passive=True), Queue.DeclareOk).consumer_count


@pytest.mark.parametrize("nowait", [False, True])
def test_cancelled_it_keeps_what_it_holds_and_the_next_one_gets_what_waits(
    alice: Client, bob: Client, nowait: bool
) -> None:
    two_consumers(alice, bob)
    alice.publish(1, "q", b"1", b"2", b"3")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    alice.send(1, Basic.Cancel("a", nowait))
    if not nowait:
        alice.expect(1, Basic.CancelOk("a"))
    bob.expect_delivery(1, "b", 1, b"3")
    alice.send(1, Basic.Ack(1), Basic.Reject(2, True))
    bob.expect_delivery(1, "b", 2, b"2", redelivered=True)


def test_the_reply_to_cancel_comes_before_what_the_next_consumer_gets(alice: Client) -> None:
    two_consumers(alice, alice)
    alice.publish(1, "q", b"1", b"2", b"3")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    alice.send(1, Basic.Cancel("a"))
    alice.expect(1, Basic.CancelOk("a"))
    alice.expect_delivery(1, "b", 3, b"3")


@pytest.mark.parametrize("end", ["channel closed", "channel failed", "connection lost"])
def test_when_it_is_gone_what_it_held_comes_first(alice: Client, bob: Client, end: str) -> None:
    two_consumers(alice, bob)
    alice.publish(1, "q", b"1", b"2", b"3")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    if end == "channel closed":
        alice.close_channels(1)
    elif end == "channel failed":
        alice.send(1, Basic.Ack(9))
        alice.expect_method(1, Channel.Close)
    else:
        alice.lose_socket()
    bob.expect_delivery(1, "b", 1, b"1", redelivered=True)
    bob.expect_delivery(1, "b", 2, b"2", redelivered=True)
    bob.expect_delivery(1, "b", 3, b"3")


def test_gone_without_holding_anything_it_leaves_what_waits_to_the_next(
    alice: Client, bob: Client
) -> None:
    two_consumers(alice, bob)
    alice.connection.session.write_paused = True
    bob.publish(1, "q", b"1")
    bob.expect_nothing()
    alice.lose_socket()
    bob.expect_delivery(1, "b", 1, b"1")


def test_a_lost_connection_hands_nothing_to_its_own_other_channels(
    harness: Harness, bob: Client
) -> None:
    """What has never left must not come redelivered to who lives."""
    alice = harness.open_client(1, 2)
    declares(alice)
    alice.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consume(1, "q", "a")
    alice.consume(2, "q", "a")
    bob.consume(1, "q", "b")
    alice.publish(1, "q", b"1", b"2")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.lose_socket()
    bob.expect_delivery(1, "b", 1, b"1", redelivered=True)
    bob.expect_delivery(1, "b", 2, b"2")


@pytest.mark.parametrize("first", ["nobody", "somebody"])
def test_no_consumer_may_be_exclusive(alice: Client, bob: Client, first: str) -> None:
    declares(alice)
    if first == "somebody":
        alice.consume(1, "q", "a")
    bob.send(1, Basic.Consume(queue="q", exclusive=True))
    bob.expect_error(1, ReplyCode.ACCESS_REFUSED, IN_EXCLUSIVE_USE, Basic.Consume)


def test_get_goes_beside_it(alice: Client, bob: Client) -> None:
    two_consumers(alice, bob)
    alice.publish(1, "q", b"1", b"2", b"3")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    bob.send(1, Basic.Get(queue="q"))
    bob.expect(1, got(1, b"3"))


def test_get_is_refused_for_a_quorum_queue(alice: Client) -> None:
    alice.declare(1, "q", durable=True, arguments={"x-queue-type": "quorum", **SINGLE_ACTIVE})
    alice.send(1, Basic.Get(queue="q"))
    alice.expect_error(
        1,
        ReplyCode.RESOURCE_LOCKED,
        "cannot obtain access to locked queue 'q' in vhost '/'. basic.get operations are not "
        "supported by quorum queues with single active consumer",
        Basic.Get,
    )


def test_an_auto_delete_queue_goes_with_the_last_one(
    harness: Harness, alice: Client, bob: Client
) -> None:
    declares(alice, auto_delete=True)
    alice.consume(1, "q", "a")
    bob.consume(1, "q", "b")
    alice.call(1, Basic.Cancel("a"), Basic.CancelOk)
    assert harness.has_queue("q")
    bob.call(1, Basic.Cancel("b"), Basic.CancelOk)
    assert not harness.has_queue("q")


def test_all_are_told_that_the_queue_is_deleted(alice: Client, bob: Client) -> None:
    two_consumers(alice, bob)
    alice.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    alice.expect(1, Basic.Cancel("a", True))
    bob.expect(1, Basic.Cancel("b", True))


TIMEOUT = 500


def consume_with_timeout(client: Client, tag: str) -> None:
    """Consume one message at a time, each to be settled within TIMEOUT."""
    client.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    client.consume(1, "q", tag, arguments={"x-consumer-timeout": TIMEOUT})


@pytest.fixture
def hung(harness: Harness, alice: Client, bob: Client) -> Client:
    """Alice, whose active consumer holds the first of three messages; Bob's consumer waits."""
    declares(alice)
    consume_with_timeout(alice, "a")
    consume_with_timeout(bob, "b")
    alice.publish(1, "q", b"0", b"1", b"2")
    alice.expect_delivery(1, "a", 1, b"0")
    return alice


def test_the_next_one_is_active_when_the_time_of_a_delivery_is_up(
    harness: Harness, hung: Client, bob: Client
) -> None:
    harness.advance_clock(TIMEOUT)
    for tag, body in enumerate((b"0", b"1", b"2"), 1):
        bob.expect_delivery(1, "b", tag, body, redelivered=tag == 1)
        bob.send(1, Basic.Ack(tag))
    hung.expect_nothing()
    assert [each.active for each in harness.queue("q").consumers] == [False, True]


def test_one_that_settles_late_waits_for_its_next_turn(
    harness: Harness, hung: Client, bob: Client
) -> None:
    harness.advance_clock(TIMEOUT)
    bob.expect_delivery(1, "b", 1, b"0", redelivered=True)
    hung.send(1, Basic.Ack(1))
    hung.expect_nothing()
    bob.call(1, Basic.Cancel("b"), Basic.CancelOk)
    hung.expect_delivery(1, "a", 2, b"1")


def test_if_all_hang_the_first_that_settles_is_active(
    harness: Harness, hung: Client, bob: Client
) -> None:
    harness.advance_clock(TIMEOUT)
    bob.expect_delivery(1, "b", 1, b"0", redelivered=True)
    harness.advance_clock(TIMEOUT)
    assert harness.queue("q").message_count() == 3
    hung.send(1, Basic.Ack(1))
    hung.expect_delivery(1, "a", 2, b"0", redelivered=True)
    harness.advance_clock(TIMEOUT)
    bob.send(1, Basic.Ack(1))
    bob.expect_delivery(1, "b", 2, b"0", redelivered=True)


def test_one_that_comes_while_all_hang_is_active(
    harness: Harness, hung: Client, bob: Client
) -> None:
    harness.advance_clock(TIMEOUT)
    bob.expect_delivery(1, "b", 1, b"0", redelivered=True)
    harness.advance_clock(TIMEOUT)
    carol = harness.open_client(1)
    carol.consume(1, "q", "c", no_ack=True)
    carol.expect_delivery(1, "c", 1, b"0", redelivered=True)
    carol.expect_delivery(1, "c", 2, b"1")
    carol.expect_delivery(1, "c", 3, b"2")


def test_the_only_one_stays_active_though_it_hangs(
    harness: Harness, hung: Client, bob: Client
) -> None:
    bob.call(1, Basic.Cancel("b"), Basic.CancelOk)
    harness.advance_clock(TIMEOUT)
    hung.send(1, Basic.Ack(1))
    hung.expect_delivery(1, "a", 2, b"0", redelivered=True)


def test_the_last_one_left_is_active_though_it_has_hung(
    harness: Harness, hung: Client, bob: Client
) -> None:
    harness.advance_clock(TIMEOUT)
    bob.expect_delivery(1, "b", 1, b"0", redelivered=True)
    bob.call(1, Basic.Cancel("b"), Basic.CancelOk)
    assert [each.active for each in harness.queue("q").consumers] == [True]
    hung.send(1, Basic.Ack(1))
    hung.expect_delivery(1, "a", 2, b"1")

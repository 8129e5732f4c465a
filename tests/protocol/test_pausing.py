"""A queue that an operator has paused, and resumes, over the wire."""

from collections.abc import Callable

import pytest
from pamqp.commands import Basic, Queue

from leveret.engine.lifecycle.queues import set_paused
from tests.protocol.harness import Client, Harness, got

SINGLE_ACTIVE = {"x-single-active-consumer": True}
Pause = Callable[[bool], None]


@pytest.fixture
def pause(harness: Harness) -> Pause:
    """Pauses the queue `q`, or resumes it."""

    def set_q(paused: bool) -> None:
        set_paused(harness.broker.vhosts["/"], harness.queue("q"), paused)

    return set_q


@pytest.mark.parametrize("arguments", [{}, {"x-max-priority": 3}, {"x-queue-type": "quorum"}])
def test_its_consumers_get_what_waits_when_it_is_resumed(
    harness: Harness, alice: Client, pause: Pause, arguments: dict[str, object]
) -> None:
    alice.declare(1, "q", durable=True, arguments=arguments)
    alice.consume(1, "q", "a")
    pause(True)
    alice.publish(1, "q", b"1", b"2")
    alice.expect_nothing()
    assert harness.queue("q").message_count() == 2
    pause(False)
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    alice.publish(1, "q", b"3")
    alice.expect_delivery(1, "a", 3, b"3")


def test_a_consumer_may_come_and_go_while_it_is_paused(
    alice: Client, bob: Client, pause: Pause
) -> None:
    alice.declare(1, "q")
    pause(True)
    alice.publish(1, "q", b"1")
    alice.consume(1, "q", "a")
    bob.consume(1, "q", "b")
    alice.call(1, Basic.Cancel("a"), Basic.CancelOk)
    declared = alice.call(1, Queue.Declare(queue="q", passive=True), Queue.DeclareOk)
    assert (declared.message_count, declared.consumer_count) == (1, 1)
    bob.expect_nothing()
    pause(False)
    bob.expect_delivery(1, "b", 1, b"1")
    alice.expect_nothing()


def test_what_is_requeued_waits(alice: Client, pause: Pause) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "a")
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "a", 1, b"1")
    pause(True)
    alice.send(1, Basic.Nack(1, requeue=True))
    alice.expect_nothing()
    pause(False)
    alice.expect_delivery(1, "a", 2, b"1", redelivered=True)


def test_a_consumer_at_its_prefetch_gets_nothing_for_an_acknowledgement(
    alice: Client, pause: Pause
) -> None:
    alice.declare(1, "q")
    alice.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consume(1, "q", "a")
    alice.publish(1, "q", b"1", b"2")
    alice.expect_delivery(1, "a", 1, b"1")
    pause(True)
    alice.send(1, Basic.Ack(1))
    alice.expect_nothing()
    pause(False)
    alice.expect_delivery(1, "a", 2, b"2")


def test_the_next_single_active_consumer_waits(alice: Client, bob: Client, pause: Pause) -> None:
    alice.declare(1, "q", arguments=dict(SINGLE_ACTIVE))
    alice.consume(1, "q", "a")
    bob.consume(1, "q", "b")
    pause(True)
    alice.publish(1, "q", b"1")
    alice.call(1, Basic.Cancel("a"), Basic.CancelOk)
    bob.expect_nothing()
    pause(False)
    bob.expect_delivery(1, "b", 1, b"1")


def test_get_finds_it_empty(alice: Client, pause: Pause) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1")
    pause(True)
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    alice.expect(1, Basic.GetEmpty())
    pause(False)
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    alice.expect(1, got(1, b"1", key="q", left=0))


def test_messages_expire_and_are_limited_and_purged(
    harness: Harness, alice: Client, pause: Pause
) -> None:
    alice.declare(1, "q", arguments={"x-message-ttl": 100, "x-max-length": 2})
    alice.consume(1, "q", "a")
    pause(True)
    alice.publish(1, "q", b"1", b"2", b"3")
    assert harness.queue("q").message_count() == 2
    harness.advance_clock(101)
    assert harness.queue("q").message_count() == 0
    alice.publish(1, "q", b"4")
    assert alice.call(1, Queue.Purge(queue="q"), Queue.PurgeOk).message_count == 1


def test_it_is_paused_alone_and_not_as_the_next_of_its_name(alice: Client, pause: Pause) -> None:
    alice.declare(1, "q", "other")
    alice.consume(1, "other", "o")
    pause(True)
    alice.publish(1, "other", b"1")
    alice.expect_delivery(1, "o", 1, b"1", key="other")
    alice.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    alice.declare(1, "q")
    alice.consume(1, "q", "a")
    alice.publish(1, "q", b"2")
    alice.expect_delivery(1, "a", 2, b"2")

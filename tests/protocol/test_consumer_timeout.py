"""Deliveries that are not settled in time, over the wire, with a clock that the test sets."""

from collections.abc import Iterator

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Queue, Tx
from pamqp.common import FieldValue

from leveret.config import Config, Consumer
from leveret.errors import ReplyCode
from leveret.limits import OVERDUE_TAGS_MAX
from leveret.protocol.channels.acknowledgement_timer import OVERDUE_AT_ONCE_MAX
from tests.protocol.harness import Client, Harness, got

TIMEOUT = 1000
EVENT = "deliveries not acknowledged in time"


def begins(client: Client, tag: str = "c", *, prefetch: int = 0, timeout: int = TIMEOUT) -> None:
    """Consume with a timeout."""
    client.call(1, Basic.Qos(prefetch_count=prefetch), Basic.QosOk)
    client.consume(1, "q", tag, arguments={"x-consumer-timeout": timeout})


@pytest.fixture
def slow(harness: Harness, alice: Client) -> Client:
    """Alice, who consumes with a timeout, two at a time, and holds two."""
    alice.declare(1, "q")
    begins(alice, prefetch=2)
    alice.publish(1, "q", b"1", b"2")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.expect_delivery(1, "c", 2, b"2")
    return alice


def test_what_is_overdue_goes_to_another_consumer_and_all_else_stays(
    harness: Harness, slow: Client, bob: Client
) -> None:
    slow.send(1, Basic.Ack(1))
    harness.advance_clock(TIMEOUT - 1)
    slow.publish(1, "q", b"3")
    slow.expect_delivery(1, "c", 3, b"3")
    bob.consume(1, "q", "b")
    harness.advance_clock(1)
    bob.expect_delivery(1, "b", 1, b"2", redelivered=True)
    slow.expect_nothing()
    slow.send(1, Basic.Ack(3))
    slow.call(1, Basic.Qos(), Basic.QosOk)
    assert harness.queue("q").unacknowledged == 1


def test_it_is_one_line_in_the_log_however_many_they_are(harness: Harness, slow: Client) -> None:
    harness.advance_clock(TIMEOUT)
    harness.advance_clock(TIMEOUT)
    assert slow.log.of(EVENT) == {
        "channel": 1,
        "consumer_tag": "c",
        "queue": "q",
        "messages": 2,
        "user": "guest",
    }


def test_many_are_requeued_in_parts_and_delivered_when_all_are_back(
    harness: Harness, alice: Client, bob: Client
) -> None:
    count = 3 * OVERDUE_AT_ONCE_MAX
    alice.declare(1, "q")
    begins(alice)
    alice.publish(1, "q", *(b"%d" % number for number in range(count)))
    for number in range(count):
        alice.expect_delivery(1, "c", number + 1, b"%d" % number)
    bob.consume(1, "q", "b")
    harness.broker.clock.advance_to(harness.broker.clock.now + TIMEOUT)
    harness.broker.timers.run(harness.broker.clock.now)
    assert harness.queue("q").message_count() == OVERDUE_AT_ONCE_MAX
    bob.expect_nothing()
    for _ in range(2):
        harness.broker.timers.run(harness.broker.clock.now)
    assert alice.log.of(EVENT)["messages"] == count
    harness.broker.work.run_all(harness.broker.time_slice)
    arrived = bob.receive_all() + alice.receive_all()
    assert len(arrived) == count


@pytest.mark.parametrize(
    "settle", [Basic.Ack(1), Basic.Nack(1, False, True), Basic.Nack(1, False, False)]
)
def test_settling_late_is_no_error_and_concerns_nobody_else(
    harness: Harness, slow: Client, bob: Client, settle: Frame
) -> None:
    harness.advance_clock(TIMEOUT)
    bob.consume(1, "q", "b")
    bob.expect_delivery(1, "b", 1, b"1", redelivered=True)
    bob.expect_delivery(1, "b", 2, b"2", redelivered=True)
    slow.send(1, settle)
    slow.send(1, Basic.Reject(2, True))
    assert (harness.queue("q").unacknowledged, harness.queue("q").message_count()) == (2, 0)
    slow.send(1, Basic.Ack(1))
    slow.expect_error(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 1", Basic.Ack)


@pytest.mark.parametrize(
    "settle", [Basic.Ack(2, True), Basic.Ack(0, True), Basic.Nack(2, True, False)]
)
def test_settling_many_settles_those_that_are_overdue_too(
    harness: Harness, slow: Client, settle: Frame
) -> None:
    slow.send(1, Basic.Ack(1))
    harness.advance_clock(TIMEOUT - 1)
    slow.publish(1, "q", b"3")
    slow.expect_delivery(1, "c", 3, b"3")
    harness.advance_clock(1)
    slow.send(1, settle)
    slow.expect_delivery(1, "c", 4, b"2", redelivered=True)
    slow.send(1, Basic.Ack(4, True))
    assert harness.queue("q").unacknowledged == 0
    slow.send(1, Basic.Ack(2))
    slow.expect_error(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 2", Basic.Ack)


def test_until_it_is_settled_it_counts_against_the_prefetch(harness: Harness, slow: Client) -> None:
    harness.advance_clock(TIMEOUT)
    slow.expect_nothing()
    assert harness.queue("q").message_count() == 2
    slow.send(1, Basic.Ack(2))
    slow.expect_delivery(1, "c", 3, b"1", redelivered=True)
    slow.send(1, Basic.Ack(1))
    slow.expect_delivery(1, "c", 4, b"2", redelivered=True)


def test_it_counts_against_the_channels_prefetch_too(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.call(1, Basic.Qos(prefetch_count=1, global_=True), Basic.QosOk)
    alice.consume(1, "q", "a", arguments={"x-consumer-timeout": TIMEOUT})
    alice.consume(1, "q", "b")
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "a", 1, b"1")
    harness.advance_clock(TIMEOUT)
    alice.expect_nothing()
    alice.send(1, Basic.Ack(1))
    alice.expect_delivery(1, "b", 2, b"1", redelivered=True)


def test_a_redelivery_has_the_whole_time_again(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    begins(alice)
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")
    for tag in (2, 3):
        harness.advance_clock(TIMEOUT - 1)
        alice.expect_nothing()
        harness.advance_clock(1)
        alice.expect_delivery(1, "c", tag, b"1", redelivered=True)
    alice.send(1, Basic.Ack(3))
    harness.advance_clock(TIMEOUT)
    assert harness.queue("q").message_count() == 0


# --- whose time it is ------------------------------------------------------------------------


@pytest.fixture
def impatient() -> Iterator[Harness]:
    """A broker with a timeout of its own."""
    harness = Harness(Config(consumer=Consumer(timeout=500)))
    yield harness
    harness.close()


@pytest.mark.parametrize(
    ("own", "of_the_queue", "expected"),
    [(None, None, 500), (None, 300, 300), (700, 300, 700), (700, None, 700)],
)
def test_the_consumers_own_goes_before_its_queues_and_that_before_the_brokers(
    impatient: Harness, own: int | None, of_the_queue: int | None, expected: int
) -> None:
    client = impatient.open_client(1)
    arguments = {} if of_the_queue is None else {"x-consumer-timeout": of_the_queue}
    client.declare(1, "q", arguments=arguments)
    client.consume(1, "q", "c", arguments={} if own is None else {"x-consumer-timeout": own})
    client.publish(1, "q", b"1")
    client.expect_delivery(1, "c", 1, b"1")
    impatient.advance_clock(expected - 1)
    client.expect_nothing()
    impatient.advance_clock(1)
    client.expect_delivery(1, "c", 2, b"1", redelivered=True)


@pytest.mark.parametrize("level", ["consumer", "queue"])
def test_0_is_no_limit_and_goes_before_one(impatient: Harness, level: str) -> None:
    client = impatient.open_client(1)
    none = {"x-consumer-timeout": 0}
    client.declare(1, "q", arguments=none if level == "queue" else {})
    client.consume(1, "q", "c", arguments=none if level == "consumer" else {})
    client.publish(1, "q", b"1")
    client.expect_delivery(1, "c", 1, b"1")
    impatient.advance_clock(10**9)


def test_what_is_fetched_or_needs_no_acknowledgement_never_runs_out(impatient: Harness) -> None:
    client = impatient.open_client(1)
    client.declare(1, "q", "r")
    client.publish(1, "q", b"1")
    client.send(1, Basic.Get(queue="q"))
    client.expect(1, got(1, b"1"))
    client.consume(1, "r", "c", no_ack=True)
    client.publish(1, "r", b"2")
    client.expect_delivery(1, "c", 2, b"2", key="r")
    assert impatient.broker.timers.next_due() == 0


def test_without_a_timeout_nothing_runs_out(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c")
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")
    assert harness.broker.timers.next_due() == 0


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (-5, "{value_negative,-5}"),
        ("1000", '"expected integer, got longstr"'),
        (10**12, "{value_too_large,1000000000000}"),
    ],
)
def test_a_timeout_is_milliseconds(alice: Client, value: FieldValue, wrong: str) -> None:
    arguments = {"x-consumer-timeout": value}
    text = f"invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': {wrong}"
    alice.send(1, Queue.Declare(queue="q", arguments={**arguments}))
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, text, Queue.Declare)
    alice.reopen_channel(1)
    alice.declare(1, "q")
    alice.send(1, Basic.Consume(queue="q", arguments={**arguments}))
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, text, Basic.Consume)


# --- in the middle of something else ---------------------------------------------------------


def test_what_a_transaction_has_settled_does_not_run_out(harness: Harness, slow: Client) -> None:
    slow.call(1, Tx.Select(), Tx.SelectOk)
    slow.send(1, Basic.Ack(1))
    harness.advance_clock(TIMEOUT)
    assert harness.queue("q").message_count() == 1
    slow.send(1, Tx.Commit())
    slow.expect_delivery(1, "c", 3, b"2", redelivered=True)
    slow.expect(1, Tx.CommitOk())
    assert (harness.queue("q").message_count(), harness.queue("q").unacknowledged) == (0, 1)


def test_what_a_transaction_rolled_back_gets_the_whole_time_again(
    harness: Harness, slow: Client
) -> None:
    slow.call(1, Tx.Select(), Tx.SelectOk)
    slow.send(1, Basic.Ack(2, True))
    harness.advance_clock(TIMEOUT)
    slow.call(1, Tx.Rollback(), Tx.RollbackOk)
    harness.advance_clock(TIMEOUT - 1)
    assert harness.queue("q").unacknowledged == 2
    harness.advance_clock(1)
    assert harness.queue("q").message_count() == 2


def test_what_a_cancelled_consumer_holds_runs_out_still(harness: Harness, slow: Client) -> None:
    slow.call(1, Basic.Cancel("c"), Basic.CancelOk)
    harness.advance_clock(TIMEOUT)
    assert harness.queue("q").message_count() == 2
    slow.send(1, Basic.Ack(2, True))
    assert harness.broker.timers.next_due() == 0


def test_recovering_redelivers_what_is_not_overdue(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    begins(alice, prefetch=3)
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")
    harness.advance_clock(TIMEOUT // 2)
    alice.publish(1, "q", b"2")
    alice.expect_delivery(1, "c", 2, b"2")
    harness.advance_clock(TIMEOUT // 2)
    alice.expect_delivery(1, "c", 3, b"1", redelivered=True)
    alice.send(1, Basic.Recover(True))
    alice.expect(1, Basic.RecoverOk())
    alice.expect_delivery(1, "c", 4, b"1", redelivered=True)
    alice.expect_delivery(1, "c", 5, b"2", redelivered=True)


@pytest.mark.parametrize("end", ["channel", "connection", "queue", "settled"])
def test_nothing_is_left_to_ring_when_all_is_gone(harness: Harness, slow: Client, end: str) -> None:
    assert harness.broker.timers.next_due() != 0
    if end == "channel":
        slow.close_channels(1)
    elif end == "connection":
        slow.lose_socket()
    elif end == "queue":
        slow.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
        slow.expect(1, Basic.Cancel("c", True))
        slow.send(1, Basic.Ack(2, True))
    else:
        slow.call(1, Basic.Cancel("c"), Basic.CancelOk)
        slow.send(1, Basic.Ack(2, True))
    assert harness.broker.timers.next_due() == 0


def test_what_runs_out_when_its_queue_is_gone_is_gone(harness: Harness, slow: Client) -> None:
    slow.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    slow.expect(1, Basic.Cancel("c", True))
    harness.advance_clock(TIMEOUT)
    slow.send(1, Basic.Ack(2, True))


def test_of_very_many_the_oldest_are_forgotten(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    begins(alice)
    alice.publish(1, "q", *[b""] * (OVERDUE_TAGS_MAX + 1))
    alice.receive_all()
    harness.advance_clock(TIMEOUT)
    alice.receive_all()
    alice.send(1, Basic.Ack(2))
    alice.expect_nothing()
    alice.send(1, Basic.Ack(1))
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 1", Basic.Ack)

"""Deliveries that are not settled in time, over the wire, with a clock that the test turns."""

from collections.abc import Iterator

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Queue, Tx
from pamqp.common import FieldValue

from leveret.config import Config, Consumer
from leveret.errors import ReplyCode
from leveret.limits import OVERDUE_TAGS_MAX
from tests.protocol.playbook import Client, Play, got

TIMEOUT = 1000
EVENT = "deliveries not acknowledged in time"


def begins(client: Client, tag: str = "c", *, prefetch: int = 0, timeout: int = TIMEOUT) -> None:
    """Consume with a timeout."""
    client.does(1, Basic.Qos(prefetch_count=prefetch), Basic.QosOk)
    client.consumes(1, "q", tag, arguments={"x-consumer-timeout": timeout})


@pytest.fixture
def slow(play: Play, alice: Client) -> Client:
    """Alice, who consumes with a timeout, two at a time, and holds two."""
    alice.declares(1, "q")
    begins(alice, prefetch=2)
    alice.publishes(1, "q", b"1", b"2")
    alice.gets(1, "c", 1, b"1")
    alice.gets(1, "c", 2, b"2")
    return alice


def test_what_is_overdue_goes_to_another_consumer_and_all_else_stays(
    play: Play, slow: Client, bob: Client
) -> None:
    slow.says(1, Basic.Ack(1))
    play.waits(TIMEOUT - 1)
    slow.publishes(1, "q", b"3")
    slow.gets(1, "c", 3, b"3")
    bob.consumes(1, "q", "b")
    play.waits(1)
    bob.gets(1, "b", 1, b"2", redelivered=True)
    slow.hears_nothing()
    slow.says(1, Basic.Ack(3))
    slow.does(1, Basic.Qos(), Basic.QosOk)
    assert play.queue("q").unacknowledged == 1


def test_it_is_one_line_in_the_log_however_many_they_are(play: Play, slow: Client) -> None:
    play.waits(TIMEOUT)
    play.waits(TIMEOUT)
    assert slow.log.of(EVENT) == {
        "channel": 1,
        "consumer_tag": "c",
        "queue": "q",
        "messages": 2,
        "user": "guest",
    }


@pytest.mark.parametrize(
    "settle", [Basic.Ack(1), Basic.Nack(1, False, True), Basic.Nack(1, False, False)]
)
def test_settling_late_is_no_error_and_concerns_nobody_else(
    play: Play, slow: Client, bob: Client, settle: Frame
) -> None:
    play.waits(TIMEOUT)
    bob.consumes(1, "q", "b")
    bob.gets(1, "b", 1, b"1", redelivered=True)
    bob.gets(1, "b", 2, b"2", redelivered=True)
    slow.says(1, settle)
    slow.says(1, Basic.Reject(2, True))
    assert (play.queue("q").unacknowledged, play.queue("q").message_count()) == (2, 0)
    slow.says(1, Basic.Ack(1))
    slow.is_refused(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 1", Basic.Ack)


@pytest.mark.parametrize(
    "settle", [Basic.Ack(2, True), Basic.Ack(0, True), Basic.Nack(2, True, False)]
)
def test_settling_many_settles_those_that_are_overdue_too(
    play: Play, slow: Client, settle: Frame
) -> None:
    slow.says(1, Basic.Ack(1))
    play.waits(TIMEOUT - 1)
    slow.publishes(1, "q", b"3")
    slow.gets(1, "c", 3, b"3")
    play.waits(1)
    slow.says(1, settle)
    slow.gets(1, "c", 4, b"2", redelivered=True)
    slow.says(1, Basic.Ack(4, True))
    assert play.queue("q").unacknowledged == 0
    slow.says(1, Basic.Ack(2))
    slow.is_refused(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 2", Basic.Ack)


def test_until_it_is_settled_it_counts_against_the_prefetch(play: Play, slow: Client) -> None:
    play.waits(TIMEOUT)
    slow.hears_nothing()
    assert play.queue("q").message_count() == 2
    slow.says(1, Basic.Ack(2))
    slow.gets(1, "c", 3, b"1", redelivered=True)
    slow.says(1, Basic.Ack(1))
    slow.gets(1, "c", 4, b"2", redelivered=True)


def test_it_counts_against_the_channels_prefetch_too(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    alice.does(1, Basic.Qos(prefetch_count=1, global_=True), Basic.QosOk)
    alice.consumes(1, "q", "a", arguments={"x-consumer-timeout": TIMEOUT})
    alice.consumes(1, "q", "b")
    alice.publishes(1, "q", b"1")
    alice.gets(1, "a", 1, b"1")
    play.waits(TIMEOUT)
    alice.hears_nothing()
    alice.says(1, Basic.Ack(1))
    alice.gets(1, "b", 2, b"1", redelivered=True)


def test_a_redelivery_has_the_whole_time_again(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    begins(alice)
    alice.publishes(1, "q", b"1")
    alice.gets(1, "c", 1, b"1")
    for tag in (2, 3):
        play.waits(TIMEOUT - 1)
        alice.hears_nothing()
        play.waits(1)
        alice.gets(1, "c", tag, b"1", redelivered=True)
    alice.says(1, Basic.Ack(3))
    play.waits(TIMEOUT)
    assert play.queue("q").message_count() == 0


# --- whose time it is ------------------------------------------------------------------------


@pytest.fixture
def impatient() -> Iterator[Play]:
    """A broker with a timeout of its own."""
    play = Play(Config(consumer=Consumer(timeout=500)))
    yield play
    play.ends()


@pytest.mark.parametrize(
    ("own", "of_the_queue", "expected"),
    [(None, None, 500), (None, 300, 300), (700, 300, 700), (700, None, 700)],
)
def test_the_consumers_own_goes_before_its_queues_and_that_before_the_brokers(
    impatient: Play, own: int | None, of_the_queue: int | None, expected: int
) -> None:
    client = impatient.opens(1)
    arguments = {} if of_the_queue is None else {"x-consumer-timeout": of_the_queue}
    client.declares(1, "q", arguments=arguments)
    client.consumes(1, "q", "c", arguments={} if own is None else {"x-consumer-timeout": own})
    client.publishes(1, "q", b"1")
    client.gets(1, "c", 1, b"1")
    impatient.waits(expected - 1)
    client.hears_nothing()
    impatient.waits(1)
    client.gets(1, "c", 2, b"1", redelivered=True)


@pytest.mark.parametrize("level", ["consumer", "queue"])
def test_0_is_no_limit_and_goes_before_one(impatient: Play, level: str) -> None:
    client = impatient.opens(1)
    none = {"x-consumer-timeout": 0}
    client.declares(1, "q", arguments=none if level == "queue" else {})
    client.consumes(1, "q", "c", arguments=none if level == "consumer" else {})
    client.publishes(1, "q", b"1")
    client.gets(1, "c", 1, b"1")
    impatient.waits(10**9)


def test_what_is_fetched_or_needs_no_acknowledgement_never_runs_out(impatient: Play) -> None:
    client = impatient.opens(1)
    client.declares(1, "q", "r")
    client.publishes(1, "q", b"1")
    client.says(1, Basic.Get(queue="q"))
    client.hears(1, got(1, b"1"))
    client.consumes(1, "r", "c", no_ack=True)
    client.publishes(1, "r", b"2")
    client.gets(1, "c", 2, b"2", key="r")
    assert impatient.broker.timers.next_due() == 0


def test_without_a_timeout_nothing_runs_out(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c")
    alice.publishes(1, "q", b"1")
    alice.gets(1, "c", 1, b"1")
    assert play.broker.timers.next_due() == 0


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
    alice.says(1, Queue.Declare(queue="q", arguments={**arguments}))
    alice.is_refused(1, ReplyCode.PRECONDITION_FAILED, text, Queue.Declare)
    alice.opens_again(1)
    alice.declares(1, "q")
    alice.says(1, Basic.Consume(queue="q", arguments={**arguments}))
    alice.is_refused(1, ReplyCode.PRECONDITION_FAILED, text, Basic.Consume)


# --- in the middle of something else ---------------------------------------------------------


def test_what_a_transaction_has_settled_does_not_run_out(play: Play, slow: Client) -> None:
    slow.does(1, Tx.Select(), Tx.SelectOk)
    slow.says(1, Basic.Ack(1))
    play.waits(TIMEOUT)
    assert play.queue("q").message_count() == 1
    slow.says(1, Tx.Commit())
    slow.gets(1, "c", 3, b"2", redelivered=True)
    slow.hears(1, Tx.CommitOk())
    assert (play.queue("q").message_count(), play.queue("q").unacknowledged) == (0, 1)


def test_what_a_transaction_rolled_back_gets_the_whole_time_again(play: Play, slow: Client) -> None:
    slow.does(1, Tx.Select(), Tx.SelectOk)
    slow.says(1, Basic.Ack(2, True))
    play.waits(TIMEOUT)
    slow.does(1, Tx.Rollback(), Tx.RollbackOk)
    play.waits(TIMEOUT - 1)
    assert play.queue("q").unacknowledged == 2
    play.waits(1)
    assert play.queue("q").message_count() == 2


def test_what_a_cancelled_consumer_holds_runs_out_still(play: Play, slow: Client) -> None:
    slow.does(1, Basic.Cancel("c"), Basic.CancelOk)
    play.waits(TIMEOUT)
    assert play.queue("q").message_count() == 2
    slow.says(1, Basic.Ack(2, True))
    assert play.broker.timers.next_due() == 0


def test_recovering_redelivers_what_is_not_overdue(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    begins(alice, prefetch=3)
    alice.publishes(1, "q", b"1")
    alice.gets(1, "c", 1, b"1")
    play.waits(TIMEOUT // 2)
    alice.publishes(1, "q", b"2")
    alice.gets(1, "c", 2, b"2")
    play.waits(TIMEOUT // 2)
    alice.gets(1, "c", 3, b"1", redelivered=True)
    alice.says(1, Basic.Recover(True))
    alice.hears(1, Basic.RecoverOk())
    alice.gets(1, "c", 4, b"1", redelivered=True)
    alice.gets(1, "c", 5, b"2", redelivered=True)


@pytest.mark.parametrize("end", ["channel", "connection", "queue", "settled"])
def test_nothing_is_left_to_ring_when_all_is_gone(play: Play, slow: Client, end: str) -> None:
    assert play.broker.timers.next_due() != 0
    if end == "channel":
        slow.closes(1)
    elif end == "connection":
        slow.loses_its_socket()
    elif end == "queue":
        slow.does(1, Queue.Delete(queue="q"), Queue.DeleteOk)
        slow.hears(1, Basic.Cancel("c", True))
        slow.says(1, Basic.Ack(2, True))
    else:
        slow.does(1, Basic.Cancel("c"), Basic.CancelOk)
        slow.says(1, Basic.Ack(2, True))
    assert play.broker.timers.next_due() == 0


def test_what_runs_out_when_its_queue_is_gone_is_gone(play: Play, slow: Client) -> None:
    slow.does(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    slow.hears(1, Basic.Cancel("c", True))
    play.waits(TIMEOUT)
    slow.says(1, Basic.Ack(2, True))


def test_of_very_many_the_oldest_are_forgotten(play: Play, alice: Client) -> None:
    alice.declares(1, "q")
    begins(alice)
    alice.publishes(1, "q", *[b""] * (OVERDUE_TAGS_MAX + 1))
    alice.hears_all()
    play.waits(TIMEOUT)
    alice.hears_all()
    alice.says(1, Basic.Ack(2))
    alice.hears_nothing()
    alice.says(1, Basic.Ack(1))
    alice.is_refused(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 1", Basic.Ack)

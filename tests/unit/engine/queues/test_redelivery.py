"""Delivery limits and delayed retry, with a clock that the test advances."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.queues.redelivery import RETRY_MS_MAX, retry_delay
from leveret.engine.values.message import Message
from leveret.engine.values.properties import header_value, integer_of
from leveret.engine.values.settings import Source, compute
from tests.unit.engine.queues.broker_run import BrokerRun, arguments
from tests.unit.engine.queues.consumers import message
from tests.unit.engine.queues.queue_in_vhost import QueueInVhost


def count_of(taken: Message, name: bytes = b"x-delivery-count") -> int:
    value = header_value(taken.header, name)
    assert value is not None
    return integer_of(value)


def test_a_message_that_failed_more_often_than_the_limit_is_a_dead_letter() -> None:
    case = QueueInVhost(delivery_limit=2)
    case.queue.publish(message(b"1"))
    case.requeue_next(failed=True)
    case.requeue_next(failed=True)
    assert case.queue.message_count() == 1
    case.requeue_next(failed=True)
    assert case.queue.message_count() == 0
    assert case.dead.message_count() == 1
    dead = case.dead.take()
    assert dead is not None
    reason = header_value(dead[0].header, b"x-first-death-reason")
    assert reason is not None
    assert reason.endswith(b"delivery_limit")


def test_a_message_that_is_returned_more_often_than_the_limit_is_a_dead_letter() -> None:
    case = QueueInVhost(delivery_limit=2)
    case.queue.publish(message(b"1"))
    taken, position, _ = case.take()
    for times, failed in ((1, False), (2, True)):
        case.queue.requeue(taken, position, failed)
        taken, position, _ = case.take()
        assert (count_of(taken), count_of(taken, b"x-acquired-count")) == (times, times)
    case.queue.requeue(taken, position, False)

    assert (case.queue.message_count(), case.dead.message_count()) == (0, 1)


def test_where_failures_count_one_that_is_only_returned_never_reaches_the_limit() -> None:
    case = QueueInVhost(False, delivery_limit=1)
    case.queue.publish(message(b"1"))
    for _ in range(10):
        case.requeue_next(failed=False)
    taken = case.take()[0]
    assert (count_of(taken), count_of(taken, b"x-acquired-count")) == (0, 10)


def test_every_redelivery_has_a_count_and_the_first_delivery_has_none() -> None:
    case = QueueInVhost(delivery_limit=5)
    case.queue.publish(message(b"1"))
    assert header_value(case.take()[0].header, b"x-delivery-count") is None
    case.queue.publish(message(b"2"))
    taken, position, _ = case.take()
    for times in (1, 2, 3):
        case.queue.requeue(taken, position, True)
        taken, position, redelivered = case.take()
        assert (count_of(taken), redelivered) == (times, True)


def test_without_the_settings_nothing_is_counted() -> None:
    case = QueueInVhost()
    case.queue.publish(message(b"1"))
    case.requeue_next(failed=True)
    assert header_value(case.take()[0].header, b"x-delivery-count") is None


def test_a_retry_delayed_message_is_neither_ready_nor_unacknowledged() -> None:
    case = QueueInVhost(delayed_retry_min=100)
    case.queue.publish(message(b"1"))
    case.queue.publish(message(b"2"))
    case.requeue_next(failed=True)
    assert (case.queue.message_count(), case.queue.retry_delayed_count()) == (1, 1)
    assert case.take()[0].body == b"2"
    assert case.queue.take() is None
    case.advance(99)
    assert case.queue.take() is None
    case.advance(1)
    assert (case.queue.message_count(), case.queue.retry_delayed_count()) == (1, 0)
    assert case.take()[0].body == b"1"


def test_a_retry_delayed_message_returns_to_its_position() -> None:
    case = QueueInVhost(delayed_retry_min=100)
    case.queue.publish(message(b"1"))
    case.queue.publish(message(b"2"))
    case.requeue_next(failed=True)
    case.advance(100)
    assert [case.take()[0].body, case.take()[0].body] == [b"1", b"2"]


def test_purging_drops_retry_delayed_messages() -> None:
    case = QueueInVhost(delayed_retry_min=100)
    case.queue.publish(message(b"1"))
    case.requeue_next(failed=True)
    case.queue.publish(message(b"2"))
    assert case.queue.purge().count == 2
    case.advance(1_000)
    assert case.queue.message_count() == 0


@pytest.mark.parametrize(
    ("kind", "failed", "delayed"),
    [
        ("all", True, True),
        ("all", False, True),
        ("failed", True, True),
        ("failed", False, False),
        ("returned", True, False),
        ("returned", False, True),
        ("disabled", True, False),
        ("disabled", False, False),
    ],
)
def test_the_retry_type_decides_which_messages_are_delayed(
    kind: str, failed: bool, delayed: bool
) -> None:
    case = QueueInVhost(delayed_retry_type=kind, delayed_retry_min=100, delivery_limit=10)
    case.queue.publish(message(b"1"))
    case.requeue_next(failed=failed)
    assert (case.queue.retry_delayed_count() == 1) is delayed


@given(
    st.integers(1, 10_000),
    st.none() | st.integers(1, 100_000),
    st.none() | st.integers(1, 5),
    st.integers(1, 200),
)
def test_the_retry_delay_grows_by_the_multiplier_up_to_the_maximum(
    least: int, most: int | None, multiplier: int | None, times: int
) -> None:
    values: dict[str, int] = {"delayed-retry-min": least}
    if most is not None:
        values["delayed-retry-max"] = most
    if multiplier is not None:
        values["delayed-retry-multiplier"] = multiplier
    settings = compute([Source("test", dict(values))])
    growth = times if multiplier is None else multiplier ** (times - 1)
    expected = min(least * growth, RETRY_MS_MAX if most is None else most)
    assert retry_delay(settings, True, times) == expected


def test_a_quorum_queue_counts_failures_without_a_limit() -> None:
    case = QueueInVhost(queue_type="quorum")
    case.queue.publish(message(b"1"))
    for _ in range(30):
        case.requeue_next(failed=True)
    assert count_of(case.take()[0]) == 30


def test_a_purge_settles_requeued_and_retry_delayed_messages_in_slices() -> None:
    run = BrokerRun()
    queue = run.queue("q", arguments=arguments(delayed_retry_type="returned", delayed_retry_min=10))
    other = run.queue("p")
    for name in ("q", "p"):
        for number in range(40):
            run.publish("", name, b"%d" % number)
    for each in (queue, other):
        taken = [each.take() for _ in range(30)]
        for one in taken:
            assert one is not None
            each.requeue(one[0], one[1], False)
    for each in (queue, other):
        run.broker.time_slice.begin(0)
        purge = each.purge()
        assert (purge.count, purge.is_done()) == (40, False)
        assert each.message_count() + each.retry_delayed_count() == 0
    run.run_all()
    run.broker.commit(urgent=True)
    run.run_all()
    again = run.restart(power=True)
    assert [each.message_count() for each in again.vhost.queues.values()] == [0, 0]


def test_a_deleted_queue_frees_its_messages_in_slices() -> None:
    run = BrokerRun()
    queue = run.queue("q")
    for number in range(40):
        run.publish("", "q", b"%d" % number)
    taken = [queue.take() for _ in range(30)]
    for one in taken:
        assert one is not None
        queue.requeue(one[0], one[1], False)
    run.broker.time_slice.begin(0)
    remove_queue(run.vhost, queue)
    assert not run.broker.work.is_empty()
    run.run_all()
    assert run.restart().vhost.queues == {}

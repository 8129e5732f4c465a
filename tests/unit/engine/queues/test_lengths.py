"""Queues with a length: what is dropped, what is refused, and what it costs."""

import pytest

from leveret.engine.lifecycle.queues import change_arguments
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import ACCEPTED, REFUSED
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import UNITS_PER_READING
from tests.unit.engine.flow.test_dead_letters import DEEP, bodies
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to
from tests.unit.engine.queues.consumers import Recorder, message


@pytest.fixture
def run() -> BrokerRun:
    return BrokerRun()


def with_length(run: BrokerRun, **values: str | int) -> Queue:
    """A queue q with these arguments, and a queue that gets its dead letters."""
    run.queue("dead")
    return run.queue("q", arguments=leading_to("dead", **values))


def publish(run: BrokerRun, *sent: bytes) -> None:
    for body in sent:
        run.publish("", "q", body)


def take(queue: Queue) -> tuple[Message, int]:
    taken = queue.take()
    assert taken is not None
    return taken[0], taken[1]


def test_a_queue_over_its_length_drops_its_head(run: BrokerRun) -> None:
    with_length(run, max_length=3)
    publish(run, *(b"%d" % number for number in range(10)))
    run.run_all()
    run = run.restart()
    assert bodies(run.take_all("q")) == [b"7", b"8", b"9"]


def test_a_deep_queue_on_disk_drops_its_head(run: BrokerRun) -> None:
    queue = with_length(run, max_length=DEEP - 2_000)
    for number in range(DEEP):
        publish(run, b"%d" % number)
        if number % 100 == 0:
            run.run_all()
    run.run_all()
    assert queue.message_count() == DEEP - 2_000
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(2_000)]
    assert bodies(run.take_all("q")) == [b"%d" % number for number in range(2_000, DEEP)]


def test_a_smaller_length_is_enforced_in_slices(run: BrokerRun) -> None:
    queue = with_length(run)
    count = 1_000
    publish(run, *(b"%d" % number for number in range(count)))
    run.broker.time_slice.begin(0)
    change_arguments(run.vhost, queue, leading_to("dead", max_length=10))
    assert count - UNITS_PER_READING <= queue.message_count() < count
    run.run_all()
    assert queue.message_count() == 10
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(count - 10)]


def test_the_length_in_bytes_is_that_of_ready_and_retry_delayed_bodies(run: BrokerRun) -> None:
    queue = with_length(run, max_length_bytes=10, delayed_retry_min=100)
    publish(run, b"4444", b"333")
    queue.requeue(*take(queue), True)
    assert (queue.message_count(), queue.retry_delayed_count()) == (1, 1)
    publish(run, b"333")
    assert queue.message_count() == 2, "four retry-delayed, and twice three"
    publish(run, b"1")
    assert bodies(run.take_all("dead")) == [b"333"]


def test_unacknowledged_messages_do_not_count(run: BrokerRun) -> None:
    queue = with_length(run, max_length=1)
    consumer = Recorder(queue, capacity=5)
    queue.add_consumer(consumer.consumer)
    publish(run, *(b"%d" % number for number in range(8)))
    assert consumer.bodies == [b"%d" % number for number in range(5)]
    assert bodies(run.take_all("dead")) == [b"5", b"6"]
    assert queue.message_count() == 1


@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_a_queue_that_rejects_publishes_takes_every_requeued_message(
    run: BrokerRun, overflow: str
) -> None:
    queue = with_length(run, max_length=2, overflow=overflow)
    publish(run, b"1", b"2")
    taken = [take(queue), take(queue)]
    publish(run, b"3", b"4")
    for each in taken:
        queue.requeue(*each)
    queue.deliver_ready()
    assert queue.message_count() == 4
    assert queue.publish(message(b"5")) & REFUSED
    assert [take(queue)[0].body for _ in range(4)] == [b"1", b"2", b"3", b"4"]


def test_a_queue_that_begins_to_reject_publishes_drops_nothing(run: BrokerRun) -> None:
    queue = with_length(run)
    publish(run, b"1", b"2", b"3")
    change_arguments(run.vhost, queue, arguments(max_length=1, overflow="reject-publish"))
    run.run_all()
    assert queue.message_count() == 3


def test_without_its_limit_a_queue_takes_messages_again(run: BrokerRun) -> None:
    queue = with_length(run, max_length=1, overflow="reject-publish")
    publish(run, b"1")
    assert queue.publish(message(b"2")) == REFUSED
    change_arguments(run.vhost, queue, Arguments({}, {}))
    assert queue.publish(message(b"3")) == ACCEPTED
    assert queue.message_count() == 2


def test_a_refused_message_is_not_there_after_a_restart(run: BrokerRun) -> None:
    with_length(run, max_length=1, overflow="reject-publish-dlx")
    publish(run, b"1", b"2", b"3")
    run.run_all()
    run = run.restart()
    assert bodies(run.take_all("q")) == [b"1"]
    assert bodies(run.take_all("dead")) == [b"2", b"3"]

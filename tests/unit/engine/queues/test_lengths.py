"""Queues with a length: what is dropped, what is refused, and what it costs."""

import pytest

from leveret.engine.lifecycle.queues import change_arguments
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import ACCEPTED, REFUSED
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message
from leveret.limits import DROP_SLICE_MESSAGES
from tests.unit.engine.flow.test_dead_letters import DEEP, bodies
from tests.unit.engine.queues.consumers import Recorder, message
from tests.unit.engine.queues.lives import Life, arguments, leading_to


@pytest.fixture
def life() -> Life:
    return Life()


def with_length(life: Life, **values: str | int) -> Queue:
    """A queue q with these arguments, and a queue that gets its dead letters."""
    life.queue("dead")
    return life.queue("q", arguments=leading_to("dead", **values))


def publish(life: Life, *sent: bytes) -> None:
    for body in sent:
        life.publishes("", "q", body)


def take(queue: Queue) -> tuple[Message, int]:
    taken = queue.take()
    assert taken is not None
    return taken[0], taken[1]


def test_what_is_too_much_goes_from_the_head_in_order(life: Life) -> None:
    with_length(life, max_length=3)
    publish(life, *(b"%d" % number for number in range(10)))
    life.works()
    life = life.dies()
    assert bodies(life.takes("q")) == [b"7", b"8", b"9"]


def test_a_deep_queue_on_disk_drops_its_head(life: Life) -> None:
    queue = with_length(life, max_length=DEEP - 2_000)
    for number in range(DEEP):
        publish(life, b"%d" % number)
        if number % 100 == 0:
            life.works()
    life.works()
    assert queue.message_count() == DEEP - 2_000
    assert bodies(life.takes("dead")) == [b"%d" % number for number in range(2_000)]
    assert bodies(life.takes("q")) == [b"%d" % number for number in range(2_000, DEEP)]


def test_a_smaller_length_is_come_to_in_slices(life: Life) -> None:
    queue = with_length(life)
    count = 3 * DROP_SLICE_MESSAGES + 10
    publish(life, *(b"%d" % number for number in range(count)))
    change_arguments(life.vhost, queue, leading_to("dead", max_length=10))
    assert queue.message_count() == count - DROP_SLICE_MESSAGES
    life.works()
    assert queue.message_count() == 10
    assert bodies(life.takes("dead")) == [b"%d" % number for number in range(count - 10)]


def test_bytes_are_those_of_bodies_wherever_messages_are(life: Life) -> None:
    queue = with_length(life, max_length_bytes=10, delayed_retry_min=100)
    publish(life, b"4444", b"333")
    queue.requeue(*take(queue), True)
    assert (queue.message_count(), queue.retry_delayed_count()) == (1, 1)
    publish(life, b"333")
    assert queue.message_count() == 2, "four held back, and twice three"
    publish(life, b"1")
    assert bodies(life.takes("dead")) == [b"333"]


def test_what_consumers_hold_does_not_count(life: Life) -> None:
    queue = with_length(life, max_length=1)
    consumer = Recorder(queue, room=5)
    queue.add_consumer(consumer.consumer)
    publish(life, *(b"%d" % number for number in range(8)))
    assert consumer.bodies == [b"%d" % number for number in range(5)]
    assert bodies(life.takes("dead")) == [b"5", b"6"]
    assert queue.message_count() == 1


@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_a_queue_that_refuses_drops_nothing_of_what_comes_back(life: Life, overflow: str) -> None:
    queue = with_length(life, max_length=2, overflow=overflow)
    publish(life, b"1", b"2")
    taken = [take(queue), take(queue)]
    publish(life, b"3", b"4")
    for each in taken:
        queue.requeue(*each)
    queue.deliver_ready()
    assert queue.message_count() == 4
    assert queue.publish(message(b"5")) == REFUSED
    assert [take(queue)[0].body for _ in range(4)] == [b"1", b"2", b"3", b"4"]


def test_a_queue_that_begins_to_refuse_keeps_what_is_too_much(life: Life) -> None:
    queue = with_length(life)
    publish(life, b"1", b"2", b"3")
    change_arguments(life.vhost, queue, arguments(max_length=1, overflow="reject-publish"))
    life.works()
    assert queue.message_count() == 3


def test_a_length_that_is_lifted_lets_everything_in(life: Life) -> None:
    queue = with_length(life, max_length=1, overflow="reject-publish")
    publish(life, b"1")
    assert queue.publish(message(b"2")) == REFUSED
    change_arguments(life.vhost, queue, Arguments({}, {}))
    assert queue.publish(message(b"3")) == ACCEPTED
    assert queue.message_count() == 2


def test_a_refused_message_is_nowhere_after_a_restart(life: Life) -> None:
    with_length(life, max_length=1, overflow="reject-publish-dlx")
    publish(life, b"1", b"2", b"3")
    life.works()
    life = life.dies()
    assert bodies(life.takes("q")) == [b"1"]
    assert bodies(life.takes("dead")) == [b"2", b"3"]

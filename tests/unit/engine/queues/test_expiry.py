"""Messages that expire, by a clock that the test turns."""

from itertools import accumulate
from random import Random

import pytest
from pamqp.commands import Basic

from leveret.engine.lifecycle.queues import change_arguments
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message
from leveret.limits import DROP_SLICE_MESSAGES
from tests.unit.engine.flow.test_dead_letters import bodies
from tests.unit.engine.queues.consumers import Recorder
from tests.unit.engine.queues.lives import Life, arguments, leading_to

MANY = 20_000
HOUR_MS = 3_600_000


@pytest.fixture
def life() -> Life:
    return Life()


def expiring(life: Life, body: bytes, ttl: int, *, persistent: bool = True) -> None:
    """Publish to q a message with a time to live of its own, in milliseconds."""
    properties = Basic.Properties(expiration=str(ttl))
    life.publishes("", "q", body, properties, persistent=persistent)


def consume(queue: Queue, room: int = 1_000_000) -> Recorder:
    recorder = Recorder(queue, room=room)
    queue.add_consumer(recorder.consumer)
    queue.deliver_ready()
    return recorder


def take(queue: Queue) -> tuple[Message, int]:
    taken = queue.take()
    assert taken is not None
    return taken[0], taken[1]


def test_a_message_is_there_until_its_time_and_not_after(life: Life) -> None:
    queue = life.queue("q")
    expiring(life, b"1", 100)
    start = life.now
    life.passes_to(start + 99)
    assert queue.message_count() == 1
    life.passes_to(start + 100)
    assert queue.message_count() == 0


def test_many_messages_expire_each_at_its_time_but_behind_those_before_it(life: Life) -> None:
    queue = life.queue("q", durable=False)
    random = Random("many")
    times = [random.randrange(1, 10_000) for _ in range(MANY)]
    start = life.now
    for ttl in times:
        expiring(life, b"", ttl, persistent=False)
    leaves_at = list(accumulate(times, max))
    for now in sorted({*range(0, 10_001, 500), *leaves_at}):
        life.passes_to(start + now)
        assert queue.message_count() == sum(at > now for at in leaves_at)


def test_those_that_expire_at_once_go_in_slices(life: Life) -> None:
    queue = life.queue("q", durable=False, arguments=arguments(message_ttl=1_000))
    count = 4 * DROP_SLICE_MESSAGES + 1
    for _ in range(count):
        life.publishes("", "q", b"", persistent=False)
    life.broker.clock.advance_to(life.now + 1_000)
    left = []
    while life.broker.timers.next_due() != 0:
        assert life.broker.timers.next_due() <= life.now
        life.broker.timers.run(life.now)
        left.append(queue.message_count())
    assert left == [*range(count - DROP_SLICE_MESSAGES, 0, -DROP_SLICE_MESSAGES), 0]


def test_a_consumer_behind_many_that_expired_gets_what_did_not(life: Life) -> None:
    queue = life.queue("q", durable=False)
    for _ in range(2 * DROP_SLICE_MESSAGES + 1):
        expiring(life, b"", 10, persistent=False)
    life.publishes("", "q", b"alive", persistent=False)
    life.broker.clock.advance_to(life.now + 10)
    consumer = consume(queue)
    life.works()
    assert consumer.bodies == [b"alive"]


def test_basic_get_finds_what_did_not_expire_behind_what_did(life: Life) -> None:
    queue = life.queue("q", durable=False)
    for _ in range(2 * DROP_SLICE_MESSAGES + 1):
        expiring(life, b"", 10, persistent=False)
    life.publishes("", "q", b"alive", persistent=False)
    life.broker.clock.advance_to(life.now + 10)
    assert take(queue)[0].body == b"alive"


def test_messages_expire_while_a_consumer_has_no_room(life: Life) -> None:
    queue = life.queue("q", arguments=leading_to("dead"))
    life.queue("dead")
    consumer = consume(queue, room=1)
    for body, ttl in ((b"1", 10), (b"2", 10), (b"3", HOUR_MS), (b"4", 10)):
        expiring(life, body, ttl)
    life.passes_to(life.now + 10)
    assert consumer.bodies == [b"1"]
    consumer.has_room(10)
    queue.resume(consumer.consumer)
    assert consumer.bodies == [b"1", b"3"]
    assert bodies(life.takes("dead")) == [b"2", b"4"]


def test_a_message_that_comes_back_to_an_empty_queue_expires_still(life: Life) -> None:
    queue = life.queue("q", arguments=leading_to("dead"))
    life.queue("dead")
    expiring(life, b"1", 500)
    message, position = take(queue)
    expiring(life, b"2", 1)
    life.passes_to(life.now + 1)
    queue.requeue(message, position)
    queue.deliver_ready()
    life.passes_to(life.now + 498)
    assert queue.message_count() == 1
    life.passes_to(life.now + 1)
    assert queue.message_count() == 0
    assert bodies(life.takes("dead")) == [b"2", b"1"]


def test_a_message_that_expired_with_a_client_does_so_when_it_comes_back(life: Life) -> None:
    queue = life.queue("q", arguments=arguments(message_ttl=100))
    life.publishes("", "q", b"1")
    message, position = take(queue)
    life.passes_to(life.now + 200)
    queue.requeue(message, position)
    queue.deliver_ready()
    assert queue.message_count() == 0


@pytest.mark.parametrize("by", ["queue", "message"])
def test_time_goes_on_over_a_restart(life: Life, by: str) -> None:
    queue = life.queue("q", arguments=arguments(message_ttl=1_000) if by == "queue" else None)
    start = life.now
    for body in (b"1", b"2"):
        if by == "queue":
            life.publishes("", "q", body)
        else:
            expiring(life, body, 1_000)
        life.passes_to(life.now + 400)
    queue.requeue(*take(queue))
    life = life.dies()
    life.passes_to(start + 999)
    assert life.vhost.queues["q"].message_count() == 2
    life.passes_to(start + 1_000)
    assert life.vhost.queues["q"].message_count() == 1
    life.passes_to(start + 1_400)
    assert life.vhost.queues["q"].message_count() == 0


def test_what_expired_while_the_broker_was_down_is_a_dead_letter_at_its_start(life: Life) -> None:
    life.queue("q", arguments=leading_to("dead"))
    life.queue("dead")
    expiring(life, b"1", 1_000)
    life.publishes("", "q", b"2")
    life.works()
    life = Life(life.medium.kill(), life.now + HOUR_MS)
    assert bodies(life.takes("dead")) == [b"1"]
    assert bodies(life.takes("q")) == [b"2"]


def test_another_time_to_live_counts_for_what_is_queued_too(life: Life) -> None:
    queue = life.queue("q")
    start = life.now
    for body in (b"1", b"2"):
        life.publishes("", "q", body)
    change_arguments(life.vhost, queue, arguments(message_ttl=50))
    life.passes_to(start + 49)
    assert queue.message_count() == 2
    change_arguments(life.vhost, queue, Arguments({}, {}))
    life.passes_to(start + HOUR_MS)
    assert queue.message_count() == 2


def test_what_is_held_back_comes_back_though_the_queue_holds_nothing_back_any_more(
    life: Life,
) -> None:
    queue = life.queue("q", arguments=arguments(delayed_retry_min=100))
    life.publishes("", "q", b"1")
    queue.requeue(*take(queue), True)
    queue.deliver_ready()
    assert (queue.message_count(), queue.retry_delayed_count()) == (0, 1)
    change_arguments(life.vhost, queue, Arguments({}, {}))
    life.passes_to(life.now + 100)
    assert (queue.message_count(), queue.retry_delayed_count()) == (1, 0)

"""Messages that expire, with a clock that the test advances."""

from itertools import accumulate, pairwise
from random import Random

import pytest
from pamqp.commands import Basic

from leveret.engine.lifecycle.queues import change_arguments
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import UNITS_PER_READING
from tests.unit.engine.flow.test_dead_letters import bodies
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to
from tests.unit.engine.queues.consumers import Recorder

MANY = 20_000
HOUR_MS = 3_600_000


@pytest.fixture
def run() -> BrokerRun:
    return BrokerRun()


def expiring(run: BrokerRun, body: bytes, ttl: int, *, persistent: bool = True) -> None:
    """Publish to q a message with a time to live of its own, in milliseconds."""
    properties = Basic.Properties(expiration=str(ttl))
    run.publish("", "q", body, properties, persistent=persistent)


def consume(queue: Queue, capacity: int = 1_000_000) -> Recorder:
    recorder = Recorder(queue, capacity=capacity)
    queue.add_consumer(recorder.consumer)
    queue.deliver_ready()
    return recorder


def take(queue: Queue) -> tuple[Message, int]:
    taken = queue.take()
    assert taken is not None
    return taken[0], taken[1]


def test_a_message_expires_at_its_time_and_not_before(run: BrokerRun) -> None:
    queue = run.queue("q")
    expiring(run, b"1", 100)
    start = run.now
    run.advance_to(start + 99)
    assert queue.message_count() == 1
    run.advance_to(start + 100)
    assert queue.message_count() == 0


def test_a_message_expires_when_it_is_at_the_head(run: BrokerRun) -> None:
    queue = run.queue("q", durable=False)
    random = Random("many")
    times = [random.randrange(1, 10_000) for _ in range(MANY)]
    start = run.now
    for ttl in times:
        expiring(run, b"", ttl, persistent=False)
    leaves_at = list(accumulate(times, max))
    for now in sorted({*range(0, 10_001, 500), *leaves_at}):
        run.advance_to(start + now)
        assert queue.message_count() == sum(at > now for at in leaves_at)


def test_messages_that_expire_at_once_are_dropped_in_slices(run: BrokerRun) -> None:
    queue = run.queue("q", durable=False, arguments=arguments(message_ttl=1_000))
    count = 1_000
    for _ in range(count):
        run.publish("", "q", b"", persistent=False)
    run.broker.clock.advance_to(run.now + 1_000)
    run.broker.time_slice.begin(0)
    run.broker.timers.run(run.now)
    left = [count, queue.message_count()]
    while not run.broker.work.is_empty():
        run.broker.time_slice.begin(0)
        run.broker.work.run_next(run.broker.time_slice)
        left.append(queue.message_count())
    assert left[-1] == 0
    assert all(before - after <= UNITS_PER_READING for before, after in pairwise(left))


@pytest.fixture
def behind_expired(run: BrokerRun) -> Queue:
    """A queue whose only message that is alive is behind many that have expired."""
    queue = run.queue("q", durable=False)
    for _ in range(1_000):
        expiring(run, b"", 10, persistent=False)
    run.publish("", "q", b"alive", persistent=False)
    run.broker.clock.advance_to(run.now + 10)
    return queue


def test_a_consumer_gets_the_message_behind_many_that_expired(
    run: BrokerRun, behind_expired: Queue
) -> None:
    consumer = consume(behind_expired)
    run.run_all()
    assert consumer.bodies == [b"alive"]


def test_basic_get_gets_the_message_behind_many_that_expired(behind_expired: Queue) -> None:
    assert take(behind_expired)[0].body == b"alive"


def test_messages_expire_while_a_consumer_is_suspended(run: BrokerRun) -> None:
    queue = run.queue("q", arguments=leading_to("dead"))
    run.queue("dead")
    consumer = consume(queue, capacity=1)
    for body, ttl in ((b"1", 10), (b"2", 10), (b"3", HOUR_MS), (b"4", 10)):
        expiring(run, body, ttl)
    run.advance_to(run.now + 10)
    assert consumer.bodies == [b"1"]
    consumer.set_capacity(10)
    queue.resume(consumer.consumer)
    assert consumer.bodies == [b"1", b"3"]
    assert bodies(run.take_all("dead")) == [b"2", b"4"]


def test_a_message_requeued_into_an_empty_queue_expires(run: BrokerRun) -> None:
    queue = run.queue("q", arguments=leading_to("dead"))
    run.queue("dead")
    expiring(run, b"1", 500)
    message, position = take(queue)
    expiring(run, b"2", 1)
    run.advance_to(run.now + 1)
    queue.requeue(message, position)
    queue.deliver_ready()
    run.advance_to(run.now + 498)
    assert queue.message_count() == 1
    run.advance_to(run.now + 1)
    assert queue.message_count() == 0
    assert bodies(run.take_all("dead")) == [b"2", b"1"]


def test_a_message_that_expired_unacknowledged_is_dropped_when_requeued(
    run: BrokerRun,
) -> None:
    queue = run.queue("q", arguments=arguments(message_ttl=100))
    run.publish("", "q", b"1")
    message, position = take(queue)
    run.advance_to(run.now + 200)
    queue.requeue(message, position)
    queue.deliver_ready()
    assert queue.message_count() == 0


@pytest.mark.parametrize("by", ["queue", "message"])
def test_expiry_times_are_the_same_after_a_restart(run: BrokerRun, by: str) -> None:
    queue = run.queue("q", arguments=arguments(message_ttl=1_000) if by == "queue" else None)
    start = run.now
    for body in (b"1", b"2"):
        if by == "queue":
            run.publish("", "q", body)
        else:
            expiring(run, body, 1_000)
        run.advance_to(run.now + 400)
    queue.requeue(*take(queue))
    run = run.restart()
    run.advance_to(start + 999)
    assert run.vhost.queues["q"].message_count() == 2
    run.advance_to(start + 1_000)
    assert run.vhost.queues["q"].message_count() == 1
    run.advance_to(start + 1_400)
    assert run.vhost.queues["q"].message_count() == 0


def test_a_message_that_expired_while_the_broker_was_down_is_a_dead_letter_at_its_start(
    run: BrokerRun,
) -> None:
    run.queue("q", arguments=leading_to("dead"))
    run.queue("dead")
    expiring(run, b"1", 1_000)
    run.publish("", "q", b"2")
    run.run_all()
    run = BrokerRun(run.medium.kill(), run.now + HOUR_MS)
    assert bodies(run.take_all("dead")) == [b"1"]
    assert bodies(run.take_all("q")) == [b"2"]


def test_a_changed_time_to_live_applies_to_ready_messages(run: BrokerRun) -> None:
    queue = run.queue("q")
    start = run.now
    for body in (b"1", b"2"):
        run.publish("", "q", body)
    change_arguments(run.vhost, queue, arguments(message_ttl=50))
    run.advance_to(start + 49)
    assert queue.message_count() == 2
    change_arguments(run.vhost, queue, Arguments({}, {}))
    run.advance_to(start + HOUR_MS)
    assert queue.message_count() == 2


def test_a_retry_delay_ends_though_the_queue_has_no_delayed_retry_any_more(
    run: BrokerRun,
) -> None:
    queue = run.queue("q", arguments=arguments(delayed_retry_min=100))
    run.publish("", "q", b"1")
    queue.requeue(*take(queue), True)
    queue.deliver_ready()
    assert (queue.message_count(), queue.retry_delayed_count()) == (0, 1)
    change_arguments(run.vhost, queue, Arguments({}, {}))
    run.advance_to(run.now + 100)
    assert (queue.message_count(), queue.retry_delayed_count()) == (1, 0)


def test_basic_get_drops_what_has_expired_in_slices(run: BrokerRun) -> None:
    queue = run.queue("q", durable=False)
    for _ in range(50):
        expiring(run, b"", 10, persistent=False)
    run.publish("", "q", b"alive", persistent=False)
    run.broker.clock.advance_to(run.now + 10)
    slices = 1
    run.broker.time_slice.begin(0)
    while not queue.prepare_take():
        run.broker.time_slice.begin(0)
        slices += 1
    assert slices == 51
    assert take(queue)[0].body == b"alive"

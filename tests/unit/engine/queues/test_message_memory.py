"""The memory of messages: it is shared by use, and everything released comes back in order."""

import pytest
from pamqp.commands import Basic

from leveret.engine.queues.message_memory import SHARE_DIVISOR
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to

LIMIT = 8 * 1024 * 1024
SHARE = LIMIT // SHARE_DIVISOR
BODY = 10_000
QUEUES = 40
EACH = 30
"""Messages of each queue: all of them take five times the share."""


def limited() -> BrokerRun:
    """A broker with a small memory limit."""
    run = BrokerRun()
    run.broker.memory.limit(LIMIT)
    return run


def work(run: BrokerRun) -> None:
    """Do all work of the broker, and wait for its disk."""
    run.broker.work.run_all(run.broker.time_slice)
    run.run_all()


def body_of(queue: int, number: int) -> bytes:
    return b"%d %d" % (queue, number) + bytes(BODY)


def fill(run: BrokerRun, *, persistent: bool = True, queues: int = QUEUES) -> None:
    """Publish to many queues, one after the other."""
    for queue in range(queues):
        for number in range(EACH):
            run.publish("", f"q{queue}", body_of(queue, number), persistent=persistent)
        work(run)


@pytest.mark.parametrize("durable", [True, False])
def test_many_queues_share_the_memory_and_lose_nothing(durable: bool) -> None:
    run = limited()
    for queue in range(QUEUES):
        run.queue(f"q{queue}", durable=durable)
    fill(run, persistent=durable)

    assert run.broker.memory.charged <= SHARE

    for queue in range(QUEUES):
        taken = [message.body for message in run.take_all(f"q{queue}")]
        assert taken == [body_of(queue, number) for number in range(EACH)]


def test_queues_without_a_limit_write_nothing() -> None:
    run = BrokerRun()
    run.queue("q0", durable=False)
    fill(run, persistent=False, queues=1)
    assert not run.vhost.queues["q0"].journal
    assert run.broker.memory.charged > EACH * BODY


def test_what_is_not_in_use_goes_when_the_process_has_little_memory() -> None:
    run = limited()
    run.queue("q0")
    fill(run, queues=1)
    for _ in range(2):
        run.broker.memory.check(True)
        work(run)

    assert run.broker.memory.charged == 0
    assert len(run.take_all("q0")) == EACH


def test_a_purged_or_deleted_queue_charges_nothing() -> None:
    run = limited()
    for name in ("q0", "q1"):
        run.queue(name)
    fill(run, queues=2)
    run.vhost.queues["q0"].purge()
    run.vhost.queues["q1"].delete()
    assert run.broker.memory.charged == 0


def test_messages_that_expire_on_disk_are_dead_letters_in_time() -> None:
    run = limited()
    run.queue("dead")
    run.queue("q0", arguments=leading_to("dead", message_ttl=1000))
    run.queue("q1", arguments=leading_to("dead"))
    for number in range(EACH):
        run.publish("", "q0", body_of(0, number))
        expiring = Basic.Properties(expiration="1000")
        run.publish("", "q1", body_of(1, number), expiring)
    for _ in range(2):
        run.broker.memory.check(True)
        work(run)
    assert run.broker.memory.charged == 0

    run.advance_to(run.now + 999)
    assert run.vhost.queues["dead"].message_count() == 0
    run.advance_to(run.now + 1)
    assert run.vhost.queues["dead"].message_count() == 2 * EACH


def test_the_lowest_priority_is_released_too() -> None:
    run = limited()
    run.queue("q0", arguments=arguments(max_priority=3))
    for number in range(EACH):
        properties = Basic.Properties(priority=number % 4)
        run.publish("", "q0", body_of(number % 4, number), properties)
    for _ in range(2):
        run.broker.memory.check(True)
        work(run)
    assert run.broker.memory.charged == 0

    taken = [message.body for message in run.take_all("q0")]
    expected = [body_of(number % 4, number) for number in range(EACH)]
    assert taken == sorted(expected, key=lambda body: -int(body.split()[0]))

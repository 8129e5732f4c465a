"""Queues with the argument x-expires, with a clock that the test advances."""

import pytest

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.queues import declare_queue, remove_consumer
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from tests.unit.engine.queues.consumers import Recorder, message

START = 1_000_000


class ExpiringQueue:
    """A virtual host with a queue that expires after a second."""

    def __init__(self) -> None:
        self.broker = Broker(Config())
        self.broker.clock.advance_to(START)
        self.vhost = self.broker.vhosts["/"]
        self.queue = self.declare()

    def declare(self, expires: int = 1_000) -> Queue:
        return declare_queue(
            self.vhost,
            "q",
            durable=False,
            auto_delete=False,
            owner=None,
            connection=self,
            arguments=Arguments({"x-expires": expires}, {"x-expires": "signedint"}),
        )

    def advance_to(self, now: int) -> None:
        """Advance the clock to `now` milliseconds after the start."""
        self.broker.clock.advance_to(START + now)
        self.broker.timers.run(START + now)

    def is_there(self) -> bool:
        return "q" in self.vhost.queues


@pytest.fixture
def case() -> ExpiringQueue:
    return ExpiringQueue()


def test_an_unused_queue_is_deleted_when_its_time_is_over(
    case: ExpiringQueue,
) -> None:
    case.advance_to(999)
    assert case.is_there()
    case.advance_to(1_000)
    assert not case.is_there()
    assert case.queue.deleted


def test_declaring_a_queue_again_is_use(case: ExpiringQueue) -> None:
    case.advance_to(900)
    assert case.declare() is case.queue
    case.advance_to(1_899)
    assert case.is_there()
    case.advance_to(1_900)
    assert not case.is_there()


def test_publishing_to_a_queue_is_no_use(case: ExpiringQueue) -> None:
    case.advance_to(900)
    case.queue.publish(message())
    case.advance_to(1_000)
    assert not case.is_there()


def test_the_time_begins_when_the_last_consumer_leaves(
    case: ExpiringQueue,
) -> None:
    consumer = Recorder(case.queue).consumer
    case.queue.add_consumer(consumer)
    for now in (1_000, 2_000, 5_500):
        case.advance_to(now)
        assert case.is_there()
    remove_consumer(case.vhost, case.queue, consumer)
    case.advance_to(6_499)
    assert case.is_there()
    case.advance_to(6_500)
    assert not case.is_there()


def test_a_deleted_queue_does_not_delete_a_later_one_of_its_name(
    case: ExpiringQueue,
) -> None:
    case.vhost.queues.pop("q").delete()
    later = case.declare(expires=10_000)
    case.advance_to(5_000)
    assert case.vhost.queues["q"] is later

"""Queues with the argument x-expires, by a clock that the test turns."""

import pytest

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.queues import declare_queue, remove_consumer
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from tests.unit.engine.queues.consumers import Recorder, message

START = 1_000_000


class World:
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

    def passes(self, now: int) -> None:
        """Let time pass up to `now` milliseconds behind the start."""
        self.broker.clock.advance_to(START + now)
        self.broker.timers.run(START + now)

    def is_there(self) -> bool:
        return "q" in self.vhost.queues


@pytest.fixture
def world() -> World:
    return World()


def test_a_queue_that_nobody_uses_goes_when_its_time_is_over_and_not_before(world: World) -> None:
    world.passes(999)
    assert world.is_there()
    world.passes(1_000)
    assert not world.is_there()
    assert world.queue.deleted


def test_declaring_it_again_is_use(world: World) -> None:
    world.passes(900)
    assert world.declare() is world.queue
    world.passes(1_899)
    assert world.is_there()
    world.passes(1_900)
    assert not world.is_there()


def test_publishing_to_it_is_no_use(world: World) -> None:
    world.passes(900)
    world.queue.publish(message())
    world.passes(1_000)
    assert not world.is_there()


def test_it_stays_while_it_has_a_consumer_and_its_time_begins_when_that_leaves(
    world: World,
) -> None:
    consumer = Recorder(world.queue).consumer
    world.queue.add_consumer(consumer)
    for now in (1_000, 2_000, 5_500):
        world.passes(now)
        assert world.is_there()
    remove_consumer(world.vhost, world.queue, consumer)
    world.passes(6_499)
    assert world.is_there()
    world.passes(6_500)
    assert not world.is_there()


def test_a_queue_deleted_before_its_time_leaves_a_later_one_of_its_name_alone(
    world: World,
) -> None:
    world.vhost.queues.pop("q").delete()
    later = world.declare(expires=10_000)
    world.passes(5_000)
    assert world.vhost.queues["q"] is later

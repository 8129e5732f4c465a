"""Delivery limits and delayed retry, by a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.common import FieldValue

from leveret.engine.queues.queue import Queue
from leveret.engine.queues.redelivery import RETRY_MS_MAX, retry_delay
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message
from leveret.engine.values.properties import header_value, integer_of
from leveret.engine.values.settings import Source, compute
from leveret.engine.vhost import VirtualHost
from tests.unit.engine.queues.consumers import message

START = 1_000_000


class World:
    """A virtual host with one queue, and one that gets its dead letters."""

    def __init__(self, **settings: int | str) -> None:
        self.vhost = VirtualHost("v")
        self.vhost.clock.advance_to(START)
        self.dead = Queue("dead", host=self.vhost)
        self.vhost.queues["dead"] = self.dead
        table: dict[str, FieldValue] = {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
            **{f"x-{name.replace('_', '-')}": value for name, value in settings.items()},
        }
        self.queue = Queue("q", arguments=Arguments(table, {}), host=self.vhost)

    def passes(self, now: int) -> None:
        """Let time pass up to `now` milliseconds behind the start."""
        self.vhost.clock.advance_to(START + now)
        self.vhost.timers.run(START + now)

    def returns(self, *, failed: bool) -> None:
        """Take the next message, and give it back."""
        taken, position, _ = self.take()
        self.queue.requeue(taken, position, failed)
        self.queue.deliver_ready()

    def take(self) -> tuple[Message, int, bool]:
        taken = self.queue.take()
        assert taken is not None
        return taken


def count_of(taken: Message, name: bytes = b"x-delivery-count") -> int:
    value = header_value(taken.header, name)
    assert value is not None
    return integer_of(value)


def test_a_message_that_failed_more_often_than_the_limit_is_a_dead_letter() -> None:
    world = World(delivery_limit=2)
    world.queue.publish(message(b"1"))
    world.returns(failed=True)
    world.returns(failed=True)
    assert world.queue.message_count() == 1
    world.returns(failed=True)
    assert world.queue.message_count() == 0
    assert world.dead.message_count() == 1
    dead = world.dead.take()
    assert dead is not None
    reason = header_value(dead[0].header, b"x-first-death-reason")
    assert reason is not None
    assert reason.endswith(b"delivery_limit")


def test_a_message_that_is_only_returned_never_comes_to_the_limit() -> None:
    world = World(delivery_limit=1)
    world.queue.publish(message(b"1"))
    for _ in range(10):
        world.returns(failed=False)
    taken = world.take()[0]
    assert (count_of(taken), count_of(taken, b"x-acquired-count")) == (0, 10)


def test_every_redelivery_says_how_often_it_failed_and_the_first_delivery_does_not() -> None:
    world = World(delivery_limit=5)
    world.queue.publish(message(b"1"))
    assert header_value(world.take()[0].header, b"x-delivery-count") is None
    world.queue.publish(message(b"2"))
    for failures in (1, 2, 3):
        world.returns(failed=True)
        taken, position, redelivered = world.take()
        assert (count_of(taken), redelivered) == (failures, True)
        world.queue.requeue(taken, position, False)


def test_without_the_settings_nothing_is_counted() -> None:
    world = World()
    world.queue.publish(message(b"1"))
    world.returns(failed=True)
    assert header_value(world.take()[0].header, b"x-delivery-count") is None


def test_a_message_held_back_is_neither_ready_nor_unacknowledged_and_lets_others_pass() -> None:
    world = World(delayed_retry_min=100)
    world.queue.publish(message(b"1"))
    world.queue.publish(message(b"2"))
    world.returns(failed=True)
    assert (world.queue.message_count(), world.queue.retry_delayed_count()) == (1, 1)
    assert world.take()[0].body == b"2"
    assert world.queue.take() is None
    world.passes(99)
    assert world.queue.take() is None
    world.passes(100)
    assert (world.queue.message_count(), world.queue.retry_delayed_count()) == (1, 0)
    assert world.take()[0].body == b"1"


def test_a_message_comes_back_to_its_old_place() -> None:
    world = World(delayed_retry_min=100)
    world.queue.publish(message(b"1"))
    world.queue.publish(message(b"2"))
    world.returns(failed=True)
    world.passes(100)
    assert [world.take()[0].body, world.take()[0].body] == [b"1", b"2"]


def test_purging_drops_what_is_held_back_too() -> None:
    world = World(delayed_retry_min=100)
    world.queue.publish(message(b"1"))
    world.returns(failed=True)
    world.queue.publish(message(b"2"))
    assert world.queue.purge() == 2
    world.passes(1_000)
    assert world.queue.message_count() == 0


@pytest.mark.parametrize(
    ("kind", "failed", "held"),
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
def test_the_type_says_which_messages_are_held_back(kind: str, failed: bool, held: bool) -> None:
    world = World(delayed_retry_type=kind, delayed_retry_min=100, delivery_limit=10)
    world.queue.publish(message(b"1"))
    world.returns(failed=failed)
    assert (world.queue.retry_delayed_count() == 1) is held


@given(
    st.integers(1, 10_000),
    st.none() | st.integers(1, 100_000),
    st.none() | st.integers(1, 5),
    st.integers(1, 200),
)
def test_the_delay_grows_as_the_multiplier_says_up_to_the_most(
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


def test_a_quorum_queue_says_how_often_a_message_failed_without_any_limit() -> None:
    world = World(queue_type="quorum")
    world.queue.publish(message(b"1"))
    for _ in range(30):
        world.returns(failed=True)
    assert count_of(world.take()[0]) == 30

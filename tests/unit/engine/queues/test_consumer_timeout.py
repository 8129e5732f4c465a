"""The consumer timeout, with a clock that the test advances."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.errors import AmqpError
from tests.unit.engine.queues.consumers import message
from tests.unit.engine.queues.queue_in_vhost import QueueInVhost

TIMEOUT = 100


class QueueWithTimeout(QueueInVhost):
    """A queue with one consumer that has a timeout."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        super().__init__()
        self.slow = self.add_consumer("slow", capacity=capacity, timeout=TIMEOUT)

    def publish_bodies(self, *bodies: bytes) -> None:
        self.publish(*[message(body) for body in bodies])


def test_a_delivery_that_is_not_settled_in_time_is_requeued() -> None:
    case = QueueWithTimeout(capacity=3)
    case.publish_bodies(b"1", b"2", b"3")
    assert case.slow.settle(2)
    case.slow.set_capacity(0)
    case.advance(TIMEOUT - 1)
    assert case.slow.bodies == [b"1", b"3"]
    case.advance(1)
    assert case.slow.bodies == []
    assert (case.queue.message_count(), case.queue.unacknowledged) == (2, 0)
    assert case.add_consumer("other").bodies == [b"1", b"3"]


def test_each_delivery_has_its_own_timeout() -> None:
    case = QueueWithTimeout(capacity=2)
    case.publish_bodies(b"1")
    case.advance(TIMEOUT // 2)
    case.publish_bodies(b"2")
    case.advance(TIMEOUT // 2)
    assert case.slow.bodies == [b"2"]
    case.advance(TIMEOUT // 2)
    assert case.slow.bodies == []


def test_settling_an_overdue_delivery_once_is_no_error_and_frees_its_place() -> None:
    case = QueueWithTimeout(capacity=1)
    case.publish_bodies(b"1")
    case.advance(TIMEOUT)
    assert case.slow.bodies == []
    assert not case.slow.settle(1)
    assert case.slow.tags == {b"1": 2}
    with pytest.raises(AmqpError, match="unknown delivery tag 1"):
        case.slow.settle(1)


def test_one_timer_is_enough_for_any_number_of_deliveries() -> None:
    case = QueueWithTimeout(capacity=1000)
    case.publish_bodies(*[b""] * 1000)
    assert len(case.vhost.timers._heap) == 1


@settings(deadline=None)
@given(st.lists(st.sampled_from(["publish", "settle", 1, 30, 70, 100]), max_size=40), st.data())
def test_a_delivery_is_outstanding_for_exactly_its_timeout(
    steps: list[str | int], data: st.DataObject
) -> None:
    """Against the outstanding deliveries, each with its end. What is requeued goes to another."""
    case = QueueWithTimeout()
    fast = case.add_consumer("fast")
    outstanding: dict[bytes, int] = {}
    published = 0
    for step in steps:
        if step == "publish":
            published += 1
            body = b"%d" % published
            case.publish_bodies(body)
            if body in case.slow.bodies:
                outstanding[body] = case.now + TIMEOUT
        elif step == "settle" and outstanding:
            body = data.draw(st.sampled_from(sorted(outstanding)))
            assert case.slow.settle(case.slow.tags[body])
            del outstanding[body]
        elif isinstance(step, int):
            before = set(case.slow.bodies)
            case.advance(step)
            now = case.now
            again = [body for body in case.slow.bodies if body not in before]
            returned = {body for body, end in outstanding.items() if end <= now}
            assert returned <= before
            outstanding = {body: end for body, end in outstanding.items() if body not in returned}
            outstanding |= dict.fromkeys(
                [*again, *(returned & set(case.slow.bodies))], now + TIMEOUT
            )
        assert sorted(case.slow.bodies) == sorted(outstanding)
        assert not set(outstanding) & set(fast.bodies)

"""Dead letters that are lost, as the log tells of them."""

import pytest
from structlog.testing import capture_logs

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.net.lost_dead_letters import Losses


@pytest.fixture
def broker() -> Broker:
    return Broker(Config())


def lose(broker: Broker, queue: str, count: int) -> None:
    lost = broker.vhosts["/"].dead_letters.lost
    lost[queue] = lost.get(queue, 0) + count


def told(losses: Losses, now: float) -> list[tuple[str, int]]:
    """What is told at a time: queues, and how many messages they lost."""
    with capture_logs() as lines:
        losses.report(now)
    assert all(line["event"] == "dead letters had nowhere to go" for line in lines)
    assert all((line["log_level"], line["vhost"]) == ("warning", "/") for line in lines)
    return [(line["queue"], line["messages"]) for line in lines]


def test_a_loss_is_told_once_and_at_once(broker: Broker) -> None:
    losses = Losses(broker)
    lose(broker, "q", 3)
    assert told(losses, 10.0) == [("q", 3)]
    assert told(losses, 100.0) == []


def test_a_queue_is_told_of_once_a_minute_with_all_that_was_lost_since(broker: Broker) -> None:
    losses = Losses(broker)
    lose(broker, "q", 1)
    assert told(losses, 10.0) == [("q", 1)]
    for now in (11.0, 30.0, 69.9):
        lose(broker, "q", 2)
        assert told(losses, now) == []
    assert told(losses, 70.0) == [("q", 6)]


def test_another_queue_has_a_minute_of_its_own(broker: Broker) -> None:
    losses = Losses(broker)
    lose(broker, "q", 1)
    assert told(losses, 10.0) == [("q", 1)]
    lose(broker, "p", 1)
    lose(broker, "q", 1)
    assert told(losses, 11.0) == [("p", 1)]

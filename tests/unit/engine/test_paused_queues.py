"""What a log and a checkpoint say of paused queues."""

import pytest

from leveret.engine.lifecycle.queues import set_paused
from leveret.engine.persistence.definitions import QueuePauseChanged, encode
from leveret.engine.restore import snapshot
from tests.storage.faulty import FaultyMedium
from tests.unit.engine.declaring import declare_plain_queue
from tests.unit.engine.test_kept_metadata import Started

PAUSED = encode(QueuePauseChanged("/", "q", True))


@pytest.fixture
def first() -> Started:
    """A broker whose queue `q` is paused, and `other` is not."""
    started = Started(FaultyMedium(1))
    vhost = started.broker.vhosts["/"]
    for name in ("q", "other"):
        declare_plain_queue(vhost, name, durable=True)
    set_paused(vhost, vhost.queues["q"], True)
    return started


def paused(started: Started) -> list[str]:
    return [each.name for each in started.broker.vhosts["/"].queues.values() if each.paused]


def test_the_log_keeps_the_last_that_was_said(first: Started) -> None:
    second = first.again()
    assert paused(second) == ["q"]
    vhost = second.broker.vhosts["/"]
    set_paused(vhost, vhost.queues["q"], False)
    assert paused(second.again()) == []


def test_a_checkpoint_has_those_that_are_paused(first: Started) -> None:
    metadata, vhosts = first.broker.metadata, first.broker.vhosts
    assert list(snapshot(metadata, vhosts)).count(PAUSED) == 1
    set_paused(vhosts["/"], vhosts["/"].queues["q"], False)
    assert PAUSED not in snapshot(metadata, vhosts)


def test_a_checkpoint_leaves_out_a_queue_that_is_resumed_meanwhile(first: Started) -> None:
    vhosts = first.broker.vhosts
    definitions = snapshot(first.broker.metadata, vhosts)
    assert any(b"queue_declared" in each for each in definitions)
    set_paused(vhosts["/"], vhosts["/"].queues["q"], False)
    assert PAUSED not in definitions


def test_a_queue_that_is_not_durable_leaves_nothing(first: Started) -> None:
    vhost = first.broker.vhosts["/"]
    declare_plain_queue(vhost, "gone")
    set_paused(vhost, vhost.queues["gone"], True)
    assert paused(first) == ["q", "gone"]
    assert paused(first.again()) == ["q"]

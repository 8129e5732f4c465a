"""Queues have the store note what was delivered, so that it is redelivered after a restart."""

from itertools import pairwise

import pytest

from leveret.engine.queues.fifo_backlog import NOTED_AHEAD_MAX, NOTED_EXACTLY
from tests.unit.engine.queues.broker_run import BrokerRun, arguments
from tests.unit.engine.queues.consumers import Recorder

MANY = NOTED_EXACTLY + 100


def publish(run: BrokerRun, count: int) -> None:
    """Publish messages to the queue q."""
    for number in range(count):
        run.publish("", "q", b"%d" % number)
    run.run_all()


def take(run: BrokerRun, count: int) -> list[bool]:
    """Take messages out of the queue q, and say for each whether it was redelivered."""
    flags: list[bool] = []
    for _ in range(count):
        taken = run.vhost.queues["q"].take()
        assert taken is not None
        flags.append(taken[2])
    run.run_all()
    return flags


def stopped(run: BrokerRun) -> BrokerRun:
    """The next run after an orderly end."""
    for hosted in run.broker.stores:
        hosted.close()
    run.writing.run()
    return run.restart()


@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize("power", [False, True])
def test_a_crash_leaves_it_exact_where_few_were_delivered(power: bool, levels: int) -> None:
    run = BrokerRun()
    run.queue("q", arguments=arguments(max_priority=levels) if levels else None)
    publish(run, NOTED_EXACTLY + 2)
    take(run, NOTED_EXACTLY)

    run = run.restart(power=power)

    assert take(run, NOTED_EXACTLY + 2) == [True] * NOTED_EXACTLY + [False] * 2


def test_it_is_exact_after_an_orderly_end_however_many_were_delivered() -> None:
    run = BrokerRun()
    run.queue("q")
    publish(run, MANY + 2)
    take(run, MANY)

    run = stopped(stopped(run))

    assert take(run, MANY + 2) == [True] * MANY + [False] * 2


def test_after_a_crash_no_message_that_was_delivered_is_taken_for_a_new_one() -> None:
    run = BrokerRun()
    run.queue("q")
    publish(run, 2 * MANY)
    take(run, MANY)

    run = run.restart()

    flags = take(run, 2 * MANY)
    assert flags[:MANY] == [True] * MANY
    assert flags == sorted(flags, reverse=True)


def test_a_message_that_went_to_a_consumer_at_once_is_redelivered_after_a_crash() -> None:
    run = BrokerRun()
    recorder = Recorder(run.queue("q"), capacity=2)
    run.vhost.queues["q"].add_consumer(recorder.consumer)
    publish(run, 3)
    assert recorder.bodies == [b"0", b"1"]

    run = run.restart()

    assert take(run, 3) == [True, True, False]


def test_messages_after_a_restart_are_new_though_a_note_was_ahead() -> None:
    run = BrokerRun()
    run.queue("q")
    publish(run, MANY)
    take(run, MANY)
    run = run.restart()
    assert take(run, MANY) == [True] * MANY

    publish(run, 1)

    assert take(run, 1) == [False]


def test_many_deliveries_take_few_notes() -> None:
    run = BrokerRun()
    backlog = run.queue("q")._backlog
    noted: list[int] = []
    position = 0
    while position < 10 * NOTED_AHEAD_MAX:
        backlog.note_delivered(position)
        noted.append(position)
        position = int(backlog.noted_end)
    assert noted[:NOTED_EXACTLY] == list(range(NOTED_EXACTLY))
    assert len(noted) <= NOTED_EXACTLY + NOTED_AHEAD_MAX.bit_length() + 10
    assert max(end - first for first, end in pairwise(noted)) == NOTED_AHEAD_MAX + 1

"""Moves, copies and searches go on in slices, and a crash between two slices leaves each message in
one place."""

import pytest

from leveret.engine.administration.move import Move, Selection, to_exchange, to_origin, to_queue
from leveret.engine.administration.reader import Found
from leveret.engine.administration.search import Filter, Search
from leveret.engine.queues.queue import Queue
from leveret.engine.values.time_slice import TimeSlice
from tests.unit.engine.queues.broker_run import BrokerRun, leading_to

OVER = TimeSlice()
"""A slice that is over after each message."""


def bodies(run: BrokerRun, queue: str) -> list[int]:
    return [int(message.body) for message in run.take_all(queue)]


def filled(count: int, **arguments: str | int) -> BrokerRun:
    """A broker with a queue `from` that has messages, and others."""
    run = BrokerRun()
    run.queue("from", arguments=leading_to("dead", **arguments))
    for name in ("to", "dead"):
        run.queue(name)
    for number in range(count):
        run.publish("", "from", b"%d" % number)
    run.run_all()
    return run


def queue(run: BrokerRun, name: str = "from") -> Queue:
    return run.vhost.queues[name]


def run_slices(run: BrokerRun, work: Move | Search, most: int = 1_000_000) -> int:
    """Run so many slices; how many it took to the end."""
    taken = 0
    while not work.is_done and taken < most:
        work.run(OVER)
        taken += 1
        if work.reader.has_to_read():
            work.reader.read(lambda: None)
            run.run_all()
    return taken


@pytest.mark.parametrize("slices", [0, 1, 2, 3, 9, 20])
@pytest.mark.parametrize("levels", [{}, {"max_priority": 3}])
def test_a_crash_leaves_each_message_in_one_place(slices: int, levels: dict[str, int]) -> None:
    run = filled(10, **levels)
    chosen = [each.position for each in _found(run)][2:8]
    target = to_queue(run.vhost, queue(run), "to")
    move = Move(run.vhost, queue(run), target, Selection(positions=chosen))
    run_slices(run, move, slices)
    again = run.crash_after(0)
    moved, stayed = bodies(again, "to"), bodies(again, "from")
    assert sorted(moved + stayed) == list(range(10))
    assert moved == list(range(2, 8))[: len(moved)]
    assert stayed == sorted(stayed)


def _found(run: BrokerRun) -> list[Found]:
    search = Search(queue(run), 0, 100, 1 << 20, Filter())
    run_slices(run, search)
    return search.found


def test_a_copy_to_its_own_queue_ends() -> None:
    run = filled(5)
    target = to_exchange(run.vhost, "", "from")
    copy = Move(run.vhost, queue(run), target, Selection(), copies=True)
    run_slices(run, copy)
    assert copy.moved == 5
    assert bodies(run, "from") == [*range(5), *range(5)]


def test_a_move_to_an_exchange_that_leads_back_ends() -> None:
    run = filled(5)
    move = Move(run.vhost, queue(run), to_exchange(run.vhost, "", "from"), Selection())
    run_slices(run, move)
    assert bodies(run, "from") == list(range(5))


def test_a_message_that_was_replayed_may_die_again() -> None:
    run = filled(0, message_ttl=0)
    run.publish("", "from", b"7")
    run.run_all()
    assert queue(run, "dead").message_count() == 1
    replay = Move(run.vhost, queue(run, "dead"), to_origin(), Selection())
    run_slices(run, replay)
    run.run_all()
    assert (replay.moved, bodies(run, "dead")) == (1, [7])


def test_what_leaves_the_queue_meanwhile_is_left_out() -> None:
    run = filled(6)
    move = Move(run.vhost, queue(run), to_queue(run.vhost, queue(run), "to"), Selection())
    run_slices(run, move, 2)
    for _ in range(2):
        got = queue(run).take()
        assert got is not None
        queue(run).settle(got[1])
    run_slices(run, move)
    moved, stayed = bodies(run, "to"), bodies(run, "from")
    assert stayed == []
    assert len(moved) == 4


def test_a_queue_that_is_deleted_ends_it() -> None:
    run = filled(6)
    move = Move(run.vhost, queue(run), to_queue(run.vhost, queue(run), "to"), Selection())
    run_slices(run, move, 2)
    queue(run).delete()
    run_slices(run, move)
    assert move.is_done


def test_a_large_body_is_searched_in_parts() -> None:
    run = filled(0)
    run.publish("", "from", b"x" * 3_000_000 + b"needle" + b"y" * 10)
    run.run_all()
    search = Search(queue(run), 0, 1, 1 << 20, Filter(body=b"needle"))
    assert run_slices(run, search) > 3
    assert len(search.found) == 1
    assert search.next_offset is None

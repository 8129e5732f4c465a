"""Dead letters that do not all come in one time slice: memory, order, crashes, and what waits."""

from random import Random

import pytest
from pamqp.commands import Basic

from leveret.engine.flow.dead_letters import DeadLetters
from leveret.engine.flow.publish import Publisher
from leveret.engine.lifecycle.queues import change_arguments, remove_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import THROTTLE
from leveret.engine.values.message import Message, short_strings
from leveret.engine.values.time_slice import UNITS_PER_READING
from leveret.limits import (
    BACKPRESSURE_RETRY_MS,
    DEAD_LETTERS_WAITING_BYTES_MAX,
    DEAD_LETTERS_WAITING_MAX,
    FAN_OUT_AT_ONCE,
)
from leveret.protocol.wire.methods import encode_header
from leveret_storage.medium import BYTES_IN_FLIGHT
from tests.unit.engine.flow.test_dead_letters import bodies
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to

LEVELS = 7


@pytest.fixture
def run() -> BrokerRun:
    return BrokerRun()


def begin_empty_slice(run: BrokerRun) -> None:
    """Begin a slice that is over after one unit of work."""
    run.broker.time_slice.begin(0)


def cascade(run: BrokerRun, levels: int) -> None:
    """Declare levels of two queues that keep nothing, each level's dead letters going to the next,
    and a queue `end` for those of the last."""
    for level in range(levels + 1):
        run.exchange(f"x{level}", "fanout", {})
    for level in range(levels):
        for side in "ab":
            to_next = arguments(max_length=0, dead_letter_exchange=f"x{level + 1}")
            run.queue(f"q{level}{side}", f"x{level}", arguments=to_next)
    run.queue("end", f"x{levels}")


def test_a_cascade_has_few_dead_letters_in_memory_at_any_time(run: BrokerRun) -> None:
    cascade(run, LEVELS)
    begin_empty_slice(run)
    run.publish("x0", "", b"1")
    most = 0
    while not run.broker.work.is_empty():
        most = max(most, int(run.vhost.dead_letters.count))
        run.run_one_slice()
    assert most <= 2 * LEVELS
    assert run.vhost.queues["end"].message_count() == 2**LEVELS


def test_a_cascade_takes_no_more_than_a_unit_of_an_operation_whose_slice_is_over(
    run: BrokerRun,
) -> None:
    cascade(run, LEVELS)
    begin_empty_slice(run)
    run.publish("x0", "", b"1")
    assert run.vhost.dead_letters.count == 3, "two, one of which has made two others"


def test_a_circle_is_bounded_in_memory(run: BrokerRun) -> None:
    queues, in_order = 6, 40
    vhost = run.vhost
    vhost.dead_letters = DeadLetters(vhost.router, vhost.clock, in_order)
    vhost.publisher = Publisher(vhost.dead_letters, vhost)
    vhost.publisher.store = vhost.store
    run.exchange("x", "fanout", {})
    for number in range(queues):
        run.queue(f"q{number}", "x", arguments=arguments(message_ttl=0, dead_letter_exchange="x"))
    begin_empty_slice(run)
    run.publish("x", "", b"1")
    most = published = 0
    while not run.broker.work.is_empty():
        most = max(most, int(vhost.dead_letters.count))
        run.run_one_slice()
        published += 1
    # Each ordered selection of the queues is the path of one dead letter.
    assert published >= 6 + 6 * 5 + 6 * 5 * 4 + 6 * 5 * 4 * 3 + 720 + 720 - 1
    assert most <= in_order + queues * queues
    assert vhost.dead_letters.dropped.keys() == {f"q{number}" for number in range(queues)}


def test_the_dead_letters_of_a_queue_stay_in_order_while_some_wait(run: BrokerRun) -> None:
    run.queue("dead")
    queue = run.queue("q", arguments=leading_to("dead", max_length=5))
    chance = Random(1)
    for number in range(200):
        begin_empty_slice(run)
        run.publish("", "q", b"%d" % number)
        if chance.random() < 0.3 and (taken := queue.take()) is not None:
            queue.settle(taken[1])
        if chance.random() < 0.2 and not run.broker.work.is_empty():
            run.run_one_slice()
    run.run_all()
    numbers = [int(body) for body in bodies(run.take_all("dead"))]
    assert numbers == sorted(numbers)
    assert len(numbers) > 100


def test_what_a_cascade_pushes_out_of_a_queue_comes_behind_what_left_it_before(
    run: BrokerRun,
) -> None:
    run.queue("dead")
    middle = run.queue("middle", arguments=leading_to("dead", max_length=5))
    first = run.queue("first", arguments=leading_to("middle"))
    for number in range(5):
        run.publish("", "middle", b"%d" % number)
    for number in range(5, 10):
        run.publish("", "first", b"%d" % number)
    begin_empty_slice(run)
    change_arguments(run.vhost, middle, leading_to("dead", max_length=1))
    change_arguments(run.vhost, first, leading_to("middle", max_length=0))
    while not run.broker.work.is_empty():
        run.run_one_slice()
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(9)]


@pytest.mark.parametrize("seed", range(10))
def test_a_crash_neither_loses_nor_doubles_a_dead_letter_that_waits(seed: int) -> None:
    chance = Random(seed)
    run = BrokerRun()
    run.queue("dead")
    run.queue("wait", arguments=leading_to("dead", max_length=0))
    queue = run.queue("q", arguments=leading_to("wait", max_length=3))
    held = [b"%d" % number for number in range(8)]
    for at, body in enumerate(held):
        begin_empty_slice(run)
        run.publish("", "q", body)
        if at == 4:
            begin_empty_slice(run)
            taken = queue.take()
            assert taken is not None
            queue.reject(taken[0], taken[1])
        for _ in range(chance.randrange(3)):
            if not run.broker.work.is_empty():
                run.run_one_slice()
    for _ in range(chance.randrange(20)):
        begin_empty_slice(run)
        run.run_step(chance)
    run.broker.commit(urgent=True)
    while run.writing.jobs:
        run.writing.run_one()
    run = run.restart(power=True)
    run.run_all()
    left = bodies(run.take_all("q")) + bodies(run.take_all("dead")) + bodies(run.take_all("wait"))
    assert sorted(left) == held


def test_a_message_dropped_by_its_own_publish_is_in_its_queue_until_it_is_passed_on(
    run: BrokerRun,
) -> None:
    cascade(run, 2)
    begin_empty_slice(run)
    run.publish("x0", "", b"1")
    run.broker.commit()
    run.writing.run_one()
    again = run.restart(power=True)
    assert again.vhost.queues["end"].message_count() == 4


def queue_with_waiting(run: BrokerRun) -> Queue:
    """A queue q with one message, five of which are dead letters; some of these wait."""
    run.queue("dead")
    queue = run.queue("q", arguments=leading_to("dead"))
    for number in range(6):
        run.publish("", "q", b"%d" % number)
    begin_empty_slice(run)
    change_arguments(run.vhost, queue, leading_to("dead", max_length=1))
    assert run.vhost.dead_letters.pending
    assert queue.message_count() == 1
    return queue


def test_a_purge_leaves_dead_letters_that_wait_alone(run: BrokerRun) -> None:
    assert queue_with_waiting(run).purge().count == 1
    run.run_all()
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(5)]


def test_dead_letters_that_wait_outlive_their_queue(run: BrokerRun) -> None:
    remove_queue(run.vhost, queue_with_waiting(run))
    run.run_all()
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(5)]


def test_a_publisher_is_throttled_while_many_dead_letters_wait(run: BrokerRun) -> None:
    cascade(run, 2)
    message = Message(short_strings(b"x0", b""), encode_header(Basic.Properties(), 0), b"", True)
    sinks = run.vhost.router.route(message.route).sinks
    outcome = 0
    while outcome & THROTTLE == 0:
        assert run.vhost.dead_letters.count < DEAD_LETTERS_WAITING_MAX
        begin_empty_slice(run)
        outcome = int(run.vhost.publisher.publish(message, sinks))
    run.run_all()
    assert int(run.vhost.publisher.publish(message, sinks)) & THROTTLE == 0


def test_a_queue_drops_no_more_messages_while_many_dead_letters_wait(run: BrokerRun) -> None:
    queue = run.queue("q", arguments=leading_to("dead"))
    run.queue("dead")
    count = 3 * DEAD_LETTERS_WAITING_MAX
    for number in range(count):
        run.publish("", "q", b"%d" % number, persistent=False)
    change_arguments(run.vhost, queue, leading_to("dead", max_length=0))
    most = 0
    while not run.broker.work.is_empty():
        most = max(most, int(run.vhost.dead_letters.count))
        run.run_one_slice()
    assert most <= DEAD_LETTERS_WAITING_MAX
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(count)]


def test_a_queue_drops_no_more_messages_while_large_dead_letters_wait(run: BrokerRun) -> None:
    queue = run.queue("q", durable=False, arguments=leading_to("dead"))
    run.queue("dead", durable=False)
    size = DEAD_LETTERS_WAITING_BYTES_MAX // 4
    for _ in range(12):
        run.publish("", "q", bytes(size), persistent=False)
    change_arguments(run.vhost, queue, leading_to("dead", max_length=0))
    most = 0
    while not run.broker.work.is_empty():
        most = max(most, int(run.vhost.dead_letters.bytes))
        run.run_one_slice()
    assert most <= DEAD_LETTERS_WAITING_BYTES_MAX
    assert run.vhost.dead_letters.count > 0, "the disk does not keep up"
    while run.vhost.dead_letters.count > 0:
        run.advance_to(run.now + BACKPRESSURE_RETRY_MS)
    assert run.vhost.dead_letters.bytes == 0
    assert run.vhost.queues["dead"].message_count() == 12


def test_those_of_an_atomic_operation_are_in_its_batch(run: BrokerRun) -> None:
    cascade(run, LEVELS)
    run.queue("dead")
    queue = run.queue("q", arguments=leading_to("dead"))
    for number in range(6):
        run.publish("", "q", b"%d" % number)
    run.run_all()
    begin_empty_slice(run)
    run.publish("x0", "", b"long")
    begin_empty_slice(run)
    change_arguments(run.vhost, queue, leading_to("dead", max_length=1))
    run.vhost.publisher.pass_on_in_batch()
    assert run.vhost.queues["dead"].message_count() == 5
    assert run.vhost.queues["end"].message_count() == 0
    run.broker.commit()
    run.writing.run_one()
    run = run.restart(power=True)
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(5)]
    assert run.vhost.queues["end"].message_count() == 2**LEVELS


def test_dead_letters_wait_for_the_disk(run: BrokerRun) -> None:
    queue = run.queue("q", arguments=leading_to("dead"))
    run.queue("dead")
    size = BYTES_IN_FLIGHT // 4 + 1
    for _ in range(6):
        run.publish("", "q", bytes(size))
        run.run_all()
    begin_empty_slice(run)
    change_arguments(run.vhost, queue, leading_to("dead", max_length=0))
    while not run.broker.work.is_empty():
        run.run_one_slice()
    assert run.vhost.store is not None
    assert run.vhost.store.needs_backpressure()
    assert run.vhost.dead_letters.count > 0
    while run.vhost.dead_letters.count > 0:
        run.advance_to(run.now + BACKPRESSURE_RETRY_MS)
    assert run.vhost.queues["dead"].message_count() == 6


CHAIN = 6 * UNITS_PER_READING
"""Exchanges in a row: several slices to walk along."""


def long_route(run: BrokerRun, *, into: str = "dead") -> Queue:
    """A queue q whose dead letters, and those of `q2`, go through many exchanges to another."""
    for number in range(CHAIN):
        alternate = {"alternate-exchange": f"c{number + 1}"} if number + 1 < CHAIN else {}
        run.exchange(f"c{number}", "direct" if alternate else "fanout", {**alternate})
    run.queue(into, f"c{CHAIN - 1}")
    run.queue("q2", arguments=arguments(dead_letter_exchange="c0"))
    return run.queue("q", arguments=arguments(dead_letter_exchange="c0"))


def begin_long_dead_letter(run: BrokerRun, queue: Queue) -> None:
    """Reject the message of a queue, in a slice that is over before its sinks are found."""
    run.publish("", queue.name, queue.name.encode())
    taken = queue.take()
    assert taken is not None
    begin_empty_slice(run)
    queue.reject(taken[0], taken[1])


def test_the_sinks_of_a_dead_letter_are_found_in_slices(run: BrokerRun) -> None:
    begin_long_dead_letter(run, long_route(run))
    slices = 0
    while run.vhost.dead_letters.count:
        assert run.vhost.dead_letters.pending
        assert run.vhost.queues["dead"].message_count() == 0
        run.run_one_slice()
        slices += 1
    assert slices >= 4
    assert bodies(run.take_all("dead")) == [b"q"]
    assert run.vhost.dead_letters.bytes == 0
    assert run.broker.work.is_empty()


@pytest.mark.parametrize("slices", [0, 1, 3, 20])
def test_a_crash_finds_a_dead_letter_in_one_place_while_its_sinks_are_searched(
    run: BrokerRun, slices: int
) -> None:
    begin_long_dead_letter(run, long_route(run))
    again = run.crash_after(slices)
    left = bodies(again.take_all("q")) + bodies(again.take_all("dead"))
    assert left == [b"q"]


def test_other_dead_letters_come_behind_the_one_whose_sinks_are_searched(run: BrokerRun) -> None:
    queue = long_route(run)
    begin_long_dead_letter(run, queue)
    begin_long_dead_letter(run, run.vhost.queues["q2"])
    assert run.vhost.dead_letters.count == 2
    run.vhost.publisher.pass_on_in_batch()
    assert bodies(run.take_all("dead")) == [b"q", b"q2"]
    run.run_all()
    assert not run.vhost.dead_letters.pending


def test_a_queue_that_is_deleted_during_the_search_gets_no_dead_letter(run: BrokerRun) -> None:
    begin_long_dead_letter(run, long_route(run))
    for _ in range(3):
        run.run_one_slice()
    assert run.vhost.dead_letters.count == 1
    dead = run.vhost.queues["dead"]
    remove_queue(run.vhost, dead)
    run.run_all()
    assert dead.message_count() == 0
    assert run.vhost.dead_letters.dropped == {"q": 1}


def test_a_transient_dead_letter_is_published_to_very_many_queues_in_slices(
    run: BrokerRun,
) -> None:
    run.exchange("wide", "fanout", {})
    names = [f"w{number}" for number in range(3 * FAN_OUT_AT_ONCE)]
    for name in names:
        run.queue(name, "wide", durable=False)
    run.queue("q", arguments=arguments(dead_letter_exchange="wide", max_length=0))
    begin_empty_slice(run)
    run.publish("", "q", b"1", persistent=False)
    run.publish("", "q", b"2", persistent=False)
    before = 0
    slices = 0
    while not run.broker.work.is_empty():
        run.run_one_slice()
        slices += 1
        after = sum(int(run.vhost.queues[name].message_count()) for name in names)
        assert after <= before + FAN_OUT_AT_ONCE
        before = after
    assert slices >= 4
    assert all(bodies(run.take_all(name)) == [b"1", b"2"] for name in names)
    assert not run.vhost.dead_letters.dropped

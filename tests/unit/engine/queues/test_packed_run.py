"""Priorities with few messages each are on disk together, and everything comes back in order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic

from leveret.engine.queues.message_memory import RELEASED, MemoryLevel
from leveret.engine.queues.packed_run import PACKED_COST_MAX
from leveret.engine.queues.priority_backlog import PriorityBacklog
from leveret.engine.values.message import Message
from tests.support.examples import examples
from tests.unit.engine.queues.broker_run import BrokerRun, arguments
from tests.unit.engine.queues.test_fifo_backlog import Disk, ignore, popped
from tests.unit.engine.queues.test_priority_backlog import message

PRIORITIES = 255
BODY = bytes(1000)


def body_of(priority: int, number: int = 0) -> bytes:
    return b"%d %d" % (priority, number) + BODY


def publish(run: BrokerRun, queue: str, priority: int, number: int = 0) -> None:
    properties = Basic.Properties(priority=priority)
    run.publish("", queue, body_of(priority, number), properties, persistent=False)


def filled(*, max_priority: int = PRIORITIES) -> BrokerRun:
    """A broker with a queue that has a message in each priority."""
    run = BrokerRun()
    run.broker.memory.limit(1024 * 1024)
    run.queue("q", durable=False, arguments=arguments(max_priority=max_priority))
    for priority in range(max_priority + 1):
        publish(run, "q", priority)
    return run


def release(run: BrokerRun) -> None:
    """Have everything on disk."""
    for _ in range(2):
        run.broker.memory.check(MemoryLevel.NEAR_LIMIT)
        run.run_all()


def expected(*rest: int) -> list[bytes]:
    return [body_of(priority) for priority in rest]


def test_a_message_in_each_priority_is_charged_and_goes_to_one_file() -> None:
    run = filled()
    assert int(run.broker.memory.charged) > PRIORITIES * len(BODY)

    release(run)

    assert int(run.broker.memory.charged) == 0
    files = [name for name in run.medium.list() if name.startswith("queue-")]
    assert len(files) == 1
    taken = [each.body for each in run.take_all("q")]
    assert taken == expected(*range(PRIORITIES, -1, -1))
    run.broker.commit(urgent=True)
    run.run_all()
    assert [name for name in run.medium.list() if name.startswith("queue-")] == []


def test_one_read_brings_all_messages_of_a_run() -> None:
    run = filled()
    release(run)
    queue = run.vhost.queues["q"]
    assert queue._backlog.available() is False
    assert len(run.reading.jobs) == 1
    run.run_all()
    taken = 0
    while queue._backlog.available():
        queue._backlog.pop()
        taken += 1
    assert PACKED_COST_MAX // (2 * len(BODY)) <= taken < PRIORITIES


def test_few_messages_stay_in_memory() -> None:
    run = filled(max_priority=5)
    release(run)
    assert int(run.broker.memory.charged) == 0
    assert [name for name in run.medium.list() if name.startswith("queue-")] == []


def test_what_expires_stays_in_memory() -> None:
    run = BrokerRun()
    run.broker.memory.limit(1024 * 1024)
    run.queue("q", durable=False, arguments=arguments(max_priority=PRIORITIES, message_ttl=1000))
    for priority in range(PRIORITIES):
        publish(run, "q", priority)
    release(run)
    run.advance_to(run.now + 1000)
    assert run.vhost.queues["q"].message_count() == 0


@pytest.mark.parametrize("by", ["purge", "delete"])
def test_what_is_dropped_while_it_is_packed_leaves_no_file(by: str) -> None:
    run = filled()
    release(run)
    backlog = run.vhost.queues["q"]._backlog
    assert backlog.available() is False
    if by == "purge":
        backlog.purge()
    else:
        backlog.delete()
    run.broker.commit(urgent=True)
    run.run_all()
    assert [name for name in run.medium.list() if name.startswith("queue-")] == []
    assert int(run.broker.memory.charged) == 0
    if by == "purge":
        publish(run, "q", 7)
        assert [each.body for each in run.take_all("q")] == expected(7)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 20)),
        st.tuples(st.sampled_from(["pop", "requeue", "release", "load", "purge"]), st.just(0)),
    ),
    max_size=80,
)


@given(steps, st.integers(12, 40))
@settings(deadline=None, max_examples=examples(60))
def test_a_packed_backlog_does_what_a_sorted_list_does(
    chosen: list[tuple[str, int]], before: int
) -> None:
    disk = Disk()
    backlog = PriorityBacklog(ignore, None, 20)
    backlog.attach_store(disk.store, None)
    model: list[tuple[int, int, bytes]] = []
    held: list[tuple[Message, int, tuple[int, int, bytes]]] = []
    for number, (step, priority) in enumerate(
        [("append", each % 21) for each in range(before)] + [("release", 0)] + chosen
    ):
        if step == "append":
            body = b"%d " % number + BODY
            backlog.append(message(body, priority))
            model.append((-priority, number, body))
        elif step == "pop" and model:
            found = popped(backlog, disk)
            least = min(model)
            model.remove(least)
            assert found.body == least[2]
            held.append((found, int(backlog.popped_position), least))
        elif step == "requeue" and held:
            found, position, entry = held.pop()
            backlog.requeue(found, position)
            model.append(entry)
        elif step == "release":
            while backlog.release(True) != RELEASED:
                disk.writing.run()
        elif step == "load":
            backlog.load_blocking()
        elif step == "purge":
            backlog.purge()
            model.clear()
            held.clear()
        assert backlog.count == len(model)
        assert backlog.bytes == sum(len(body) for _, _, body in model)
    while model:
        least = min(model)
        model.remove(least)
        assert popped(backlog, disk).body == least[2]

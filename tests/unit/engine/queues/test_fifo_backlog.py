"""The backlog of a queue against a list, in memory and with its middle on disk."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.engine.administration.reader import Reader
from leveret.engine.queues.backlog import Backlog
from leveret.engine.queues.fifo_backlog import FifoBacklog
from leveret.engine.queues.message_memory import (
    CHUNK_MESSAGES,
    CHUNKS_IN_MEMORY,
    MORE_TO_RELEASE,
    RELEASED,
)
from leveret.engine.values.message import Message
from leveret_storage.errors import StorageError
from leveret_storage.recovery.recover import recover
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.store.store import Store
from tests.storage.faulty import FaultyMedium
from tests.support.examples import examples
from tests.support.executors import StepExecutor
from tests.unit.engine.queues.consumers import message
from tests.unit.engine.queues.reading import read

DEEP = (CHUNKS_IN_MEMORY + 4) * CHUNK_MESSAGES

STEPS = ["append", "append", "pop", "pop", "clear", "release", "extract"]
EXTRACTED_MAX = 30
"""Messages that one step removes from anywhere."""

counts = st.one_of(
    st.integers(1, 5),
    st.sampled_from([CHUNK_MESSAGES - 1, CHUNK_MESSAGES, CHUNK_MESSAGES + 1, DEEP]),
)


def ignore() -> None:
    """A callback that does nothing."""


class Disk:
    """A store that has started, with nothing in it, whose threads run when the test says so."""

    def __init__(self) -> None:
        self.medium = FaultyMedium(0)
        self.medium.write_head(0, 1, b"")
        self.writing, self.reading = StepExecutor(), StepExecutor()
        self.errors: list[StorageError] = []
        self.store = Store(
            self.medium,
            self.writing,
            self.reading,
            snapshot=lambda: iter(()),
            synced=ignore,
            failed=self.errors.append,
        )
        self.store.start(recover(self.medium))


def popped(backlog: Backlog, disk: Disk | None) -> Message:
    """The next message, once it is there."""
    if not backlog.available() and disk is not None:
        disk.writing.run()
        disk.reading.run()
    return backlog.pop()


@pytest.mark.parametrize("on_disk", [False, True])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "append", "pop", "pop", "clear", "release", "extract"]),
            counts,
        )
    )
)
@settings(deadline=None, max_examples=examples(25))
def test_a_backlog_does_what_a_list_does(on_disk: bool, steps: list[tuple[str, int]]) -> None:
    disk = Disk() if on_disk else None
    backlog, model = FifoBacklog(ignore), list[bytes]()
    if disk is not None:
        backlog.attach_store(disk.store, None)
    for step, count in steps:
        if step == "clear":
            backlog.purge()
            model.clear()
        while step == "release" and backlog.release(count != 1) == MORE_TO_RELEASE:
            pass
        for number in range(count):
            if step == "append":
                body = str(backlog.next_position).encode()
                model.append(body)
                backlog.append(message(body))
            elif step == "pop" and model:
                body = model.pop(0)
                assert popped(backlog, disk).body == body
                assert backlog.popped_position == int(body)
            elif step == "extract" and model and number < EXTRACTED_MAX:
                body = model.pop(number * 37 % len(model))
                assert backlog.extract(int(body), len(body))
                assert not backlog.extract(int(body), len(body))
        assert backlog.count == len(model)
        assert backlog.bytes == sum(len(body) for body in model)
        assert backlog.head_position() == (int(model[0]) if model else backlog.next_position)
        if disk is not None and count == 1:
            disk.writing.run()
        offset = len(model) // 2
        found = read(Reader(backlog, offset, 2 * CHUNK_MESSAGES), disk.reading if disk else None)
        assert [each.message.body for each in found] == model[offset : offset + 2 * CHUNK_MESSAGES]
    assert [popped(backlog, disk).body for _ in range(backlog.count)] == model
    assert backlog.count == 0


@pytest.mark.parametrize("released", [False, True])
def test_a_look_finds_requeued_messages_in_the_order_of_delivery(released: bool) -> None:
    disk, backlog = Disk(), FifoBacklog(ignore)
    backlog.attach_store(disk.store, None)
    body = b"x" * 1000
    for _ in range(100):
        backlog.append(message(body))
    taken = [(position, backlog.pop()) for position in range(40)]
    # Out of order, so that some are in the heap.
    for position, each in [*taken[20:], *reversed(taken[:20])]:
        backlog.requeue(each, position)
    while released and backlog.release(True) == MORE_TO_RELEASE:
        disk.writing.run()
    disk.writing.run()
    for offset in (0, 7, 33, 45):
        found = read(Reader(backlog, offset, 60 - offset), disk.reading)
        assert [each.position for each in found] == list(range(offset, 60))
        assert [each.redelivered for each in found] == [at < 40 for at in range(offset, 60)]
        assert all(each.message.body == body for each in found)
    chosen = read(Reader(backlog, 0, 0, [99, 3, 200, 25, 3]), disk.reading)
    assert [each.position for each in chosen] == [3, 25, 99]
    assert backlog.count == 100
    for position in range(100):
        popped(backlog, disk)
        assert backlog.popped_position == position


def test_messages_keep_their_positions_where_one_between_them_is_missing() -> None:
    """As it is after a start, too, if a message was settled before the ones around it."""
    disk, backlog = Disk(), FifoBacklog(ignore)
    backlog.attach_store(disk.store, None)
    body = b"x" * 4000
    for _ in range(3):
        backlog.append(message(body))
    assert backlog.extract(2, len(body))
    backlog.append(message(body))
    popped(backlog, disk)
    while backlog.release(True) == MORE_TO_RELEASE:
        disk.writing.run()
    disk.writing.run()
    found: list[int] = []
    while backlog.count:
        popped(backlog, disk)
        found.append(int(backlog.popped_position))
    assert found == [1, 3]


def test_popping_from_an_empty_backlog_fails() -> None:
    backlog = FifoBacklog(ignore)
    assert not backlog.available()
    with pytest.raises(IndexError):
        backlog.pop()


def test_the_middle_of_a_deep_backlog_is_not_in_memory() -> None:
    disk, backlog = Disk(), FifoBacklog(ignore)
    backlog.attach_store(disk.store, None)
    bodies = [Traced(str(number).encode()) for number in range(DEEP)]
    living = len(bodies)
    ended = Traced.ended
    for body in bodies:
        backlog.append(message(body))
    bodies.clear()
    del body
    disk.writing.run()

    assert living - (Traced.ended - ended) <= (CHUNKS_IN_MEMORY + 1) * CHUNK_MESSAGES


@pytest.mark.parametrize("popped_before", [0, 3])
def test_an_idle_backlog_releases_its_head_and_its_tail(popped_before: int) -> None:
    disk, backlog = Disk(), FifoBacklog(ignore)
    backlog.attach_store(disk.store, None)
    bodies = [b"%d" % number for number in range(CHUNK_MESSAGES // 2)]
    for body in bodies:
        backlog.append(message(body))
    for body in bodies[:popped_before]:
        assert backlog.pop().body == body
    assert backlog.charged > 0

    assert backlog.release(True) == RELEASED
    disk.writing.run()

    assert backlog.charged == 0
    assert not backlog.available()
    disk.reading.run()
    for number, body in enumerate(bodies[popped_before:]):
        assert popped(backlog, disk).body == body
        if number == 10:
            # What is on disk already is dropped without being written again.
            backlog.release(True)
            assert not disk.writing.jobs
            assert not backlog.available()


def test_a_backlog_in_use_keeps_its_head_and_its_tail() -> None:
    disk, backlog = Disk(), FifoBacklog(ignore)
    backlog.attach_store(disk.store, None)
    for number in range(DEEP):
        backlog.append(message(b"%d" % number))
    backlog.pop()
    before = backlog.charged
    while backlog.release(False) == MORE_TO_RELEASE:
        pass

    assert backlog.charged < before // 2
    assert backlog.available()


class Traced(bytes):
    """A body whose end is noticed."""

    ended = 0

    def __del__(self) -> None:
        Traced.ended += 1


def test_the_owner_is_called_when_messages_were_read() -> None:
    calls: list[int] = []
    disk = Disk()
    backlog = FifoBacklog(lambda: calls.append(1))
    backlog.attach_store(disk.store, None)
    for number in range(DEEP):
        backlog.append(message(str(number).encode()))
    disk.writing.run()
    while backlog.available():
        backlog.pop()
    assert backlog.count
    assert not calls

    disk.reading.run()

    assert calls
    assert backlog.available()


def test_load_blocking_reads_the_next_message() -> None:
    disk, backlog = Disk(), FifoBacklog(ignore)
    backlog.attach_store(disk.store, None)
    for number in range(DEEP):
        backlog.append(message(str(number).encode()))
    disk.writing.run()

    for number in range(DEEP):
        backlog.load_blocking()
        assert backlog.pop().body == str(number).encode()


def restored(*live: tuple[int, int]) -> tuple[Backlog, Disk]:
    """A backlog with the messages at the positions that are `live`, of a run of a hundred of which
    each has a body as long as its position is high, found at a start."""
    disk = Disk()
    found = RecoveredQueue(1)
    journal = disk.store.restore_queue(1, found)
    run = disk.store.write_run(journal, 0, [message(bytes(position)) for position in range(100)])
    disk.store.commit(force=True)
    disk.writing.run()
    run.live = list(live)
    run.live_bytes = sum(range(100)) if live == ((0, 100),) else -1
    found.contents = [run]
    found.next_position = 100
    backlog = FifoBacklog(ignore)
    backlog.attach_store(disk.store, journal)
    backlog.restore(journal, found)
    # It is read when the next message is asked for.
    backlog.available()
    return backlog, disk


def test_the_bytes_of_a_whole_run_on_disk_are_known_before_it_is_read() -> None:
    backlog, disk = restored((0, 100))
    assert (backlog.count, backlog.bytes) == (100, sum(range(100)))
    disk.reading.run()
    assert (backlog.count, backlog.bytes) == (100, sum(range(100)))
    for _ in range(100):
        backlog.pop()
    assert backlog.bytes == 0


def test_the_bytes_of_a_partly_settled_run_are_known_when_it_is_read() -> None:
    backlog, disk = restored((0, 10), (50, 60))
    assert (backlog.count, backlog.bytes) == (20, 0)
    disk.reading.run()
    assert backlog.bytes == sum(range(10)) + sum(range(50, 60))
    for _ in range(20):
        backlog.pop()
    assert backlog.bytes == 0

"""Requeued messages are popped by position, however they came back, and released once."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.queues.released import RELEASED_MESSAGES_MAX, ReleasedMessage
from leveret.engine.queues.requeued import MERGED_AT_ONCE, POPPED_ENTRIES_MIN, RequeuedMessages
from leveret.engine.values.message import Message
from leveret_storage.segments.queue_journal import QueueSegment, Run
from leveret_storage.segments.segment_writer import QUEUE_KIND, SegmentWriter, queue_name
from tests.storage.faulty import FaultyMedium
from tests.support.traced_memory import traced_memory
from tests.unit.engine.queues.consumers import message

BYTES_EACH_MAX = 24
"""Bytes that a requeued message may take while it is on disk only."""


def _ignore(count: int) -> None:
    """Nothing is read."""


def keep(popped: list[tuple[int, Message]]) -> list[Message]:
    """Release nothing."""
    return [each for _, each in popped]


@given(st.lists(st.one_of(st.integers(0, 400), st.just(-1), st.just(-2))))
def test_they_are_popped_by_position(steps: list[int]) -> None:
    """A step is a position to add, or -1 to pop, or -2 to release."""
    requeued = RequeuedMessages(_ignore)
    expected: dict[int, Message] = {}
    for step in steps:
        if step >= 0 and step not in expected:
            expected[step] = message(b"%d" % step)
            requeued.add(expected[step], step)
        elif step == -1 and expected:
            first = min(expected)
            assert requeued.first_position() == first
            assert requeued.pop() == (first, expected.pop(first))
        elif step == -2:
            while requeued.release(keep):
                continue
        assert requeued.is_empty() == (not expected)
    assert sorted(requeued.take_all()) == sorted(expected.items())
    assert requeued.is_empty()
    assert requeued.cost == 0


def test_what_comes_back_in_order_is_looked_at_once_for_release() -> None:
    requeued = RequeuedMessages(_ignore)
    count = 5 * RELEASED_MESSAGES_MAX
    looked_at: list[int] = []

    def note(popped: list[tuple[int, Message]]) -> list[Message]:
        looked_at.extend(position for position, _ in popped)
        return keep(popped)

    for position in range(count):
        requeued.add(message(), position)
    for position in range(POPPED_ENTRIES_MIN):
        assert requeued.pop()[0] == position
    calls = 1
    while requeued.release(note):
        calls += 1
    assert looked_at == list(range(POPPED_ENTRIES_MIN, count))
    assert calls <= 6
    requeued.add(message(), count)
    assert not requeued.release(note)
    assert looked_at[-1] == count
    assert len(looked_at) == count - POPPED_ENTRIES_MIN + 1


def on_disk(count: int) -> ReleasedMessage:
    """Stands for so many messages that are on disk only."""
    writer = SegmentWriter(FaultyMedium(1), queue_name(1, 1), QUEUE_KIND)
    return ReleasedMessage(Run(QueueSegment(writer), 0, count))


def test_those_that_are_on_disk_only_take_few_bytes() -> None:
    count = 20 * RELEASED_MESSAGES_MAX
    released = on_disk(count)
    with traced_memory(__file__) as taken:
        requeued = RequeuedMessages(_ignore)
        for position in range(count):
            requeued.add(message(), position)
        while requeued.release(lambda popped: [released] * len(popped)):
            continue
        assert requeued.cost == 0
        assert 0 < taken() / count < BYTES_EACH_MAX


def test_those_that_came_back_out_of_order_are_released_too_some_at_a_time() -> None:
    count = 5 * MERGED_AT_ONCE
    requeued = RequeuedMessages(_ignore)
    for position in reversed(range(count)):
        requeued.add(message(), position)
    looked_at: list[int] = []
    released = on_disk(count)

    def release(popped: list[tuple[int, Message]]) -> list[Message]:
        looked_at.extend(position for position, _ in popped)
        return [released] * len(popped)

    most = 0
    more = True
    while more:
        before = len(requeued._heap)
        more = requeued.release(release)
        most = max(most, before - len(requeued._heap))
    assert most <= MERGED_AT_ONCE
    assert looked_at == list(range(count))
    assert requeued.cost == 0
    for position in (count + 1, count):
        requeued.add(message(), position)
    while requeued.release(release):
        continue
    assert looked_at[count:] == [count, count + 1]


@given(
    st.sets(st.integers(0, 300), min_size=1),
    st.randoms(use_true_random=False),
    st.integers(0, 310),
    st.integers(0, 20),
)
def test_a_part_of_them_is_found_and_any_of_them_removed(
    positions: set[int], random: Random, offset: int, most: int
) -> None:
    requeued = RequeuedMessages(_ignore)
    shuffled = sorted(positions)
    random.shuffle(shuffled)
    for position in shuffled:
        requeued.add(message(b"%d" % position), position)
    for _ in range(random.randrange(len(positions))):
        positions.remove(requeued.pop()[0])
    left = sorted(positions)
    part = requeued.part(offset, most, None)
    assert part is not None
    assert part.skipped == min(offset, len(left))
    assert [position for position, _ in part.entries] == left[offset : offset + most]
    chosen = requeued.part(0, 0, [*left[::2], 999])
    assert chosen is not None
    assert [(position, int(each.body)) for position, each in chosen.entries] == [
        (position, position) for position in left[::2]
    ]
    for position in left[::2]:
        assert requeued.remove(position)
        assert not requeued.remove(position)
    popped: list[int] = []
    while not requeued.is_empty():
        popped.append(requeued.pop()[0])
    assert popped == left[1::2]
    assert requeued.cost == 0


def test_very_many_that_came_out_of_order_are_merged_first() -> None:
    requeued = RequeuedMessages(_ignore)
    count = 3 * MERGED_AT_ONCE
    for position in reversed(range(count)):
        requeued.add(message(b"x"), position)
    calls = 1
    while (part := requeued.part(10, 5, None)) is None:
        calls += 1
    assert 1 < calls < 5
    assert [position for position, _ in part.entries] == [10, 11, 12, 13, 14]

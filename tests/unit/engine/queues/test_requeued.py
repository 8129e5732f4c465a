"""Requeued messages are popped by position, however they came back, and released once."""

from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.queues.released import RELEASED_MESSAGES_MAX
from leveret.engine.queues.requeued import POPPED_ENTRIES_MIN, RequeuedMessages
from leveret.engine.values.message import Message
from tests.unit.engine.queues.consumers import message


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

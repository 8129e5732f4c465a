"""The backlog of a queue against a list."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leveret.engine.fifo import CHUNK_MESSAGES, Fifo

from leveret.engine.message import Message
from tests.unit.engine.consumers import message

counts = st.one_of(
    st.integers(1, 5),
    st.sampled_from([CHUNK_MESSAGES - 1, CHUNK_MESSAGES, CHUNK_MESSAGES + 1, 3 * CHUNK_MESSAGES]),
)


@given(st.lists(st.tuples(st.sampled_from(["append", "append", "pop", "pop", "clear"]), counts)))
@settings(deadline=None)
def test_it_does_what_a_list_does(steps: list[tuple[str, int]]) -> None:
    fifo, model = Fifo(), list[Message]()
    for step, count in steps:
        if step == "clear":
            fifo.clear()
            model.clear()
        for _ in range(count):
            if step == "append":
                model.append(message())
                fifo.append(model[-1])
            elif step == "pop" and model:
                assert fifo.pop() is model.pop(0)
        assert fifo.count == len(model)
    assert [fifo.pop() for _ in range(fifo.count)] == model
    assert fifo.count == 0


def test_nothing_comes_out_of_an_empty_one() -> None:
    fifo = Fifo()
    with pytest.raises(IndexError):
        fifo.pop()
    assert fifo.count == 0
    fifo.append(message(b"1"))
    assert fifo.pop().body == b"1"
    with pytest.raises(IndexError):
        fifo.pop()


class Traced(bytes):
    """A body whose end is noticed."""

    ended = 0

    def __del__(self) -> None:
        Traced.ended += 1


def test_what_was_taken_or_dropped_is_let_go() -> None:
    fifo = Fifo()
    before = Traced.ended
    for _ in range(3 * CHUNK_MESSAGES):
        fifo.append(message(Traced(b"x")))
    assert Traced.ended == before
    for _ in range(CHUNK_MESSAGES + 10):
        fifo.pop()
    assert Traced.ended - before == CHUNK_MESSAGES + 10
    fifo.clear()
    assert Traced.ended - before == 3 * CHUNK_MESSAGES

"""Calls of the coordination that a start repeats."""

import asyncio

import pytest

from leveret.cluster import patience
from leveret.cluster.patience import call_patiently
from leveret_storage.coordination import NameTaken, Unreachable


class Slow:
    """Does not answer so often."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left = times
        self._error = error

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise self._error
        return "the answer"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.0)


def test_a_call_that_is_not_answered_is_repeated() -> None:
    slow = Slow(3, Unreachable("no answer"))
    assert asyncio.run(call_patiently(slow)) == "the answer"
    assert slow.left == 0


def test_a_database_that_never_answers_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "UNREACHABLE_S", -1.0)
    with pytest.raises(Unreachable, match="no answer"):
        asyncio.run(call_patiently(Slow(10**9, Unreachable("no answer"))))


def test_an_answer_that_refuses_is_final() -> None:
    slow = Slow(2, NameTaken("another process has it"))
    with pytest.raises(NameTaken):
        asyncio.run(call_patiently(slow))
    assert slow.left == 1

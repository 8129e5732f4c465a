"""The log of operations of a store, against what a database may do with them: order, and once each.

The database is a set of rows: what was applied is in it, what is durable survives a failover. An
operation may be refused since the disk is full, or cancelled, and connections break at any time.
"""

from collections.abc import Callable
from random import Random
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret_storage.errors import LostEpoch, MediumFull, StorageError
from leveret_storage.media.postgres import appender as appender_module
from leveret_storage.media.postgres.appender import Appender
from leveret_storage.media.postgres.operations import AppendRows, Operation
from leveret_storage.media.postgres.ownership import Fence
from leveret_storage.media.postgres.schema import Schema
from tests.support.examples import examples

TABLE = 1
FENCE = Fence(Schema("test", 1, True), 0, 1, "token", "replicated")


class World:
    """A database, and an appender that is driven as the I/O thread does."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.appender = Appender(FENCE)
        self.end = 0
        self.rows: list[int] = []
        self.durable_rows = 0
        """How many of the rows survive a failover."""
        self.sent: list[Operation] = []
        self.confirmed: list[int] = []
        self.applied: list[int] = []
        self.refused: list[int] = []
        self.trace: list[str] = []

    def submit(self) -> None:
        number, awaits = self.end, self.random.random() < 0.6
        operation = AppendRows(TABLE, number, b"x", awaits, self._answer(number, awaits))
        operation.repeats_when_full = self.random.random() < 0.5
        try:
            self.appender.submit(operation)
        except MediumFull:
            return
        self.end += 1

    def submit_alone(self) -> None:
        """Submit one that is sent at once, as is done when nothing was sent that has no result."""
        number = self.end
        operation = AppendRows(TABLE, number, b"x", True, self._answer(number, True))
        operation.repeats_when_full = True
        if not self.sent and self.appender.submit_alone(operation):
            self.sent.append(operation)
            self.end += 1

    def _answer(self, number: int, awaits: bool) -> Callable[[StorageError | None], None]:
        def answer(error: StorageError | None) -> None:
            if error is None:
                (self.confirmed if awaits else self.applied).append(number)
            else:
                assert isinstance(error, MediumFull)
                self.refused.append(number)

        return answer

    def send(self) -> None:
        self.appender._retry_at = 0.0  # its time is over
        self.sent += self.appender.take_to_send(self.random.randint(1, 5), 1000)

    def execute(self) -> None:
        """One operation that was sent has its result."""
        if not self.sent:
            return
        operation = self.sent.pop(0)
        assert isinstance(operation, AppendRows)
        fate = self.random.random()
        if fate < 0.1:
            if self.appender.refused_full(operation, "full"):
                operation.answer(MediumFull("full"))
        elif fate < 0.2:
            self.appender.send_again(operation)
        else:
            if operation.start not in self.rows:
                self.rows.append(operation.start)
            synchronous = self.random.random() < 0.2
            if synchronous:
                self.durable_rows = len(self.rows)
            for each in self.appender.applied(operation, synchronous):
                each.answer(None)

    def commit(self) -> None:
        """A small commit that covers what was applied before it began."""
        covered, rows = self.appender.applied_count, len(self.rows)
        for _ in range(self.random.randint(0, 2)):
            self.execute()
        self.durable_rows = max(self.durable_rows, rows)
        for each in self.appender.durable(covered):
            each.answer(None)

    def fail_over(self) -> None:
        """Any part that is not durable is lost, from the end on; so are results under way."""
        keep = self.random.randint(self.durable_rows, len(self.rows))
        del self.rows[keep:]
        self.durable_rows = keep  # the store was taken again by a synchronous commit
        self.sent.clear()
        assert self.appender.detach() == []

    def step(self) -> None:
        steps = (
            self.submit,
            self.submit,
            self.submit_alone,
            self.send,
            self.execute,
            self.execute,
            self.commit,
        )
        step = self.fail_over if self.random.random() < 0.05 else self.random.choice(steps)
        self.trace.append(step.__name__)
        step()
        self.check()

    def check(self) -> None:
        assert self.confirmed == sorted(self.confirmed), self.trace
        durable = set(self.rows[: self.durable_rows])
        for number in self.confirmed:
            # With all before it, but those that were refused.
            missing = set(range(number + 1)) - durable - set(self.refused)
            assert not missing, (number, missing, self.trace)

    def finish(self) -> None:
        """The database has room, and answers."""
        self.random = Random(1)
        self.random.random = lambda: 1.0  # type: ignore[method-assign]
        for _ in range(self.end + 5):
            self.send()
            while self.sent:
                self.execute()
            self.commit()
        answered = self.confirmed + self.applied + self.refused
        assert sorted(answered) == list(range(self.end)), self.trace
        assert not self.appender.has_undurable
        assert not self.appender.wants_durability()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(200))
def test_each_operation_is_answered_once_and_in_order(seed: int) -> None:
    world = World(seed)
    for _ in range(80):
        world.step()
    world.finish()


def test_after_its_end_everything_fails_in_the_same_way() -> None:
    appender = Appender(FENCE)
    errors: list[StorageError | None] = []
    operation = AppendRows(TABLE, 0, b"x", True, errors.append)
    appender.submit(operation)
    assert appender.take_to_send(1, 1000) == [operation]
    lost = LostEpoch("lost")
    appender.fail(lost)
    assert errors == [lost]
    assert appender.applied(operation, True) == []
    assert not appender.refused_full(operation, "full")
    appender.send_again(operation)
    assert appender.take_to_send(1, 1000) == []
    with pytest.raises(LostEpoch):
        appender.submit(AppendRows(TABLE, 1, b"x", True, errors.append))
    assert errors == [lost]


def test_a_submission_waits_while_too_much_is_not_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(appender_module, "UNDURABLE_BYTES_MAX", 10)
    appender = Appender(FENCE)
    answers: list[StorageError | None] = []
    first = AppendRows(TABLE, 0, b"x" * 10, True, answers.append)
    appender.submit(first)
    second = AppendRows(TABLE, 10, b"y", True, answers.append)
    thread = Thread(target=appender.submit, args=(second,))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    appender.take_to_send(1, 1000)
    for each in appender.applied(first, True):
        each.answer(None)
    thread.join(10)
    assert not thread.is_alive()
    assert answers == [None]
    assert appender.take_to_send(1, 1000) == [second]

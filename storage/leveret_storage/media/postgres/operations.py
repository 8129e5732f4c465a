"""What is appended to a store: operations, which may be sent again after a connection broke.

An operation is one or more statements in one transaction, under the fence. Having been sent twice
it has the effect of one: rows have unique offsets, and a table is named once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

from leveret_storage.errors import StorageError
from leveret_storage.media.postgres.link import Parameter
from leveret_storage.media.postgres.ownership import Fence
from leveret_storage.media.postgres.schema import EMIT_MESSAGE

ROW_BYTES_MAX: Final = 1024 * 1024
"""Bytes of one row: a longer append is several rows."""

LATER: Final = "later"
"""The durability of a commit that waits for nothing."""

Statement: TypeAlias = tuple[bytes, tuple[Parameter, ...]]
Answer: TypeAlias = Callable[[StorageError | None], None]


class Progress(Enum):
    """How far an operation has come."""

    WAITING = "waiting"
    SENT = "sent"
    APPLIED = "applied"
    """Committed, and seen by every reader; not durable, as far as is known."""


class Operation(ABC):
    """One operation. `answer` is called once: when it is durable, or, unless `awaits_durability`,
    when it is applied; or with what became of it instead."""

    def __init__(self, table: int, size: int, awaits_durability: bool, answer: Answer) -> None:
        self.table: Final = table
        """The number of the table; 0 for none."""
        self.size: Final = size
        self.awaits_durability: Final = awaits_durability
        self.answer: Final = answer
        self.answered = False
        self.repeats_when_full = False
        """Whether it is sent again when the database was full, for its caller does not wait."""
        self.is_void = False
        """Whether its blob is being deleted, so that it is not sent again."""
        self.progress = Progress.WAITING
        self.is_frequent = False
        """Whether many with the same text follow, so that it is worth preparing."""
        self.applied_as = 0
        """Its number in the order in which operations of the store were applied."""

    @abstractmethod
    def statements(self, fence: Fence, durability: str) -> list[Statement]:
        """What is sent."""


class AppendRows(Operation):
    """Bytes at the end of a blob."""

    def __init__(
        self, table: int, start: int, data: bytes, awaits_durability: bool, answer: Answer
    ) -> None:
        super().__init__(table, len(data), awaits_durability, answer)
        self.is_frequent = True
        self.start: Final = start
        self.data: Final = data

    @property
    def last_row(self) -> int:
        """The offset at which its last row begins."""
        return self.start + (max(0, self.size - 1) // ROW_BYTES_MAX) * ROW_BYTES_MAX

    def statements(self, fence: Fence, durability: str) -> list[Statement]:
        text = (
            f"insert into {fence.schema.table(self.table)} select $4::bigint, $2::bigint, $5::bytea"
            f" where {fence.call(1, durability)} on conflict (start) do nothing"
        ).encode()
        data = self.data
        if len(data) <= ROW_BYTES_MAX:
            return [(text, (*fence.keys, self.start, data))]
        return [
            (text, (*fence.keys, self.start + at, data[at : at + ROW_BYTES_MAX]))
            for at in range(0, len(data), ROW_BYTES_MAX)
        ]


class NameTable(Operation):
    """A blob: a name for a table that is there."""

    def __init__(self, table: int, name: str, answer: Answer) -> None:
        super().__init__(table, 0, False, answer)
        self.name: Final = name

    def statements(self, fence: Fence, durability: str) -> list[Statement]:
        text = (
            f"update {fence.schema.name}.blob set name = $4::text where table_number = $5::bigint"
            f" and store = $1::int and name is null and not dropped and {fence.call(1, durability)}"
        )
        return [(text.encode(), (*fence.keys, self.name, self.table))]


class Barrier(Operation):
    """Nothing, in its place in the order."""

    def __init__(self, awaits_durability: bool, answer: Answer) -> None:
        super().__init__(0, 0, awaits_durability, answer)

    def statements(self, fence: Fence, durability: str) -> list[Statement]:
        if durability == LATER:
            return [(f"select {fence.call(1, durability)}".encode(), fence.keys)]
        # A transaction that writes nothing waits for no standby.
        text = f"select {EMIT_MESSAGE} where {fence.call(1, durability)}"
        return [(text.encode(), fence.keys)]


class SmallCommit(Operation):
    """A commit that writes a few bytes: when it is durable, all that was applied before is."""

    def __init__(self) -> None:
        super().__init__(0, 0, True, _nobody_waits)

    def statements(self, fence: Fence, durability: str) -> list[Statement]:
        text = f"select {EMIT_MESSAGE} where {fence.schema.name}.commit_as($1)"
        return [(text.encode(), (durability,))]


def _nobody_waits(_: StorageError | None) -> None:
    """The answer of a small commit."""

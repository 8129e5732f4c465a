"""Cutting the messages of a queue into runs: the one rule of where a run ends."""

from typing import Final

from mypy_extensions import i64

from leveret_storage.format.entries import ABSENT, StoredMessage

RUN_MESSAGES_MAX: Final = 1024
RUN_BYTES_MAX: Final = 256 * 1024
"""Messages, and bytes of their bodies, at which a run ends, as a chunk of a backlog does."""


class RunBuffer:
    """Messages with consecutive positions that will be written as one run."""

    def __init__(self, first: i64) -> None:
        self.first = first
        self.messages: list[StoredMessage] = []
        self.body_bytes: i64 = 0

    def end(self) -> int:
        """The position behind the last message."""
        return int(self.first + len(self.messages))

    def takes(self, position: i64, gap_max: i64 = 0) -> bool:
        """Whether the message at a position belongs to this run: it is not full, and the position
        is at its end or at most `gap_max` behind it."""
        gap = position - self.first - len(self.messages)
        return (
            0 <= gap <= gap_max
            and position - self.first < RUN_MESSAGES_MAX
            and self.body_bytes < RUN_BYTES_MAX
        )

    def fill(self, position: i64) -> None:
        """Put absent messages at the end, up to a position."""
        gap = position - self.first - len(self.messages)
        while gap > 0:
            self.messages.append(ABSENT)
            gap -= 1

    def append(self, message: StoredMessage) -> None:
        """Put a message at the end."""
        self.messages.append(message)
        self.body_bytes += message.body_bytes()

"""A segment of the commit log, as the store that writes it knows it, and room behind its end."""

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.segments.segment_writer import LOG_KIND, SegmentWriter, log_name

ROOM_BYTES: Final = 2 * 1024 * 1024
"""Bytes of room kept behind the end of the log, so that a batch is synced quickly."""

ROOMY_BATCH_BYTES_MAX: Final = 128 * 1024
"""Bytes of a batch up to which this pays: larger ones take longer to write than to sync, and room
is written twice."""


class LogSegment:
    """A blob of the commit log, and what it has of each queue."""

    def __init__(self, medium: Medium, number: int) -> None:
        self.number = number
        self.writer = SegmentWriter(medium, log_name(number), LOG_KIND)
        self.size: i64 = 0
        self.begun = False
        """Whether the blob is there."""
        self.spans: dict[QueueJournal, tuple[int, int]] = {}
        """The positions of each queue's messages in it, as a half-open range around them."""
        self.blocker: QueueJournal | None = None
        """A queue that had messages nowhere else when it was last looked at."""
        self.copies: dict[QueueJournal, list[Run]] | None = None
        """The runs to which all live messages of it were copied that were nowhere else; None before
        that began."""

    def include(self, queue: QueueJournal, first: int, end: int) -> None:
        """Messages of a queue are put into it."""
        known = self.spans.get(queue, (first, end))
        self.spans[queue] = (min(first, known[0]), max(end, known[1]))


class LogRoom:
    """Keeps room behind the end of the log, while its batches are not too large."""

    def __init__(self, medium: Medium, reading: Executor, size: int) -> None:
        """Room is set aside by the executor that reads: the other one has no time."""
        self._medium = medium
        self._reading = reading
        self._size: i64 = size
        self._batches: i64 = 0
        self._bytes: i64 = 0
        self.coming = False
        """Whether room is being set aside: the segment must not be deleted meanwhile."""

    def used(self, log: LogSegment, size: int, done: Callable[[Any], None]) -> None:
        """A batch goes into the last segment; `done` is for `keep`, if there is to be more room."""
        self._batches += 1
        self._bytes += size
        if self._bytes * 4 >= self._size:
            self.keep(log, done)

    def keep(self, log: LogSegment, done: Callable[[Any], None]) -> None:
        """See to it that there is room behind the last segment, if there is use for it.

        `done` gets the StorageError that came of it, if any.
        """
        if self.coming or not log.begun:
            return
        too_large = self._bytes > self._batches * ROOMY_BATCH_BYTES_MAX
        self._batches = self._bytes = 0
        if too_large:
            return
        self.coming = True
        name, size = log.writer.name, int(self._size)

        def reserve() -> None:
            self._medium.preallocate(name, size)

        def reserved(result: Any) -> None:
            self.coming = False
            done(result)

        self._reading.submit(reserve, reserved)

"""A segment of the commit log, with the queues that have messages in it, and its preallocation."""

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.segments.queue_journal import QueueJournal, QueueSegment, Run
from leveret_storage.segments.segment_writer import LOG_KIND, SegmentWriter, log_name

PREALLOCATION_BYTES: Final = 2 * 1024 * 1024
"""Bytes preallocated behind the end of the log, so that a batch is synced quickly."""

PREALLOCATED_BATCH_BYTES_MAX: Final = 128 * 1024
"""Mean bytes of a batch up to which this pays: larger batches take longer to write than to sync,
and preallocated bytes are written twice."""


class LogSegment:
    """A blob of the commit log, and the positions of each queue's messages in it."""

    def __init__(self, medium: Medium, number: int) -> None:
        self.number = number
        self.writer = SegmentWriter(medium, log_name(number), LOG_KIND)
        self.size: i64 = 0
        self.created = False
        """Whether the blob exists."""
        self.spans: dict[QueueJournal, tuple[int, int]] = {}
        """A half-open range around the positions of each queue's messages in it."""
        self.is_worth_covering = False
        """Whether it has more than the entry of a checkpoint: one for that alone would never end.
        """
        self.covered = False
        """Whether all that it says but its messages is in the checkpoint that the log names."""
        self.unchecked: list[QueueJournal] | None = None
        """Queues that may need it, once it is the oldest; None before."""
        self.replacements: dict[QueueSegment, None] = {}
        """Queue segments with messages of it, to be durable before it is deleted."""
        self.copies: dict[QueueJournal, list[Run]] | None = None
        """The runs to which its live messages were copied; None before that was done."""

    def include(self, queue: QueueJournal, first: int, end: int) -> None:
        """Messages of a queue are written to it, at positions in a half-open range."""
        known = self.spans.get(queue, (first, end))
        self.spans[queue] = (min(first, known[0]), max(end, known[1]))


class LogPreallocation:
    """Preallocates behind the end of the log, while its batches are small enough for that to pay.

    The reading executor does it: the writing one would make batches wait.
    """

    def __init__(self, medium: Medium, reading: Executor, size: int) -> None:
        """`size` is how many bytes are preallocated."""
        self._medium = medium
        self._reading = reading
        self._size: i64 = size
        self._batches: i64 = 0
        self._bytes: i64 = 0
        """Batches, and their bytes, since the last preallocation."""
        self.under_way = False
        """Whether a preallocation is under way: the segment must not be deleted meanwhile."""

    def add_batch(self, segment: LogSegment, size: int, done: Callable[[Any], None]) -> None:
        """A batch of `size` bytes was appended. Preallocate if a quarter of the tail is used."""
        self._batches += 1
        self._bytes += size
        if self._bytes * 4 >= self._size:
            self.extend(segment, done)

    def extend(self, segment: LogSegment, done: Callable[[Any], None]) -> None:
        """Preallocate behind the end of a segment, if it exists and that pays.

        `done` gets None, or the StorageError that was raised.
        """
        if self.under_way or not segment.created:
            return
        too_large = self._bytes > self._batches * PREALLOCATED_BATCH_BYTES_MAX
        self._batches = self._bytes = 0
        if too_large:
            return
        self.under_way = True
        name, size = segment.writer.name, int(self._size)

        def preallocate() -> None:
            self._medium.preallocate(name, size)

        def preallocated(result: Any) -> None:
            self.under_way = False
            done(result)

        self._reading.submit(preallocate, preallocated)

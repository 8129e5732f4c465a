"""Syncing many segments: a few in each job of the writing executor.

What has to be durable before a log segment is deleted may be in a file for each of thousands of
queues. The commits of clients have their turn between the jobs.
"""

from collections.abc import Callable
from typing import Any

from leveret_storage.errors import StorageError
from leveret_storage.media.executor import Executor
from leveret_storage.segments.segment_writer import SegmentWriter
from leveret_storage.store.failure import StoreFailure
from leveret_storage.store.limits import SEGMENTS_SYNCED_AT_ONCE, SEGMENTS_SYNCED_AT_STOP


def sync_at_stop(log: list[SegmentWriter], others: list[SegmentWriter]) -> None:
    """Sync and mark the current segment of the log, and some of the others: of what is not durable
    there the log has all, as after a crash."""
    for writer in log:
        writer.sync_and_mark()
    unmarked = [writer for writer in others if writer.is_unmarked()]
    for writer in unmarked[:SEGMENTS_SYNCED_AT_STOP]:
        writer.sync_and_mark()


class SegmentSyncs:
    """Syncs segments and marks them as durable, then calls `done`."""

    def __init__(
        self,
        writing: Executor,
        failure: StoreFailure,
        writers: list[SegmentWriter],
        done: Callable[[], None],
    ) -> None:
        """`writers` is taken over."""
        self._writing = writing
        self._failure = failure
        self._writers = writers
        self._done = done

    def go_on(self) -> None:
        """Sync the next ones; to be called once by others."""
        self._writing.submit(self._sync, self._synced)

    def _sync(self) -> None:
        for _ in range(min(SEGMENTS_SYNCED_AT_ONCE, len(self._writers))):
            self._writers.pop().sync_and_mark()

    def _synced(self, result: Any) -> None:
        if isinstance(result, StorageError):
            self._failure.fail(result)
        elif self._writers:
            self.go_on()
        else:
            self._done()

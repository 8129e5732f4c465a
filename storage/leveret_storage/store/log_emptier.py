"""Emptying the oldest log segment: its live messages are copied to queue segments.

That keeps the log short, however long a message is live: a start reads the log from its oldest
segment on.
"""

from collections.abc import Callable
from typing import Any

from mypy_extensions import i64

from leveret_storage.errors import StorageError
from leveret_storage.recovery.log_scan import LoggedRun, read_logged_runs
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.commit_log import CommitLog
from leveret_storage.store.context import StoreContext
from leveret_storage.store.queue_runs import QueueRuns


class LogEmptier:
    """Copies the messages that are live in the oldest log segment and on disk nowhere else."""

    def __init__(
        self, context: StoreContext, log: CommitLog, runs: QueueRuns, commit: Callable[[], None]
    ) -> None:
        self._medium = context.medium
        self._reading = context.reading
        self._log = log
        self._runs = runs
        self._queues = context.queues
        self._failure = context.failure
        self._commit = commit
        self._shared_body_bytes: i64 = context.limits.shared_body_bytes

    def empty_oldest(self) -> None:
        """Begin to copy, unless the oldest segment is being copied or was, or may not be whole."""
        oldest, following = self._log.segments[0], self._log.segments[1]
        # A segment is created when all of the one before is durable.
        if self._log.oldest_in_use or oldest.copies is not None or not following.created:
            return
        self._log.oldest_in_use = True
        not_needed = {
            queue.number: queue.not_needed_from_log(span[1])
            for queue, span in oldest.spans.items()
            if self._log.needs(oldest, queue)
        }

        def read() -> list[LoggedRun]:
            return read_logged_runs(self._medium, oldest.writer.name, not_needed)

        def got(result: Any) -> None:
            if isinstance(result, StorageError):
                self._failure.fail(result)
                return
            self._log.oldest_in_use = False
            copies: dict[QueueJournal, list[Run]] = {}
            self._share_bodies(result)
            for logged in result:
                queue = self._queues.get(logged.queue)
                if queue is not None:
                    run = self._runs.write(queue, logged.first, logged.messages)
                    copies.setdefault(queue, []).append(run)
            oldest.copies = copies
            self._log.trim()
            self._commit()

        self._reading.submit(read, got)

    def _share_bodies(self, runs: list[LoggedRun]) -> None:
        """Have large bodies written once that are in the runs of several queues."""
        seen: set[int] = set()
        least = self._shared_body_bytes
        for run in runs:
            for message in run.messages:
                if len(message.body) >= least:
                    if id(message) in seen:
                        message.share()
                    seen.add(id(message))

"""Emptying the oldest log segment: its live messages are copied to queue segments.

That keeps the log short, however long a message is live: a start reads the log from its oldest
segment on.

A segment may have messages of very many queues, and a queue very many settled ranges. So emptying
is a sequence of short steps in the event loop, and between two of them others have their turn: the
executors hand back each of them.
"""

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

from leveret_storage.errors import StorageError
from leveret_storage.recovery.log_scan import LoggedRun, LoggedRuns
from leveret_storage.segments.log_segment import LogSegment
from leveret_storage.segments.needed_messages import NeededMessages
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.commit_log import CommitLog
from leveret_storage.store.context import StoreContext
from leveret_storage.store.limits import UNWRITTEN_SEGMENTS_MAX
from leveret_storage.store.queue_runs import QueueRuns

STEP_UNITS: Final = 128
"""Queues and ranges of settled messages that one step looks at, a microsecond or two each."""

STEP_RUNS: Final = 16
"""Runs that one step writes, some 10 us each, and up to 100 if they are long."""


def _do_nothing() -> None:
    """The job of an executor between two steps."""


class LogEmptier:
    """Copies the messages that are live in the oldest log segment and on disk nowhere else."""

    def __init__(
        self, context: StoreContext, log: CommitLog, runs: QueueRuns, commit: Callable[[], None]
    ) -> None:
        self._medium = context.medium
        self._reading = context.reading
        self._writing = context.writing
        self._log = log
        self._runs = runs
        self._queues = context.queues
        self._failure = context.failure
        self._commit = commit
        self._shared_body_bytes: i64 = context.limits.shared_body_bytes
        self._unexamined: list[QueueJournal] = []
        """Queues of which it is not known yet what they need of the segment."""
        self._search: NeededMessages | None = None
        """The search for what one queue needs."""
        self._not_needed: dict[int, RangeSet] = {}
        """By the numbers of the queues that need anything, the positions that they do not need."""
        self._read: list[LoggedRun] = []
        """Runs that were read and not copied, the next one last."""
        self._copies: dict[QueueJournal, list[Run]] = {}

    def empty_oldest(self) -> None:
        """Begin to copy, unless the oldest segment is being copied or was, or may not be whole."""
        oldest, following = self._log.segments[0], self._log.segments[1]
        # A segment is created when all of the one before is durable.
        if self._log.oldest_in_use or oldest.copies is not None or not following.created:
            return
        if oldest.unchecked is not None and not oldest.unchecked:
            # No queue needs it: it waits for the checkpoint.
            return
        # It is neither deleted nor written to from here on.
        self._log.oldest_in_use = True
        self._not_needed = {}
        self._unexamined = list(oldest.spans)
        self._examine(oldest)

    def _examine(self, oldest: LogSegment) -> None:
        """Find out what the next queues need, and read that when it is known of all."""
        units: i64 = STEP_UNITS
        while units > 0 and (self._unexamined or self._search is not None):
            search = self._search
            if search is None:
                queue = self._unexamined.pop()
                units -= 1
                if self._log.needs(oldest, queue):
                    end = oldest.spans[queue][1]
                    self._search = NeededMessages(queue.number, queue.settled, queue.flushed, end)
                continue
            units -= 1
            if search.run():
                self._not_needed[search.queue] = search.not_needed
                self._search = None
        if self._unexamined or self._search is not None:
            self._reading.submit(_do_nothing, lambda _result: self._go_on(self._examine, oldest))
            return
        logged = LoggedRuns(
            self._medium, oldest.writer.name, self._not_needed, int(self._shared_body_bytes)
        )
        self._read_on(oldest, logged)

    def _read_on(self, oldest: LogSegment, logged: LoggedRuns) -> None:
        """Read on in the segment, a part at a time: reading holds up the event loop, which wants
        the interpreter lock, and what else the reading executor has to do."""

        def got(result: Any) -> None:
            if isinstance(result, StorageError):
                self._failure.fail(result)
            elif not result:
                self._read_on(oldest, logged)
            else:
                self._read = logged.runs
                self._read.reverse()
                self._copies = {}
                self._copy(oldest)

        self._reading.submit(logged.read, got)

    def _go_on(self, step: Callable[[LogSegment], None], oldest: LogSegment) -> None:
        """Do the next step, unless the store has failed meanwhile."""
        if not self._failure.failed:
            step(oldest)

    def _copy(self, oldest: LogSegment) -> None:
        """Copy the next runs."""
        for _ in range(min(STEP_RUNS, len(self._read))):
            if self._runs.unwritten_segments >= UNWRITTEN_SEGMENTS_MAX:
                break
            logged = self._read.pop()
            queue = self._queues.get(logged.queue)
            if queue is not None:
                run = self._runs.write(queue, logged.first, logged.messages)
                self._copies.setdefault(queue, []).append(run)
        if self._read:
            self._commit()
            # Behind the runs that were written: other commits have their turn between two steps.
            self._writing.submit(_do_nothing, lambda _result: self._go_on(self._copy, oldest))
            return
        oldest.copies = self._copies
        self._copies = {}
        self._log.oldest_in_use = False
        self._log.trim()
        self._commit()

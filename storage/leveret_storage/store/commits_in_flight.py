"""Group commits that were given to the medium, in order, until each is durable with all before it.

A medium may answer several commits in any order. A commit is complete only when all earlier ones
are. After a crash a prefix of the batches is found, so nothing may be reported, begun or deleted
because of a batch while one before it may be lost.
"""

from collections import deque

from mypy_extensions import i64

from leveret_storage.segments.queue_journal import QueueSegment
from leveret_storage.store.queue_runs import WaitingRun


class Commit:
    """One batch under way, and the segments to delete and runs to write when it is durable."""

    def __init__(self, batch: i64, obsolete: list[QueueSegment], runs: list[WaitingRun]) -> None:
        self.batch = batch
        self.obsolete = obsolete
        """Queue segments to be deleted."""
        self.runs = runs
        """Runs to be written."""
        self.answered = False
        """Whether the medium has made it durable."""


class CommitsInFlight:
    """The commits under way, oldest first."""

    def __init__(self, most: int) -> None:
        """`most` is how many there may be at one time, from 1."""
        self._most = most
        self._commits: deque[Commit] = deque()
        self._has_company = False
        """Whether the last one began while others were under way."""

    def is_full(self) -> bool:
        """Whether no other commit may begin."""
        return len(self._commits) >= self._most

    def is_empty(self) -> bool:
        """Whether none is under way."""
        return not self._commits

    def come_alone(self) -> bool:
        """Whether none is under way, and the last one began like that, too: they come one at a
        time. Of those that overlap, one that begins first is not different from the others."""
        return not self._commits and not self._has_company

    def begin(self, commit: Commit) -> None:
        """A commit is given to the medium, after all begun before."""
        self._has_company = bool(self._commits)
        self._commits.append(commit)

    def take_complete(self) -> list[Commit]:
        """Take out the commits, in order, that are answered with all before them."""
        complete: list[Commit] = []
        commits = self._commits
        while commits and commits[0].answered:
            complete.append(commits.popleft())
        return complete

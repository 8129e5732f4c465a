"""What operators see of the database: which server it is, since when it is away, and how often it
has changed.

The database tells from threads of its own when it is away, and why; what is noted here is read by
the event loop.
"""

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

from leveret.cluster.shared_database import Report


class DatabaseState(NamedTuple):
    """The database at one moment."""

    hosts: Sequence[str]
    """Where it is looked for, each as HOST:PORT."""
    report: Report | None
    """What was found last; None if nothing was."""
    reason: str
    """Why it is away; empty if it answers."""
    away_since: float
    """Since when, in seconds since 1970; 0 if it answers."""
    away_count: int
    """How often it was away since the start."""
    away_s: float
    """For how long altogether, in seconds."""
    failovers: int
    """How often another server, or another timeline, was there afterwards."""


class DatabaseWatch:
    """Notes when the database is away. For any thread."""

    def __init__(
        self,
        watch: Callable[[Callable[[str], None]], None],
        report: Callable[[], Report | None],
        hosts: Sequence[str],
    ) -> None:
        """
        :param watch: has its argument called with each new reason, from any thread.
        :param report: returns what was found at the last connect; None while it is away.
        :param hosts: where it is looked for.
        """
        self._report = report
        self._hosts = hosts
        self._lock = Lock()
        self._last = report()
        self._reason = ""
        self._since = 0.0
        """By the monotonic clock; 0 while it answers."""
        self._since_wall = 0.0
        self._count = 0
        self._away_s = 0.0
        self._failovers = 0
        watch(self._changed)

    def _changed(self, reason: str) -> None:
        now = time.monotonic()
        with self._lock:
            if reason and not self._reason:
                self._since, self._since_wall = now, time.time()
                self._count += 1
            elif not reason and self._reason:
                self._away_s += now - self._since
                self._since = self._since_wall = 0.0
            self._reason = reason

    def _note(self, report: Report | None) -> None:
        """Note which server it is."""
        last = self._last
        if report is None or report is last:
            return
        if last is not None and (report.timeline, report.server) != (last.timeline, last.server):
            self._failovers += 1
        self._last = report

    def state(self) -> DatabaseState:
        """The database now."""
        # Not under the lock: a call of the database may take one of its own.
        report = self._report()
        with self._lock:
            self._note(report)
            away_s = self._away_s
            if self._since:
                away_s += time.monotonic() - self._since
            return DatabaseState(
                self._hosts,
                self._last,
                self._reason,
                self._since_wall,
                self._count,
                away_s,
                self._failovers,
            )

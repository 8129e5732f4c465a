"""A durable queue as a start finds it: its messages from runs and from the commit log, in order."""

from operator import itemgetter
from typing import Final, NamedTuple

from leveret_storage.format.entries import StoredMessage
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import QueueSegment, Run

OBJECT_BYTES: Final = 300
"""Bytes a message takes in memory beside those that were published."""


class LoggedMessages(NamedTuple):
    """Messages with consecutive positions that only the commit log has; they are in memory."""

    first: int
    messages: list[StoredMessage]


class RecoveredQueue:
    """A durable queue, and the messages that recovery found."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.settled = RangeSet()
        self.logged: dict[int, StoredMessage] = {}
        """Messages that the commit log has, by position."""
        self.logged_bytes = 0
        """Bytes of memory they take, about; settled ones are not taken off."""
        self.logged_bytes_max = 0
        """The bytes at which they may have to be spilled."""
        self.flushed = RangeSet()
        """Positions of the runs that a sync is known to have covered."""
        self.runs: list[Run] = []
        """Runs in queue segments that a sync is known to have covered."""
        self.runs_unproven: list[Run] = []
        """Other runs in queue segments."""
        self.segments: list[QueueSegment] = []
        self.last_log_segment = 0
        """The number of the last log segment that names it."""
        self.next_position = 0
        self.delivered_end = 0
        """Messages at positions below it may have been delivered. It may be above
        `next_position`."""
        self.delivered_log_segment = 0
        """The number of the last log segment that says so."""
        self.contents: list[LoggedMessages | Run] = []
        """The messages of the queue, in order; set by `arrange`."""
        self.count = 0
        """Number of messages in `contents`."""

    def settle(self, first: int, end: int) -> None:
        """Note that a half-open range of positions is settled."""
        self.settled.add(first, end)
        self.next_position = max(self.next_position, end)
        logged = self.logged
        if end - first < len(logged):
            for position in range(first, end):
                logged.pop(position, None)
        elif logged:
            self.logged = {at: logged[at] for at in logged if not first <= at < end}

    def deliver(self, end: int, log_segment: int) -> None:
        """Note that a log segment, behind those read before, says that messages at positions below
        `end`, and no others, may have been delivered."""
        self.delivered_end = end
        self.delivered_log_segment = log_segment

    def add_logged(self, position: int, message: StoredMessage) -> None:
        """Add a message that the commit log has."""
        self.logged[position] = message
        self.logged_bytes += memory_bytes(message)

    def add_segment(self, segment: QueueSegment, runs: list[Run], durable: int) -> None:
        """Add a queue segment and its runs; a sync is known to have covered the first `durable`
        bytes."""
        self.segments.append(segment)
        for run in runs:
            if run.offset < durable:
                self.runs.append(run)
                for first, end in run.live:
                    self.flushed.add(first, end)
            else:
                self.runs_unproven.append(run)
            self.next_position = max(self.next_position, run.end)

    def arrange(self) -> None:
        """Make `contents`: each message once, in order, without those settled.

        Every position without a live message then counts as settled, also those of transient
        messages and those that were never used, so that there are few ranges.
        """
        live = RangeSet()
        parts: list[tuple[int, int, Run]] = []
        logged: list[LoggedMessages] = []
        self._take_live(self.runs, live, parts)
        for position in sorted(self.logged):
            if position in self.settled or position in live:
                continue
            live.add(position, position + 1)
            last = logged[-1] if logged else None
            message = self.logged[position]
            if last is not None and last.first + len(last.messages) == position:
                last.messages.append(message)
            else:
                logged.append(LoggedMessages(position, [message]))
        self._take_live(self.runs_unproven, live, parts)
        self.logged = {}
        self.contents = _in_order(logged, parts)
        settled = RangeSet()
        for first, end in live.gaps(0, self.next_position):
            settled.add(first, end)
        self.settled = settled
        self.count = sum(end - first for first, end in live.ranges())

    def _take_live(
        self, runs: list[Run], live: RangeSet, parts: list[tuple[int, int, Run]]
    ) -> None:
        """Add the parts of runs that are neither settled nor in `live` to `parts` and `live`."""
        for run in sorted(runs, key=lambda run: (run.first, -run.end)):
            for run_first, run_end in run.live:
                for unsettled_first, unsettled_end in self.settled.gaps(run_first, run_end):
                    for first, end in live.gaps(unsettled_first, unsettled_end):
                        live.add(first, end)
                        parts.append((first, end, run))


def _in_order(
    logged: list[LoggedMessages], parts: list[tuple[int, int, Run]]
) -> list[LoggedMessages | Run]:
    """Messages and parts of runs in order. Adjacent parts of one run become one run."""
    places: list[tuple[int, int, LoggedMessages | Run]] = [(item.first, 0, item) for item in logged]
    places += parts
    places.sort(key=itemgetter(0))
    contents: list[LoggedMessages | Run] = []
    copies: list[tuple[Run, Run]] = []
    previous: LoggedMessages | Run | None = None
    copy: Run | None = None
    for first, end, item in places:
        if isinstance(item, LoggedMessages):
            contents.append(item)
        elif item is previous and copy is not None:
            copy.live.append((first, end))
        else:
            copy = Run(item.segment, int(item.first), int(item.count))
            copy.offset, copy.size, copy.live = item.offset, item.size, [(first, end)]
            contents.append(copy)
            copies.append((copy, item))
        previous = item
    for copy, whole in copies:
        if copy.live == whole.live:
            copy.live_bytes = whole.live_bytes
    return contents


def memory_bytes(message: StoredMessage) -> int:
    """Bytes of memory that a message takes, about."""
    return len(message.route) + len(message.header) + len(message.body) + OBJECT_BYTES

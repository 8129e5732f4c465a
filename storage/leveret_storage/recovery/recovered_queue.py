"""A durable queue as a start finds it: its messages from runs and from the commit log, in order."""

from operator import itemgetter
from typing import Final, NamedTuple

from leveret_storage.format.entries import Stored
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import QueueSegment, Run

OBJECT_BYTES: Final = 300
"""Bytes a message takes in memory beside those that were published."""


class LoggedMessages(NamedTuple):
    """Messages with consecutive positions that are in memory: only the commit log has them."""

    first: int
    messages: list[Stored]


class RecoveredQueue:
    """A durable queue, as it was found."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.settled = RangeSet()
        self.logged: dict[int, Stored] = {}
        """Messages that the commit log has, by position."""
        self.logged_bytes = 0
        """About what they take in memory, those included that were settled meanwhile."""
        self.logged_bytes_max = 0
        """Where they are to be looked at again."""
        self.flushed = RangeSet()
        """Positions of the runs that a sync is known to have covered."""
        self.runs: list[Run] = []
        """Runs in queue segments that a sync is known to have covered."""
        self.runs_unproven: list[Run] = []
        """Other runs in queue segments."""
        self.segments: list[QueueSegment] = []
        self.next_position = 0
        self.contents: list[LoggedMessages | Run] = []
        """What is in the queue, in order; set by `arrange`."""
        self.count = 0
        """How many messages that is."""

    def settle(self, first: int, end: int) -> None:
        """Positions that are done with."""
        self.settled.add(first, end)
        self.next_position = max(self.next_position, end)
        logged = self.logged
        if end - first < len(logged):
            for position in range(first, end):
                logged.pop(position, None)
        elif logged:
            self.logged = {at: logged[at] for at in logged if not first <= at < end}

    def log(self, position: int, message: Stored) -> None:
        """The commit log has a message."""
        self.logged[position] = message
        self.logged_bytes += memory_bytes(message)

    def arrange(self) -> None:
        """Bring what was found into order: each message once, those settled left out.

        What is not a live message then counts as settled, be it a transient message that died with
        the process or a position that was never used, so that ranges close.
        """
        live = RangeSet()
        parts: list[tuple[int, int, Run]] = []
        loose: list[LoggedMessages] = []
        self._take(self.runs, live, parts)
        for position in sorted(self.logged):
            if position in self.settled or position in live:
                continue
            live.add(position, position + 1)
            last = loose[-1] if loose else None
            message = self.logged[position]
            if last is not None and last.first + len(last.messages) == position:
                last.messages.append(message)
            else:
                loose.append(LoggedMessages(position, [message]))
        self._take(self.runs_unproven, live, parts)
        self.logged = {}
        self.contents = _in_order(loose, parts)
        settled = RangeSet()
        for first, end in live.gaps(0, self.next_position):
            settled.add(first, end)
        self.settled = settled
        self.count = sum(end - first for first, end in live.ranges())

    def _take(self, runs: list[Run], live: RangeSet, parts: list[tuple[int, int, Run]]) -> None:
        """Find the parts of runs that are in the queue and not in `live`, which has them then."""
        for run in sorted(runs, key=lambda run: (run.first, -run.end)):
            for run_first, run_end in run.live:
                for unsettled_first, unsettled_end in self.settled.gaps(run_first, run_end):
                    for first, end in live.gaps(unsettled_first, unsettled_end):
                        live.add(first, end)
                        parts.append((first, end, run))


def _in_order(
    loose: list[LoggedMessages], parts: list[tuple[int, int, Run]]
) -> list[LoggedMessages | Run]:
    """Messages and parts of runs in order; those of one run together, unless something else of the
    queue stands between them."""
    places: list[tuple[int, int, LoggedMessages | Run]] = [(item.first, 0, item) for item in loose]
    places += parts
    places.sort(key=itemgetter(0))
    contents: list[LoggedMessages | Run] = []
    pieces: list[tuple[Run, Run]] = []
    before: LoggedMessages | Run | None = None
    piece: Run | None = None
    for first, end, item in places:
        if isinstance(item, LoggedMessages):
            contents.append(item)
        elif item is before and piece is not None:
            piece.live.append((first, end))
        else:
            piece = Run(item.segment, int(item.first), int(item.count))
            piece.offset, piece.size, piece.live = item.offset, item.size, [(first, end)]
            contents.append(piece)
            pieces.append((piece, item))
        before = item
    for piece, whole in pieces:
        if piece.live == whole.live:
            piece.live_bytes = whole.live_bytes
    return contents


def memory_bytes(message: Stored) -> int:
    return len(message.route) + len(message.header) + len(message.body) + OBJECT_BYTES

"""The backpressure of a queue: whether its publishers wait until its consumers have taken more.

A publisher that outruns the consumers of a queue is held while the backlog is long, in messages or
in bytes, so that the two meet in memory and nothing goes to disk. Rules:

- Only consumers that take messages hold a publisher. It is held for a time in proportion to the
  bytes that they took, so that slow consumers, or none, do not slow it down noticeably.
- Consumers that pause for a moment, because their process or the network does, go on holding it
  for HOLD_MS_MAX at most.

Who waits, and for how long until it asks again, is decided in `net/`.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.backlog import Backlog
from leveret.engine.values.clock import Clock
from leveret.limits import THROTTLED_BACKLOG_BYTES, THROTTLED_BACKLOG_MESSAGES

HOLD_MS_MAX: Final = 200
"""Milliseconds that publishers are held after a message was taken, at most: consumers that take
nothing for longer do not keep up, and the backlog may grow."""

BYTES_TAKEN_PER_MS: Final = 64 * 1024
"""Bytes that consumers have to take for each further millisecond that publishers are held: below
64 MB/s they hardly hold them."""


def is_long(backlog: Backlog) -> bool:
    """Whether a backlog is so long that publishers wait if consumers take messages of it."""
    return backlog.count >= THROTTLED_BACKLOG_MESSAGES or backlog.bytes >= THROTTLED_BACKLOG_BYTES


class Backpressure:
    """Whether the publishers of one queue are held."""

    def __init__(self, clock: Clock, priorities: bool) -> None:
        """:param priorities: whether positions say nothing about how many messages were taken."""
        self._clock = clock
        self._priorities = priorities
        self._taken_position: i64 = -1
        """`popped_position` of the backlog at the last call."""
        self._until: i64 = 0
        """When publishers are not held any more, in milliseconds of the clock; 0 if they are not
        held."""

    def holds(self, backlog: Backlog) -> bool:
        """Whether a publisher has to wait because of a long backlog; asked again while it does."""
        now = self._clock.now
        if backlog.popped_position != self._taken_position:
            self._note_taken(backlog, now)
        elif self._until == 0:
            return False
        # The other end of the range is for a clock that was set back.
        if now < self._until <= now + HOLD_MS_MAX:
            return True
        self._until = 0
        return False

    def _note_taken(self, backlog: Backlog, now: i64) -> None:
        """Hold publishers for longer, because messages were taken since the last call."""
        taken = backlog.popped_position - self._taken_position
        self._taken_position = backlog.popped_position
        if taken < 1 or self._priorities:
            # A message that had been requeued was taken.
            taken = 1
        hold = 1 + taken * (backlog.bytes // backlog.count) // BYTES_TAKEN_PER_MS
        self._until = min(max(now, self._until) + hold, now + HOLD_MS_MAX)

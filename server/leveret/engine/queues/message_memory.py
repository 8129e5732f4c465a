"""The memory of messages: a share of the memory limit, divided among backlogs by use.

Rules:
- A backlog charges the bytes that its messages take in memory, in steps: what it charges is about
  what it has at most until it charges the next step. A backlog of a few small messages charges
  nothing. So a message that is published or popped costs no accounting.
- The fuller the share, the less a backlog keeps in memory: smaller chunks, fewer of them, and less
  that is read ahead.
- When the share is full, a sweep has backlogs release memory: first those that were not used since
  the sweep before, then all. What is on disk already is dropped, and read again when it is needed;
  what is not is written as a run. The sweep is work that is done in slices (`values/work.py`).
- When the memory of the process gets near its limit, a sweep releases what it can, however little
  the share is used: the messages of idle backlogs, and those that were unacknowledged at the last
  visit already (`released.py`).
- While memory is above the limit, consumers without a prefetch get few messages that they have to
  acknowledge.

Deliberately elsewhere: how a backlog releases memory (`fifo_backlog.py`, `chunks.py`), and the
measurement of the process (`net/memory_shortage.py`).
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.consumer import Consumer
from leveret.engine.values.cache_share import UNLIMITED, CacheShare
from leveret.engine.values.clock import Clock
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timer, Timers
from leveret.engine.values.work import Work, WorkQueue
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import MESSAGE_OVERHEAD_BYTES

SHARE_DIVISOR: Final = 4
"""The share of backlogs is this part of the memory limit, here a quarter. The rest is for the
process itself, for what is on its way to the disk and to clients, and for unacknowledged
messages."""

HISTORIES_DIVISOR: Final = 8
"""The share of the histories of exchanges is this part of the memory limit."""

WINDOWS_DIVISOR: Final = 8
"""The share of the windows of deduplication is this part of the memory limit."""

CHUNK_COST_MAX: Final = 512 * 1024
CHUNK_COST_MIN: Final = 32 * 1024
"""Bytes of memory, the overhead of messages included, at which a chunk of a backlog is full: large
enough that reversing or reading one costs little per message, small enough that it delays no other
connection noticeably. The smaller size is for many backlogs under a small limit."""

CHUNK_MESSAGES: Final = CHUNK_COST_MAX // (2 * MESSAGE_OVERHEAD_BYTES)
"""Messages of a full chunk at most; their octets are at most half of its cost, too."""

CHUNKS_IN_MEMORY: Final = 8
"""Full chunks that a queue keeps in memory before the next ones go to disk."""

CHUNKS_AHEAD: Final = 2
"""Chunks that are read from disk before they are needed."""

DECLARED_BYTES: Final = 4096
"""Bytes that a queue, an exchange, a binding, a consumer or a channel counts for, beside its
arguments."""

VALUE_BYTES: Final = 200
"""Bytes that a value of its arguments takes beside its octets: its objects, and those of its
name."""

SHORTAGE_PREFETCH: Final = 16
"""Unacknowledged deliveries up to which a consumer without a prefetch gets messages while memory is
above the limit: it goes on, so that its queue drains, and holds little."""

SWEEP_RETRY_MS: Final = 1
"""Milliseconds that a sweep waits for the disk if that takes no more. A few files are begun each
time, and thousands of queues may have to begin one."""

STEP_DIVISOR: Final = 16
"""A sweep that did not release enough is repeated once this part of the share is charged on top."""


RELEASED: Final = 0
MORE_TO_RELEASE: Final = 1
DISK_BUSY: Final = 2
"""What a call of `release` leads to: there is no more to release; there is; or the disk takes no
more at the moment."""


class MemoryLevel(IntEnum):
    """How much memory the process takes, compared with its limit."""

    ENOUGH = 0
    NEAR_LIMIT = 1
    """What is not in use is released, however little it is."""
    ABOVE_LIMIT = 2
    EXHAUSTED = 3
    """So far above the limit that nothing new is made."""


def _ignore(count: int) -> None:
    """The default of `MessageMemory.received`, where nothing measures the memory."""


def message_cost(octets: i64, messages: i64) -> i64:
    """Bytes of memory of messages whose headers and bodies have so many octets."""
    return octets + messages * MESSAGE_OVERHEAD_BYTES


class MemoryHolder:
    """What keeps messages in memory that can be on disk: the backlog of a queue, or the deliveries
    of a channel, which charge nothing."""

    def __init__(self) -> None:
        self.charged: i64 = 0
        """Bytes that it has charged. Changed by `MessageMemory.charge` only."""
        self.activity_seen: i64 = -1
        """Its activity at the last visit of a sweep."""

    def activity(self) -> i64:
        """A number that changes with each use."""
        raise NotImplementedError

    def recount(self) -> None:
        """Charge what it has in memory at the moment."""

    def release(self, idle: bool) -> int:
        """Release memory, a chunk at most that has to be written, and charge what remains.

        :param idle: whether it was not used since the last sweep, so that it needs nothing.
        :returns: `RELEASED`, `MORE_TO_RELEASE` if it is to be called again, or `DISK_BUSY`.
        """
        raise NotImplementedError


class MessageMemory:
    """The memory of the messages of one broker."""

    def __init__(
        self, work: WorkQueue, clock: Clock | None = None, timers: Timers | None = None
    ) -> None:
        """`work` runs the sweeps, and `timers` have those go on that wait for the disk. Without
        them they end instead."""
        self.charged: i64 = 0
        """Bytes of messages in memory, as their holders charged them."""
        self.chunk_cost: i64 = CHUNK_COST_MAX
        self.chunks_in_memory: i64 = CHUNKS_IN_MEMORY
        self.chunks_ahead: i64 = CHUNKS_AHEAD
        """What a backlog may keep: the cost of a full chunk, full chunks that are not on disk, and
        chunks that are read ahead."""
        self.short = False
        """Whether the memory of the process is above the limit."""
        self.waiting: dict[Consumer, None] = {}
        """Suspended consumers that wait until it is not."""
        self.received: Callable[[int], None] = _ignore
        """Told of bytes that came into memory from disk, so that a burst of them is measured as one
        that clients send is."""
        self.histories = CacheShare()
        """What the histories of exchanges may take."""
        self.windows = CacheShare()
        """What the windows of deduplication may take."""
        self._exhausted = False
        """Whether it is so far above that nothing more is declared, bound or opened."""
        self._declared_bytes = 0
        """About the bytes of all that clients have declared, bound and opened since the start."""
        self._work = work
        self._clock = clock
        self._timers = timers
        self._retry: Timer = _Retry(self)
        self._share: i64 = UNLIMITED
        self._holders: OrderedDict[MemoryHolder, None] = OrderedDict()
        """Who has charged anything, in the order of the next visits."""
        self._delivering: OrderedDict[MemoryHolder, None] = OrderedDict()
        """Who may have unacknowledged messages, in the order of the next visits."""
        self._sweep_from: i64 = UNLIMITED
        """Charged bytes from which on a sweep begins."""
        self._sweeping = False
        self._releases_used = False
        """Whether the sweep also visits those that are in use."""
        self._to_visit = 0
        """Holders that the sweep has to visit in its present round."""
        self._delivering_to_visit = 0
        self._target: i64 = 0
        """Charged bytes at which the sweep ends."""

    def limit(self, memory_limit_bytes: i64) -> None:
        """Set the share, for a limit of the process."""
        self._share = memory_limit_bytes // SHARE_DIVISOR
        self._sweep_from = self._share
        self.histories.limit = memory_limit_bytes // HISTORIES_DIVISOR
        self.windows.limit = memory_limit_bytes // WINDOWS_DIVISOR
        self._adapt()

    def charge(self, holder: MemoryHolder, cost: i64) -> None:
        """Charge `cost` bytes to a holder, in place of what it charged before."""
        before = holder.charged
        if before == cost:
            return
        holder.charged = cost
        self.charged += cost - before
        if before == 0:
            self._holders[holder] = None
        elif cost == 0:
            self._holders.pop(holder, None)
        self._adapt()
        if self.charged >= self._sweep_from:
            self._begin_sweep(self._share - self._share // STEP_DIVISOR)

    def add_delivering(self, holder: MemoryHolder) -> None:
        """Have sweeps visit a holder that may have unacknowledged messages."""
        self._delivering[holder] = None

    def remove_delivering(self, holder: MemoryHolder) -> None:
        """Undo `add_delivering`; no error if it was not called."""
        self._delivering.pop(holder, None)

    def admit(self, what: str) -> None:
        """Admit what a client declares: a queue, an exchange, a binding, or a consumer.

        :param what: what it is, for the text of the error.
        :raises AmqpError: PRECONDITION_FAILED while memory is far above the limit, and what clients
            have made takes much of it.
        """
        if self.refuses():
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED, f"{what} is refused: the broker is low on memory"
            )

    def refuses(self) -> bool:
        """Whether memory is so far above the limit, and what clients have declared takes so much of
        it, that no more is admitted."""
        return self._exhausted and self._declared_bytes > self._share

    def added(self, arguments: Mapping[str, object]) -> None:
        """Count what a client has declared, bound or opened, with these arguments."""
        size = _declared_bytes(arguments)
        self._declared_bytes += size
        self.received(size)

    def removed(self, arguments: Mapping[str, object]) -> None:
        """Count as removed what was counted as added."""
        self._declared_bytes = max(self._declared_bytes - _declared_bytes(arguments), 0)

    def check(self, level: MemoryLevel) -> None:
        """Do what the memory of the process asks for. To be called twice a second, and when much
        was received."""
        self.short = level >= MemoryLevel.ABOVE_LIMIT
        self._exhausted = level == MemoryLevel.EXHAUSTED
        if not self.short and self.waiting:
            waiting = self.waiting
            self.waiting = {}
            self._work.add(_Resumption(list(waiting)))
        if level != MemoryLevel.ENOUGH:
            self._begin_sweep(0)
            if self._delivering_to_visit == 0:
                self._delivering_to_visit = len(self._delivering)
        elif self.charged > self._share:
            # Goes on with what a busy disk ended.
            self._begin_sweep(self._share - self._share // STEP_DIVISOR)

    def _adapt(self) -> None:
        """Compute what a backlog may keep."""
        share = self._share
        if self.charged * 2 <= share:
            self.chunk_cost = CHUNK_COST_MAX
            self.chunks_in_memory = CHUNKS_IN_MEMORY
            self.chunks_ahead = CHUNKS_AHEAD
            return
        # Each has a head, a chunk that is read ahead, a full tail, and room for another chunk.
        cost = share // (4 * max(len(self._holders), 1))
        self.chunk_cost = min(max(cost, CHUNK_COST_MIN), CHUNK_COST_MAX)
        self.chunks_in_memory = 2 if self.charged * 4 <= share * 3 else 0
        self.chunks_ahead = 1

    def _begin_sweep(self, target: i64) -> None:
        if self._sweeping:
            self._target = min(self._target, target)
            return
        self._sweeping = True
        self._target = target
        self._releases_used = False
        self._to_visit = len(self._holders)
        self._work.add(_Sweep(self))

    def sweep(self, time_slice: TimeSlice) -> bool:
        """Go on with the sweep.

        :returns: whether it has ended, or waits for the disk.
        """
        while self._choose_round():
            goes_on = (
                self._visit_delivering() if self._delivering_to_visit > 0 else self._visit_next()
            )
            if not goes_on:
                if self._timers is None or self._clock is None:
                    break
                self._timers.set(self._retry, self._clock.now + SWEEP_RETRY_MS)
                return True
            if time_slice.is_over_now():
                return False
        self.end_sweep()
        return True

    def end_sweep(self) -> None:
        """End the sweep that is under way."""
        self._sweeping = False
        self._delivering_to_visit = 0
        # What could not be released is not visited again for every step that is charged.
        self._sweep_from = max(self._share, self.charged + self._share // STEP_DIVISOR)

    def go_on(self) -> None:
        """Go on with a sweep that waits for the disk."""
        self._work.add(_Sweep(self))

    def _choose_round(self) -> bool:
        """Whether there is anything to visit, possibly in a next round."""
        if self._delivering_to_visit > 0:
            return True
        if self.charged <= self._target:
            return False
        if self._to_visit > 0:
            return True
        if self._releases_used or self.charged < self._share:
            return False
        self._releases_used = True
        self._to_visit = len(self._holders)
        return self._to_visit > 0

    def _visit_delivering(self) -> bool:
        """Have the next holder release unacknowledged messages; whether the disk takes more."""
        if not self._delivering:
            self._delivering_to_visit = 0
            return True
        holder = next(iter(self._delivering))
        result = holder.release(False)
        if result == RELEASED:
            self._delivering_to_visit -= 1
            self._delivering.move_to_end(holder)
        return result != DISK_BUSY

    def _visit_next(self) -> bool:
        """Have the next holder release memory, if it is its turn; whether the disk takes more."""
        if not self._holders:
            self._to_visit = 0
            return True
        holder = next(iter(self._holders))
        activity = holder.activity()
        idle = activity == holder.activity_seen
        if idle or self._releases_used:
            result = holder.release(idle)
            if result != RELEASED:
                return result == MORE_TO_RELEASE
        else:
            holder.recount()
        holder.activity_seen = activity
        self._to_visit -= 1
        if holder in self._holders:
            self._holders.move_to_end(holder)
        return True


def _declared_bytes(arguments: Mapping[str, object]) -> int:
    """About the bytes of memory of what a client makes with these arguments, rather more."""
    if not arguments:
        return DECLARED_BYTES
    return DECLARED_BYTES + len(repr(arguments)) + _values_in(arguments) * VALUE_BYTES


def _values_in(value: object) -> int:
    """Number of values in a field value, nested ones included. The recursion is bounded by
    `limits.TABLE_DEPTH_MAX`."""
    count = 1
    if isinstance(value, dict):
        for item in value.values():
            count += _values_in(item)
    elif isinstance(value, list):
        for item in value:
            count += _values_in(item)
    return count


class _Resumption(Work):
    """Serves consumers again that waited for memory."""

    def __init__(self, consumers: list[Consumer]) -> None:
        self._consumers = consumers

    def run(self, time_slice: TimeSlice) -> bool:
        while self._consumers:
            self._consumers.pop().memory_available()
            if time_slice.is_over_now():
                break
        return not self._consumers


class _Retry(Timer):
    """Rings when the disk may take more."""

    def __init__(self, memory: MessageMemory) -> None:
        super().__init__()
        self._memory = memory

    def ring(self) -> None:
        self._memory.go_on()


class _Sweep(Work):
    """The sweep under way."""

    def __init__(self, memory: MessageMemory) -> None:
        self._memory = memory

    def run(self, time_slice: TimeSlice) -> bool:
        return self._memory.sweep(time_slice)

    def give_up(self) -> None:
        self._memory.end_sweep()

"""The interface of the virtual host to its queues: clock, timers, dead letters, definitions."""

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from mypy_extensions import i64

from leveret.engine.queues.dead_letter import DeadLetter
from leveret.engine.queues.delivery_counts import DeliveryCounts
from leveret.engine.queues.drop_counters import DropCounters
from leveret.engine.queues.message_memory import MessageMemory
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import UNLIMITED_NS, TimeSlice
from leveret.engine.values.timers import Timers
from leveret.engine.values.work import Work, WorkQueue

LOOKS_AT_ONCE: Final = 64
LOOK_INTERVAL_MS: Final = 20
"""Restored queues that look for expired messages at once, and milliseconds until the next ones do:
a few megabytes of their first messages, which takes about as long to read."""


class DelayedStoreLimits(NamedTuple):
    """How many messages of a delayed exchange are in memory (`delayed_store.py`)."""

    memtable_messages: int = 2048
    memtable_bytes: int = 1024 * 1024
    """Messages, and bytes of their headers and bodies, at which the memtable becomes immutable:
    sorting it takes a millisecond or two."""
    memtables_max: int = 16
    """Immutable memtables that are merged into one sorted run: the more, the fewer runs there are,
    and the more is in memory."""
    block_messages: int = 256
    block_bytes: int = 256 * 1024
    """Messages, and bytes of their bodies, of one block of a sorted run: of each run that has
    something due soon, a block or two are in memory."""


class QueueHost(ABC):
    """What queues and delayed stores need of their virtual host."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        time_slice: TimeSlice,
        work: WorkQueue,
        memory: MessageMemory | None = None,
    ) -> None:
        self.clock = clock
        self.timers = timers
        self.time_slice = time_slice
        self.work = work
        self.memory = memory or MessageMemory(work)
        self.counts_returns = True
        """Whether every return of a message counts towards its delivery limit, rather than only
        failures."""
        self.delayed_limits = DelayedStoreLimits()
        self.publishes_again = False
        """Whether the message that is being published is a dead letter or was delayed, so that it
        may have been in any queue before."""
        self.drops = DropCounters()
        """What has left any of its queues without a client."""
        self._looks: i64 = 0

    def next_look(self) -> i64:
        """When the next queue that a start restored looks whether its first message has expired, in
        milliseconds since the epoch.

        Each reads a chunk for it, so they do not all look at once.
        """
        self._looks += 1
        return max(self.clock.now, 1) + self._looks // LOOKS_AT_ONCE * LOOK_INTERVAL_MS

    def begin(self, work: Work) -> None:
        """Run a piece of work as far as it comes in this time slice; the rest goes on in later
        slices, and no connection waits for it."""
        if not work.run(self.time_slice):
            self.work.add(work)

    @abstractmethod
    def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Add a message that a queue has dropped, and that goes to its dead-letter exchange.

        It is published by `pass_on_dead_letters`, at the end of the operation, or later.
        """

    @abstractmethod
    def note_unwritten(self, dead_letter: DeadLetter) -> None:
        """Have a dead letter that was added written to the log at its position if it has to
        wait."""

    @abstractmethod
    def pass_on_dead_letters(self) -> None:
        """Publish the dead letters that were added, until the time slice is over; the others are
        published in later slices."""

    @abstractmethod
    def has_too_many_dead_letters(self) -> bool:
        """Whether so many dead letters wait that no more should be made meanwhile."""

    @abstractmethod
    def begin_after_dead_letters(self, work: Work) -> None:
        """Begin work that makes dead letters when there are not too many any more."""

    @abstractmethod
    def persist_key(self, queue: str, key: bytes, expires_at: int) -> None:
        """Persist the deduplication key of a persistent message in a durable queue."""

    @abstractmethod
    def persist_delivery_counts(self, queue: str, position: int, counts: DeliveryCounts) -> None:
        """Persist how often a persistent message of a durable queue was requeued."""

    @abstractmethod
    def release(self, exchange: str, message: Message) -> Work:
        """The work of routing a message whose delay is over, with the bindings of its exchange as
        they are. If it is persistent, the last slice of that publishes it, and no earlier one."""

    @abstractmethod
    def persist_sorted_run(self, exchange: str, first: int) -> None:
        """Persist that a sorted run of a durable delayed exchange begins at a position."""


class _Nothing(Work):
    """No work."""

    def run(self, time_slice: TimeSlice) -> bool:
        return True


NOTHING_TO_DO: Final = _Nothing()


class NullHost(QueueHost):
    """The host of a queue that is in no virtual host: dead letters are dropped."""

    def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        dead_letter.source.settle_dead_letter(dead_letter)

    def note_unwritten(self, dead_letter: DeadLetter) -> None:
        pass

    def pass_on_dead_letters(self) -> None:
        pass

    def has_too_many_dead_letters(self) -> bool:
        return False

    def begin_after_dead_letters(self, work: Work) -> None:
        self.work.add(work)

    def persist_key(self, queue: str, key: bytes, expires_at: int) -> None:
        pass

    def persist_delivery_counts(self, queue: str, position: int, counts: DeliveryCounts) -> None:
        pass

    def release(self, exchange: str, message: Message) -> Work:
        return NOTHING_TO_DO

    def persist_sorted_run(self, exchange: str, first: int) -> None:
        pass


def _null_host() -> NullHost:
    host = NullHost(Clock(), Timers(), TimeSlice(), WorkQueue(), MessageMemory(WorkQueue()))
    # Nobody runs work for it: all is done at once.
    host.time_slice.begin(UNLIMITED_NS)
    return host


NULL_HOST: Final = _null_host()

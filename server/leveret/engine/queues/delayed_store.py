"""The store of a delayed exchange: a log-structured merge tree, ordered by when messages are due.

It is a sink: it accepts a message, persists it as a durable queue does if its exchange is durable,
and releases it when it is due. No client can name it or consume from it.

The next message that is due is in one of these places:

- The memtable: a heap of the latest messages, up to a few thousand. When it is full it is
  sorted and becomes immutable, and the next one begins.
- Immutable memtables. When there are enough of them they are merged and flushed to a sorted run, a
  few blocks at a time.
- Sorted runs, which are on disk (`sorted_runs.py`).

So its memory is bounded, however many messages it has. What its memtables take is charged to the
memory of messages (`message_memory.py`): when memory is needed, memtables that are not full are
flushed as well. A message that is flushed is
settled in the journal of the memtables and added to that of the sorted runs; one that is released
is settled here and added to the journals of its queues. Either is one slice of work, so one batch
of the log has both: after a crash the message is in one place, and only there.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.message_memory import (
    DISK_BUSY,
    MORE_TO_RELEASE,
    RELEASED,
    MemoryHolder,
    message_cost,
)
from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.queues.sorted_runs import SortedRun, SortedRuns
from leveret.engine.routing.sink import ACCEPTED, THROTTLE, PersistTargets, Sink
from leveret.engine.values.delay import due_of
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timer
from leveret.engine.values.work import Work
from leveret.limits import BACKPRESSURE_RETRY_MS
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.store import Store

UNCHARGED_COST_MAX: Final = 16 * 1024
"""Bytes of memory up to which the memtables of an exchange are not charged."""

CHARGE_STEP_DIVISOR: Final = 4
"""Memtables are charged again when they have grown by this part."""

FLUSHED_DIVISOR: Final = 2
"""When memory is needed, memtables that take this part of a chunk of a backlog are flushed: each
flush may make a sorted run, of which a block or two are in memory when its messages are due."""

ENDED: Final = TimeSlice()
"""A time slice that is over: for one block."""

Entry = tuple[int, int, Message]
"""When a message is due, its position, and itself."""


Memtable = tuple[int, int, list[Entry]]
"""The due time and the position of the next message of an immutable memtable, and its entries in
descending order, so that the next one is the last. A heap of these is ordered by the next
message."""


class DelayedStore(Sink):
    """The delayed messages of one exchange, which owns it."""

    def __init__(self, exchange: str, host: QueueHost) -> None:
        super().__init__()
        self.exchange = exchange
        """The name of the exchange."""
        self.host = host
        self.journal: QueueJournal | None = None
        """The journal of the messages in memory, if the exchange is durable."""
        self.sorted_runs = SortedRuns(self._block_read)
        self._limits = host.delayed_limits
        self._store: Store | None = None
        self._next: i64 = 0
        self._memtable: list[Entry] = []
        self._memtable_bytes: i64 = 0
        self._immutable_memtables: list[Memtable] = []
        """A heap of those that are not being flushed yet."""
        self._flushing: list[Memtable] = []
        """A heap of those that are being flushed."""
        self._sorted_run: SortedRun | None = None
        """The sorted run that they are flushed to, once it has begun."""
        self._released: _Released | None = None
        """The message that is being released, if that takes longer than a time slice. It is in the
        journal until then."""
        self._memtables_count: i64 = 0
        """Messages in all memtables."""
        self._memtables_octets: i64 = 0
        """Octets of their headers and bodies."""
        self._memory = _Memtables(self)
        self._charge_from: i64 = UNCHARGED_COST_MAX
        """Bytes of memory of all memtables from which on they are charged again."""
        self._timer = _DelayTimer(self)
        self._goes_on_later = False
        """Whether a piece of work goes on with what is due."""

    def message_count(self) -> i64:
        """Messages that are not due yet, or not released yet."""
        being_released = 0 if self._released is None else 1
        return self._memtables_count + self.sorted_runs.count + being_released

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        """Flush to a store, and, with a journal, persist persistent messages."""
        self.journal = journal
        self._store = store
        if journal is None:
            self.sorted_runs.attach_store(store, None)
        self.host.timers.set(self._timer, 1)

    def publish(self, message: Message, targets: PersistTargets | None = None) -> i64:
        """Accept a message, to be released when it is due.

        :returns: `THROTTLE` if memtables wait to be flushed, or the disk is slower.
        """
        if self.deleted:
            # A transaction routed the message before the exchange was deleted, and commits now.
            return ACCEPTED
        position = self._next
        self._next += 1
        entry = (int(due_of(message)), int(position), message)
        self._add(entry)
        self.host.timers.set(self._timer, entry[0])
        journal = self.journal
        if message.persistent and journal is not None and targets is not None:
            targets.add(journal, position)
        store = self._store
        if store is None:
            return ACCEPTED
        if self._has_enough_memtables() or store.needs_backpressure():
            return ACCEPTED | THROTTLE
        return ACCEPTED

    def _add(self, entry: Entry) -> None:
        memtable = self._memtable
        heappush(memtable, entry)
        octets = len(entry[2].header) + len(entry[2].body)
        self._memtables_count += 1
        self._memtables_octets += octets
        self._memtable_bytes += octets
        limits = self._limits
        if self.cost() >= self._charge_from:
            self.charge()
        if (
            len(memtable) >= limits.memtable_messages
            or self._memtable_bytes >= limits.memtable_bytes
        ):
            self._end_memtable()
            if self._store is not None and self._has_enough_memtables():
                # While a start restores, the clock is at 0, which would not set the timer.
                self.host.timers.set(self._timer, max(self.host.clock.now, 1))

    def _end_memtable(self) -> None:
        """Make the memtable immutable, which has entries, and begin the next one."""
        self._memtable.sort(reverse=True)
        _push(self._immutable_memtables, self._memtable)
        self._memtable = []
        self._memtable_bytes = 0

    def _has_enough_memtables(self) -> bool:
        """Whether there are as many immutable memtables as are flushed at once."""
        return len(self._immutable_memtables) >= self._limits.memtables_max

    def delete(self) -> None:
        """Drop all messages, in the store too, because the exchange is deleted."""
        self._memtable = []
        self._immutable_memtables = []
        self._flushing = []
        self._released = None
        self._memtables_count = 0
        self._memtables_octets = 0
        self.charge()
        self.sorted_runs.clear()
        self.host.timers.stop(self._timer)
        self.deleted = True
        if self._store is not None and self.journal is not None:
            self._store.delete_queue(self.journal)
        self.journal = None

    def begin_restore(self, store: Store, journal: QueueJournal, found: RecoveredQueue) -> None:
        """Begin to restore what a start found of the memtables; `restore_logged` and `restore_run`
        follow in the order of the contents, and those of the sorted runs."""
        self.attach_store(store, journal)
        self._next = found.next_position

    def restore_logged(self, found: LoggedMessages) -> None:
        """Restore messages that were in the log."""
        self._restore_messages(found.first, found.messages)

    def restore_run(self, run: Run, messages: list[Message]) -> None:
        """Restore the messages of a run that are live.

        :param messages: one for each of its positions.
        """
        for first, end in run.live:
            start = first - int(run.first)
            self._restore_messages(first, messages[start : start + end - first])

    def _restore_messages(self, first: int, messages: list[Message]) -> None:
        for position, message in enumerate(messages, first):
            self._add((int(due_of(message)), position, message))

    # --- for operators --------------------------------------------------------------------------

    def memtables(self) -> list[list[Entry]]:
        """The messages in memory, each list in the order in which they are due."""
        flushed_later = [each[2][::-1] for each in self._immutable_memtables + self._flushing]
        return [sorted(self._memtable), *flushed_later]

    def read_run(self, run: Run, done: Callable[[list[Message]], None]) -> None:
        """Have a run of the sorted runs read, and `done` called with its messages."""
        if self._store is not None:
            self._store.read_run(run, done)

    def cancel(self, position: int, *, is_sorted: bool) -> bool:
        """Drop a message that is not due yet.

        :param is_sorted: whether the position is one in the sorted runs.
        :returns: whether there was one.
        """
        if is_sorted:
            journal = self.sorted_runs.journal
            found = self.sorted_runs.remove(position)
        else:
            journal = self.journal
            found = self._remove_from_memtables(position)
        if found and journal is not None:
            journal.settle(position)
        return found

    def _remove_from_memtables(self, position: int) -> bool:
        lists = [each[2] for each in self._immutable_memtables + self._flushing]
        for entries in [self._memtable, *lists]:
            for at, entry in enumerate(entries):
                if entry[1] == position:
                    del entries[at]
                    octets = len(entry[2].header) + len(entry[2].body)
                    self._memtables_count -= 1
                    self._memtables_octets -= octets
                    if entries is self._memtable:
                        self._memtable_bytes -= octets
                        heapify(entries)
                    self._immutable_memtables = _reordered(self._immutable_memtables)
                    self._flushing = _reordered(self._flushing)
                    self.charge()
                    return True
        return False

    # --- releasing ------------------------------------------------------------------------------

    def _block_read(self, size: int) -> None:
        """A block of so many bytes came into memory."""
        self.host.memory.received(size)
        self.ring()

    def ring(self) -> None:
        """Release the messages that are due, flush full memtables, and read blocks due soon: as
        long as the time slice lasts, and the rest in later slices."""
        if not self._goes_on_later and not self._run_slice():
            self._goes_on_later = True
            self.host.work.add(_Release(self))

    def go_on(self) -> bool:
        """Go on with what `ring` has put off, for the time of a slice.

        :returns: whether nothing is left to do until the timer rings.
        """
        if not self._run_slice():
            return False
        self._goes_on_later = False
        return True

    def give_up(self) -> None:
        """What was put off to a later slice has failed, and is not under way any more."""
        self._goes_on_later = False

    def _run_slice(self) -> bool:
        """Do what `ring` says, as long as the time slice lasts; whether it is done."""
        if self.deleted:
            return True
        now = self.host.clock.now
        store = self._store
        if store is not None and (store.needs_backpressure() or store.transaction.is_open()):
            # What a transaction has delayed must not leave before it is committed.
            self.host.timers.set(self._timer, now + BACKPRESSURE_RETRY_MS)
            return True
        self.sorted_runs.read_ahead(now)
        time_slice = self.host.time_slice
        is_over = False
        while not is_over and self._release_next(now, time_slice):
            is_over = time_slice.is_over_now()
        if store is not None and self._has_enough_memtables() and not self._flushing:
            self._flushing, self._immutable_memtables = self._immutable_memtables, []
        if self._flushing:
            self._flush(time_slice)
        if is_over or self._flushing or self._released is not None:
            return False
        next_ring = self._next_ring(now)
        if next_ring != 0:
            self.host.timers.set(self._timer, next_ring)
        return True

    def _next_ring(self, now: i64) -> i64:
        """When to ring next, in milliseconds since the epoch; 0 if there is nothing to do before a
        block that is being read has arrived."""
        sorted_runs = self.sorted_runs
        runs_next = sorted_runs.next_action_at()
        due = self._memtables_due()
        if due == 0 or (due <= now and 0 < sorted_runs.due <= due):
            return runs_next
        return runs_next if 0 < runs_next < due else due

    def _memtables_due(self) -> i64:
        """When the next message in a memtable is due; 0 if there is none."""
        due: i64 = self._memtable[0][0] if self._memtable else 0
        if self._immutable_memtables and (due == 0 or self._immutable_memtables[0][0] < due):
            due = self._immutable_memtables[0][0]
        if self._flushing and (due == 0 or self._flushing[0][0] < due):
            due = self._flushing[0][0]
        return due

    def _release_next(self, now: i64, time_slice: TimeSlice) -> bool:
        """Release the next message, if it is due, as far as it comes in the time slice.

        :returns: whether there was one.
        """
        released = self._released
        self._released = None
        if released is None:
            released = self._pop_due(now)
            if released is None:
                return False
        if not released.work.run(time_slice):
            self._released = released
            return True
        journal = released.journal
        if journal is not None:
            # In the batch that has it in its queues.
            journal.settle(released.position)
        return True

    def _pop_due(self, now: i64) -> "_Released | None":
        """Take out the next message, if it is due."""
        due = self._memtables_due()
        sorted_runs = self.sorted_runs
        if sorted_runs.count != 0:
            available = sorted_runs.available(now)
            if sorted_runs.due <= now and (due == 0 or sorted_runs.due <= due):
                if not available:
                    # Its block is being read. What is due later comes after it.
                    return None
                position, message = sorted_runs.pop()
                work = self.host.release(self.exchange, message)
                return _Released(sorted_runs.journal, position, work)
        if due == 0 or due > now:
            return None
        _, memtable_position, message = self._pop_from_memtables(due)
        return _Released(self.journal, memtable_position, self.host.release(self.exchange, message))

    def _pop_from_memtables(self, due: i64) -> Entry:
        """Remove and return the next entry of all memtables.

        :param due: when it is due.
        """
        self._memtables_count -= 1
        # Of messages that are due at the same time, the oldest comes first.
        if self._flushing and self._flushing[0][0] == due:
            entry = _pop(self._flushing)
        elif self._immutable_memtables and self._immutable_memtables[0][0] == due:
            entry = _pop(self._immutable_memtables)
        else:
            entry = heappop(self._memtable)
            self._memtable_bytes -= len(entry[2].header) + len(entry[2].body)
        self._memtables_octets -= len(entry[2].header) + len(entry[2].body)
        if self._memtables_count == 0:
            self.charge()
        return entry

    # --- memory ---------------------------------------------------------------------------------

    def cost(self) -> i64:
        """Bytes of memory of the messages in all memtables."""
        return message_cost(self._memtables_octets, self._memtables_count)

    def activity(self) -> i64:
        """A number that changes with each message that comes or goes."""
        return 2 * self._next - self._memtables_count

    def charge(self) -> None:
        """Charge what the memtables take at the moment."""
        cost = self.cost()
        self._charge_from = max(UNCHARGED_COST_MAX, cost + cost // CHARGE_STEP_DIVISOR)
        self.host.memory.charge(self._memory, cost if cost >= UNCHARGED_COST_MAX else 0)

    def release_memory(self) -> int:
        """Flush a block of all memtables, or begin with that, if it is worth a sorted run.

        :returns: as `MemoryHolder.release`.
        """
        store = self._store
        self.charge()
        if store is None or self.deleted:
            return RELEASED
        if not self._flushing:
            if self._memory.charged < self.host.memory.chunk_cost // FLUSHED_DIVISOR:
                return RELEASED
            if self._memtable:
                self._end_memtable()
            self._flushing, self._immutable_memtables = self._immutable_memtables, []
            # What this sweep does not flush is flushed soon.
            self.host.timers.set(self._timer, max(self.host.clock.now, 1))
        if not store.may_release():
            return DISK_BUSY
        self._flush(ENDED)
        return MORE_TO_RELEASE if self._flushing else RELEASED

    # --- flushing -------------------------------------------------------------------------------

    def _flush(self, time_slice: TimeSlice) -> None:
        """Flush blocks, in the order in which messages are due: one at least, and more as long as
        the time slice lasts."""
        self._flush_block()
        while self._flushing and not time_slice.is_over_now():
            self._flush_block()
        if not self._flushing:
            self._sorted_run = None
        self.charge()

    def _flush_block(self) -> None:
        store = self._store
        if store is None:
            return
        entries: list[Entry] = []
        body_bytes: i64 = 0
        limits = self._limits
        while (
            self._flushing
            and len(entries) < limits.block_messages
            and body_bytes < limits.block_bytes
        ):
            entry = _pop(self._flushing)
            body_bytes += len(entry[2].body)
            self._memtables_octets -= len(entry[2].header) + len(entry[2].body)
            entries.append(entry)
        due, last_due = entries[0][0], entries[-1][0]
        self._memtables_count -= len(entries)
        sorted_run = self._sorted_run or self._begin_sorted_run(due)
        messages = [entry[2] for entry in entries]
        first = int(self.sorted_runs.append(sorted_run, messages, due, last_due))
        journal, sorted_runs_journal = self.journal, self.sorted_runs.journal
        if journal is None or sorted_runs_journal is None:
            return
        for at, message in enumerate(messages):
            if message.persistent:
                store.add_message_to_one(sorted_runs_journal, first + at, message)
        for position in sorted([entry[1] for entry in entries]):
            journal.settle(position)

    def _begin_sorted_run(self, due: i64) -> SortedRun:
        """The sorted run for messages due from `due` on: the last one, or a new one behind it."""
        sorted_run = self.sorted_runs.last(due)
        if sorted_run is None:
            sorted_run = self.sorted_runs.begin()
            if self.journal is not None:
                self.host.persist_sorted_run(self.exchange, int(sorted_run.first))
        self._sorted_run = sorted_run
        return sorted_run


def _push(memtables: list[Memtable], entries: list[Entry]) -> None:
    """Add an immutable memtable, whose entries are sorted, the next one last."""
    heappush(memtables, (entries[-1][0], entries[-1][1], entries))


def _reordered(memtables: list[Memtable]) -> list[Memtable]:
    """The heap of those that have entries, after one entry was removed."""
    heap = [(each[2][-1][0], each[2][-1][1], each[2]) for each in memtables if each[2]]
    heapify(heap)
    return heap


def _pop(memtables: list[Memtable]) -> Entry:
    """Remove and return the next entry of all memtables."""
    entries = memtables[0][2]
    entry = entries.pop()
    if entries:
        heapreplace(memtables, (entries[-1][0], entries[-1][1], entries))
    else:
        heappop(memtables)
    return entry


class _Released:
    """A message that is due, where it was, and the work of routing it."""

    def __init__(self, journal: QueueJournal | None, position: i64, work: Work) -> None:
        self.journal = journal
        self.position = position
        self.work = work


class _Memtables(MemoryHolder):
    """What the memtables of a delayed store charge."""

    def __init__(self, delayed_store: DelayedStore) -> None:
        super().__init__()
        self._delayed_store = delayed_store

    def activity(self) -> i64:
        return self._delayed_store.activity()

    def recount(self) -> None:
        self._delayed_store.charge()

    def release(self, idle: bool) -> int:
        return self._delayed_store.release_memory()


class _Release(Work):
    """What a delayed store has still to release and to flush."""

    def __init__(self, delayed_store: DelayedStore) -> None:
        self._delayed_store = delayed_store

    def run(self, time_slice: TimeSlice) -> bool:
        return self._delayed_store.go_on()

    def give_up(self) -> None:
        self._delayed_store.give_up()


class _DelayTimer(Timer):
    """Rings when a delayed store has something to do."""

    def __init__(self, delayed_store: DelayedStore) -> None:
        super().__init__()
        self._delayed_store = delayed_store

    def ring(self) -> None:
        self._delayed_store.ring()

"""Where the messages of a delayed exchange wait until they are due.

To whoever publishes it is one more queue: it takes a message, and keeps it as a durable queue does
where its exchange is durable. It has no name that anybody could use, and no consumers.

What is due soonest is found in one of these places:

- A heap of what came last, up to a few thousand messages. When it is full it becomes a stack, which
  is sorted, and the next heap begins.
- Stacks. When there are enough of them, they are moved to disk, merged, a slice at a time.
- Strands, which are sorted, too, and on disk (`strands.py`).

So what is in memory is bounded, however many wait. A message that is moved to a strand, or is due
and goes to its queues, is settled in one log and kept in another in one turn: both are in one
batch, so that whatever happens in between, it is in one place, and only there.
"""

from heapq import heappop, heappush, heapreplace
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.queues.sorted_runs import SortedRun, SortedRuns
from leveret.engine.routing.sink import ACCEPTED, THROTTLE, PersistTargets, Sink
from leveret.engine.values.delay import due_of
from leveret.engine.values.message import Message
from leveret.engine.values.timers import Timer
from leveret.limits import RELEASE_SLICE_MESSAGES
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store

BEHIND_MS: Final = 5
"""Milliseconds until it is seen again whether the disk keeps up."""

Entry = tuple[int, int, Message]
"""When a message is due, its position, and itself."""


class DelayedStore(Sink):
    """What waits for one exchange, which owns it."""

    def __init__(self, exchange: str, host: QueueHost) -> None:
        super().__init__()
        self.exchange = exchange
        """The name of the exchange."""
        self.host = host
        self.journal: QueueJournal | None = None
        """The journal of the messages in memory, if the exchange is durable."""
        self.sorted_runs = SortedRuns(self.ring)
        self.unrouted_count: i64 = 0
        """Messages that no queue took when they were due."""
        self._limits = host.delayed_limits
        self._store: Store | None = None
        self._next: i64 = 0
        self._memtable: list[Entry] = []
        self._memtable_bytes: i64 = 0
        self._immutable_memtables: list[tuple[int, int, list[Entry]]] = []
        """A heap of stacks that are being filled up to a number, each by its next entry."""
        self._flushing: list[tuple[int, int, list[Entry]]] = []
        """The same, of those that are moved to a strand."""
        self._sorted_run: SortedRun | None = None
        """The strand they are moved to, once it has begun."""
        self._here: i64 = 0
        """Messages in memory that are in no strand."""
        self._timer = _DelayTimer(self)

    def message_count(self) -> i64:
        return self._here + self.sorted_runs.count

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        self.journal = journal
        self._store = store
        if journal is None:
            self.sorted_runs.attach_store(store, None)
        self.host.timers.set(self._timer, 1)

    def publish(self, message: Message, targets: PersistTargets | None = None) -> i64:
        """Hold a message until it is due.

        :returns: `THROTTLE` if memtables wait to be flushed, or the disk does not keep up.
        """
        if self.deleted:
            # A transaction published to it that commits only now.
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
        is_full = len(self._immutable_memtables) >= self._limits.memtables_max
        return ACCEPTED | THROTTLE if is_full or store.needs_backpressure() else ACCEPTED

    def _add(self, entry: Entry) -> None:
        heap = self._memtable
        heappush(heap, entry)
        self._here += 1
        self._memtable_bytes += len(entry[2].header) + len(entry[2].body)
        limits = self._limits
        if len(heap) >= limits.memtable_messages or self._memtable_bytes >= limits.memtable_bytes:
            heap.sort(reverse=True)
            _push(self._immutable_memtables, heap)
            self._memtable = []
            self._memtable_bytes = 0
            if (
                self._store is not None
                and len(self._immutable_memtables) >= self._limits.memtables_max
            ):
                # At a restart nobody has turned the clock yet.
                self.host.timers.set(self._timer, max(self.host.clock.now, 1))

    def delete(self) -> None:
        """Drop all that waits."""
        self._memtable = []
        self._immutable_memtables = []
        self._flushing = []
        self._here = 0
        self.sorted_runs.clear()
        self.host.timers.stop(self._timer)
        self.deleted = True
        if self._store is not None and self.journal is not None:
            self._store.delete_queue(self.journal)
        self.journal = None

    def restore(self, store: Store, found: list[tuple[QueueJournal, RecoveredQueue]]) -> None:
        """Take in what a start found of what came last, and of the strands."""
        journal, waiting = found[0]
        self.attach_store(store, journal)
        self._next = waiting.next_position
        for item in waiting.contents:
            if isinstance(item, LoggedMessages):
                self._restore(item.first, item.messages)
            else:
                messages = store.read_run_blocking(item)
                for first, end in item.live:
                    start = first - int(item.first)
                    self._restore(first, messages[start : start + end - first])
        sorted_runs_journal, sorted_runs = found[1]
        self.sorted_runs.restore(store, sorted_runs_journal, sorted_runs)

    def _restore(self, first: int, messages: list[Message]) -> None:
        for at, message in enumerate(messages):
            self._add((int(due_of(message)), first + at, message))

    # --- what is due --------------------------------------------------------------------------

    def ring(self) -> None:
        """Something may be due, or is to be moved or read."""
        if self.deleted:
            return
        now = self.host.clock.now
        store = self._store
        if store is not None and store.needs_backpressure():
            self.host.timers.set(self._timer, now + BEHIND_MS)
            return
        self.sorted_runs.read_ahead(now)
        left: i64 = RELEASE_SLICE_MESSAGES
        while left > 0 and self._release_next(now):
            left -= 1
        full = store is not None and len(self._immutable_memtables) >= self._limits.memtables_max
        if full and not self._flushing:
            self._flushing, self._immutable_memtables = self._immutable_memtables, []
        if self._flushing:
            self._flush()
        again = now if left == 0 or self._flushing else self._wake_at(now)
        if again != 0:
            self.host.timers.set(self._timer, again)

    def _wake_at(self, now: i64) -> i64:
        """When there is something to do next; 0 is never, or when what is being read is there."""
        sorted_runs = self.sorted_runs
        to_read = sorted_runs.wake_at()
        here = self._soonest_here()
        if here == 0 or (here <= now and 0 < sorted_runs.due <= here):
            return to_read
        return to_read if 0 < to_read < here else here

    def _soonest_here(self) -> i64:
        """When the next message in memory is due; 0 if there is none."""
        at: i64 = self._memtable[0][0] if self._memtable else 0
        if self._immutable_memtables and (at == 0 or self._immutable_memtables[0][0] < at):
            at = self._immutable_memtables[0][0]
        if self._flushing and (at == 0 or self._flushing[0][0] < at):
            at = self._flushing[0][0]
        return at

    def _release_next(self, now: i64) -> bool:
        """Pass on the next message, if it is due."""
        here = self._soonest_here()
        sorted_runs = self.sorted_runs
        if sorted_runs.count != 0:
            available = sorted_runs.available(now)
            if sorted_runs.due <= now and (here == 0 or sorted_runs.due <= here):
                if not available:
                    # It is being read. What is due later waits for it.
                    return False
                position, message = sorted_runs.pop()
                if sorted_runs.journal is not None:
                    sorted_runs.journal.settle(position)
                self._release(message)
                return True
        if here == 0 or here > now:
            return False
        _, at, message = self._pop_here(here)
        if self.journal is not None:
            self.journal.settle(at)
        self._release(message)
        return True

    def _release(self, message: Message) -> None:
        if not self.host.release(self.exchange, message):
            self.unrouted_count += 1

    def _pop_here(self, due: i64) -> Entry:
        self._here -= 1
        # Of what is due at once, the oldest is the first.
        if self._flushing and self._flushing[0][0] == due:
            return _pop(self._flushing)
        if self._immutable_memtables and self._immutable_memtables[0][0] == due:
            return _pop(self._immutable_memtables)
        entry = heappop(self._memtable)
        self._memtable_bytes -= len(entry[2].header) + len(entry[2].body)
        return entry

    # --- what waits long ----------------------------------------------------------------------

    def _flush(self) -> None:
        """Move some of the stacks' messages to a strand, those that are due soonest first."""
        for _ in range(self._limits.blocks_flushed):
            if not self._flushing:
                break
            self._flush_block()
        if not self._flushing:
            self._sorted_run = None

    def _flush_block(self) -> None:
        store = self._store
        if store is None:
            return
        entries: list[Entry] = []
        size: i64 = 0
        most, most_bytes = self._limits.block_messages, self._limits.block_bytes
        while self._flushing and len(entries) < most and size < most_bytes:
            entry = _pop(self._flushing)
            size += len(entry[2].body)
            entries.append(entry)
        due, last_due = entries[0][0], entries[-1][0]
        self._here -= len(entries)
        sorted_run = self._sorted_run or self._begin_sorted_run(due)
        messages = [entry[2] for entry in entries]
        first = int(self.sorted_runs.append(sorted_run, messages, due, last_due))
        journal, sorted_runs_journal = self.journal, self.sorted_runs.journal
        if journal is None or sorted_runs_journal is None:
            return
        for at, message in enumerate(messages):
            if message.persistent:
                store.add_message([sorted_runs_journal], [first + at], message)
        for position in sorted([entry[1] for entry in entries]):
            journal.settle(position)

    def _begin_sorted_run(self, due: i64) -> SortedRun:
        """The strand for what is due from `due` on: the last one, or one behind it."""
        sorted_run = self.sorted_runs.last(due)
        if sorted_run is None:
            sorted_run = self.sorted_runs.begin()
            if self.journal is not None:
                self.host.note_sorted_run(self.exchange, int(sorted_run.first))
        self._sorted_run = sorted_run
        return sorted_run


def _push(memtables: list[tuple[int, int, list[Entry]]], memtable: list[Entry]) -> None:
    heappush(memtables, (memtable[-1][0], memtable[-1][1], memtable))


def _pop(memtables: list[tuple[int, int, list[Entry]]]) -> Entry:
    """Take the next entry of all stacks."""
    memtable = memtables[0][2]
    entry = memtable.pop()
    if memtable:
        heapreplace(memtables, (memtable[-1][0], memtable[-1][1], memtable))
    else:
        heappop(memtables)
    return entry


class _DelayTimer(Timer):
    """Rings when something is due, or is to be moved or read."""

    def __init__(self, queue: DelayedStore) -> None:
        super().__init__()
        self._queue = queue

    def ring(self) -> None:
        self._queue.ring()

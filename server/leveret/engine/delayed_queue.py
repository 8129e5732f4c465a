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
from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from leveret.engine import keeper, properties
from leveret.engine.dead_letters import copies
from leveret.engine.exchanges.delayed import DelayedExchange, has_waited
from leveret.engine.keeping import keep
from leveret.engine.message import Message
from leveret.engine.queue import HELD, REFUSED, TAKEN, Queue
from leveret.engine.strands import Strand, Strands, due_of
from leveret.engine.timers import Timer
from leveret.limits import RELEASED_MESSAGES
from leveret_storage.queue_log import QueueLog
from leveret_storage.recovery import Loose, RecoveredQueue
from leveret_storage.store import Store

if TYPE_CHECKING:
    from leveret.engine.vhost import VirtualHost

BEHIND_MS: Final = 5
"""Milliseconds until it is seen again whether the disk keeps up."""

Entry = tuple[int, int, Message]
"""When a message is due, its position, and itself."""


class DelayedQueue(Queue):
    """What waits for one exchange, which owns it."""

    def __init__(self, vhost: "VirtualHost", exchange: DelayedExchange) -> None:
        super().__init__(exchange.name, durable=exchange.durable, home=vhost)
        self.strands = Strands(self.ring)
        self.unrouted: i64 = 0
        """Messages that no queue took when they were due."""
        self._vhost = vhost
        self._limits = vhost.waiting
        self._store: Store | None = None
        self._next: i64 = 0
        self._heap: list[Entry] = []
        self._heap_bytes: i64 = 0
        self._stacks: list[tuple[int, int, list[Entry]]] = []
        """A heap of stacks that are being filled up to a number, each by its next entry."""
        self._moving: list[tuple[int, int, list[Entry]]] = []
        """The same, of those that are moved to a strand."""
        self._strand: Strand | None = None
        """The strand they are moved to, once it has begun."""
        self._here: i64 = 0
        """Messages in memory that are in no strand."""
        self._wake = _DelayTimer(self)

    def message_count(self) -> i64:
        return self._here + self.strands.count

    def keep(self, store: Store, log: QueueLog | None) -> None:
        self.log = log
        self.last_log = log
        self._store = store
        if log is None:
            self.strands.keep(store, None)
        self.home.timers.set(self._wake, 1)

    def publish(self, message: Message) -> i64:
        if self.deleted:
            # A transaction published to it that commits only now.
            return TAKEN
        position = int(self._next)
        self._next += 1
        self.last_position = position
        entry = (int(due_of(message)), position, message)
        self._add(entry)
        self.home.timers.set(self._wake, entry[0])
        store = self._store
        if store is None:
            return TAKEN
        too_fast = len(self._stacks) >= self._limits.stacks or store.is_behind()
        return HELD if too_fast else TAKEN

    def _add(self, entry: Entry) -> None:
        heap = self._heap
        heappush(heap, entry)
        self._here += 1
        self._heap_bytes += len(entry[2].header) + len(entry[2].body)
        limits = self._limits
        if len(heap) >= limits.stack_messages or self._heap_bytes >= limits.stack_bytes:
            heap.sort(reverse=True)
            _push(self._stacks, heap)
            self._heap = []
            self._heap_bytes = 0
            if self._store is not None and len(self._stacks) >= self._limits.stacks:
                # At a restart nobody has turned the clock yet.
                self.home.timers.set(self._wake, max(self.home.clock.now, 1))

    def delete(self) -> None:
        """Drop all that waits."""
        self._heap = []
        self._stacks = []
        self._moving = []
        self._here = 0
        self.strands.clear()
        self.home.timers.stop(self._wake)
        self.deleted = True
        if self._store is not None and self.log is not None:
            self._store.drop_queue(self.log)
        self.log = None
        self.last_log = None

    def restore(self, store: Store, found: list[tuple[QueueLog, RecoveredQueue]]) -> None:
        """Take in what a start found of what came last, and of the strands."""
        log, waiting = found[0]
        self.keep(store, log)
        self._next = waiting.next_position
        for item in waiting.contents:
            if isinstance(item, Loose):
                self._restore(item.first, item.messages)
            else:
                messages = store.read_run_now(item)
                for first, end in item.live:
                    start = first - int(item.first)
                    self._restore(first, messages[start : start + end - first])
        strands_log, strands = found[1]
        self.strands.restore(store, strands_log, strands)

    def _restore(self, first: int, messages: list[Message]) -> None:
        for at, message in enumerate(messages):
            self._add((int(due_of(message)), first + at, message))

    # --- what is due --------------------------------------------------------------------------

    def ring(self) -> None:
        """Something may be due, or is to be moved or read."""
        if self.deleted:
            return
        now = self.home.clock.now
        store = self._store
        if store is not None and store.is_behind():
            self.home.timers.set(self._wake, now + BEHIND_MS)
            return
        self.strands.read_ahead(now)
        left: i64 = RELEASED_MESSAGES
        while left > 0 and self._release_next(now):
            left -= 1
        full = store is not None and len(self._stacks) >= self._limits.stacks
        if full and not self._moving:
            self._moving, self._stacks = self._stacks, []
        if self._moving:
            self._move()
        again = now if left == 0 or self._moving else self._wake_at(now)
        if again != 0:
            self.home.timers.set(self._wake, again)

    def _wake_at(self, now: i64) -> i64:
        """When there is something to do next; 0 is never, or when what is being read is there."""
        strands = self.strands
        to_read = strands.wake_at()
        here = self._soonest_here()
        if here == 0 or (here <= now and 0 < strands.due <= here):
            return to_read
        return to_read if 0 < to_read < here else here

    def _soonest_here(self) -> i64:
        """When the next message in memory is due; 0 if there is none."""
        at: i64 = self._heap[0][0] if self._heap else 0
        if self._stacks and (at == 0 or self._stacks[0][0] < at):
            at = self._stacks[0][0]
        if self._moving and (at == 0 or self._moving[0][0] < at):
            at = self._moving[0][0]
        return at

    def _release_next(self, now: i64) -> bool:
        """Pass on the next message, if it is due."""
        here = self._soonest_here()
        strands = self.strands
        if strands.count != 0:
            available = strands.available(now)
            if strands.due <= now and (here == 0 or strands.due <= here):
                if not available:
                    # It is being read. What is due later waits for it.
                    return False
                position, message = strands.pop()
                if strands.log is not None:
                    strands.log.settle(position)
                self._pass_on(message)
                return True
        if here == 0 or here > now:
            return False
        _, at, message = self._pop_here(here)
        if self.log is not None:
            self.log.settle(at)
        self._pass_on(message)
        return True

    def _pop_here(self, due: i64) -> Entry:
        self._here -= 1
        # Of what is due at once, the oldest is the first.
        if self._moving and self._moving[0][0] == due:
            return _pop(self._moving)
        if self._stacks and self._stacks[0][0] == due:
            return _pop(self._stacks)
        entry = heappop(self._heap)
        self._heap_bytes -= len(entry[2].header) + len(entry[2].body)
        return entry

    def _pass_on(self, message: Message) -> None:
        """Route what is due, with the bindings there are now."""
        vhost = self._vhost
        length = message.route[0]
        keys = [message.route[2 + length :], *copies(message.header)]
        now = vhost.clock.now
        ttl = properties.expiration(message.header)
        until = now + int(ttl) if ttl is not None else 0
        header = has_waited(message.header)
        due = Message(message.route, header, message.body, message.persistent, now, until)
        texts = [key.decode("utf-8", "surrogateescape") for key in keys]
        queues = vhost.queues_for(self.name, texts, due)
        reached = [queue for queue in queues if queue.publish(due) != REFUSED]
        if not reached:
            self.unrouted += 1
        if vhost.keeper is not None:
            keep(vhost.keeper.store, due, queues)
        if vhost.dead_letters.waiting:
            vhost.dead_letters.pass_on()

    # --- what waits long ----------------------------------------------------------------------

    def _move(self) -> None:
        """Move some of the stacks' messages to a strand, those that are due soonest first."""
        for _ in range(self._limits.pieces_moved):
            if not self._moving:
                break
            self._move_piece()
        if not self._moving:
            self._strand = None

    def _move_piece(self) -> None:
        store = self._store
        if store is None:
            return
        entries: list[Entry] = []
        size: i64 = 0
        most, most_bytes = self._limits.piece_messages, self._limits.piece_bytes
        while self._moving and len(entries) < most and size < most_bytes:
            entry = _pop(self._moving)
            size += len(entry[2].body)
            entries.append(entry)
        due, last_due = entries[0][0], entries[-1][0]
        self._here -= len(entries)
        strand = self._strand or self._begin_strand(due)
        messages = [entry[2] for entry in entries]
        first = int(self.strands.append(strand, messages, due, last_due))
        log, strands_log = self.log, self.strands.log
        if log is None or strands_log is None:
            return
        for at, message in enumerate(messages):
            if message.persistent:
                store.message([strands_log], [first + at], message)
        for position in sorted([entry[1] for entry in entries]):
            log.settle(position)

    def _begin_strand(self, due: i64) -> Strand:
        """The strand for what is due from `due` on: the last one, or one behind it."""
        strand = self.strands.last(due)
        if strand is None:
            strand = self.strands.begin()
            vhost = self._vhost
            if self.log is not None and vhost.keeper is not None:
                vhost.keeper.define(keeper.strand(vhost.name, self.name, int(strand.first)))
        self._strand = strand
        return strand


def _push(stacks: list[tuple[int, int, list[Entry]]], stack: list[Entry]) -> None:
    heappush(stacks, (stack[-1][0], stack[-1][1], stack))


def _pop(stacks: list[tuple[int, int, list[Entry]]]) -> Entry:
    """Take the next entry of all stacks."""
    stack = stacks[0][2]
    entry = stack.pop()
    if stack:
        heapreplace(stacks, (stack[-1][0], stack[-1][1], stack))
    else:
        heappop(stacks)
    return entry


class _DelayTimer(Timer):
    """Rings when something is due, or is to be moved or read."""

    def __init__(self, queue: DelayedQueue) -> None:
        super().__init__()
        self._queue = queue

    def ring(self) -> None:
        self._queue.ring()

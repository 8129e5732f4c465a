"""Large messages that wait for the disk beside the open batch.

Writing a large message takes longer than its consumer needs to acknowledge it, and one that is
settled need not be written. So a publish may wait here that has nothing else in its batch which
would be wrong without it:

- Whenever no batch is under way that has some, the oldest join the open batch,
  `large_bytes_at_once` of them or one. So the disk is never idle while any waits, none waits for
  ever, and small messages wait behind no more than these.
- One that all its queues have settled, or that were deleted, is not written. The batch that has the
  settlements then counts as its own.
- One that is to be in a run joins the open batch first, as a run is written behind the log.
- None waits that is published while there is a transaction of the store. What is settled meanwhile
  may never count, so those that wait are written.

Each has a ticket, and `awaits` says whether its batch is still to be durable. The log may have them
behind messages with higher positions: what is read at a start is put in order there.
"""

from collections import deque

from mypy_extensions import i64

from leveret_storage.format.entries import StoredMessage
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.context import StoreContext


class LargeMessage:
    """A message that waits, and its places."""

    def __init__(
        self, ticket: int, queues: list[QueueJournal], positions: list[int], message: StoredMessage
    ) -> None:
        self.ticket = ticket
        self.queues = queues
        self.positions = positions
        self.message = message


class LargeMessages:
    """The large messages of a store that wait, oldest first."""

    def __init__(self, context: StoreContext) -> None:
        self.ticket: i64 = 0
        """The ticket of the last message that was added, from 1."""
        self.body_bytes: i64 = context.medium.large_body_bytes
        """Bytes of a body from which on a message may wait."""
        self._batch_joined: i64 = 0
        """The last batch that some have joined."""
        self._batch = context.batch
        self._queues = context.queues
        self._bytes_max: i64 = context.limits.large_waiting_bytes
        self._bytes_at_once: i64 = context.limits.large_bytes_at_once
        self._shared_body_bytes: i64 = context.limits.shared_body_bytes
        self._bytes: i64 = 0
        """Bytes of the bodies that wait."""
        self.waiting: deque[LargeMessage] = deque()
        """Those that are in no batch."""
        self._unsynced: set[int] = set()
        """Tickets of the messages that wait, or whose batch is not durable yet."""
        self._in_batches: deque[tuple[int, int]] = deque()
        """Batch and ticket of those that do not wait any more, in the order of their batches."""

    def may_wait(self, body_bytes: i64) -> bool:
        """Whether another message may be added."""
        return not self._batch.has_transaction and self._bytes + body_bytes <= self._bytes_max

    def add(self, queues: list[QueueJournal], positions: list[int], message: StoredMessage) -> None:
        """Have a message wait that went to `queues`, at `positions`, as `may_wait` allows."""
        if len(queues) > 1 and len(message.body) >= self._shared_body_bytes:
            message.share()
        self.ticket += 1
        ticket = int(self.ticket)
        self.waiting.append(LargeMessage(ticket, queues, positions, message))
        self._unsynced.add(ticket)
        self._bytes += len(message.body)

    def any_waits(self) -> bool:
        """Whether there is one that is in no batch."""
        return bool(self.waiting)

    def may_give(self, synced: i64) -> bool:
        """Whether any wait, and may join the open batch, every batch up to `synced` being
        durable."""
        return bool(self.waiting) and self._batch_joined <= synced

    def awaits(self, ticket: i64) -> bool:
        """Whether the batch of a message is not durable yet."""
        return int(ticket) in self._unsynced

    def leave_out_settled(self, batch: i64) -> None:
        """Leave out those that all their queues have settled. The settlements have to be in the
        open batch, which is `batch`, or in an earlier one."""
        left: deque[LargeMessage] = deque()
        for large in self.waiting:
            if self._places(large):
                left.append(large)
            else:
                self._end_waiting(large, batch)
        self.waiting = left

    def give(self, batch: i64) -> None:
        """Add the oldest to the open batch, which is `batch`."""
        size: i64 = 0
        waiting = self.waiting
        while waiting and (size == 0 or size + len(waiting[0].message.body) <= self._bytes_at_once):
            large = waiting.popleft()
            size += len(large.message.body)
            self._give(large, batch)

    def give_all(self, batch: i64) -> None:
        """Add all to the open batch, which is `batch`."""
        while self.waiting:
            self._give(self.waiting.popleft(), batch)

    def give_run(self, queue: QueueJournal, first: i64, count: i64, batch: i64) -> None:
        """Add those of a queue at consecutive positions to the open batch, which is `batch`."""
        given: list[LargeMessage] = []
        left: deque[LargeMessage] = deque()
        for large in self.waiting:
            if _is_within(large, queue, first, first + count):
                given.append(large)
            else:
                left.append(large)
        self.waiting = left
        in_part = self._batch.in_part
        if in_part and given:
            # They do not belong to the transaction.
            self._batch.end_part()
        for large in given:
            self._give(large, batch)
        if in_part and given:
            self._batch.begin_part()

    def synced(self, batch: i64) -> None:
        """Every batch up to this one is durable."""
        in_batches = self._in_batches
        while in_batches and in_batches[0][0] <= batch:
            self._unsynced.discard(in_batches.popleft()[1])

    def _give(self, large: LargeMessage, batch: i64) -> None:
        places = self._places(large)
        self._end_waiting(large, batch)
        if places:
            queues = [large.queues[at] for at in places]
            positions = [large.positions[at] for at in places]
            self._batch.add_message(queues, positions, large.message)
            self._batch_joined = batch

    def _places(self, large: LargeMessage) -> list[int]:
        """The indices of its places that have it. In a transaction a settlement may not count."""
        settled_count = not self._batch.has_transaction
        found: list[int] = []
        at: i64 = 0
        while at < len(large.queues):
            queue = large.queues[at]
            if queue.number in self._queues and not (
                settled_count and queue.is_settled(large.positions[at])
            ):
                found.append(int(at))
            at += 1
        return found

    def _end_waiting(self, large: LargeMessage, batch: i64) -> None:
        self._bytes -= len(large.message.body)
        self._in_batches.append((int(batch), large.ticket))
        self._batch.awaited = True


def _is_within(large: LargeMessage, queue: QueueJournal, first: i64, end: i64) -> bool:
    """Whether a message is in a queue at one of these positions."""
    at: i64 = 0
    while at < len(large.queues):
        if large.queues[at] is queue and first <= large.positions[at] < end:
            return True
        at += 1
    return False

"""The contents of a queue: ready messages, retry-delayed messages, and delivery counts.

It says how a message enters and leaves these: popped, settled, requeued, dropped. When a message is
dropped because of a limit, and which one, is elsewhere (`limit_enforcer.py`); so is which consumer
gets a message (`queue.py`).
"""

from collections.abc import Callable

from mypy_extensions import i64

from leveret.engine.queues.backlog import Backlog
from leveret.engine.queues.dead_letter import (
    DELIVERY_LIMIT,
    MAX_LENGTH,
    NONE_WAITING,
    DeadLetter,
    DropSource,
)
from leveret.engine.queues.drop_counters import DropCounters
from leveret.engine.queues.fifo_backlog import FifoBacklog
from leveret.engine.queues.priority_backlog import PriorityBacklog
from leveret.engine.queues.purge import Purge
from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.queues.redelivery import Redeliveries
from leveret.engine.queues.released import ReleasedMessage
from leveret.engine.routing.sink import PersistTargets
from leveret.engine.values.message import Message
from leveret.engine.values.settings import QueueSettings
from leveret.errors import AmqpError, ReplyCode


class QueueContents(DropSource):
    """The messages of one queue, which owns it and reads its fields."""

    def __init__(
        self, queue_name: str, settings: QueueSettings, host: QueueHost, loaded: Callable[[], None]
    ) -> None:
        """`loaded` is called when ready messages have been read from disk."""
        super().__init__()
        self.settings = settings
        self.priority_levels = max(int(settings.max_priority), 0) + 1
        """Number of priorities, each of which has a journal of its own in the store."""
        self.backlog: Backlog = (
            FifoBacklog(loaded, host.memory)
            if self.priority_levels == 1
            else PriorityBacklog(loaded, host.memory, self.priority_levels - 1)
        )
        """The ready messages."""
        self.redeliveries: Redeliveries | None = None
        """Delivery counts and retry delays, if deliveries are counted."""
        self.dead_letters = False
        """Whether messages that are dropped or rejected go to a dead-letter exchange."""
        self.persists_counts = False
        """Whether delivery counts of persistent messages are persisted."""
        self.drops: DropCounters | None = None
        """What has left it without a client; None if nothing has."""
        self._last_read: ReleasedMessage | None = None
        """Of the released messages that were read, the one that may have its run in memory still:
        the next one is likely to be in it."""
        self._queue_name = queue_name
        self._host = host
        self._refused: i64 = 0
        """Number of messages that were refused and became dead letters."""
        self.apply(settings)

    def apply(self, settings: QueueSettings) -> None:
        """Use other settings."""
        self.settings = settings
        self.dead_letters = settings.dead_letter_exchange is not None
        self.backlog.set_ttl(settings.message_ttl)
        if settings.counts_deliveries and self.redeliveries is None:
            self.redeliveries = Redeliveries(counts_returns=self._host.counts_returns)

    def retry_delayed_count(self) -> i64:
        """Number of retry-delayed messages, which are neither ready nor unacknowledged."""
        return 0 if self.redeliveries is None else self.redeliveries.delayed_count()

    def total_count(self) -> i64:
        """Number of messages, ready or retry-delayed."""
        redeliveries = self.redeliveries
        if redeliveries is None:
            return self.backlog.count
        return self.backlog.count + redeliveries.delayed_count()

    def total_bytes(self) -> i64:
        """Bytes of the bodies of all messages, ready or retry-delayed."""
        size = self.backlog.bytes
        return size if self.redeliveries is None else size + self.redeliveries.delayed_bytes

    def pop(self) -> tuple[Message, int, bool]:
        """Remove the next ready message, with its delivery counts in its headers.

        :returns: the message, its position, and whether it was delivered before.
        :raises IndexError: if it is not in memory.
        """
        return self._popped(self.backlog.pop())

    def pop_expired(self) -> tuple[Message, int, bool]:
        """As `pop`, for the ready message that expires first."""
        return self._popped(self.backlog.pop_expired())

    def settle(self, position: i64) -> None:
        """Note that a message that was popped will not be requeued: the store may drop it."""
        self.backlog.settle(position)
        if self.redeliveries is not None:
            self.redeliveries.counts.forget(position)

    def settle_position(self, position: int) -> None:
        self.settle(position)

    def drop(self, message: Message, position: i64, reason: bytes) -> None:
        """Add a message that was popped to the dead letters, or settle it if the queue has no
        exchange for them.

        :param reason: why, as the header `x-death` says it.
        """
        self._count_drop(reason)
        if self.dead_letters:
            if isinstance(message, ReleasedMessage):
                message = self._read(message, position)
            self._add_dead_letter(message, position, reason)
        else:
            self.settle(position)

    def retains_popped(self) -> bool:
        """Whether popped messages stay in memory when it is needed: one that becomes a dead letter
        is read while everything waits, which a medium that is away would have it do for long."""
        store = self.backlog.store
        is_durable = self.persists_counts
        return is_durable and self.dead_letters and store is not None and store.may_be_away

    def refuse(self, message: Message) -> None:
        """Add a message that the queue is too full for to the dead letters."""
        self._refused += 1
        self._count_drop(MAX_LENGTH)
        self._add_dead_letter(message, -self._refused, MAX_LENGTH)

    def _count_drop(self, reason: bytes) -> None:
        drops = self.drops
        if drops is None:
            drops = DropCounters()
            self.drops = drops
        drops.count(reason, self.dead_letters)
        self._host.drops.count(reason, self.dead_letters)

    def _add_dead_letter(self, message: Message, position: i64, reason: bytes) -> None:
        dead_letter = DeadLetter(self, self._queue_name, self.settings, message, position, reason)
        if self.waiting is NONE_WAITING:
            self.waiting = {}
        self.waiting[position] = dead_letter
        self._host.add_dead_letter(dead_letter)

    def settle_dead_letter(self, dead_letter: DeadLetter) -> None:
        position = dead_letter.position
        del self.waiting[position]
        if position >= 0:
            self.settle(position)

    def persist_dead_letter(self, dead_letter: DeadLetter, targets: PersistTargets) -> None:
        journal = self.backlog.journal_at(dead_letter.position)
        if journal is not None:
            targets.add(journal, dead_letter.position)

    def pass_on_dead_letters(self) -> None:
        """Publish the dead letters that were added, as long as the time slice lasts."""
        if self.dead_letters:
            self._host.pass_on_dead_letters()

    def requeue(self, message: Message, position: i64, failed: bool) -> None:
        """Requeue a message that was popped: it is then ready, retry-delayed, or a dead letter.

        :param failed: whether it counts as failed, rather than only returned (`redelivery.py`).
        """
        redeliveries = self.redeliveries
        if redeliveries is None:
            self.backlog.requeue(message, position)
            return
        host, settings = self._host, self.settings
        counts = redeliveries.add_return(int(position), settings, failed, host.clock.now)
        if redeliveries.exceeds_limit(counts, settings):
            self.drop(message, position, DELIVERY_LIMIT)
            self.pass_on_dead_letters()
            return
        if self.persists_counts and message.persistent:
            host.persist_delivery_counts(self._queue_name, int(position), counts)
        if counts.retry_at:
            redeliveries.delay(int(position), message)
        else:
            self.backlog.requeue(message, position)

    def requeue_due(self) -> bool:
        """Make a message ready whose retry delay is over.

        :returns: False if there is none.
        """
        redeliveries = self.redeliveries
        if redeliveries is None:
            return False
        due = redeliveries.pop_due(self._host.clock.now)
        if due is None:
            return False
        position, message = due
        self.backlog.requeue(message, position)
        return True

    def delay_head(self) -> bool:
        """Delay the next ready message again if it was retry-delayed before a restart.

        :returns: False if it was not, or its delay is over.
        """
        redeliveries = self.redeliveries
        if redeliveries is None or redeliveries.counts.is_empty():
            return False
        backlog = self.backlog
        if not backlog.available():
            return False
        if not redeliveries.is_delayed(int(backlog.head_position()), self._host.clock.now):
            return False
        message, position, _ = self.pop()
        redeliveries.delay(position, message)
        return True

    def purge(self) -> Purge:
        """Drop all messages, none of which is a dead letter.

        :returns: the work of settling those that cannot be settled all at once.
        """
        count = int(self.total_count())
        delayed = [] if self.redeliveries is None else self.redeliveries.take_delayed()
        return Purge(self, self.backlog.purge(), delayed, count)

    def delete(self) -> Purge:
        """Drop all messages, in the store too, because the queue is deleted.

        :returns: the work of freeing them.
        """
        count = int(self.total_count())
        delayed = [] if self.redeliveries is None else self.redeliveries.take_delayed()
        purge = Purge(None, self.backlog.delete(), delayed, count)
        self.redeliveries = None
        self.dead_letters = False
        self.persists_counts = False
        return purge

    def _read(self, message: ReleasedMessage, position: i64) -> Message:
        """A released message, read from disk while everything else waits.

        :raises AmqpError: INTERNAL_ERROR if it cannot be read, which ends the broker.
        """
        last = self._last_read
        if last is not None and last is not message and last.requeued == 0:
            last.messages = None
        self._last_read = message
        if self.backlog.store is not None:
            message.load_blocking(self.backlog.store)
        if not message.is_loaded():
            raise AmqpError(ReplyCode.INTERNAL_ERROR, "a message cannot be read from disk")
        return message.message_at(position)

    def _popped(self, message: Message) -> tuple[Message, int, bool]:
        backlog = self.backlog
        position = int(backlog.popped_position)
        redeliveries = self.redeliveries
        counts = None if redeliveries is None else redeliveries.counts.get(position)
        if redeliveries is None or counts is None:
            return message, position, backlog.redelivered
        return redeliveries.with_counts(message, counts), position, True

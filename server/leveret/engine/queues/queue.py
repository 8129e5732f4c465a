"""A queue: messages in order, handed to its consumers.

Rules:
- A message's position is its place in the order in which messages leave. What comes back (rejected,
  or unacknowledged when its channel closed) goes back to its old place.
- While a consumer is ready nothing waits, so a message that arrives then goes straight through.
- In a durable queue the store is told of every position that is done with.
- Which consumer a message goes to is the affair of `Turns`.
- A queue that is ruled (its messages may expire, or be too many) looks at the message at its head
  whenever something comes or leaves, and has a timer set for when that one expires. All others,
  which are most, pay one look at a flag for it.
"""

from mypy_extensions import i64

from leveret.engine.queues.backlog import Backlog
from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.consumer_set import ConsumerSet
from leveret.engine.queues.fifo_backlog import FifoBacklog
from leveret.engine.queues.idle_expiry import QueueExpiry
from leveret.engine.queues.priority_backlog import PriorityBacklog
from leveret.engine.queues.queue_host import (
    DELIVERY_LIMIT,
    EXPIRED,
    MAX_LENGTH,
    NULL_HOST,
    REJECTED,
    QueueHost,
)
from leveret.engine.queues.redelivery import Redeliveries, counted, exceeds_limit
from leveret.engine.routing.exchanges.base import Destination
from leveret.engine.routing.sink import (
    ACCEPTED,
    AWAITS_COMMIT,
    REFUSED,
    THROTTLE,
    PersistTargets,
    Sink,
)
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.deduplication import DeduplicationWindow
from leveret.engine.values.message import Message, persistent
from leveret.engine.values.settings import (
    NONE,
    REJECT_PUBLISH_DLX,
    QueueSettings,
    arguments_source,
    compute,
)
from leveret.engine.values.timers import Timer
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import DROP_SLICE_MESSAGES, THROTTLED_BACKLOG_MESSAGES
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store


class Queue(Sink):
    """A named queue of one virtual host, owned by it."""

    def __init__(
        self,
        name: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: object | None = None,
        arguments: Arguments | None = None,
        host: QueueHost = NULL_HOST,
    ) -> None:
        super().__init__(name)
        self.durable = durable
        """Whether it is there after a restart."""
        self.destination = Destination(name, durable)
        """What bindings to it lead to."""
        self.auto_delete = auto_delete
        self.owner = owner
        """The connection an exclusive queue belongs to; None for a shared one."""
        self.arguments = arguments if arguments is not None else Arguments({}, {})
        self.unacknowledged: i64 = 0
        self.journal: QueueJournal | None = None
        """What the store keeps of a durable queue; None for one that ends with the process."""
        self.host = host
        self.settings = compute([arguments_source(self.arguments)])
        self.persists = self.settings.quorum
        """Whether every message in it is persistent, however it was published."""
        self.dead_letters = self.settings.dead_letter_exchange is not None
        """Whether what it is done with, for another reason than an acknowledgement, goes on."""
        self.deduplication_window: DeduplicationWindow | None = None
        """The keys it has seen lately, if it deduplicates."""
        if self.settings.deduplicates:
            self.deduplication_window = self._new_window()
        self.expiry: QueueExpiry | None = None
        """What ends it when it is not used, if it has the setting `expires`."""
        self.declared_by = ""
        """Who declared it, as an operator reads it; empty if that is not known."""
        self.declared_at: i64 = host.clock.now
        """When it was declared, in milliseconds since the epoch."""
        self._needs_checks = self.settings.needs_checks
        self._timer: Timer = _QueueTimer(self)
        self._consumer_set = ConsumerSet(self.settings.single_active_consumer)
        self._ready = self._consumer_set.ready
        self.priority_levels = max(int(self.settings.max_priority), 0) + 1
        """Levels of priority, each of which the store knows by a number of its own."""
        self._backlog: Backlog = (
            FifoBacklog(self.deliver_ready)
            if self.priority_levels == 1
            else PriorityBacklog(self.deliver_ready, self.priority_levels - 1)
        )
        self._backlog.set_ttl(self.settings.message_ttl)
        self.redeliveries = Redeliveries() if self.settings.counts_deliveries else None
        """What came back and is not done with, if it matters how often a message does."""
        self._held_at: i64 = -1
        """The position that had left last when a publisher was told that it is too fast: while
        nothing has left since, slowing it down would help nobody."""

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        """Use a store: for what does not fit into memory and, with `log`, for what is durable."""
        self.journal = journal
        self._backlog.attach_store(store, journal)

    def restore(self, store: Store, found: list[tuple[QueueJournal, RecoveredQueue]]) -> None:
        """Take in what a start found, by level of priority: the lowest, and others that had any."""
        backlog = self._backlog
        self.attach_store(store, found[0][0])
        for journal, level in found:
            backlog.restore(journal, level)
        if self.redeliveries is not None:
            self.redeliveries.forget(backlog.is_settled)
        # Any of them may have a time to live of its own.
        self._needs_checks = True
        self.host.timers.set(self._timer, 1)

    @property
    def exclusive(self) -> bool:
        """Whether it is usable by the connection that declared it only."""
        return self.owner is not None

    @property
    def consumers(self) -> list[Consumer]:
        """Everybody who consumes from it, in the order in which they came."""
        return self._consumer_set.consumers

    @property
    def consumer_count(self) -> int:
        """Number of consumers."""
        return self._consumer_set.count

    @property
    def exclusively_consumed(self) -> bool:
        """Whether a consumer asked to be the only one."""
        return self._consumer_set.exclusive

    @property
    def single_active(self) -> bool:
        """Whether one of its consumers is active at a time, and the others wait."""
        return self._consumer_set.single_active

    def message_count(self) -> i64:
        """Messages ready to be delivered (RabbitMQ: `messages_ready`)."""
        return self._backlog.count

    def retry_delayed_count(self) -> i64:
        """Messages that are held back, neither ready nor unacknowledged."""
        return 0 if self.redeliveries is None else self.redeliveries.delayed_count()

    def publish(self, message: Message, targets: PersistTargets | None = None) -> i64:
        """Put a message behind all others, or deliver it to the next ready consumer.

        The publisher passes on the dead letters that this may make.

        :returns: `THROTTLE` if many messages are ready and consumers are working on them, or if
            the disk does not keep up.
        """
        if self._needs_checks or message.expires_at != 0:
            return self._publish_checked(message, targets)
        backlog = self._backlog
        store = backlog.store
        outcome: i64 = ACCEPTED
        if store is not None and store.needs_backpressure():
            outcome = ACCEPTED | THROTTLE
        position = backlog.next_position
        if backlog.count == 0 and self._ready.first is not None:
            consumer = self._ready.next()
            if consumer is not None:
                backlog.next_position = position + 1
                backlog.popped_position = position
                consumer.deliver(message, position, False)
                if message.persistent and self.journal is not None:
                    outcome |= self._persist_at(position, targets)
                return outcome
        backlog.append(message)
        if message.persistent:
            journal = self.journal
            if journal is not None and targets is not None:
                targets.add(journal, position)
        if outcome == ACCEPTED and self._is_too_long():
            return ACCEPTED | THROTTLE
        return outcome

    def _persist_at(self, position: i64, targets: PersistTargets | None) -> i64:
        """Have the message at a position written to the log, unless it is settled already.

        :returns: `AWAITS_COMMIT` if it is settled, and may have become a dead letter in the batch.
        """
        journal = self._backlog.journal_at(position)
        if self.journal is None or journal is None or targets is None:
            return 0
        if not journal.is_settled(position):
            targets.add(journal, position)
            return 0
        return AWAITS_COMMIT if self.dead_letters else 0

    def _is_too_long(self) -> bool:
        """Whether many messages wait, and one has left since this was last so."""
        backlog = self._backlog
        if backlog.count < THROTTLED_BACKLOG_MESSAGES or backlog.popped_position == self._held_at:
            return False
        self._held_at = backlog.popped_position
        return True

    def deliver_ready(self) -> None:
        """Hand out messages for as long as there are any and a consumer takes them."""
        if self._needs_checks:
            self._deliver_ready_checked()
            self._pass_on_dead_letters()
            return
        backlog = self._backlog
        ready = self._ready
        while ready.first is not None and backlog.available():
            consumer = ready.next()
            if consumer is None:
                return
            message = backlog.pop()
            consumer.deliver(message, backlog.popped_position, backlog.redelivered)

    def take(self) -> tuple[Message, int, bool] | None:
        """The next message, its position, and whether it was delivered before (basic.get).

        :raises AmqpError: INTERNAL_ERROR if it cannot be read, which ends the broker.
        """
        backlog = self._backlog
        backlog.load_blocking()
        if self._needs_checks:
            while self._drop_head():
                backlog.load_blocking()
            self._pass_on_dead_letters()
        if backlog.count == 0:
            return None
        if not backlog.available():
            raise AmqpError(ReplyCode.INTERNAL_ERROR, "the next message cannot be read from disk")
        taken = self._with_counts(backlog.pop())
        if self._needs_checks:
            self._enforce_limits()
            self._pass_on_dead_letters()
        return taken

    def _with_counts(self, message: Message) -> tuple[Message, int, bool]:
        """The message that was just popped, its position, and whether it was delivered before."""
        backlog = self._backlog
        position = int(backlog.popped_position)
        redeliveries = self.redeliveries
        if redeliveries is None or backlog.redelivered or position not in redeliveries.counts:
            return message, position, backlog.redelivered
        # It came back before a restart.
        return counted(message, redeliveries.counts[position]), position, True

    def settle(self, position: i64) -> None:
        """A message that was taken is not given back: it need not be kept any more."""
        self._backlog.settle(position)
        if self.redeliveries is not None:
            self.redeliveries.counts.pop(position, None)

    def reject(self, message: Message, position: i64) -> None:
        """A message that was taken is not wanted: it is done with, and a dead letter."""
        self._drop(message, position, REJECTED)
        self._pass_on_dead_letters()

    def requeue(self, message: Message, position: i64, failed: bool = False) -> None:
        """Put a message that was taken back to its old place. Call `deliver_ready` after the last.

        :param failed: whether somebody could not cope with it, rather than hand it back.
        """
        if self.deleted:
            return
        if message.expires_at != 0:
            self._needs_checks = True
        if self.redeliveries is not None:
            self._requeue_counted(self.redeliveries, message, position, failed)
            return
        self._backlog.requeue(message, position)

    def purge(self) -> i64:
        """Drop every ready message.

        :returns: how many there were.
        """
        count = self.message_count() + self.retry_delayed_count()
        for position in self._backlog.purge():
            self.settle(position)
        if self.redeliveries is not None:
            for position in self.redeliveries.clear_delayed():
                self.settle(position)
        return count

    def add_consumer(self, consumer: Consumer) -> None:
        """Let a consumer take its turns, from now on."""
        self._consumer_set.add(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Give a consumer no more messages; those it holds stay with its channel.

        Another may be active now: call `deliver_ready` when all that comes back is back.
        """
        self._consumer_set.remove(consumer)

    def resume(self, consumer: Consumer) -> None:
        """Let a consumer that may have room again take its turns again."""
        if consumer.suspended and not self.deleted:
            self._consumer_set.resume(consumer)
            self.deliver_ready()

    def delete(self) -> None:
        """Drop all messages, and tell the consumers."""
        self._backlog.delete()
        self.redeliveries = None
        self.journal = None
        self.host.timers.stop(self._timer)
        if self.expiry is not None:
            self.host.timers.stop(self.expiry)
            self.expiry = None
        self.deleted = True
        self.dead_letters = False
        self._consumer_set.cancel_all()

    # --- messages that expire, or are too many -----------------------------------------------

    def apply(self, settings: QueueSettings) -> None:
        """Go by other settings from now on."""
        self.settings = settings
        self.dead_letters = settings.dead_letter_exchange is not None
        self._backlog.set_ttl(settings.message_ttl)
        if settings.counts_deliveries and self.redeliveries is None:
            self.redeliveries = Redeliveries()
        if settings.deduplicates:
            window = self._new_window()
            if self.deduplication_window is not None:
                window.copy_from(self.deduplication_window)
            self.deduplication_window = window
        # What is queued already may have a time to live of its own.
        self._needs_checks = self.message_count() != 0 or self._needs_checks_when_empty()
        self.deliver_ready()

    def _publish_checked(self, message: Message, targets: PersistTargets | None) -> i64:
        """As `publish`, for a queue or a message with limits of its own."""
        self._needs_checks = True
        outcome: i64 = ACCEPTED
        if self.settings.deduplicates and message.persistent:
            # The message that it is a duplicate of, or its key, may be in the open batch.
            outcome |= AWAITS_COMMIT
        window = self.deduplication_window if self.settings.deduplicates else None
        key = None if window is None else window.key_of(message.header)
        if window is not None and key is not None and window.has(key, self.host.clock.now):
            window.duplicates += 1
            return outcome
        if self.settings.rejects and self._has_no_room_for(len(message.body)):
            if self.settings.overflow == REJECT_PUBLISH_DLX and self.dead_letters:
                self.host.dead_letter(self.name, self.settings, message, MAX_LENGTH)
            return REFUSED
        if self.persists and not message.persistent:
            message = persistent(message)
        if window is not None and key is not None:
            self._note_key(window, key, message)
        backlog = self._backlog
        if self._ready.first is not None and backlog.count == 0:
            consumer = self._ready.next()
            if consumer is not None:
                position = backlog.assign_position(message)
                consumer.deliver(message, position, False)
                if message.persistent:
                    outcome |= self._persist_at(position, targets)
                return outcome
        position = backlog.append(message)
        self._enforce_limits()
        if message.persistent:
            outcome |= self._persist_at(position, targets)
        store = backlog.store
        if (store is not None and store.needs_backpressure()) or self._is_too_long():
            outcome |= THROTTLE
        return outcome

    def _new_window(self) -> DeduplicationWindow:
        settings = self.settings
        return DeduplicationWindow(
            settings.cache_size, settings.cache_ttl, settings.deduplication_header
        )

    def _note_key(self, window: DeduplicationWindow, key: bytes, message: Message) -> None:
        """The next message with this key is a duplicate, after a restart, too, if this is kept."""
        expires_at = window.add(key, message.header, self.host.clock.now)
        if message.persistent and self.journal is not None:
            self.host.note_key(self.name, key, int(expires_at))

    def _deliver_ready_checked(self) -> None:
        """As `deliver_ready`, past what has expired."""
        backlog = self._backlog
        ready = self._ready
        while self._enforce_limits() and ready.first is not None and backlog.available():
            consumer = ready.next()
            if consumer is None:
                return
            message, position, redelivered = self._with_counts(backlog.pop())
            consumer.deliver(message, position, redelivered)
        if self.message_count() == 0:
            self._needs_checks = self._needs_checks_when_empty()

    def _needs_checks_when_empty(self) -> bool:
        """Whether there is anything to see to, though no message is ready."""
        return self.settings.needs_checks or self.retry_delayed_count() != 0

    def _enforce_limits(self) -> bool:
        """Drop what has expired at the head and what is too much, and see to the rest in time.

        :returns: False if there is more of it than is done at once.
        """
        left: i64 = DROP_SLICE_MESSAGES
        while left > 0 and (self._requeue_due() or self._drop_head()):
            left -= 1
        host = self.host
        now = host.clock.now
        due = now if left == 0 else self._backlog.next_expiry(now)
        if due != 0:
            host.timers.set(self._timer, due)
        if self.redeliveries is not None and self.redeliveries.delayed_count() != 0:
            host.timers.set(self._timer, self.redeliveries.next_due())
        return left > 0

    def _drop_head(self) -> bool:
        """Drop the message at the head, if it has expired or there is one too many.

        One that was held back before a restart is so again.
        """
        backlog, redeliveries = self._backlog, self.redeliveries
        if redeliveries is not None and redeliveries.counts and self._is_head_delayed(redeliveries):
            message, position, _ = self._with_counts(backlog.pop())
            redeliveries.delay(position, message)
            return True
        now = self.host.clock.now
        due = backlog.next_expiry(now)
        if due != 0 and due <= now:
            popped = backlog.pop_expired()
            reason = EXPIRED
        elif self._is_over_limit() and backlog.available():
            popped = backlog.pop()
            reason = MAX_LENGTH
        else:
            return False
        message, position, _ = self._with_counts(popped)
        self._drop(message, position, reason)
        return True

    def _is_over_limit(self) -> bool:
        settings = self.settings
        if settings.rejects:
            # What comes back has its place, however full the queue is.
            return False
        count = self.message_count() + self.retry_delayed_count()
        if settings.max_length != NONE and count > settings.max_length:
            return True
        return settings.max_length_bytes != NONE and self._bytes() > settings.max_length_bytes

    def _has_no_room_for(self, size: i64) -> bool:
        settings = self.settings
        count = self.message_count() + self.retry_delayed_count()
        if settings.max_length != NONE and count >= settings.max_length:
            return True
        most = settings.max_length_bytes
        return most != NONE and self._bytes() + size > most

    def _bytes(self) -> i64:
        """Bytes of the bodies of all messages that are ready or held back."""
        size = self._backlog.bytes
        return size if self.redeliveries is None else size + self.redeliveries.delayed_bytes

    def _drop(self, message: Message, position: i64, reason: bytes) -> None:
        """Be done with a message, and pass it on where it goes."""
        self.settle(position)
        if self.dead_letters:
            self.host.dead_letter(self.name, self.settings, message, reason)

    def _pass_on_dead_letters(self) -> None:
        if self.dead_letters:
            self.host.pass_on_dead_letters()

    # --- messages that came back ---------------------------------------------------------------

    def _requeue_counted(
        self, redeliveries: Redeliveries, message: Message, position: i64, failed: bool
    ) -> None:
        """As `requeue`, where it matters how often."""
        host, settings = self.host, self.settings
        returns = redeliveries.count(int(position), settings, failed, host.clock.now)
        if exceeds_limit(returns, settings):
            self._drop(message, position, DELIVERY_LIMIT)
            self._pass_on_dead_letters()
            return
        message = counted(message, returns)
        if self.journal is not None and message.persistent:
            host.note_delivery_counts(self.name, int(position), returns)
        if returns.retry_at:
            redeliveries.delay(int(position), message)
        else:
            self._backlog.requeue(message, position)

    def _requeue_due(self) -> bool:
        """Put a message that is held back no longer where it came back to."""
        redeliveries = self.redeliveries
        if redeliveries is None:
            return False
        due = redeliveries.pop_due(self.host.clock.now)
        if due is None:
            return False
        position, message = due
        self._backlog.requeue(message, position)
        return True

    def _is_head_delayed(self, redeliveries: Redeliveries) -> bool:
        backlog = self._backlog
        if not backlog.available():
            return False
        return redeliveries.is_delayed(int(backlog.head_position()), self.host.clock.now)


class _QueueTimer(Timer):
    """Rings when the message at the head of a queue expires."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self._queue = queue

    def ring(self) -> None:
        self._queue.deliver_ready()

"""A queue: takes messages, keeps them in order, and delivers them to its consumers.

Rules:
- A message's position says where it is in the order of delivery. A message that is requeued
  (rejected, or unacknowledged when its channel closed) returns to its position.
- While a consumer is ready the backlog is empty, so a message that is published then is delivered
  at once; but for slices in which very many consumers are asked, of which none accepts one. No
  consumer of a paused queue is ready.
- In a durable queue every position that is settled is noted in the queue's journal.
- A queue needs checks if it has a limit, priorities, deduplication or delivery counts, or if a
  message in it expires. All other queues, by far the most, test one flag for it.

What it is composed of: the messages (`contents.py`, `backlog.py`, `redelivery.py`), the limits
(`limit_enforcer.py`), the consumers (`consumer_set.py`). Declaring and deleting, with all that may
be refused, is in `lifecycle/`; publishing to several queues at once is in `flow/`.
"""

from mypy_extensions import i64

from leveret.engine.policies.policy_set import NO_POLICIES
from leveret.engine.queues.backlog import Backlog
from leveret.engine.queues.backpressure import Backpressure, is_long
from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.consumer_rings import NOBODY
from leveret.engine.queues.consumer_set import ConsumerSet
from leveret.engine.queues.contents import QueueContents
from leveret.engine.queues.dead_letter import REJECTED, has_died_in
from leveret.engine.queues.limit_enforcer import LimitEnforcer
from leveret.engine.queues.purge import Purge
from leveret.engine.queues.queue_expiry import QueueExpiry
from leveret.engine.queues.queue_host import NULL_HOST, QueueHost
from leveret.engine.queues.redelivery import Redeliveries
from leveret.engine.routing.exchanges.base import Destination
from leveret.engine.routing.sink import (
    ACCEPTED,
    AWAITS_COMMIT,
    AWAITS_TRANSACTION,
    DEAD_LETTERED,
    REFUSED,
    THROTTLE,
    PersistTargets,
    Sink,
)
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.deduplication import DeduplicationWindow
from leveret.engine.values.message import Message, persistent
from leveret.engine.values.settings import (
    REJECT_PUBLISH_DLX,
    SHARED,
    QueueSettings,
)
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timer
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store


class Queue(Sink):
    """A named queue of one virtual host, which owns it."""

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
        """Whether it survives a restart."""
        self.destination = Destination(name, durable)
        """What bindings to it lead to."""
        self.auto_delete = auto_delete
        self.owner = owner
        """The connection that declared an exclusive queue; None for a shared one."""
        self.arguments, self.settings = SHARED.of(
            arguments if arguments is not None else Arguments({}, {})
        )
        self.policies = NO_POLICIES
        """The policies that its settings are made of, beside its arguments."""
        self.unacknowledged: i64 = 0
        """Number of messages that consumers, or basic.get, have and did not settle."""
        self.journal: QueueJournal | None = None
        """The journal of a durable queue; with priorities, that of the lowest one."""
        self.host = host
        self.persists = self.settings.quorum
        """Whether every message in it is persistent, however it was published."""
        self.deduplication_window: DeduplicationWindow | None = None
        """The keys of recent messages, if it deduplicates."""
        if self.settings.deduplicates:
            self.deduplication_window = self._new_window()
        self.expiry: QueueExpiry | None = None
        """The timer that deletes it when it is unused, if it has the setting `expires`."""
        self.declared_by = ""
        """The connection that declared it, as an operator reads it; empty if that is not known."""
        self.declared_at: i64 = host.clock.wall_time()
        """When it was declared, in milliseconds since the epoch."""
        self.consumer_left_at: i64 = 0
        self.paused_at: i64 = 0
        """When its last consumer left, and when it was paused, since the start; 0 if never."""
        self._needs_checks = self.settings.needs_checks
        self.consumer_set = ConsumerSet(self.settings.single_active_consumer)
        """Its consumers, which nobody else changes."""
        self._ready = self.consumer_set.ready
        self.contents = QueueContents(name, self.settings, host, self.deliver_ready)
        """Its messages, which nobody else changes."""
        self._backlog = self.contents.backlog
        self._timer: Timer = _QueueTimer(self)
        self._limits = LimitEnforcer(self.contents, host, self._timer)
        self._backpressure: Backpressure | None = None
        """None before its first long backlog."""
        self._time_slice = host.time_slice
        self._goes_on_later = False
        """Whether a piece of work delivers what is ready."""

    # --- properties ----------------------------------------------------------------------------

    @property
    def exclusive(self) -> bool:
        """Whether only the connection that declared it may use it."""
        return self.owner is not None

    def is_consumed(self) -> bool:
        """Whether it has a consumer."""
        return self.consumer_set.count > 0

    @property
    def priority_levels(self) -> int:
        """Number of priorities, each of which has a journal of its own in the store."""
        return self.contents.priority_levels

    @property
    def redeliveries(self) -> Redeliveries | None:
        """Delivery counts and retry delays, if deliveries are counted."""
        return self.contents.redeliveries

    @property
    def consumers(self) -> list[Consumer]:
        """All consumers, in the order in which they came."""
        return self.consumer_set.consumers

    @property
    def consumer_count(self) -> int:
        """Number of consumers."""
        return self.consumer_set.count

    @property
    def exclusively_consumed(self) -> bool:
        """Whether its only consumer is an exclusive one."""
        return self.consumer_set.exclusive

    @property
    def single_active(self) -> bool:
        """Whether only one of its consumers is active at a time."""
        return self.consumer_set.single_active

    @property
    def paused(self) -> bool:
        """Whether clients get no messages of it until an operator resumes it."""
        return self._ready is NOBODY

    @property
    def backlog(self) -> Backlog:
        """The ready messages."""
        return self._backlog

    def message_count(self) -> i64:
        """Number of ready messages (RabbitMQ: `messages_ready`)."""
        return self._backlog.count

    def retry_delayed_count(self) -> i64:
        """Number of retry-delayed messages, which are neither ready nor unacknowledged."""
        return self.contents.retry_delayed_count()

    # --- store and settings -------------------------------------------------------------------

    def attach_store(self, store: Store, journal: QueueJournal | None) -> None:
        """Write what does not fit into memory to a store, and, with a journal, what is durable."""
        self.journal = journal
        self.contents.persists_counts = journal is not None
        self._backlog.attach_store(store, journal)

    def restore(self, store: Store, found: list[tuple[QueueJournal, RecoveredQueue]]) -> None:
        """Add what recovery found: for the lowest priority, and for all others with a journal."""
        backlog = self._backlog
        self.attach_store(store, found[0][0])
        for journal, recovered in found:
            backlog.restore(journal, recovered)
        if self.redeliveries is not None:
            self.redeliveries.forget(backlog.is_settled)
        # Any message may expire, which is not known before it is read.
        self._needs_checks = True
        self.host.timers.set(self._timer, self.host.next_look())

    def note_delivered_exactly(self) -> None:
        """Have the store note exactly which messages were delivered, before it is closed."""
        self._backlog.note_delivered_exactly()

    def apply(self, settings: QueueSettings) -> None:
        """Use other settings, of which those of deduplication are the same."""
        self.settings = settings
        self.contents.apply(settings)
        self._limits.apply(settings)
        # Any ready message may expire.
        self._needs_checks = self.message_count() != 0 or self._needs_checks_when_empty()
        self.deliver_ready()

    def delete(self) -> None:
        """Drop all messages, and cancel all consumers, many of them in later slices."""
        self.host.begin(self.contents.delete())
        self.journal = None
        self.host.timers.stop(self._timer)
        if self.expiry is not None:
            self.expiry.stop()
            self.expiry = None
        self.deleted = True
        if self.deduplication_window is not None:
            self.deduplication_window.delete()
        if self.consumer_set.count != 0:
            self.host.begin(self.consumer_set.cancel_all())

    # --- consumers ----------------------------------------------------------------------------

    def add_consumer(self, consumer: Consumer) -> None:
        """Add a consumer. Call `deliver_ready` when the client knows of it."""
        self.consumer_set.add(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Deliver no more messages to a consumer. Its unacknowledged ones stay with its channel.

        Another consumer may be active then: call `deliver_ready` after the last requeue.
        """
        self.consumer_set.remove(consumer)

    def time_out(self, consumer: Consumer) -> None:
        """A consumer did not settle a delivery in time, whose message is requeued.

        Another consumer may be active then: call `deliver_ready` afterwards.
        """
        if not self.deleted:
            self.consumer_set.time_out(consumer)

    def recover(self, consumer: Consumer) -> None:
        """A consumer that has timed out has settled what was overdue."""
        if not self.deleted:
            self.consumer_set.recover(consumer)
            self.deliver_ready()

    def resume(self, consumer: Consumer) -> None:
        """Make a suspended consumer ready, and deliver messages to it; no error if it is not."""
        if consumer.suspended and not self.deleted:
            self.consumer_set.resume(consumer)
            self.deliver_ready()

    def set_paused(self, paused: bool) -> None:
        """Deliver nothing to consumers, or deliver again."""
        self._ready = NOBODY if paused else self.consumer_set.ready
        self.deliver_ready()

    # --- messages in --------------------------------------------------------------------------

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
                if position >= backlog.noted_end:
                    backlog.note_delivered(position)
                consumer.deliver(message, position, False)
                if message.persistent and self.journal is not None:
                    outcome |= self._persist_at(position, targets)
                return outcome
            self._ask_further()
        backlog.append(message)
        if message.persistent:
            journal = self.journal
            if journal is not None and targets is not None:
                targets.add(journal, position)
        if is_long(backlog) and outcome == ACCEPTED and self._holds_publishers():
            return ACCEPTED | THROTTLE
        return outcome

    def _publish_checked(self, message: Message, targets: PersistTargets | None) -> i64:
        """As `publish`, with checks of duplicates, limits and expiry."""
        self._needs_checks = True
        outcome: i64 = ACCEPTED
        if self.settings.deduplicates and message.persistent:
            # The message that it is a duplicate of, or its key, may be in the open batch.
            outcome |= AWAITS_COMMIT
        window = self.deduplication_window if self.settings.deduplicates else None
        key = None if window is None else window.key_of(message.header)
        if (
            window is not None
            and key is not None
            and window.has(key, self.host.clock.now)
            and not (self.host.publishes_again and has_died_in(message.header, self.name))
        ):
            window.duplicates += 1
            store = self._backlog.store
            if message.persistent and store is not None and store.transaction.is_open():
                outcome |= AWAITS_TRANSACTION
            return outcome
        if self._limits.refuses(len(message.body)):
            if self.settings.overflow == REJECT_PUBLISH_DLX and self.contents.dead_letters:
                self.contents.refuse(message)
                return REFUSED | DEAD_LETTERED
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
            self._ask_further()
        position = backlog.append(message)
        if not self._limits.enforce():
            self._go_on_later()
        if message.persistent:
            outcome |= self._persist_at(position, targets)
        if self.throttles():
            outcome |= THROTTLE
        return outcome

    def _persist_at(self, position: i64, targets: PersistTargets | None) -> i64:
        """Have the message at a position written to the log, unless it has left the queue already.

        :returns: `AWAITS_COMMIT` if it has, and may have become a dead letter in the batch.
        """
        journal = self._backlog.journal_at(position)
        if self.journal is None or journal is None or targets is None:
            return 0
        contents = self.contents
        if contents.waiting:
            dead_letter = contents.waiting.get(position)
            if dead_letter is not None:
                dead_letter.unwritten = True
                self.host.note_unwritten(dead_letter)
                return AWAITS_COMMIT
        if not journal.is_settled(position):
            targets.add(journal, position)
            return 0
        return AWAITS_COMMIT if contents.dead_letters else 0

    def lets_large_wait(self) -> bool:
        # What is known of its key must not be durable without it.
        return self.deduplication_window is None

    def throttles(self) -> bool:
        store, long = self._backlog.store, is_long(self._backlog)
        if store is not None and (store.delays_commits() or (long and store.needs_backpressure())):
            return True
        if self.has_to_wait():
            return True
        return long and self._holds_publishers()

    def _holds_publishers(self) -> bool:
        """Whether consumers are taking messages of the backlog, which is long."""
        if self._backpressure is None:
            self._backpressure = Backpressure(self.host.clock, self.priority_levels > 1)
        return self._backpressure.holds(self._backlog)

    def _new_window(self) -> DeduplicationWindow:
        settings = self.settings
        window = DeduplicationWindow(
            settings.cache_size, settings.cache_ttl, settings.deduplication_header
        )
        window.attach(self.host.memory.windows)
        return window

    def _note_key(self, window: DeduplicationWindow, key: bytes, message: Message) -> None:
        """Have the next message with this key be a duplicate, after a restart too if persistent."""
        expires_at = window.add(key, message.header, self.host.clock.now)
        if message.persistent and self.journal is not None:
            self.host.persist_key(self.name, key, int(expires_at))

    # --- messages out -------------------------------------------------------------------------

    def deliver_ready(self) -> None:
        """Deliver messages until none is ready or no consumer accepts one, as long as the time
        slice lasts, and the rest in later slices."""
        if not self._deliver_slice():
            self._go_on_later()

    def go_on(self) -> bool:
        """Deliver messages for the time of a slice, as `deliver_ready` has put off.

        :returns: whether nothing is left to do.
        """
        if not self.deleted and not self._deliver_slice():
            return False
        self._goes_on_later = False
        return True

    def has_to_wait(self) -> bool:
        """Whether so many dead letters wait that it should drop no message."""
        return self.contents.dead_letters and self.host.has_too_many_dead_letters()

    def _ask_further(self) -> None:
        """No consumer that was asked accepts the message that waits: ask the others in later
        slices."""
        if self._ready.first is not None:
            self._go_on_later()

    def give_up(self) -> None:
        """What was put off to a later slice has failed, and is not under way any more."""
        self._goes_on_later = False

    def _go_on_later(self) -> None:
        if not self._goes_on_later:
            self._goes_on_later = True
            self.host.work.add(_Delivery(self))

    def _deliver_slice(self) -> bool:
        """Deliver messages as long as the time slice lasts.

        :returns: False if there may be more to do.
        """
        if self._needs_checks:
            done = self._deliver_slice_checked()
            self.contents.pass_on_dead_letters()
            return done
        backlog = self._backlog
        ready = self._ready
        time_slice = self._time_slice
        while ready.first is not None and backlog.available():
            consumer = ready.next()
            if consumer is None:
                return ready.empty()
            message = backlog.pop()
            consumer.deliver(message, backlog.popped_position, backlog.redelivered)
            if time_slice.is_over():
                return False
        return True

    def _deliver_slice_checked(self) -> bool:
        """As `_deliver_slice`, enforcing limits before each message."""
        backlog = self._backlog
        ready = self._ready
        time_slice = self._time_slice
        while self._limits.enforce():
            if ready.first is None or not backlog.available():
                if self.message_count() == 0:
                    self._needs_checks = self._needs_checks_when_empty()
                return True
            consumer = ready.next()
            if consumer is None:
                return ready.empty()
            message, position, redelivered = self.contents.pop()
            consumer.deliver(message, position, redelivered)
            if time_slice.is_over():
                return False
        return False

    def _needs_checks_when_empty(self) -> bool:
        return self.settings.needs_checks or self.retry_delayed_count() != 0

    def prepare_take(self) -> bool:
        """Have the message in memory that `take` removes, and drop those before it, which have
        expired or exceed a limit, as long as the time slice lasts.

        :returns: False if it has to be called again; later, if the queue `awaits_disk`.
        """
        while not self.awaits_disk():
            if not self._needs_checks or not self._limits.drop_head():
                return True
            self.contents.pass_on_dead_letters()
            if self._time_slice.is_over_now():
                return False
        return False

    def awaits_disk(self) -> bool:
        """Whether the next message is on disk only. It is being read then."""
        backlog = self._backlog
        return backlog.count != 0 and not backlog.available()

    def refuses(self, size: int) -> bool:
        """Whether it is too full for a body of `size` bytes, and refuses it for that."""
        return self._limits.refuses(size)

    def take(self) -> tuple[Message, int, bool] | None:
        """Remove the next message (basic.get), which the caller settles, rejects or requeues. It
        waits for the disk, unless `prepare_take` has returned True.

        :returns: the message, its position, and whether it was delivered before.
        :raises AmqpError: INTERNAL_ERROR if it cannot be read, which ends the broker.
        """
        backlog, contents = self._backlog, self.contents
        backlog.load_blocking()
        if self._needs_checks:
            while self._limits.drop_head():
                backlog.load_blocking()
            contents.pass_on_dead_letters()
        if backlog.count == 0:
            return None
        if not backlog.available():
            raise AmqpError(ReplyCode.INTERNAL_ERROR, "the next message cannot be read from disk")
        taken = contents.pop()
        if self._needs_checks:
            if not self._limits.enforce():
                self._go_on_later()
            contents.pass_on_dead_letters()
        return taken

    def settle(self, position: i64) -> None:
        """Note that a message that was delivered is acknowledged: the store may drop it."""
        # As `QueueContents.settle`, without a call: this is done for every message.
        self._backlog.settle(position)
        redeliveries = self.contents.redeliveries
        if redeliveries is not None:
            redeliveries.counts.forget(position)

    def reject(self, message: Message, position: i64) -> None:
        """Drop a message that was rejected without requeue: it is a dead letter."""
        self.contents.drop(message, position, REJECTED)
        self.contents.pass_on_dead_letters()

    def requeue(self, message: Message, position: i64, failed: bool = False) -> None:
        """Return a message that was delivered to its position.

        Call `deliver_ready` after the last one.

        :param failed: whether it counts as failed, rather than only returned (`redelivery.py`).
        """
        if self.deleted:
            return
        if message.expires_at != 0:
            self._needs_checks = True
        self.contents.requeue(message, position, failed)

    def release_popped(self, popped: list[tuple[int, Message]]) -> list[Message]:
        """Have unacknowledged messages on disk only, as `Backlog.release_popped`."""
        if self.deleted or self.contents.retains_popped():
            return [message for _, message in popped]
        return self._backlog.release_popped(popped)

    def purge(self) -> Purge:
        """Drop every ready or retry-delayed message.

        :returns: what has the number of messages, and settles them in later slices as far as it is
            not done yet. It is done without help; whoever waits for it may run it, too.
        """
        purge = self.contents.purge()
        self.host.begin(purge)
        return purge


class _Delivery(Work):
    """What a queue has still to deliver and to drop."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def run(self, time_slice: TimeSlice) -> bool:
        if self._queue.has_to_wait():
            self._queue.host.begin_after_dead_letters(self)
            return True
        return self._queue.go_on()

    def give_up(self) -> None:
        self._queue.give_up()


class _QueueTimer(Timer):
    """Rings when the message at the head of a queue expires, or a retry delay ends."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self._queue = queue

    def ring(self) -> None:
        self._queue.deliver_ready()

"""A virtual host: its exchanges, queues and bindings, its router and its publisher.

The router finds the sinks of a message, and the publisher publishes to them. The virtual host is
the host of its queues (`queues/queue_host.py`). Declaring, binding and deleting, with all reasons
to refuse it, are in `lifecycle/`.
"""

from leveret.engine.access.limits import NO_LIMIT
from leveret.engine.flow.dead_letters import DeadLetters
from leveret.engine.flow.publish import Publisher
from leveret.engine.flow.release import Release
from leveret.engine.persistence.definition_log import DefinitionLog
from leveret.engine.persistence.definitions import KeysSeen, MessageReturned, SortedRunBegun
from leveret.engine.policies.policy_set import PolicySet
from leveret.engine.queues.dead_letter import DeadLetter
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.queues.delivery_counts import DeliveryCounts
from leveret.engine.queues.message_memory import MessageMemory
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.routing.routes import Router
from leveret.engine.values.clock import Clock
from leveret.engine.values.counters import (
    ChannelCounters,
    ChurnCounters,
    DeletedCounters,
    SizeCounters,
    TrafficCounters,
)
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timers
from leveret.engine.values.work import Work, WorkQueue
from leveret_storage.store.store import Store


class VirtualHost(QueueHost):
    """One virtual host. After a change of `exchanges`, `queues` or a binding, call
    `router.invalidate`."""

    def __init__(
        self,
        name: str,
        clock: Clock | None = None,
        timers: Timers | None = None,
        time_slice: TimeSlice | None = None,
        work: WorkQueue | None = None,
        memory: MessageMemory | None = None,
    ) -> None:
        super().__init__(
            clock or Clock(),
            timers or Timers(),
            time_slice or TimeSlice(),
            work or WorkQueue(),
            memory,
        )
        self.name = name
        self.uid = ""
        """Of a virtual host of a cluster, as in the metadata."""
        self.queues: dict[str, Queue] = {}
        self.delayed_stores: dict[str, DelayedStore] = {}
        """The stores of the delayed exchanges, by the name of the exchange."""
        self.router = Router(name, self.queues, self.work)
        self.exchanges: dict[str, Exchange] = self.router.exchanges
        self.dead_letters = DeadLetters(self.router, self.clock)
        self.publisher = Publisher(self.dead_letters, self)
        self.delayed_dropped: dict[str, int] = {}
        """Number of messages that no queue took when their delay was over since the last report,
        which clears it, by the name of the delayed exchange."""
        self.counters = ChannelCounters()
        """Of all channels that it ever had."""
        self.closed_traffic = TrafficCounters()
        """Of the connections to it that have ended."""
        self.churn = ChurnCounters()
        self.gone = DeletedCounters()
        self.sizes = SizeCounters()
        """Of its broker."""
        self.policies = PolicySet()
        self.queues_max = NO_LIMIT
        """Queues that it may have."""
        self.default_queue_type = ""
        """The type of durable queues that are declared without one; "" for the broker's own."""
        self.node = ""
        """The broker that serves it, in a cluster."""
        self.copies = 1
        """Servers that have what is confirmed of its durable queues, at least; 0 where that is a
        matter of who provides the database."""
        self.adopts_redeclared = False
        """Whether a queue that is declared with other arguments than before adopts them."""
        self.definition_log: DefinitionLog | None = None
        """Where definitions are written; None without a store."""
        self.store: Store | None = None
        """The store of the definition log."""

    def attach_store(self, log: DefinitionLog) -> None:
        """Persist definitions and messages in a store from now on.

        A start calls it after everything is restored, so that nothing is written again.
        """
        self.definition_log = log
        self.store = log.store
        self.publisher.store = log.store

    # --- as the host of its queues ------------------------------------------------------------

    def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        self.dead_letters.add(dead_letter)

    def note_unwritten(self, dead_letter: DeadLetter) -> None:
        self.dead_letters.note_unwritten(dead_letter)

    def pass_on_dead_letters(self) -> None:
        self.publisher.pass_on_dead_letters()

    def has_too_many_dead_letters(self) -> bool:
        return self.publisher.has_too_many_dead_letters()

    def begin_after_dead_letters(self, work: Work) -> None:
        self.publisher.begin_after_dead_letters(work)

    def persist_key(self, queue: str, key: bytes, expires_at: int) -> None:
        if self.definition_log is not None:
            self.definition_log.write(KeysSeen(self.name, queue, False, [(key, int(expires_at))]))

    def persist_exchange_key(self, exchange: str, key: bytes, expires_at: int) -> None:
        """Persist the deduplication key of a persistent message in a durable exchange."""
        if self.definition_log is not None:
            seen = KeysSeen(self.name, exchange, True, [(key, int(expires_at))])
            self.definition_log.write(seen)

    def persist_delivery_counts(self, queue: str, position: int, counts: DeliveryCounts) -> None:
        if self.definition_log is not None:
            self.definition_log.write_unawaited(
                MessageReturned(self.name, queue, int(position), *counts)
            )

    def release(self, exchange: str, message: Message) -> Work:
        dropped = self.delayed_dropped
        return Release(self.publisher, self.router, dropped, exchange, message, self.clock.now)

    def persist_sorted_run(self, exchange: str, first: int) -> None:
        if self.definition_log is not None:
            self.definition_log.write(SortedRunBegun(self.name, exchange, int(first)))

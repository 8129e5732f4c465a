"""The interface of the virtual host to its queues: clock, timers, dead letters, definitions."""

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from leveret.engine.queues.message_memory import MessageMemory
from leveret.engine.queues.redelivery import DeliveryCounts
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message
from leveret.engine.values.settings import QueueSettings
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timers
from leveret.engine.values.work import WorkQueue

REJECTED: Final = b"rejected"
EXPIRED: Final = b"expired"
MAX_LENGTH: Final = b"maxlen"
DELIVERY_LIMIT: Final = b"delivery_limit"
"""Why a message died (RabbitMQ: Dead Letter Exchanges)."""


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
    blocks_flushed: int = 4
    """Blocks that are flushed at once: more than is published in one slice of work."""


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

    @abstractmethod
    def add_dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        """Add a message that a queue has settled, and that goes to its dead-letter exchange.

        It is published by `pass_on_dead_letters`, at the end of the operation.
        """

    @abstractmethod
    def pass_on_dead_letters(self) -> None:
        """Publish the dead letters that were added."""

    @abstractmethod
    def persist_key(self, queue: str, key: bytes, expires_at: int) -> None:
        """Persist the deduplication key of a persistent message in a durable queue."""

    @abstractmethod
    def persist_delivery_counts(self, queue: str, position: int, counts: DeliveryCounts) -> None:
        """Persist how often a persistent message of a durable queue was requeued."""

    @abstractmethod
    def release(self, exchange: str, message: Message) -> bool:
        """Route a message whose delay is over, with the bindings of its exchange as they are.

        :returns: whether any queue took it.
        """

    @abstractmethod
    def persist_sorted_run(self, exchange: str, first: int) -> None:
        """Persist that a sorted run of a durable delayed exchange begins at a position."""


class NullHost(QueueHost):
    """The host of a queue that is in no virtual host: dead letters are dropped."""

    def add_dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        pass

    def pass_on_dead_letters(self) -> None:
        pass

    def persist_key(self, queue: str, key: bytes, expires_at: int) -> None:
        pass

    def persist_delivery_counts(self, queue: str, position: int, counts: DeliveryCounts) -> None:
        pass

    def release(self, exchange: str, message: Message) -> bool:
        return False

    def persist_sorted_run(self, exchange: str, first: int) -> None:
        pass


NULL_HOST: Final = NullHost(Clock(), Timers(), TimeSlice(), WorkQueue(), MessageMemory(WorkQueue()))

"""What a queue needs of the virtual host it is in."""

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from leveret.engine.queues.redelivery import DeliveryCounts
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message
from leveret.engine.values.settings import QueueSettings
from leveret.engine.values.timers import Timers

REJECTED: Final = b"rejected"
EXPIRED: Final = b"expired"
MAX_LENGTH: Final = b"maxlen"
DELIVERY_LIMIT: Final = b"delivery_limit"
"""Why a message died (RabbitMQ: Dead Letter Exchanges)."""


class WaitingLimits(NamedTuple):
    """How much of what waits in a delayed exchange is in memory (`delayed_queue.py`)."""

    memtable_messages: int = 2048
    memtable_bytes: int = 1024 * 1024
    """Messages, and bytes of their headers and bodies, at which the heap becomes a stack: sorting
    it takes a millisecond or two."""
    memtables_max: int = 16
    """Stacks that are merged into one strand: the more, the fewer strands there are, and the more
    is in memory."""
    block_messages: int = 256
    block_bytes: int = 256 * 1024
    """Messages, and bytes of their bodies, of one piece of a strand: of each strand that has
    something due soon, a piece or two are in memory."""
    blocks_flushed: int = 4
    """Pieces that are moved to disk in one go: more than is published in one turn."""


class QueueHost(ABC):
    """Where a queue lives."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self.clock = clock
        self.timers = timers
        self.waiting = WaitingLimits()

    @abstractmethod
    def dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        """Take on a message that a queue has settled and that goes to its dead-letter exchange.

        It goes with `pass_on_dead_letters`, at the end of what the queue was asked to do.
        """

    @abstractmethod
    def pass_on_dead_letters(self) -> None:
        """Let the dead letters go that were taken on."""

    @abstractmethod
    def note_key(self, queue: str, key: bytes, expires_at: int) -> None:
        """Keep the key of a persistent message that a durable queue has seen."""

    @abstractmethod
    def note_delivery_counts(self, queue: str, position: int, returns: DeliveryCounts) -> None:
        """Keep how often a persistent message of a durable queue came back."""


class NullHost(QueueHost):
    """The home of a queue that is in no virtual host: its dead letters are just gone."""

    def dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        pass

    def pass_on_dead_letters(self) -> None:
        pass

    def note_key(self, queue: str, key: bytes, expires_at: int) -> None:
        pass

    def note_delivery_counts(self, queue: str, position: int, returns: DeliveryCounts) -> None:
        pass


NULL_HOST: Final = NullHost(Clock(), Timers())

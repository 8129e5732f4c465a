"""What a queue needs of the virtual host it is in."""

from abc import ABC, abstractmethod
from typing import Final

from leveret.engine.clock import Clock
from leveret.engine.message import Message
from leveret.engine.redelivery import Returns
from leveret.engine.settings import QueueSettings
from leveret.engine.timers import Timers

REJECTED: Final = b"rejected"
EXPIRED: Final = b"expired"
MAX_LENGTH: Final = b"maxlen"
DELIVERY_LIMIT: Final = b"delivery_limit"
"""Why a message died (RabbitMQ: Dead Letter Exchanges)."""


class Home(ABC):
    """Where a queue lives."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self.clock = clock
        self.timers = timers

    @abstractmethod
    def dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        """Take on a message that a queue has settled and that goes to its dead-letter exchange."""

    @abstractmethod
    def note_returns(self, queue: str, position: int, returns: Returns) -> None:
        """Keep how often a persistent message of a durable queue came back."""


class _Nowhere(Home):
    """The home of a queue that is in no virtual host: its dead letters are just gone."""

    def dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        pass

    def note_returns(self, queue: str, position: int, returns: Returns) -> None:
        pass


NOWHERE: Final = _Nowhere(Clock(), Timers())

"""What a queue needs of the virtual host it is in."""

from abc import ABC, abstractmethod

from leveret.engine.clock import Clock
from leveret.engine.message import Message
from leveret.engine.settings import QueueSettings
from leveret.engine.timers import Timers


class Home(ABC):
    """Where a queue lives."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self.clock = clock
        self.timers = timers

    @abstractmethod
    def dead_letter(
        self, queue: str, settings: QueueSettings, message: Message, reason: str
    ) -> None:
        """Take on a message that a queue has settled and that goes to its dead-letter exchange."""

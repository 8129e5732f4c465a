"""The table of what a handle can ask of a broker.

The broker runs in another thread, or in another process. So each command is a coroutine that its
event loop runs, with arguments and a result that can be pickled. `control.py` implements them.
"""

from abc import ABC, abstractmethod


class Commands(ABC):
    """The commands."""

    @abstractmethod
    async def reset(self) -> None:
        """Begin anew, with nothing but what a fresh broker has, at the same port: connections are
        closed, and the clock is that of the machine."""

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Have time pass at once.

        :raises BrokerError: if what became due did not end.
        """

    @abstractmethod
    async def advanced_ms(self) -> int:
        """By how many milliseconds time was advanced since the last reset."""

    @abstractmethod
    async def stop(self, patient: bool) -> None:
        """Stop as at SIGTERM: what was confirmed is on disk.

        :param patient: wait for clients to answer connection.close.
        """

    @abstractmethod
    async def kill(self) -> None:
        """End as at SIGKILL."""

    @abstractmethod
    async def log(self) -> list[str]:
        """The latest events of the log, a line each, the oldest first."""

"""What opens and closes the stores that this broker is to own. Called in the event loop."""

from abc import ABC, abstractmethod
from typing import Final

SHUT_OUT_MAX_S: Final = 5.0
"""Seconds for which a broker keeps stores though the database lets in no connection for them, while
it lets others know that it lives. A failover of the database takes less than that."""

SHUT_OUT: Final = "the database lets in no connection of this broker: reconnect"
"""Why it gives them up then."""


class StoreHost(ABC):
    """The broker, as the agent of the cluster sees it (`agent.py`)."""

    def shut_out_s(self) -> float:
        """Seconds for which the engine has let in no connection for stores; 0 if it has."""
        return 0.0

    @abstractmethod
    async def open(self, store: int) -> int:
        """Take a store whose lease is ours, recover it, and serve its virtual hosts. Waits until an
        earlier `give_up` of it has ended.

        :returns: the epoch with which it was taken.
        :raises StorageError: if that failed: LostEpoch if another broker was faster; DataLost,
            Damaged or UnknownFormat if nobody should try again. Nothing of it is left.
        """

    @abstractmethod
    async def hand_over(self, store: int, reason: str) -> None:
        """Stop reading the clients of a store, commit, close them, and release its medium. What was
        confirmed is durable when this returns.

        :param reason: text of connection.close.
        :raises StorageError: if the last commit failed: then it is given up.
        """

    @abstractmethod
    def give_up(self, store: int, reason: str) -> None:
        """Another broker may own the store already: confirm nothing more, close its clients at
        once, and write nothing. Returns before all of that is done.

        It may come while `open` or `hand_over` of the store are under way: these end soon then,
        with LostEpoch, say; or as if nothing had happened, and then it comes again. One that comes
        for a store that is not open has no effect.

        :param reason: text of connection.close, and of the log.
        """

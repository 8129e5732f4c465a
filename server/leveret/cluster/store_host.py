"""What opens and closes the stores that this broker is to own. Called in the event loop."""

from abc import ABC, abstractmethod


class StoreHost(ABC):
    """The broker, as the agent of the cluster sees it (`agent.py`)."""

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

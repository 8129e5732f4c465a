"""Closing many connections, some in each slice of the broker's work."""

from collections.abc import Iterable

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.net.transport import AmqpTransport


class TransportsClosing(Work):
    """Sends connection.close to connections, for one reason."""

    def __init__(self, transports: Iterable[AmqpTransport], reason: str, synced: bool) -> None:
        """
        :param synced: whether the store will still sync; else replies that wait for it are dropped.
        """
        self._remaining = list(transports)
        self._reason = reason
        self._synced = synced

    def run(self, time_slice: TimeSlice) -> bool:
        while self._remaining:
            self._remaining.pop().force_close(self._reason, self._synced)
            if time_slice.is_over_now():
                break
        return not self._remaining

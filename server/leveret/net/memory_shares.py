"""What connections hold in memory that nothing drains, and their shares of it during an alarm.

Half-received messages, uncommitted transactions, and replies and returned messages that a client
without consumers does not read: no consumer makes them fewer. Together they may take a part of the
memory limit. While memory is above the limit and they take more, each connection that holds more
than its share of it is closed; all connections that hold anything worth mentioning have equal
shares. When an alarm begins, the log names the connection that holds most, if that is a
reason for it.
"""

from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.logging import get_logger
from leveret.protocol.connections.held_memory import HeldMemory

UNDRAINED_DIVISOR: Final = 4
"""What nothing drains may take this part of the memory limit, here a quarter."""

SHARED_BYTES_MIN: Final = 64 * 1024
"""Bytes that a connection holds from which on it has a share."""

REASON_DIVISOR: Final = 16
"""What holds this part of the memory limit is a reason for an alarm."""

logger = get_logger()


class Holder(Protocol):
    """A connection with its socket."""

    @property
    def logger(self) -> Any:
        """A logger bound to the peer's address and user."""

    def held_memory(self) -> HeldMemory:
        """What it holds in memory."""

    def force_close(self, reason: str) -> None:
        """Close it (CONNECTION_FORCED), with a reason for the peer."""


class MemoryShares(Work):
    """One look at all connections, in slices; at its end those above their share are closed."""

    def __init__(
        self, holders: Collection[Holder], memory_limit_bytes: int, done: Callable[[], None]
    ) -> None:
        """`done` is called at the end."""
        self._remaining = list(holders)
        self._undrained_max = memory_limit_bytes // UNDRAINED_DIVISOR
        self._done = done
        self._sharing: list[Holder] = []
        self._undrained = 0
        self._share = 0
        """What each may hold, in bytes; 0 before that is known."""

    def run(self, time_slice: TimeSlice) -> bool:
        while self._remaining:
            holder = self._remaining.pop()
            undrained = holder.held_memory().undrained
            if undrained >= SHARED_BYTES_MIN:
                self._sharing.append(holder)
                self._undrained += undrained
            if time_slice.is_over_now():
                return False
        if self._undrained > self._undrained_max:
            if self._share == 0:
                self._share = self._undrained_max // len(self._sharing)
                self._sharing.reverse()
            while self._sharing:
                self._close_if_large(self._sharing.pop())
                if time_slice.is_over_now() and self._sharing:
                    return False
        self._done()
        return True

    def _close_if_large(self, holder: Holder) -> None:
        held = holder.held_memory()
        if held.undrained <= self._share:
            return
        holder.logger.warning(
            "memory is low, and the connection holds more than its share",
            share_bytes=self._share,
            **held.fields(),
        )
        holder.force_close(
            f"memory is low, and this connection holds {held.undrained} bytes of messages "
            f"that are incomplete, uncommitted or unread, its share being {self._share}"
        )


class LargestHolder(Work):
    """Looks for the connection that holds most, in slices, and names it in the log if that is a
    reason for the alarm."""

    def __init__(self, holders: Collection[Holder], memory_limit_bytes: int) -> None:
        self._remaining = list(holders)
        self._largest: Holder | None = None
        self._most = memory_limit_bytes // REASON_DIVISOR

    def run(self, time_slice: TimeSlice) -> bool:
        while self._remaining:
            holder = self._remaining.pop()
            total = holder.held_memory().total
            if total >= self._most:
                self._most, self._largest = total, holder
            if time_slice.is_over_now():
                return False
        if self._largest is not None:
            self._largest.logger.warning(
                "memory is low: no connection holds more of it than this one",
                **self._largest.held_memory().fields(),
            )
        return True

"""Ticks of all connections: heartbeats and timeouts, a slice of the connections an iteration.

A tick of ten thousand connections takes milliseconds, in which no message is delivered. So a pass
over them is divided into slices, by number and by time, and between two slices the event loop
processes sockets and messages. A connection gets one tick a pass; a pass starts every `TICK_S`.

The sockets are polled once before the first slice: a process that stood still for longer than a
timeout (stopped, or without a core) reads what has arrived meanwhile, before it takes a peer for
silent.
"""

import asyncio
from collections.abc import Set
from typing import Final, Protocol

from leveret.engine.values.time_slice import TimeSlice
from leveret.limits import TICK_SLICE_CONNECTIONS, TICK_SLICE_NS

TICK_S: Final = 0.5
"""Seconds between two passes: half of the shortest heartbeat interval."""


class Ticking(Protocol):
    """A connection, as the ticks see it."""

    def tick(self, now: float) -> None:
        """Check heartbeats and timeouts at the time of the loop, in seconds."""


class ConnectionTicks:
    """The passes over the connections of one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connections: Set[Ticking],
        time_slice: TimeSlice,
        slice_ns: int = TICK_SLICE_NS,
    ) -> None:
        """
        :param connections: the live set, which changes as sockets open and close.
        :param time_slice: that of the broker, in which a connection that is found dead ends.
        """
        self._loop = loop
        self._time_slice = time_slice
        self._slice_ns = slice_ns
        self._connections = connections
        self._remaining: list[Ticking] = []
        self._handle: asyncio.Handle | None = None

    def start_pass(self) -> None:
        """Tick every open connection once, from the next iteration on. An unfinished pass continues
        instead."""
        if self._handle is None:
            self._remaining = list(self._connections)
            self._handle = self._loop.call_soon(self._tick_slice)

    def stop(self) -> None:
        """End the pass."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick_slice(self) -> None:
        self._handle = None
        now = self._loop.time()
        remaining = self._remaining
        self._time_slice.begin(self._slice_ns)
        try:
            for _ in range(min(TICK_SLICE_CONNECTIONS, len(remaining))):
                connection = remaining.pop()
                if connection in self._connections:
                    connection.tick(now)
                if self._time_slice.is_over():
                    break
        finally:
            # A tick that fails ends its slice: the other connections get theirs in the next one.
            if remaining:
                self._handle = self._loop.call_soon(self._tick_slice)

"""A turn of the event loop, at whose end everything that was written goes out at once."""

import asyncio
from typing import Protocol


class Flushable(Protocol):
    """Something with output."""

    def flush(self) -> None:
        """Write the output to the socket."""


class Turn:
    """Collects who has output, and flushes them all once a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._woken: list[Flushable] = []

    def wake(self, transport: Flushable) -> None:
        """Flush it at the end of this turn."""
        if not self._woken:
            self._loop.call_soon(self._flush)
        self._woken.append(transport)

    def _flush(self) -> None:
        woken = self._woken
        self._woken = []
        for transport in woken:
            transport.flush()

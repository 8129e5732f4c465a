"""Reads of the shared definitions before somebody is refused.

Rules:
- One read is under way at a time. Who asks before it begins shares it; who asks later shares the
  next one.
- READS_PER_S, after the first READS_AT_ONCE: somebody who tries passwords costs the database that,
  however many tries there are. Each is a query of one row, unless there is news. A program that
  asks for one missing object after the other, as tools do before they make it, waits for each.
- A read that takes longer than READ_TIMEOUT_S answers everybody who waits, and while the database
  is known to be away nothing is read: what is known here counts then.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from leveret.engine.metadata.reader import MetadataReader
from leveret_storage.errors import StorageError

READ_TIMEOUT_S: Final = 1.0

READS_PER_S: Final = 20.0
READS_AT_ONCE: Final = 20
"""Reads in a row after a time without any: somebody who sets up users and virtual hosts, and goes
on at once as each of them."""


class Definitions(Protocol):
    """What is read (`SharedDefinitions`)."""

    def why_unavailable(self) -> str:
        """Why it cannot be read at the moment; empty if it can."""

    async def refresh(self) -> None:
        """Read what there is at this moment.

        :raises StorageError: if that cannot be done.
        """


class DefinitionReads(MetadataReader):
    """The reads of one broker, in the running event loop."""

    def __init__(self, definitions: Definitions) -> None:
        self.count = 0
        """Reads that have begun."""
        self._definitions = definitions
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Callable[[], None]] = []
        """Who waits for the next read."""
        self._reading: asyncio.Task[None] | None = None
        self._allowed = float(READS_AT_ONCE)
        """How many reads may begin at once."""
        self._allowed_at = self._loop.time()

    def request(self, done: Callable[[], None]) -> None:
        if self._definitions.why_unavailable():
            self._loop.call_soon(done)
            return
        self._waiting.append(done)
        if self._reading is None:
            self._reading = self._loop.create_task(self._read())

    async def _read(self) -> None:
        try:
            while self._waiting:
                await self._be_allowed()
                answered, self._waiting = self._waiting, []
                self.count += 1
                if not await self._refresh():
                    answered += self._waiting
                    self._waiting = []
                for done in answered:
                    done()
        finally:
            self._reading = None

    async def _be_allowed(self) -> None:
        """Wait until the next read may begin."""
        now = self._loop.time()
        allowed = self._allowed + (now - self._allowed_at) * READS_PER_S
        self._allowed = min(allowed, READS_AT_ONCE) - 1
        self._allowed_at = now
        if self._allowed < 0:
            await asyncio.sleep(-self._allowed / READS_PER_S)

    async def _refresh(self) -> bool:
        """Read once; whether that was done in time."""
        with suppress(TimeoutError, StorageError):
            async with asyncio.timeout(READ_TIMEOUT_S):
                await self._definitions.refresh()
                return True
        return False

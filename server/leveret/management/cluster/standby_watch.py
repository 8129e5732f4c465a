"""The standbys of the database, looked at when somebody asks, and at most once in a while."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from leveret.cluster.shared_database import Standby
from leveret_storage.errors import StorageError

INTERVAL_S: Final = 2.0
"""Seconds for which a look serves all who ask."""

WAIT_S: Final = 1.0
"""Seconds that who asks waits for a look: while the database is away one does not end."""


class StandbyWatch:
    """Looks at the standbys. For the event loop."""

    def __init__(self, find: Callable[[], list[Standby]]) -> None:
        """:param find: looks; it blocks while the database is away."""
        self._find = find
        self._found: list[Standby] = []
        self._looked_at = 0.0
        self._looking: asyncio.Task[list[Standby]] | None = None

    async def standbys(self) -> list[Standby]:
        """Those of the last look that has ended."""
        if self._looking is None and time.monotonic() - self._looked_at > INTERVAL_S:
            look = asyncio.to_thread(self._find)
            self._looking = asyncio.get_running_loop().create_task(look)
            self._looking.add_done_callback(self._looked)
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=WAIT_S)
        return self._found

    def _looked(self, look: asyncio.Task[list[Standby]]) -> None:
        self._looking, self._looked_at = None, time.monotonic()
        try:
            self._found = look.result()
        except (StorageError, asyncio.CancelledError):
            # It was closed, because the broker stops.
            self._found = []

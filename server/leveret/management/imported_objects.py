"""Declares what a definitions file has for the virtual hosts of a cluster that this broker serves.

One broker imports the file at its start, when nobody may serve these virtual hosts yet. So their
exchanges, queues and bindings wait among the metadata (`ImportedObjects`), and whoever serves one
of them declares what waits for it, and removes it when that is durable. A broker that dies between
has it done again by the next owner: what exists is left as it is.
"""

import asyncio
from typing import Final

import msgspec

from leveret.engine.administration.definitions_file import DefinitionsFile
from leveret.engine.administration.definitions_import import DefinitionsImport
from leveret.engine.administration.operator import Operator, Unavailable
from leveret.engine.metadata.entities import ImportedObjects
from leveret.engine.metadata.metadata import Change
from leveret.logging import get_logger
from leveret.management.service import Management

WHO: Final = "definitions.file"
"""Who has changed what, in the audit log."""

LOOK_S: Final = 0.5
"""Seconds between two looks whether a virtual host is served here for which something waits."""

logger = get_logger()


class ImportedObjectsDeclared:
    """Has what waits declared, as long as it is not stopped."""

    def __init__(self, management: Management) -> None:
        self._management = management
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._management.metadata.subscribe(self._on_change)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Declare nothing more. What is under way is done by the next owner."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _on_change(self, change: Change) -> None:
        if change.kind is ImportedObjects and change.after is not None:
            self._changed.set()

    async def _run(self) -> None:
        management = self._management
        while True:
            self._changed.clear()
            waiting = list(management.metadata.all(ImportedObjects).values())
            for each in waiting:
                if each.vhost in management.broker.vhosts:
                    await self._declare(each)
            if waiting:
                await asyncio.sleep(LOOK_S)
            else:
                await self._changed.wait()

    async def _declare(self, waiting: ImportedObjects) -> None:
        management = self._management
        vhost = management.broker.vhosts[waiting.vhost]
        file = msgspec.convert(waiting.objects, DefinitionsFile)
        operator = Operator(management.metadata, WHO, "a broker of the cluster")
        work = DefinitionsImport(management.broker, operator, file, waiting.vhost)
        try:
            await management.run(work)
            await management.durable()
        except (Unavailable, RuntimeError) as error:
            logger.warning(
                "definitions.file: not declared yet", vhost=waiting.vhost, reason=str(error)
            )
            return
        if management.broker.vhosts.get(waiting.vhost) is not vhost:
            # The next owner declares what this one may not have.
            return
        if work.error is not None:
            logger.error(
                "definitions.file: not everything is declared",
                vhost=waiting.vhost,
                reason=str(work.error),
            )
        management.metadata.delete(ImportedObjects, *waiting.key)

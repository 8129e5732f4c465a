"""What every resource of the HTTP API uses: the broker, who asks, and when a change is durable."""

import asyncio

from leveret.engine.broker import Broker
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.persistence.definition_log import CommitWaiter, DefinitionLog


class _Durable(CommitWaiter):
    """Waits for one batch of a store."""

    def __init__(self, log: DefinitionLog) -> None:
        self._log = log
        self._batch = log.awaited_batch
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        log.wait(self)

    def store_synced(self) -> None:
        if self._log.store.synced < self._batch:
            self._log.wait(self)
        elif not self.reached.done():
            self.reached.set_result(None)


class Management:
    """The broker, as the HTTP API sees it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    @property
    def metadata(self) -> Metadata:
        return self.broker.metadata

    async def durable(self) -> None:
        """Wait until every definition that was written is durable."""
        for hosted in self.broker.stores:
            log = hosted.definition_log
            if log.store.synced < log.awaited_batch:
                waiter = _Durable(log)
                log.store.request_commit()
                log.store.commit()
                await waiter.reached

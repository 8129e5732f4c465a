"""What every resource of the HTTP API uses: the broker, who asks, and when a change is durable."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from leveret.addresses import Address
from leveret.cluster.shared_definitions import SharedDefinitions
from leveret.engine.administration.delayed_messages import DelayedCancel, DelayedListing
from leveret.engine.administration.move import Move
from leveret.engine.administration.operator import Unavailable
from leveret.engine.administration.search import Search
from leveret.engine.broker import Broker
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.persistence.definition_log import CommitWaiter, DefinitionLog
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.management.cluster.state import ClusterState
from leveret.management.diagnosis.watch import Watch
from leveret.management.node_status import NodeStatus
from leveret.management.statistics.sampler import Sampler
from leveret.protocol.connections.connection import Connection

READ_RETRY_S: Final = 0.01
"""Seconds after which work that reads a queue looks again for what it waits for: the disk, or a
transaction."""


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Durable(CommitWaiter):
    """Waits for one batch of a store."""

    def __init__(self, log: DefinitionLog, batch: int) -> None:
        self._log = log
        self._batch = batch
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A batch without entries is durable as soon as it is committed.
        self.store_synced()

    def store_synced(self) -> None:
        if self._log.is_abandoned:
            self.store_abandoned()
        elif self._log.store.synced < self._batch:
            self._log.wait(self)
        elif not self.reached.done():
            self.reached.set_result(None)

    def store_abandoned(self) -> None:
        if not self.reached.done():
            self.reached.set_exception(Unavailable("the store is with another broker: ask again"))


class _Awaited(Work):
    """Work of the broker that a request waits for."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def run(self, time_slice: TimeSlice) -> bool:
        if not self._work.run(time_slice):
            return False
        if not self.done.done():
            self.done.set_result(None)
        return True

    def give_up(self) -> None:
        self._work.give_up()
        if not self.done.done():
            self.done.set_exception(RuntimeError("the broker failed to do what was asked for"))


class Management:
    """The broker, as the HTTP API sees it."""

    def __init__(
        self,
        broker: Broker,
        connections: Callable[[], list[Connection]],
        listeners: Callable[[], list[tuple[str, Address]]],
        set_memory_limit: Callable[[int], None],
        status: NodeStatus | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """
        :param connections: returns those that are open, the oldest first.
        :param listeners: returns the protocol and the address of each listener.
        :param set_memory_limit: changes the memory limit, in bytes, until the next start.
        :param status: of the node.
        :param sampler: has the statistics.
        """
        self.broker = broker
        self.connections = connections
        self.listeners = listeners
        self.set_memory_limit = set_memory_limit
        self.status = status or NodeStatus()
        self.http_listeners: list[tuple[str, Address]] = []
        """The protocol and the address of each listener of the HTTP API."""
        self.watch = Watch(broker)
        self.diagnoses: dict[tuple[str, ...], tuple[float, Any]] = {}
        """By names of virtual hosts, the worst findings there as JSON, and when they were made."""
        self.sampler = sampler or Sampler(broker, connections)
        self.node = f"leveret@{socket.gethostname()}"
        """The name of the node in RabbitMQ's form; in a cluster that of the member."""
        self.cluster: ClusterState | None = None
        """None for a broker that shares its storage with no other."""
        self.definitions: SharedDefinitions | None = None
        """The metadata that brokers share; None likewise."""

    def all_listeners(self) -> list[tuple[str, Address]]:
        """The protocol and the address of each listener, those of HTTP among them."""
        return [*self.listeners(), *self.http_listeners]

    @property
    def metadata(self) -> Metadata:
        return self.broker.metadata

    async def run(self, work: Work) -> None:
        """Have the broker do work in slices, and wait for its end.

        :raises RuntimeError: after a fault of the broker, which is logged already.
        """
        awaited = _Awaited(work)
        self.broker.work.add(awaited)
        await awaited.done

    async def run_reading(self, work: Search | Move | DelayedListing | DelayedCancel) -> None:
        """Have the broker do work in slices that reads a queue, and wait for its end.

        :raises RuntimeError: as `run`.
        """
        while not work.is_done:
            await self.run(work)
            if work.reader.has_to_read():
                read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                work.reader.read(partial(_resolve, read))
                await read
            elif not work.is_done:
                await asyncio.sleep(READ_RETRY_S)

    async def committed(self) -> None:
        """Wait until everything done so far is durable, messages and settlements too."""
        for hosted in self.broker.stores:
            store = hosted.store
            if store.has_uncommitted():
                batch = store.batch
                store.request_commit()
                store.commit()
                await _Durable(hosted.definition_log, batch).reached

    async def durable(self) -> None:
        """Wait until every definition that was written is durable.

        :raises Unavailable: if the database of the cluster does not answer, or a store is with
            another broker.
        """
        if self.definitions is not None:
            await self.definitions.durable()
        for hosted in self.broker.stores:
            log = hosted.definition_log
            if log.store.synced < log.awaited_batch:
                log.store.request_commit()
                log.store.commit()
                await _Durable(log, log.awaited_batch).reached

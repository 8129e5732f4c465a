"""A node: one broker with its store and its AMQP listeners, in the running event loop.

Nothing of it is global to the process: signals, limits of the process, the garbage collector and
what is written on standard error are the matter of who starts it (`app.py`). The HTTP API and
metrics are in `management/`.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from leveret.cluster.joined import Joined
from leveret.config import Config
from leveret.datadir.open import Storage, StorageRefused
from leveret.descriptors import DescriptorShares
from leveret.engine.broker import Broker
from leveret.errors import SHUTDOWN_REASON
from leveret.logging import get_logger
from leveret.net.server import STOP_TIMEOUT_S, AmqpServer
from leveret.net.transport import AmqpTransport, TransportFactory
from leveret.net.wall_clock import now_ms
from leveret_storage.errors import StorageError
from leveret_storage.medium import Medium

STORAGE_FAILED_REASON: Final = "the broker's storage failed: what was not confirmed is not kept"
"""Text of connection.close when the broker stops because it cannot persist anything."""

STORAGE_FAILED: Final = "storage failed"
STOPPING: Final = "the broker stops"

logger = get_logger()


class Node:
    """One broker, from its start to its stop."""

    def __init__(
        self,
        config: Config,
        shares: DescriptorShares,
        storage_failed: Callable[[], None],
        *,
        cluster: Joined | None = None,
        salvage: bool = False,
        skipped_ms: int = 0,
        transport: TransportFactory = AmqpTransport,
        around: Callable[[Medium], Medium] | None = None,
    ) -> None:
        """Make the broker, and read the data directory into it.

        :param storage_failed: called once if the storage fails later.
        :param cluster: where its data are, instead of a directory.
        :param salvage: set damaged data aside, and start without it.
        :param skipped_ms: milliseconds that the broker's clock is ahead of the machine's.
        :param transport: as in `AmqpServer`.
        :param around: as in `Storage`.
        :raises StorageRefused: if the data directory cannot be used.
        """
        self.config = config
        self._storage_failed = storage_failed
        self.cluster: Final = cluster
        """None for a broker whose data are its own."""
        self.broker = Broker(config, None if cluster is None else cluster.metadata)
        self.broker.clock.advance_to(now_ms())
        self.broker.clock.skip(skipped_ms)
        self.storage: Storage | None = None
        """None for a broker that keeps everything in memory, or shares a database."""
        free_bytes: Callable[[], int] | None = None
        if cluster is not None:
            cluster.place(self.broker, shares.store)
            free_bytes = cluster.free_bytes
        elif not config.storage.memory:
            self.storage = Storage(
                config,
                self.broker,
                storage_failed,
                shares.store,
                salvage=salvage,
                around=around,
            )
            free_bytes = self.storage.free_bytes
        self._stop_began: float | None = None
        """By the clock of the loop."""
        self.server = AmqpServer(self.broker, config, free_bytes, shares.sockets, transport)

    @property
    def failed(self) -> bool:
        """Whether the storage failed, or the broker had to leave its cluster."""
        if self.cluster is not None:
            return self.cluster.failed
        return self.storage is not None and self.storage.failed

    @property
    def place_of_data(self) -> str:
        """Where its data are, in words."""
        if self.cluster is not None:
            return self.config.storage.data_dir
        return "memory" if self.storage is None else str(self.storage.directory)

    def why_not_ready(self) -> str:
        """Why clients are not served; "" if they are."""
        if self.failed:
            return STORAGE_FAILED
        if self._stop_began is not None:
            return STOPPING
        return "" if self.server.accepts() else "the broker does not listen"

    async def listen(self, sockets: Sequence[socket.socket] = ()) -> list[str]:
        """Begin to listen for AMQP.

        :param sockets: instead of those of `amqp.listen`: they listen already, and belong to the
            node from here on.
        :returns: the listeners, each as NAME=HOST:PORT.
        :raises OSError: if an address cannot be listened on; the text names it.
        :raises TlsError: if a certificate cannot be used.
        """
        addresses = await self.server.start(sockets)
        if self.storage is not None:
            self.storage.after_results = self.server.run_requested
        if self.cluster is not None:
            try:
                await self.cluster.start(self.server, self._storage_failed)
            except StorageError as error:
                await self.server.stop("")
                raise StorageRefused(str(error)) from None
        return addresses

    async def hand_over(self) -> None:
        """Be not ready from now on, and have the other brokers of a cluster serve what this one
        serves. It answers and passes clients on meanwhile."""
        self._stop_began = asyncio.get_running_loop().time()
        if self.cluster is not None:
            await self.cluster.hand_over()

    async def stop(self, reason: str, clients_s: float = STOP_TIMEOUT_S) -> None:
        """Close the connections and the store; the summary of a stop is one event of the log.

        :param clients_s: seconds that clients have to answer connection.close.
        """
        began = asyncio.get_running_loop().time() if self._stop_began is None else self._stop_began
        storage = self.storage
        if self._stop_began is None:
            await self.hand_over()
        if self.cluster is not None:
            await self.cluster.leave()
        if self.failed:
            closed = await self.server.stop(STORAGE_FAILED_REASON, clients_s, synced=False)
        else:
            synced = storage is None or not storage.full
            closed = await self.server.stop(SHUTDOWN_REASON, clients_s, synced=synced)
        if storage is not None:
            storage.close()
            # Callbacks of the loop report the result of the last writes.
            await asyncio.sleep(0)
        if self.cluster is not None:
            self.cluster.close()
        seconds = round(asyncio.get_running_loop().time() - began, 3)
        logger.info("stopped", reason=reason, connections=closed, seconds=seconds)

    def close_storage(self) -> None:
        """Release the data directory: the start goes no further."""
        if self.storage is not None:
            self.storage.close()
        if self.cluster is not None:
            self.cluster.close()

    def kill(self) -> None:
        """End at once, as a killed process does: sockets are closed without a word, and what was
        not written is lost."""
        self.server.kill()
        if self.storage is not None:
            self.storage.abandon()
        if self.cluster is not None:
            self.cluster.kill()

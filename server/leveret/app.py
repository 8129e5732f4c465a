"""The composition root: start in order, serve, stop in order.

Start: logging, the limits of the process, the broker, the collector, the listeners, the ready line.
Stop, at SIGTERM or SIGINT: close the listeners, tell the clients, flush, leave with 0. A second
signal leaves at once.
"""

import asyncio
import gc
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import uvloop

from leveret.config import Config
from leveret.config import Storage as StorageConfig
from leveret.engine.broker import Broker
from leveret.log import configure_logging, get_logger
from leveret.memory import keep_freed_memory
from leveret.net.server import AmqpServer
from leveret.systemd import notify
from leveret_storage.errors import StorageError
from leveret_storage.filesystem import FilesystemMedium
from leveret_storage.writer import ThreadExecutor

SHUTDOWN_REASON: Final = "broker forced connection closure with reason 'shutdown'"
"""What clients read in connection.close when the broker stops, as from RabbitMQ."""

DESCRIPTORS_RESERVED: Final = 64
"""File descriptors for anything but a client's connection: listeners, the loop's own, logs."""

GC_THRESHOLDS: Final = (20_000, 10, 1_000)
"""A full collection walks every queued message, and nothing on the message path makes cycles, so it
may be rare; a young one of this many objects takes a fraction of a millisecond."""

EXIT_STORAGE_FAILED: Final = 3

log = get_logger()


class StartError(Exception):
    """The broker cannot start; the text is one line for the operator."""


def serve(config: Config) -> None:
    """Serve until a signal says stop, or the storage fails.

    :raises ConfigError: if the data directory cannot be used.
    :raises StartError: if an address cannot be listened on, or the data cannot be read.
    """
    configure_logging(config.log)
    keep_freed_memory()
    raise_descriptor_limit(config.amqp.max_connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config))


async def _serve(config: Config) -> None:
    stop = _stop_at_signals()
    broker = Broker(config)
    storage = None if config.storage.memory else Storage(config.storage, broker, stop)
    server = AmqpServer(broker, config)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        addresses = await server.start()
    except OSError as error:
        raise StartError(f"amqp.listen: {error.strerror or error}") from None
    listeners = " ".join(f"amqp={address}" for address in addresses)
    where = "memory" if storage is None else config.storage.data_dir
    sys.stderr.write(f"leveret ready {listeners} storage={where}\n")
    sys.stderr.flush()
    notify("READY=1")
    reason = await stop
    notify("STOPPING=1")
    log.info("stopping", reason=reason)
    await server.stop(SHUTDOWN_REASON)
    if storage is not None:
        storage.close()
    log.info("stopped")
    if storage is not None and storage.failed:
        raise SystemExit(EXIT_STORAGE_FAILED)


class Storage:
    """The broker's store on its directory, and the threads that wait for the disk."""

    def __init__(self, config: StorageConfig, broker: Broker, stop: asyncio.Future[str]) -> None:
        self.failed = False
        self._stop = stop
        post = asyncio.get_running_loop().call_soon_threadsafe
        try:
            self._medium = FilesystemMedium(Path(config.data_dir).absolute())
            epoch, data = self._medium.read_head()
            self._medium.write_head(epoch, epoch + 1, data)
            writing = ThreadExecutor("leveret-write", post)
            reading = ThreadExecutor("leveret-read", post)
            found = broker.open_store(self._medium, writing, reading, self._fail)
        except (OSError, StorageError) as error:
            raise StartError(f"storage.data_dir: {config.data_dir}: {error}") from None
        self._store = broker.keeper.store if broker.keeper is not None else None
        for line in found.torn:
            log.warning("torn end of a file cut", file=line)

    def _fail(self, error: StorageError) -> None:
        log.error("storage failed: nothing is confirmed any more", error=str(error))
        self.failed = True
        if not self._stop.done():
            self._stop.set_result("storage failed")

    def close(self) -> None:
        """Write what is open, and give the directory back."""
        if self._store is not None:
            self._store.close()
        self._medium.close()


def _stop_at_signals() -> asyncio.Future[str]:
    """A future that the first SIGTERM or SIGINT resolves with its name."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()

    def on_signal(number: signal.Signals) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def raise_descriptor_limit(connections: int) -> None:
    """Let the process have a file descriptor for each connection, as far as it may have them."""
    wanted = connections + DESCRIPTORS_RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    if soft == infinite or soft >= wanted:
        return
    allowed = wanted if hard == infinite else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "fewer file descriptors than amqp.max_connections needs", limit=allowed, needed=wanted
        )

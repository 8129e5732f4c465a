"""The composition root: start in order, serve, stop in order.

Start: logging, the limits of the process, the broker, its store, the collector, the listeners, the
ready line. Stop, at SIGTERM or SIGINT: close the listeners, tell the clients, flush, write and sync
what is open, leave with 0. A second signal leaves at once. A failure of the storage stops it too,
and `StorageFailed` is raised.
"""

import asyncio
import gc
import os
import resource
import signal
import sys
from typing import Final

import uvloop

from leveret.config import Config
from leveret.datadir.open import Storage, StorageRefused
from leveret.engine.broker import Broker
from leveret.logging import configure_logging, get_logger
from leveret.memory import keep_freed_memory
from leveret.net.server import AmqpServer
from leveret.net.wall_clock import now_ms
from leveret.systemd import notify
from leveret_storage.media.filesystem import DESCRIPTORS_MAX

SHUTDOWN_REASON: Final = "broker forced connection closure with reason 'shutdown'"
"""What clients read in connection.close when the broker stops, as from RabbitMQ."""

STORAGE_FAILED_REASON: Final = "the broker's storage failed: what was not confirmed is not kept"
"""What they read when it stops because it cannot keep anything any more."""

STORAGE_FAILED: Final = "storage failed"

DESCRIPTORS_RESERVED: Final = 64 + DESCRIPTORS_MAX
"""File descriptors for anything but a client's connection: listeners, the loop's own, logs, and the
files of the store."""

GC_THRESHOLDS: Final = (20_000, 10, 1_000)
"""A full collection walks every queued message, and nothing on the message path makes cycles, so it
may be rare; a young one of this many objects takes a fraction of a millisecond."""

log = get_logger()


class StartError(Exception):
    """The broker cannot start; the text is one line for the operator."""


class StorageFailed(Exception):
    """The broker served, until its storage failed. That is in the log."""


def serve(config: Config, *, salvage: bool = False) -> None:
    """Serve until a signal says stop, or the storage fails.

    :param salvage: set aside what is damaged of the data, and go on without it.
    :raises StartError: if the data directory cannot be used, or an address not be listened on.
    :raises StorageFailed: if the storage failed, in serving or in writing what was open.
    """
    configure_logging(config.log)
    keep_freed_memory()
    raise_descriptor_limit(config.amqp.max_connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, salvage))


async def _serve(config: Config, salvage: bool) -> None:
    stop = _stop_at_signals()
    broker = Broker(config)
    broker.clock.advance_to(now_ms())
    # What a start finds stays: to look for garbage in it takes as long as to read it.
    gc.disable()
    storage = None if config.storage.memory else _open_storage(config, broker, stop, salvage)
    server = AmqpServer(broker, config, None if storage is None else storage.free_bytes)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    try:
        addresses = await server.start()
    except OSError as error:
        if storage is not None:
            storage.close()
        raise StartError(f"amqp.listen: {error.strerror or error}") from None
    listeners = " ".join(f"amqp={address}" for address in addresses)
    where = "memory" if storage is None else storage.directory
    sys.stderr.write(f"leveret ready {listeners} storage={where}\n")
    sys.stderr.flush()
    notify("READY=1")
    reason = await stop
    notify("STOPPING=1")
    log.info("stopping", reason=reason)
    if storage is not None and storage.failed:
        await server.stop(STORAGE_FAILED_REASON, synced=False)
    else:
        await server.stop(SHUTDOWN_REASON, synced=storage is None or not storage.full)
    if storage is not None:
        storage.close()
        # What became of the last writes is told by callbacks of the loop.
        await asyncio.sleep(0)
    log.info("stopped")
    if storage is not None and storage.failed:
        raise StorageFailed


def _open_storage(
    config: Config, broker: Broker, stop: asyncio.Future[str], salvage: bool
) -> Storage:
    def failed() -> None:
        if not stop.done():
            stop.set_result(STORAGE_FAILED)

    try:
        return Storage(config, broker, failed, salvage=salvage)
    except StorageRefused as error:
        raise StartError(str(error)) from None


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

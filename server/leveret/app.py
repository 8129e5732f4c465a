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

from leveret.config import Config, ConfigError
from leveret.engine.broker import Broker
from leveret.log import configure_logging, get_logger
from leveret.memory import keep_freed_memory
from leveret.net.server import AmqpServer
from leveret.systemd import notify

SHUTDOWN_REASON: Final = "broker forced connection closure with reason 'shutdown'"
"""What clients read in connection.close when the broker stops, as from RabbitMQ."""

DESCRIPTORS_RESERVED: Final = 64
"""File descriptors for anything but a client's connection: listeners, the loop's own, logs."""

GC_THRESHOLDS: Final = (20_000, 10, 1_000)
"""A full collection walks every queued message, and nothing on the message path makes cycles, so it
may be rare; a young one of this many objects takes a fraction of a millisecond."""

log = get_logger()


class StartError(Exception):
    """The broker cannot start; the text is one line for the operator."""


def serve(config: Config) -> None:
    """Serve until a signal says stop.

    :raises ConfigError: if the data directory cannot be used.
    :raises StartError: if an address cannot be listened on.
    """
    configure_logging(config.log)
    check_data_dir(config.storage.data_dir)
    keep_freed_memory()
    raise_descriptor_limit(config.amqp.max_connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config))


async def _serve(config: Config) -> None:
    stop = _stop_at_signals()
    server = AmqpServer(Broker(config), config)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        addresses = await server.start()
    except OSError as error:
        raise StartError(f"amqp.listen: {error.strerror or error}") from None
    listeners = " ".join(f"amqp={address}" for address in addresses)
    sys.stderr.write(f"leveret ready {listeners} storage=memory\n")
    sys.stderr.flush()
    notify("READY=1")
    name = await stop
    notify("STOPPING=1")
    log.info("stopping", signal=name)
    await server.stop(SHUTDOWN_REASON)
    log.info("stopped")


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


def check_data_dir(path: str) -> None:
    """Hold that the directory is there and writable, or could be made.

    This version keeps nothing there, so it is not made.

    :raises ConfigError: if not.
    """
    place = Path(path).absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"storage.data_dir: {path}: {place} is not a directory")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"storage.data_dir: {path}: {place} is not writable")


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

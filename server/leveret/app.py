"""The composition root: start in order, serve, stop in order.

Start: logging, the limits of the process, the node with its broker and store, the garbage
collector, the listeners, the ready line. Stop, at SIGTERM or SIGINT: hand over what the broker owns
in a cluster, close the listeners, close the connections, commit and sync what is open. A second
signal exits at once. A failure of the storage stops the broker, too, and raises `StorageFailed`.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, Final, NoReturn, TypeVar

import uvloop

from leveret.cluster.joined import Joined
from leveret.compiled import COMPILED_BUILD, build_kind
from leveret.config import Config
from leveret.datadir.open import StorageRefused, warn_of_unused_data
from leveret.descriptors import DescriptorShares, raise_descriptor_limit
from leveret.engine.administration.operator import Refused
from leveret.logging import configure_logging, get_logger, log_libraries, write_ready
from leveret.management.import_at_start import import_at_start
from leveret.management.service import Management
from leveret.management.serving import HttpServing
from leveret.memory import retain_freed_memory
from leveret.net.tls import TlsError
from leveret.node import STORAGE_FAILED, Node
from leveret.systemd import notify
from leveret_storage.errors import ReadFailed, ReplicasAway, StorageError
from leveret_storage.media.locations import is_postgres

GC_THRESHOLDS: Final = (5_000, 5, 8_000)
"""A collection takes 0.15 us an object, in which nobody is served: a millisecond for the youngest
objects, four for those that survived once. Full collections are rare, because they visit every
object of every queue, and the message path creates no reference cycles."""

SWITCH_INTERVAL_S: Final = 0.0001
"""Seconds after which a thread that waits for the interpreter lock requests it. Python's default of
5 ms is many times the duration of a write, and every batch is waited for."""

SALVAGE_IN_A_DIRECTORY: Final = (
    "--salvage is for a directory: copy the store into one (leveret log copy), salvage it there,"
    " and copy it back"
)

T = TypeVar("T")

logger = get_logger()


class StartError(Exception):
    """The broker cannot start; the text is one line for the operator."""


class StorageAway(StartError):
    """The broker cannot start before its database is there: another start may succeed as it is."""


class StorageFailed(Exception):
    """The storage failed while the broker served; the reason is in the log."""


def serve(config: Config, *, salvage: bool = False, warnings: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or SIGINT, which end the process, or until the storage fails.

    :param salvage: set damaged data aside, and start without it.
    :param warnings: what is wrong with the configuration, and prevents nothing.
    :raises StartError: if the data directory or an address cannot be used.
    :raises StorageFailed: if the storage failed while serving, or in the last commit.
    """
    configure_logging(config.log)
    log_libraries()
    for warning in warnings:
        logger.warning(warning)
    retain_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    shares = raise_descriptor_limit(config.amqp.max_connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, salvage, shares))


async def _serve(config: Config, salvage: bool, shares: DescriptorShares) -> None:
    asyncio.get_running_loop().set_exception_handler(_log_fault)
    stop = _stop_at_signals()
    if config.storage.memory:
        warn_of_unused_data(config)
    # Recovered messages stay alive: a collection of them takes as long as reading them. What was
    # imported stays, too, and the collection before the end of the start does not look at it.
    gc.disable()
    gc.freeze()
    node = await _open_node(config, shares, stop, salvage)
    storage = node.storage
    http = HttpServing(
        config,
        node.server,
        free_bytes=None if storage is None else lambda: storage.measured_free_bytes,
        not_ready=node.why_not_ready,
        membership=node.cluster,
    )
    if config.definitions.file:
        await _import_definitions(http.management, config.definitions.file, node, stop)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    addresses = await _listen(node, stop)
    try:
        addresses += await http.start(shares.management, shares.metrics)
    except OSError as error:
        await http.stop()
        await node.stop("a listener is missing")
        raise StartError(f"{error.strerror or error}") from None
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, node.server.reload_certificates)
    _tell_ready(node, addresses)
    reason = await stop
    notify("STOPPING=1")
    logger.debug("stopping", reason=reason)
    # Probes, the page and the other brokers are answered until all is handed over.
    await node.hand_over()
    await http.stop()
    await node.stop(reason)
    if node.failed:
        raise StorageFailed
    _end_process()


async def _open_node(
    config: Config, shares: DescriptorShares, stop: asyncio.Future[str], salvage: bool
) -> Node:
    """The node, with its data.

    :raises StartError: if the data cannot be used.
    """

    def failed() -> None:
        if not stop.done():
            stop.set_result(STORAGE_FAILED)

    cluster: Joined | None = None
    if not config.storage.memory and is_postgres(config.storage.data_dir):
        if salvage:
            raise StartError(SALVAGE_IN_A_DIRECTORY)
        cluster = await _connect(config, stop)
    try:
        return Node(config, shares, failed, cluster=cluster, salvage=salvage)
    except StorageRefused as error:
        raise StartError(str(error)) from None


async def _connect(config: Config, stop: asyncio.Future[str]) -> Joined:
    """Connect to the database that the broker shares with others.

    :raises StorageAway: if that is not there.
    :raises StartError: if that is not possible.
    """
    # Not before: a broker with a directory needs none of it.
    from leveret.cluster.joining import connect

    try:
        return await _unless_stopped(connect(config), stop)
    except (ReadFailed, ReplicasAway) as error:
        raise StorageAway(f"storage.data_dir: {error}") from None
    except StorageError as error:
        raise StartError(f"storage.data_dir: {error}") from None


async def _unless_stopped(
    step: Coroutine[Any, Any, T], stop: asyncio.Future[str], node: Node | None = None
) -> T:
    """Wait for a step of the start, and end the process at a signal.

    :param node: whose storage is closed before that, since the step writes to it.
    :raises StorageFailed: if the storage failed meanwhile.
    """
    task = asyncio.get_running_loop().create_task(step)
    ends: set[asyncio.Future[Any]] = {task, stop}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        if node is not None:
            node.close_storage()
        if stop.result() == STORAGE_FAILED or (node is not None and node.failed):
            raise StorageFailed
        _end_process()
    return task.result()


async def _listen(node: Node, stop: asyncio.Future[str]) -> list[str]:
    """Begin to listen for AMQP, and return the listeners, each as NAME=HOST:PORT.

    :raises StartError: if an address or a certificate cannot be used.
    """
    try:
        return await _unless_stopped(node.listen(), stop)
    except OSError as error:
        reason = f"{error.strerror or error}"
    except TlsError as error:
        reason = f"tls: {error}"
    except StorageRefused as error:
        reason = str(error)
    node.close_storage()
    raise StartError(reason)


def _tell_ready(node: Node, addresses: Sequence[str]) -> None:
    if build_kind() != COMPILED_BUILD:
        logger.info(
            "not compiled, and so slower: install Leveret where there is a C compiler",
            build=build_kind(),
        )
    write_ready(node.config.log, addresses, node.place_of_data)
    notify("READY=1")


def _end_process() -> NoReturn:
    """End the process, whose messages are not freed one by one: of millions that takes seconds, in
    which no other process can take the data directory."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _import_definitions(
    management: Management, path: str, node: Node, stop: asyncio.Future[str]
) -> None:
    """Import the definitions file of the configuration.

    :raises StartError: if it is wrong.
    :raises StorageFailed: if the storage failed.
    """
    try:
        await _unless_stopped(import_at_start(management, path), stop, node)
    except Refused as error:
        node.close_storage()
        raise StartError(f"definitions.file: {error}") from None


def _stop_at_signals() -> asyncio.Future[str]:
    """A future that the first SIGTERM or SIGINT resolves with the signal's name."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()

    def on_signal(number: signal.Signals) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _log_fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a callback of the event loop raised: a fault of the broker, which goes on."""
    logger.error(
        "internal error: please report this",
        message=context.get("message"),
        exc_info=context.get("exception"),
    )

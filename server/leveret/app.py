"""The composition root: start in order, serve, stop in order.

Start: logging, the limits of the process, the broker, its store, the garbage collector, the
listeners, the ready line. Stop, at SIGTERM or SIGINT: close the listeners, close the connections,
commit and sync what is open. A second signal exits at once. A failure of the storage stops the
broker, too, and raises `StorageFailed`.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import uvloop

from leveret.compiled import COMPILED_BUILD, build_kind
from leveret.config import DEFAULT_MANAGEMENT_LISTEN, DEFAULT_METRICS_LISTEN, Config
from leveret.control_address import control_path
from leveret.datadir.open import Storage, StorageRefused, warn_of_unused_data
from leveret.descriptors import DescriptorShares, raise_descriptor_limit
from leveret.engine.administration.operator import Refused
from leveret.engine.broker import Broker
from leveret.logging import configure_logging, get_logger, log_libraries, write_ready
from leveret.management.application import application
from leveret.management.authentication import Logins
from leveret.management.control_socket import ControlSocket
from leveret.management.import_at_start import import_at_start
from leveret.management.listener import HTTP, HTTPS, PROMETHEUS, HttpListener
from leveret.management.metrics.application import metrics_application
from leveret.management.node_status import NodeStatus
from leveret.management.service import Management
from leveret.management.statistics.sampler import Sampler
from leveret.memory import retain_freed_memory
from leveret.net.server import AmqpServer
from leveret.net.tls import TlsError
from leveret.net.wall_clock import now_ms
from leveret.os_errors import plain_words
from leveret.systemd import notify

SHUTDOWN_REASON: Final = "broker forced connection closure with reason 'shutdown'"
"""Text of connection.close when the broker stops, as in RabbitMQ."""

STORAGE_FAILED_REASON: Final = "the broker's storage failed: what was not confirmed is not kept"
"""Text of connection.close when the broker stops because it cannot persist anything."""

STORAGE_FAILED: Final = "storage failed"

GC_THRESHOLDS: Final = (5_000, 5, 8_000)
"""A collection takes 0.15 us an object, in which nobody is served: a millisecond for the youngest
objects, four for those that survived once. Full collections are rare, because they visit every
object of every queue, and the message path creates no reference cycles."""

logger = get_logger()


class StartError(Exception):
    """The broker cannot start; the text is one line for the operator."""


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
    shares = raise_descriptor_limit(config.amqp.max_connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, salvage, shares))


async def _serve(config: Config, salvage: bool, shares: DescriptorShares) -> None:
    asyncio.get_running_loop().set_exception_handler(_log_fault)
    stop = _stop_at_signals()
    broker = Broker(config)
    broker.clock.advance_to(now_ms())
    # Recovered messages stay alive: a collection of them takes as long as reading them.
    gc.disable()
    if config.storage.memory:
        storage = None
        warn_of_unused_data(config)
    else:
        storage = _open_storage(config, broker, stop, salvage, shares.store)
    server = AmqpServer(
        broker, config, None if storage is None else storage.free_bytes, shares.sockets
    )
    status = _node_status(server, storage)
    sampler = Sampler(broker, server.all_connections, status.values)
    management = Management(
        broker, server.connections, server.listeners, server.set_memory_limit, status, sampler
    )
    if config.definitions.file:
        await _import_definitions(management, config.definitions.file, storage, stop)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    addresses = await _start_server(server, storage)
    status.loop_lag.start()
    management.watch.start()
    sampler.start()
    if storage is not None:
        storage.after_results = server.run_requested
    try:
        control = await _open_control_socket(config, management)
        api = await _open_management(config, management, server, shares.management)
        metrics = await _open_metrics(config, management, server, shares.metrics)
    except OSError as error:
        await _stop_serving(server, storage, "a listener is missing")
        raise StartError(f"{error.strerror or error}") from None
    addresses += [f"management={address}" for address in api.addresses]
    addresses += [f"metrics={address}" for address in metrics.addresses]
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload_certificates)
    _tell_ready(config, addresses, storage)
    reason = await stop
    notify("STOPPING=1")
    logger.debug("stopping", reason=reason)
    if control is not None:
        await control.stop()
    await api.stop()
    await metrics.stop()
    await _stop_serving(server, storage, reason)
    if storage is not None and storage.failed:
        raise StorageFailed
    _end_process()


async def _start_server(server: AmqpServer, storage: Storage | None) -> list[str]:
    """Begin to listen for AMQP, and return the listeners, each as NAME=HOST:PORT.

    :raises StartError: if an address or a certificate cannot be used.
    """
    try:
        return await server.start()
    except OSError as error:
        reason = f"{error.strerror or error}"
    except TlsError as error:
        reason = f"tls: {error}"
    if storage is not None:
        storage.close()
    raise StartError(reason)


def _node_status(server: AmqpServer, storage: Storage | None) -> NodeStatus:
    def not_ready() -> str:
        if storage is not None and storage.failed:
            return STORAGE_FAILED
        return "" if server.accepts() else "the broker does not listen"

    if storage is None:
        return NodeStatus(
            server.alarms,
            server.sockets,
            certificates=server.certificate_expiries,
            not_ready=not_ready,
        )
    return NodeStatus(
        server.alarms,
        server.sockets,
        lambda: storage.measured_free_bytes,
        server.certificate_expiries,
        not_ready,
    )


def _tell_ready(config: Config, addresses: Sequence[str], storage: Storage | None) -> None:
    if build_kind() != COMPILED_BUILD:
        logger.info(
            "not compiled, and so slower: install Leveret where there is a C compiler",
            build=build_kind(),
        )
    where = "memory" if storage is None else str(storage.directory)
    write_ready(config.log, addresses, where)
    notify("READY=1")


async def _stop_serving(server: AmqpServer, storage: Storage | None, reason: str) -> None:
    """Close the connections and the store; the summary of a stop is one event."""
    started = asyncio.get_running_loop().time()
    if storage is not None and storage.failed:
        closed = await server.stop(STORAGE_FAILED_REASON, synced=False)
    else:
        closed = await server.stop(SHUTDOWN_REASON, synced=storage is None or not storage.full)
    if storage is not None:
        storage.close()
        # Callbacks of the loop report the result of the last writes.
        await asyncio.sleep(0)
    seconds = round(asyncio.get_running_loop().time() - started, 3)
    logger.info("stopped", reason=reason, connections=closed, seconds=seconds)


def _end_process() -> NoReturn:
    """End the process, whose messages are not freed one by one: of millions that takes seconds, in
    which no other process can take the data directory."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _open_storage(
    config: Config, broker: Broker, stop: asyncio.Future[str], salvage: bool, files_max: int
) -> Storage:
    def failed() -> None:
        if not stop.done():
            stop.set_result(STORAGE_FAILED)

    try:
        return Storage(config, broker, failed, files_max, salvage=salvage)
    except StorageRefused as error:
        raise StartError(str(error)) from None


async def _import_definitions(
    management: Management, path: str, storage: Storage | None, stop: asyncio.Future[str]
) -> None:
    """Import the definitions file of the configuration.

    :raises StartError: if it is wrong.
    :raises StorageFailed: if the storage failed.
    """
    loop = asyncio.get_running_loop()
    importing = loop.create_task(import_at_start(management, path))
    ends: set[asyncio.Future[Any]] = {importing, stop}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    try:
        if importing.done():
            importing.result()
            return
    except Refused as error:
        if storage is not None:
            storage.close()
        raise StartError(f"definitions.file: {error}") from None
    importing.cancel()
    if storage is not None:
        storage.close()
        if storage.failed:
            raise StorageFailed
    _end_process()


async def _open_management(
    config: Config, management: Management, server: AmqpServer, connections_max: int
) -> HttpListener:
    """The listener of the HTTP API and the management page.

    :raises OSError: if an address that the configuration names cannot be listened on.
    """
    logins = Logins(management.broker)
    listener = HttpListener(
        "management", application(management, logins.identify, logins), connections_max
    )
    listen = config.management.listen
    context = server.tls_context() if config.management.tls else None
    await listener.start(listen, context, required=listen != DEFAULT_MANAGEMENT_LISTEN)
    protocol = HTTP if context is None else HTTPS
    management.http_listeners += [(protocol, address) for address in listener.addresses]
    return listener


async def _open_metrics(
    config: Config, management: Management, server: AmqpServer, connections_max: int
) -> HttpListener:
    """The listener for metrics.

    :raises OSError: if an address that the configuration names cannot be listened on.
    """
    listener = HttpListener("metrics", metrics_application(management), connections_max)
    listen = config.metrics.listen
    context = server.tls_context() if config.metrics.tls else None
    await listener.start(listen, context, required=listen != DEFAULT_METRICS_LISTEN)
    management.http_listeners += [(PROMETHEUS, address) for address in listener.addresses]
    return listener


async def _open_control_socket(config: Config, management: Management) -> ControlSocket | None:
    """The control socket that the configuration names, or else that of the data directory, if it
    can be made.

    :raises OSError: if the one that the configuration names cannot be made.
    """
    named = config.control.socket
    if config.storage.memory and not named:
        return None
    control = ControlSocket(management, control_path(config))
    try:
        await control.start()
    except OSError as error:
        if named:
            reason = f"control.socket: {named}: {plain_words(error)}"
            raise OSError(error.errno, reason) from None
        logger.warning(
            "no control socket: commands cannot reach this broker", reason=plain_words(error)
        )
        return None
    return control


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

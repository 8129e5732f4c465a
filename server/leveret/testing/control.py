"""The control of a test's broker: it lives in the broker's event loop, and carries out commands.

A reset replaces the node by a new one, which listens on a duplicate of the same socket: connections
that arrive meanwhile wait in its queue. The old node's connections get their connection.close, and
what is left of it ends in the background.
"""

import asyncio
import os
import shutil
import socket
from collections import deque
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from leveret.config import Config
from leveret.config_loading import ConfigError, load_config
from leveret.datadir.open import StorageRefused
from leveret.descriptors import DescriptorShares
from leveret.limits import LISTEN_BACKLOG
from leveret.logging import RECENT, RECENT_EVENTS_MAX, configure_logging, get_logger
from leveret.node import Node
from leveret.testing import explanation, inspection
from leveret.testing.activity import INTERNAL_ERROR, Activity
from leveret.testing.broker_faults import BrokerFaults
from leveret.testing.commands import Commands
from leveret.testing.errors import BrokerError
from leveret.testing.fault_orders import Direction, PendingFault, Refusal, Resource
from leveret.testing.observing import NodeObserver
from leveret.testing.options import Options
from leveret.testing.ports import listening
from leveret.testing.time_travel import travel
from leveret.testing.values import (
    Binding,
    Connection,
    Consumer,
    Message,
    QueueStatus,
    Recording,
)

SHARES: Final = DescriptorShares(sockets=1024, store=256, management=64, metrics=8)
"""File descriptors: fewer than the soft limit that processes have by default."""

AT_ONCE_S: Final = 0.001
"""Seconds for clients to answer connection.close where nobody waits for them: as long as it takes
to send it."""

STOP_REASON: Final = "the test ends"

ARGUMENTS: Final = {
    "amqp.listen": "port",
    "management.listen": "management",
    "storage.data_dir": "directory",
    "storage.memory": "directory",
}
"""Configuration keys that follow from an argument of the handle."""

HEAD_FIELDS: Final = ("timestamp", "level", "event")
"""What the line of an event begins with."""

logger = get_logger()


class Control(Commands):
    """Owns the node of one handle, from its start to its stop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._config = _config(options)
        self._skipped_ms = options.skipped_ms
        self._listening: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: Any = None
        self._log: deque[str] = deque(maxlen=RECENT_EVENTS_MAX)
        self._events = 0
        self._internal_errors = 0
        self._running = ExitStack()
        """Ends what lasts as long as the broker runs: it listens, and its log is read."""
        self._changes = asyncio.Lock()
        """Held while the node is replaced or ended, or its clock advanced: a test that was
        interrupted while it waited for one of them may ask for the next."""
        self._has_ended = False
        self.node: Node

    async def start(self) -> None:
        """Start the broker.

        :raises OSError: if its port cannot be listened on.
        :raises StorageRefused: if its directory cannot be used.
        """
        configure_logging(self._config.log, silent=True)
        with ExitStack() as undo:
            undo.enter_context(RECENT.followed(self._logged))
            self._listening = listening(self._options.host, self._options.port, LISTEN_BACKLOG)
            undo.callback(self._close_listening)
            await self._start_node()
            self._running = undo.pop_all()

    async def reset(self) -> None:
        async with self._changes:
            await self._reset()

    async def _reset(self) -> None:
        old = self.node
        self.faults.clear()
        self._skipped_ms = 0
        if self._http is not None:
            await self._http.stop()
        if self._options.directory is None:
            self._in_background(_replaced(old))
            # It stops listening, also where it does so by itself: for TLS, at a Unix socket.
            await asyncio.sleep(0)
        else:
            await old.stop("reset", AT_ONCE_S)
            _empty(Path(self._options.directory))
        try:
            await self._start_node()
        except (OSError, StorageRefused) as error:
            raise BrokerError(f"the broker does not start anew: {error}") from None

    async def advance(self, milliseconds: int) -> None:
        async with self._changes:
            await self._advance(milliseconds)

    async def _advance(self, milliseconds: int) -> None:
        sampler = None if self._http is None else self._http.management.sampler
        if sampler is not None:
            # A look at everything in each of the seconds that pass would be of no use.
            sampler.stop()
        try:
            await travel(self.node, milliseconds)
        finally:
            if sampler is not None:
                sampler.start()

    async def advanced_ms(self) -> int:
        return int(self.node.broker.clock.skipped)

    async def stop(self, patient: bool) -> None:
        async with self._changes:
            await self._close()
            if patient:
                await self.node.stop(STOP_REASON)
            else:
                await self.node.stop(STOP_REASON, AT_ONCE_S)

    async def kill(self) -> None:
        async with self._changes:
            if not self._has_ended:
                await self._close()
                self.node.kill()

    async def _close(self) -> None:
        """Close everything but the node."""
        self._has_ended = True
        self._running.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._http is not None:
            await self._http.stop()

    async def log(self) -> list[str]:
        return list(self._log)

    async def activity(self) -> Activity:
        opened = int(self.node.broker.churn.connection_created)
        return Activity(opened, self._events, self._internal_errors)

    # --- faults on order ----------------------------------------------------------------------

    async def refuse_connections(self, count: int, how: Refusal) -> None:
        self.faults.refuse_connections(count, how)

    async def drop_connections(
        self, after_frames: int, direction: Direction, answered: bool, name: str | None
    ) -> int:
        return self.faults.drop(after_frames, direction, answered, name)

    async def drop_next_connections(
        self, after_frames: int, direction: Direction, count: int
    ) -> None:
        self.faults.drop_next(after_frames, direction, count)

    async def delay(self, seconds: float) -> None:
        self.faults.connections.set_delay(seconds)

    async def refuse_publishes(
        self, count: int, exchange: str | None, routing_key: str | None, queue: str | None
    ) -> None:
        self.faults.refuse_publishes(count, exchange, routing_key, queue)

    async def hold_alarm(self, resource: Resource, held: bool) -> None:
        self.faults.hold_alarm(resource, held)

    async def fill_disk(self, full: bool) -> None:
        self.faults.fill_disk(full)

    async def cancel_consumers(self, queue: str | None, vhost: str | None) -> int:
        return self.faults.cancel_consumers(queue, vhost)

    async def close_connections(self, code: int, text: str, name: str | None) -> int:
        return self.faults.close_connections(code, text, name)

    async def close_channels(self, code: int, text: str, name: str | None) -> int:
        return self.faults.close_channels(code, text, name)

    async def pending_faults(self) -> tuple[PendingFault, ...]:
        return self.faults.pending()

    async def clear_faults(self) -> None:
        self.faults.clear()

    # --- looks ------------------------------------------------------------------------------

    async def queue_status(self, vhost: str, name: str) -> QueueStatus | None:
        return inspection.queue_status(self.node.broker, vhost, name)

    async def queues(self, vhost: str | None) -> list[QueueStatus]:
        return inspection.queues(self.node.broker, vhost)

    async def exchanges(self, vhost: str) -> list[str]:
        return inspection.exchanges(self.node.broker, vhost)

    async def bindings(self, vhost: str, queue: str) -> list[Binding]:
        return inspection.bindings(self.node.broker, vhost, queue)

    async def messages(self, vhost: str, queue: str, count: int) -> list[Message] | None:
        return await inspection.messages(self.node.broker, vhost, queue, count)

    async def consumers(self, vhost: str | None, queue: str | None) -> list[Consumer]:
        return inspection.consumers(self.node.broker, self.node.server, vhost, queue)

    async def connections(self) -> list[Connection]:
        return inspection.connections(self.node.server)

    async def missing_queue(self, vhost: str, name: str) -> str:
        return explanation.missing_queue(self.node.broker, vhost, name)

    async def explained(self, vhost: str, queue: str) -> list[str]:
        return explanation.explained(self.node.broker, vhost, queue)

    async def explained_publishes(self, exchange: str | None) -> list[str]:
        return explanation.explained_publishes(self.node.broker, exchange)

    async def record(self, messages_max: int, bytes_max: int) -> None:
        self.observer.record(messages_max, bytes_max)

    async def end_recording(self) -> None:
        self.observer.end_recording()

    async def recorded_count(self, exchange: str | None, routing_key: str | None) -> int:
        return self.observer.recorder().count(exchange, routing_key)

    async def recording(
        self, exchange: str | None, routing_key: str | None, unroutable_only: bool
    ) -> Recording:
        return self.observer.recorder().recording(exchange, routing_key, unroutable_only)

    # --- the node -----------------------------------------------------------------------------

    async def _start_node(self) -> None:
        if self._listening is None:
            raise RuntimeError("the broker was stopped")
        faults = BrokerFaults()
        node = Node(
            self._config,
            SHARES,
            self._storage_failed,
            skipped_ms=self._skipped_ms,
            transport=faults.connections.transport,
            around=faults.medium_around,
        )
        with ExitStack() as undo:
            undo.callback(node.kill)
            await node.listen([self._listening.dup()])
            undo.pop_all()
        self.node, self.faults = node, faults
        self._node_started(node)
        if self._options.management is not None:
            # Imported late: most tests do without it, and it takes as long as all the rest.
            from leveret.management.serving import HttpServing

            storage = self.node.storage
            self._http = HttpServing(
                self._config,
                self.node.server,
                free_bytes=None if storage is None else lambda: storage.measured_free_bytes,
                not_ready=self.node.why_not_ready,
            )
            await self._http.start(SHARES.management, SHARES.metrics)

    def _logged(self, event: dict[str, Any]) -> None:
        self._events += 1
        self._internal_errors += str(event.get("event", "")).startswith(INTERNAL_ERROR)
        fields = [f"{name}={value}" for name, value in event.items() if name not in HEAD_FIELDS]
        self._log.append(" ".join([*(str(event.get(name, "")) for name in HEAD_FIELDS), *fields]))

    def _node_started(self, node: Node) -> None:
        """Attach to a new node what observes it."""
        self.observer = NodeObserver(node.broker)
        self.faults.attach(node.server, self.observer)

    def _storage_failed(self) -> None:
        logger.error("the storage failed: the broker goes on without confirming anything")

    def close_after_fork(self) -> None:
        """Close the sockets in a child process, where no event loop runs."""
        self._close_listening()
        for descriptor in self.node.server.descriptors():
            if descriptor >= 0:
                os.close(descriptor)

    def _close_listening(self) -> None:
        """Close the listening socket: no new node listens."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _in_background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _replaced(node: Node) -> None:
    """Stop a node that was replaced; cancelling this ends it."""
    try:
        await node.stop("reset")
    except asyncio.CancelledError:
        node.kill()


def _config(options: Options) -> Config:
    """The configuration.

    :raises ConfigError: if a key or a value is wrong.
    """
    for key in options.settings:
        if not isinstance(key, str):
            raise ConfigError(f"settings: {key!r} is no key")
        if key in ARGUMENTS:
            raise ConfigError(f"settings: {key}: give the argument {ARGUMENTS[key]} instead")
    settings: dict[str, object] = {
        "memory.limit": "100%",
        "metrics.listen": [],
        "log.level": options.log_level,
        **options.settings,
        "amqp.listen": [f"{options.host}:{options.port}"],
        "storage.memory": options.directory is None,
        "management.listen": [],
    }
    if options.management is not None:
        settings["management.listen"] = [f"{options.host}:{options.management}"]
    if options.directory is not None:
        settings["storage.data_dir"] = options.directory
    given = {key: ("settings", value) for key, value in settings.items()}
    return load_config(None, None, given)


def _empty(directory: Path) -> None:
    """Remove what is in a directory of data, and not the directory, which may be mounted."""
    for each in directory.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()

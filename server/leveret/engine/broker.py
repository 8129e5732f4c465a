"""The broker: its virtual hosts, its users, and what it complains of."""

from collections.abc import Callable
from functools import partial

from leveret import __version__
from leveret.config import Config
from leveret.engine.access.accounts import Accounts
from leveret.engine.lifecycle.exchanges import predeclare
from leveret.engine.persistence import definitions
from leveret.engine.persistence.definition_log import DefinitionLog
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.queues.queue import Queue
from leveret.engine.values.clock import Clock
from leveret.engine.values.timers import Timers
from leveret.engine.vhost import VirtualHost
from leveret.limits import RESTORED_BYTES_MAX
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store


class Broker:
    """Everything connections share. It knows no socket and no frame."""

    def __init__(self, config: Config) -> None:
        self.config = config
        auth = config.auth
        self.accounts = Accounts({auth.default_user: auth.default_pass}, auth.loopback_users)
        self.clock = Clock()
        self.timers = Timers()
        self.definition_log: DefinitionLog | None = None
        """Where what is durable is written down; None while nothing outlives the process."""
        self.vhosts: dict[str, VirtualHost] = {}
        self.add_vhost(auth.default_vhost)
        self.connections_open = 0
        """Connections behind connection.open, which `amqp.max_connections` limits."""
        self.alarm = ""
        """Why publishers are blocked, as connection.blocked tells them; "" while they are not."""
        self.product = config.server.product
        self.version = config.server.version or __version__
        self.cluster_name = config.server.cluster_name

    def add_vhost(self, name: str) -> VirtualHost:
        """Make a virtual host with the exchanges it is born with."""
        vhost = VirtualHost(name, self.clock, self.timers)
        vhost.adopts_redeclared = self.config.queues.redeclare == "adopt"
        predeclare(vhost)
        self.vhosts[name] = vhost
        return vhost

    def open_store(
        self,
        medium: Medium,
        writing: Executor,
        reading: Executor,
        failed: Callable[[StorageError], None],
        sync: bool = True,
    ) -> Recovery:
        """Find what a medium holds, take it in, and keep on it what is durable from now on.

        :param sync: whether a batch is safe only once it is synced, or as soon as it is written.
        :raises StorageError: if the medium cannot be read, or is damaged.
        """
        found = recover(medium, spill_bytes=RESTORED_BYTES_MAX)
        made = definitions.restore(self.vhosts, found.definitions)
        queues = {number: queue for number, queue in made.items() if not queue.deleted}
        store = Store(
            medium,
            writing,
            reading,
            snapshot=partial(definitions.snapshot, self.vhosts),
            synced=self._synced,
            failed=failed,
            sync=sync,
        )
        self.definition_log = DefinitionLog(store)
        _restore_queues(store, queues, found)
        for orphan in found.queues.values():
            found.stray.extend(segment.name for segment in orphan.segments)
        found = found._replace(next_queue=max(found.next_queue, *made, 0) + 1)
        store.start(found)
        for vhost in self.vhosts.values():
            vhost.attach_store(self.definition_log)
        return found

    def _synced(self) -> None:
        if self.definition_log is not None:
            self.definition_log.synced()

    def tidy(self) -> None:
        """Have disk given back that few messages keep; to be called every now and then."""
        if self.definition_log is not None:
            self.definition_log.store.compact()

    def commit(self, urgent: bool = False) -> None:
        """Have what is open written, if somebody waits for it or it is `urgent`."""
        if self.definition_log is not None:
            self.definition_log.store.commit(urgent)


def _restore_queues(store: Store, queues: dict[int, Queue | DelayedStore], found: Recovery) -> None:
    """Give every queue what was found of it, by the numbers that the store has for it."""
    levels: dict[Queue | DelayedStore, list[tuple[QueueJournal, RecoveredQueue]]] = {}
    for number, queue in queues.items():
        recovered = found.queues.pop(number, None)
        if recovered is None:
            if queue in levels and isinstance(queue, Queue):
                # A level of priority that never had a message.
                continue
            recovered = RecoveredQueue(number)
        levels.setdefault(queue, []).append((store.restore_queue(number, recovered), recovered))
    for queue, its_levels in levels.items():
        queue.restore(store, its_levels)

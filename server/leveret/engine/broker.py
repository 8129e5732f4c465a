"""The broker: its virtual hosts and their stores, its users, and its alarm."""

from collections.abc import Callable, Iterable

from leveret import __version__
from leveret.config import Config
from leveret.engine.access.accounts import Accounts
from leveret.engine.hosted_store import HostedStore
from leveret.engine.lifecycle.exchanges import predeclare
from leveret.engine.queues.message_memory import MessageMemory
from leveret.engine.values.clock import Clock
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timers
from leveret.engine.values.work import WorkQueue
from leveret.engine.vhost import VirtualHost
from leveret.memory import memory_limit_bytes
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd, note_nothing


class Broker:
    """What all connections share. It knows nothing of sockets and frames."""

    def __init__(self, config: Config) -> None:
        self.config = config
        auth = config.auth
        self.accounts = Accounts({auth.default_user: auth.default_pass}, auth.loopback_users)
        self.clock = Clock()
        self.timers = Timers()
        self.time_slice = TimeSlice()
        self.work = WorkQueue()
        self.memory = MessageMemory(self.work, self.clock, self.timers)
        self.memory_limit_bytes = memory_limit_bytes(config.memory.limit)
        self.memory.limit(self.memory_limit_bytes)
        self.stores: list[HostedStore] = []
        """The stores, each with some of the virtual hosts; none if nothing is persisted."""
        self.vhosts: dict[str, VirtualHost] = {}
        self.add_vhost(auth.default_vhost)
        self.connections_open = 0
        """Connections behind connection.open, which `amqp.max_connections` limits."""
        self.alarm = ""
        """Why publishers are blocked, the reason in connection.blocked; "" while they are not. Set
        it by `set_alarm`."""
        self.alarms_begun = 0
        """How often an alarm has begun."""
        self.product = config.server.product
        self.version = config.server.version or __version__
        self.cluster_name = config.server.cluster_name

    def set_alarm(self, reason: str) -> None:
        """Begin an alarm, change its reason, or end it with ""."""
        if reason and not self.alarm:
            self.alarms_begun += 1
        self.alarm = reason

    def add_vhost(self, name: str) -> VirtualHost:
        """Create a virtual host with its predeclared exchanges."""
        vhost = VirtualHost(name, self.clock, self.timers, self.time_slice, self.work, self.memory)
        vhost.adopts_redeclared = self.config.queues.redeclare == "adopt"
        vhost.counts_returns = self.config.queues.delivery_count == "returns"
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
        vhosts: Iterable[str] | None = None,
        take: Callable[[], None] | None = None,
        log_end: LogEnd = NOT_NOTED,
        note_log_end: Callable[[LogEnd], None] = note_nothing,
    ) -> HostedStore:
        """Restore virtual hosts from a medium, and persist them there from now on.

        A virtual host that the medium names is created where there is none: the data say which
        exist, and the configuration only adds one.

        :param sync: whether a batch is safe only once it is synced, or as soon as it is written.
        :param vhosts: the names of the virtual hosts that the store carries beside those that the
            medium names, each of which is in no other store; None for all there are.
        :param take: takes the medium, as in `HostedStore`, as do `log_end` and `note_log_end`.
        :raises StorageError: if the medium cannot be read, is damaged, or names a virtual host that
            another store carries.
        """
        names = list(self.vhosts if vhosts is None else vhosts)
        carried = {name for hosted in self.stores for name in hosted.vhosts}
        if not carried.isdisjoint(names):
            raise StorageError(
                f"virtual hosts in two stores: {sorted(carried.intersection(names))}"
            )

        def add_vhost(name: str) -> VirtualHost:
            if name in carried:
                raise StorageError(f"virtual hosts in two stores: {[name]}")
            return self.vhosts.get(name) or self.add_vhost(name)

        hosted = HostedStore(
            {name: self.vhosts[name] for name in names},
            add_vhost,
            medium,
            writing,
            reading,
            failed,
            sync,
            take,
            log_end,
            note_log_end,
            self.work,
        )
        self.stores.append(hosted)
        return hosted

    def persist_clock(self) -> None:
        """Persist by how much the time is behind the wall clock."""
        for hosted in self.stores:
            hosted.persist_clock()

    def compact(self) -> None:
        """Free disk space in all stores; to be called every few seconds."""
        for hosted in self.stores:
            hosted.store.compact()

    def commit(self, urgent: bool = False) -> None:
        """Write the open batch of every store, if a confirm or reply waits for it or it is
        `urgent`."""
        for hosted in self.stores:
            hosted.store.commit(urgent)

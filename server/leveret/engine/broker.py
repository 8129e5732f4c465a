"""The broker: its metadata, its virtual hosts and their stores, and its alarm.

The metadata say which virtual hosts exist: the broker makes and removes them as they change.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from leveret import __version__
from leveret.config import Config
from leveret.config_storage import Storage
from leveret.engine.access.accounts import ADMINISTRATOR, Accounts
from leveret.engine.access.limits import MAX_QUEUES, limit
from leveret.engine.access.login_failures import LoginFailures
from leveret.engine.access.open_connections import Closing, OpenConnections
from leveret.engine.access.passwords import hash_password
from leveret.engine.access.rights import ANY, RightsRegistry
from leveret.engine.hosted_store import HostedStore, VirtualHostFactory
from leveret.engine.lifecycle.exchanges import predeclare
from leveret.engine.lifecycle.queues import PoliciesApplied
from leveret.engine.lifecycle.records import virtual_host_created
from leveret.engine.lifecycle.removal import ContentsRemoval
from leveret.engine.metadata.entities import (
    Entity,
    GlobalParameter,
    OperatorPolicy,
    Permission,
    Policy,
    User,
    VirtualHostEntity,
)
from leveret.engine.metadata.metadata import Change, Metadata
from leveret.engine.metadata.reader import MetadataReader
from leveret.engine.placement import Placement
from leveret.engine.policies.policy_set import PolicySet
from leveret.engine.queues.message_memory import MessageMemory
from leveret.engine.routing.observer import PublishObserver
from leveret.engine.store_opening import VirtualHostsApart
from leveret.engine.values.clock import Clock
from leveret.engine.values.counters import (
    ChannelCounters,
    ChurnCounters,
    DeletedCounters,
    SizeCounters,
    TrafficCounters,
)
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timers
from leveret.engine.values.work import RUN_ALL_SLICE_NS, WorkQueue
from leveret.engine.values.work_pause import WorkPause
from leveret.engine.vhost import VirtualHost
from leveret.memory import memory_limit_bytes, shared_limit_bytes
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd, note_nothing
from leveret_storage.recovery.recover import Recovery
from leveret_storage.store.context import RunMedium

NAMELESS: Final = "leveret"
"""The name of a cluster that nobody has named."""

CLUSTER_NAME: Final = "cluster_name"
"""The global parameter that names the cluster (RabbitMQ: Runtime Parameters)."""


class Broker(VirtualHostFactory):
    """What all connections share. It knows nothing of sockets and frames."""

    def __init__(self, config: Config, shared: Metadata | None = None) -> None:
        """
        :param shared: the metadata of the cluster, which are complete, and in none of the stores.
        """
        self.config = config
        self.shares_metadata = shared is not None
        self.metadata = Metadata() if shared is None else shared
        self.accounts = Accounts(self.metadata, config.auth.loopback_users)
        self.login_failures = LoginFailures()
        self.rights = RightsRegistry(self.metadata, self._rights_changed)
        self.churn = ChurnCounters()
        """Connections, channels and queues that came and went."""
        self.gone = DeletedCounters()
        self.sizes = SizeCounters()
        self.connections = OpenConnections(self.churn)
        """Those that `amqp.max_connections` limits, and the limits of users and virtual hosts."""
        self.clock = Clock()
        self.timers = Timers()
        self.time_slice = TimeSlice()
        self.work = WorkQueue()
        WorkPause(self.work, self.timers, self.clock)
        self.memory = MessageMemory(self.work, self.clock, self.timers)
        self.memory_limit_bytes = memory_limit_bytes(config.memory.limit)
        self.memory.limit(self.memory_limit_bytes)
        self.stores: list[HostedStore] = []
        """The stores, each with some of the virtual hosts; none if nothing is persisted."""
        self.vhosts: dict[str, VirtualHost] = {}
        self.placement: Placement | None = None
        """Where virtual hosts are that this broker does not serve itself; None for one that has
        all of them."""
        self.metadata_reader: MetadataReader | None = None
        """What has newer metadata than these; None for a broker that shares them with no other."""
        self._publish_observer: PublishObserver | None = None
        self._deleted_counters = ChannelCounters()
        """Of the virtual hosts that were deleted."""
        self.deleted_traffic = TrafficCounters()
        """Of the connections to them that have ended."""
        self._policies_applied: dict[str, PoliciesApplied] = {}
        """The work that applied the last change of policies, or does so yet, by virtual host."""
        self.alarm = ""
        """Why publishers are blocked, the reason in connection.blocked; "" while they are not. Set
        it by `set_alarm`."""
        self.alarms_begun = 0
        """How often an alarm has begun."""
        self.alarm_since = 0
        """When the last one began, in milliseconds since the epoch."""
        self.product = config.server.product
        self.version = config.server.version or __version__
        self._cluster_name = config.server.cluster_name or f"leveret@{os.uname().nodename}"
        if self.metadata.stores:
            # All brokers of a cluster have one name, which is in the metadata, or none.
            self._cluster_name = NAMELESS
        self.metadata.subscribe(self._metadata_changed)
        self._complete_metadata()

    @property
    def cluster_name(self) -> str:
        """What operators have named it last, else the name of the configuration, or one made of the
        name of the machine; of brokers that share their metadata it is the same."""
        given = self.metadata.get(GlobalParameter, CLUSTER_NAME)
        return self._cluster_name if given is None else str(given.value)

    def counters(self) -> ChannelCounters:
        """What has happened in all virtual hosts, deleted ones included."""
        total = ChannelCounters()
        total.add(self._deleted_counters)
        for vhost in self.vhosts.values():
            total.add(vhost.counters)
        return total

    def set_memory_limit(self, limit_bytes: int) -> None:
        """Change the memory limit until the next start."""
        self.memory_limit_bytes = limit_bytes
        self.memory.limit(shared_limit_bytes(limit_bytes))

    def set_alarm(self, reason: str) -> None:
        """Begin an alarm, change its reason, or end it with ""."""
        if reason and not self.alarm:
            self.alarms_begun += 1
            self.alarm_since = int(self.clock.wall_time())
        self.alarm = reason

    def observe_publishes(self, observer: PublishObserver | None) -> None:
        """Tell an observer of every publish from now on, in virtual hosts that are created later,
        too; None ends that."""
        self._publish_observer = observer
        for vhost in self.vhosts.values():
            vhost.router.observe_with(observer)

    def _complete_metadata(self) -> None:
        """Add what the data do not say: the user of the configuration if there is no user, and the
        virtual hosts that have nothing in the metadata, to which that user has access.

        Metadata that a cluster shares are complete (`cluster/shared_definitions.py`)."""
        if self.shares_metadata:
            return
        metadata, auth = self.metadata, self.config.auth
        user = auth.default_user
        if not metadata.all(User):
            password_hash = hash_password(auth.default_pass.encode())
            metadata.put(User(user, password_hash, tags=(ADMINISTRATOR,)))
        for name in [auth.default_vhost, *self.vhosts]:
            if metadata.get(VirtualHostEntity, name) is None:
                metadata.put(VirtualHostEntity(name))
                if metadata.get(User, user) is not None:
                    metadata.put(Permission(user, name, ANY, ANY, ANY))

    def _metadata_changed(self, change: Change) -> None:
        if change.kind is VirtualHostEntity:
            (name,) = change.key
            before, after = change.before, change.after
            if after is None or (before is not None and _uid(before) != _uid(after)):
                self._delete_vhost(name)
            if after is not None:
                self._add_vhost(name)
        elif change.kind in (Policy, OperatorPolicy):
            vhost_name = change.key[0]
            if vhost_name in self.vhosts:
                self._apply_policies(self.vhosts[vhost_name])
        elif change.kind is User and change.after is None:
            (name,) = change.key
            closing = Closing(self.connections.of_user(name), f"user '{name}' is deleted")
            self.work.add(closing)

    def _add_vhost(self, name: str) -> None:
        """Create a virtual host of the metadata, if this broker serves it, or change it."""
        if name not in self.vhosts:
            carrier = self._carrier(name)
            if carrier is None and self.shares_metadata:
                return
            vhost = self.create_vhost(name)
            if carrier is not None:
                carrier.add(vhost)
        self._apply(self.vhosts[name])

    def _carrier(self, vhost: str) -> HostedStore | None:
        """The store that carries a virtual host, if this broker has it."""
        if self.placement is None:
            return self.stores[0] if self.stores else None
        number = self.placement.store_of(vhost)
        return next((each for each in self.stores if each.number == number), None)

    def serves(self, vhost: VirtualHostEntity) -> bool:
        """Whether a virtual host is served here, which may be one that is to be created."""
        if self.placement is None:
            return True
        number = vhost.store if vhost.store >= 0 else self.placement.store_of(vhost.name)
        return any(each.number == number for each in self.stores)

    def match_metadata(self, hosted: HostedStore) -> None:
        """Have a store that was opened carry exactly the virtual hosts of the cluster's metadata
        that belong to it; what others have left in it is removed.

        Not before the metadata were read again after the store was taken: older ones may lack a
        virtual host that an earlier owner has served.
        """
        for vhost in list(hosted.vhosts.values()):
            entity = self.metadata.get(VirtualHostEntity, vhost.name)
            if entity is None or (vhost.uid and entity.uid != vhost.uid):
                self._delete_vhost(vhost.name)
            elif entity.uid and not vhost.uid:
                vhost.uid = entity.uid
                hosted.definition_log.write_unawaited(virtual_host_created(vhost))
        for (name,) in list(self.metadata.all(VirtualHostEntity)):
            if name not in self.vhosts and self._carrier(name) is hosted:
                self._add_vhost(name)
                self._apply_policies(self.vhosts[name])

    def _apply(self, vhost: VirtualHost) -> None:
        """Have a virtual host be as the metadata say."""
        entity = self.metadata.get(VirtualHostEntity, vhost.name)
        vhost.queues_max = limit(entity, MAX_QUEUES)
        vhost.default_queue_type = "" if entity is None else entity.default_queue_type

    def _apply_policies(self, vhost: VirtualHost) -> None:
        """Have what is declared from now on have the policies of the metadata, and what exists
        when the work comes to it."""
        policies = self.metadata.all(Policy).values()
        operator_policies = self.metadata.all(OperatorPolicy).values()
        vhost.policies = PolicySet(
            [policy for policy in policies if policy.vhost == vhost.name],
            [policy for policy in operator_policies if policy.vhost == vhost.name],
            vhost.policies,
        )
        under_way = self._policies_applied.get(vhost.name)
        if under_way is not None and under_way.vhost is vhost and not under_way.is_done:
            under_way.repeat()
        else:
            self._policies_applied[vhost.name] = PoliciesApplied(vhost)
            self.work.add(self._policies_applied[vhost.name])

    def apply_metadata(self, vhosts: Iterable[VirtualHost]) -> Iterator[None]:
        for vhost in list(vhosts):
            self._apply(vhost)
            self._apply_policies(vhost)
            while not self.work.is_empty():
                self.time_slice.begin(RUN_ALL_SLICE_NS)
                self.work.run_next(self.time_slice)
                yield

    def _rights_changed(self, vhost: str) -> None:
        """Have publishers check again what they may publish to."""
        if vhost in self.vhosts:
            self.vhosts[vhost].router.invalidate()

    def _delete_vhost(self, name: str) -> None:
        vhost = self.vhosts.pop(name, None)
        self._policies_applied.pop(name, None)
        for hosted in self.stores:
            if self.shares_metadata:
                hosted.remove(name)
            else:
                hosted.vhosts.pop(name, None)
        if vhost is not None:
            self._retire(vhost)
            closing = Closing(self.connections.in_vhost(name), f"vhost '{name}' is deleted")
            self.work.add(closing)
            self.work.add(ContentsRemoval(vhost))

    def _retire(self, vhost: VirtualHost) -> None:
        """Keep the sums of a virtual host that is no longer there."""
        self._deleted_counters.add(vhost.counters)
        self.deleted_traffic.add(vhost.closed_traffic)
        # Its connections end only after it.
        vhost.closed_traffic = self.deleted_traffic
        self.gone.add_exchange(vhost.router.default_counters)

    def create_vhost(self, name: str) -> VirtualHost:
        """Create a virtual host with its predeclared exchanges, or return it.

        :raises StorageError: if a store carries it already.
        """
        self.check_not_carried(name)
        vhost = self.vhosts.get(name)
        if vhost is None:
            vhost = self.vhosts[name] = self.make_vhost(name, self.timers)
        return vhost

    def check_not_carried(self, name: str) -> None:
        """Check that no store carries a virtual host.

        :raises StorageError: if one does.
        """
        if any(name in hosted.vhosts for hosted in self.stores):
            raise StorageError(f"virtual hosts in two stores: {[name]}")

    def make_vhost(self, name: str, timers: Timers) -> VirtualHost:
        """A virtual host with its predeclared exchanges, which nobody finds."""
        vhost = VirtualHost(name, self.clock, timers, self.time_slice, self.work, self.memory)
        if self.placement is not None:
            vhost.node = self.config.server.node_name
            vhost.copies = _copies(self.config.storage)
        vhost.adopts_redeclared = self.config.queues.redeclare == "adopt"
        vhost.counts_returns = self.config.queues.delivery_count == "returns"
        vhost.churn, vhost.gone, vhost.sizes = self.churn, self.gone, self.sizes
        vhost.router.observe_with(self._publish_observer)
        entity = self.metadata.get(VirtualHostEntity, name)
        vhost.uid = "" if entity is None else entity.uid
        predeclare(vhost)
        return vhost

    def drop_vhost(self, name: str) -> None:
        """Forget a virtual host that was deleted."""
        self.vhosts.pop(name, None)

    def open_store(
        self,
        medium: Medium,
        writing: Executor,
        reading: Executor,
        failed: Callable[[StorageError], None],
        sync: bool = True,
        vhosts: Iterable[str] | None = None,
        take: Callable[[], object] | None = None,
        log_end: LogEnd = NOT_NOTED,
        note_log_end: Callable[[LogEnd], None] = note_nothing,
        found: Recovery | None = None,
        number: int = 0,
        transient_runs: RunMedium | None = None,
        apart: VirtualHostsApart | None = None,
    ) -> HostedStore:
        """Restore virtual hosts from a medium, and persist them there from now on.

        A virtual host that the medium names is created where there is none: the data say which
        exist, and the configuration only adds one.

        :param sync: whether a batch is safe only once it is synced, or as soon as it is written.
        :param vhosts: the names of the virtual hosts that the store carries beside those that the
            medium names, each of which is in no other store; None for all there are.
        :param take: takes the medium, as in `HostedStore`, as do `log_end`, `note_log_end` and
            `found`.
        :param number: of the store in a cluster; call `match_metadata` then.
        :param transient_runs: as in `Store`.
        :param apart: makes the virtual hosts; then the steps of what is returned are still to be
            done, and after them `add_store`, or `discard_store` instead.
        :raises StorageError: if the medium cannot be read, is damaged, or names a virtual host that
            another store carries.
        """
        names = list(self.vhosts if vhosts is None else vhosts)
        factory: VirtualHostFactory = self if apart is None else apart
        hosted = HostedStore(
            # The metadata are in one store, or in none of a cluster's.
            Metadata() if self.stores or self.shares_metadata else self.metadata,
            {name: factory.create_vhost(name) for name in names},
            factory,
            medium,
            writing,
            reading,
            failed,
            sync,
            take,
            log_end,
            note_log_end,
            self.work,
            found,
            transient_runs,
        )
        hosted.number = number
        if apart is None:
            hosted.open_at_once()
            self.stores.append(hosted)
            self._complete_metadata()
        return hosted

    def add_store(self, hosted: HostedStore, apart: VirtualHostsApart) -> None:
        """Serve the virtual hosts of a store of the cluster that were restored apart, as far as the
        metadata have them (`match_metadata`).

        :raises StorageError: if another store carries one of them.
        """
        for name in hosted.vhosts:
            self.check_not_carried(name)
        self.vhosts.update(hosted.vhosts)
        self.stores.append(hosted)
        if self.metadata.version != apart.metadata_version:
            for vhost in hosted.vhosts.values():
                self._apply(vhost)
                self._apply_policies(vhost)
        hosted.timers = apart.timers
        apart.timers.begin()
        self.match_metadata(hosted)

    def discard_store(self, apart: VirtualHostsApart) -> None:
        """Free what was restored of a store that could not be opened."""
        for vhost in apart.made:
            vhost.churn, vhost.gone = ChurnCounters(), DeletedCounters()
            self._forget_policies(vhost)
            self.work.add(ContentsRemoval(vhost))

    def _forget_policies(self, vhost: VirtualHost) -> None:
        applied = self._policies_applied.get(vhost.name)
        if applied is not None and applied.vhost is vhost:
            del self._policies_applied[vhost.name]

    def withdraw(self, hosted: HostedStore) -> None:
        """Have no further connection opened to the virtual hosts of a store, and write to it only
        what the store is told itself: it is about to be closed."""
        self.stores.remove(hosted)
        if hosted.timers is not None:
            hosted.timers.end()
        for name, vhost in hosted.vhosts.items():
            if self.vhosts.get(name) is vhost:
                del self.vhosts[name]
                self._forget_policies(vhost)

    def forget_contents(self, hosted: HostedStore) -> None:
        """Free what the virtual hosts of a store have in memory, once it was withdrawn and is
        closed. What is in the store stays."""
        for vhost in hosted.vhosts.values():
            self._retire(vhost)
            # Nobody has deleted its queues.
            vhost.churn = ChurnCounters()
            self.work.add(ContentsRemoval(vhost))

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


def _uid(entity: Entity) -> str:
    assert isinstance(entity, VirtualHostEntity)
    return entity.uid


def _copies(storage: Storage) -> int:
    """Servers of a database that have what is confirmed, at least; 0 if its provider knows."""
    return 0 if storage.replicas == "provider" else 1 + storage.replicas_min

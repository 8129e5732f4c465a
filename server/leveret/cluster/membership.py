"""This broker as a member of a cluster: the parts that it has for that, started and stopped in
order.

The database is connected, and the definitions are read, before there is a broker. Stores are opened
when it listens, since the others have to know its address. A stop hands them over first.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from contextlib import closing
from functools import partial
from ipaddress import ip_address
from typing import Final

from leveret import __version__
from leveret.cluster.agent import Agent
from leveret.cluster.cluster_status import StoreStatus
from leveret.cluster.database_memory import DatabaseMemory
from leveret.cluster.definition_reads import DefinitionReads
from leveret.cluster.hosted_stores import NOT_MEASURED, HostedStores
from leveret.cluster.patience import call_patiently
from leveret.cluster.placement import ClusterPlacement, vhosts_by_store
from leveret.cluster.shared_database import open_shared_database
from leveret.cluster.shared_definitions import SharedDefinitions
from leveret.config import Config
from leveret.control_address import local_directory
from leveret.datadir.transient_runs import remove_transient
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.placement import Placement
from leveret.logging import get_logger
from leveret.net.alarms import Resource
from leveret.net.server import AmqpServer
from leveret.net.wall_clock import wall_clock_ms
from leveret_storage.coordination import Member
from leveret_storage.errors import StorageError, UnknownMedium, UnsuitableMedium

DRAIN_TIMEOUT_S: Final = 10.0
"""Seconds in which the stores are handed over when the broker stops."""

SECRET_NAME: Final = "fingerprint of cluster.secret"

logger = get_logger()


class Membership:
    """One broker in its cluster. Made without an event loop; everything else is for the loop."""

    def __init__(self, config: Config) -> None:
        """Connect to the database, and read the definitions. Waits for both.

        :raises UnknownMedium: if the configuration does not fit a database.
        :raises StorageError: if Leveret cannot rely on the database, or it does not answer.
        """
        self._config: Final = config
        if config.storage.sync != "commit":
            raise UnknownMedium(f'storage.sync = "{config.storage.sync}" needs a local directory')
        self.database: Final = open_shared_database(config)
        self.behind_ms: Final = wall_clock_ms() - self.database.now_ms()
        """By how much the time of the database is behind that of this machine."""
        stores = config.cluster.stores
        self.definitions: Final = SharedDefinitions(
            self.database.definitions, config.auth, stores, config.server.cluster_name
        )
        remove_transient(local_directory(config))
        self.memory: Final = DatabaseMemory(local_directory(config))
        self._check_memory()
        self.definitions.load()
        self.memory.check_definitions(self.definitions.version)
        self.memory.note_definitions(self.definitions.version)
        self.memory.save()
        self.agent: Agent | None = None
        """None before `start`."""
        self.stores: HostedStores | None = None
        """None before `start`."""
        self._saving: asyncio.Future[None] | None = None
        self._at_close: Callable[[], None] = lambda: None
        self._files_max = 0
        self._ended: Callable[[], None] = lambda: None
        logger.info("database connected", found=str(self.database.report() or ""))

    @property
    def node(self) -> str:
        """The name of this broker."""
        return self._config.server.node_name

    @property
    def metadata(self) -> Metadata:
        """Those of the cluster."""
        return self.definitions.metadata

    @property
    def failed(self) -> bool:
        """Whether this broker had to leave the cluster."""
        return self.agent is not None and self.agent.failure is not None

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing was heard of the cluster for the length of a lease."""
        return self.agent is not None and self.agent.is_cut_off

    def store(self, store: int) -> StoreStatus:
        """What is known of a store."""
        if self.agent is None:
            return StoreStatus(store, "", "", False, "unknown", 0, 0, "", "", "")
        return self.agent.store(store)

    def free_bytes(self) -> int:
        """Free bytes of the local disk; 0 while that or the database is full."""
        if self.stores is None:
            return NOT_MEASURED
        try:
            return self.stores.free_bytes()
        except StorageError as error:
            logger.warning("the free space cannot be measured", reason=str(error))
            return 0

    def place(self, broker: Broker, files_max: int) -> None:
        """Tell a broker where virtual hosts are, and what time it is in the cluster; and follow the
        definitions.

        :param files_max: files that its stores may have open at a time on the local disk.
        """
        self._files_max = files_max
        broker.clock.share(self.behind_ms)
        stores = self._config.cluster.stores
        broker.placement = ClusterPlacement(self, stores, partial(_pin_of, broker.metadata))
        self.definitions.start()
        broker.metadata_reader = DefinitionReads(self.definitions)

    async def start(self, server: AmqpServer, ended: Callable[[], None]) -> None:
        """Join the cluster, and own stores from now on, which are opened one after the other.

        :param server: that listens.
        :param ended: called once if this broker has to leave the cluster.
        :raises StorageError: as `Agent.start`; UnknownMedium if the others cannot reach it.
        """
        address = _address_for_others(config := self._config, server)
        broker = server.broker
        placement = broker.placement
        assert placement is not None
        count = config.cluster.stores
        self._ended = ended
        incarnation = str(uuid.uuid4())
        self.stores = HostedStores(
            broker,
            server,
            placement,
            partial(self.database.open_medium, incarnation),
            local_directory(config),
            self.memory,
            self.node,
            count,
            self.definitions.refresh,
            self._files_max,
            shut_out_s=self.database.shut_out_s,
        )
        member = Member(self.node, incarnation, address, __version__, 0, 0, 0, False, True)
        lease_s = config.cluster.lease / 1000
        agent = Agent(self.database.coordination, self.stores, member, count, lease_s)
        self.stores.failed = agent.store_failed
        agent.used_stores = _UsedStores(placement, broker.metadata).find
        await call_patiently(partial(self._check_others, member))
        agent.subscribe(self._changed)
        self._watch(server)
        await agent.start()
        self.agent = agent

    def _check_others(self, member: Member) -> None:
        """Check that this broker and the others can pass connections on to each other. Waits for
        the database.

        :raises UnsuitableMedium: if they cannot; the text says what to change.
        """
        coordination = self.database.coordination
        others = [
            each for each in coordination.look().members if each.is_alive and each.name != self.node
        ]
        if others and not member.address:
            raise UnsuitableMedium(
                f"cluster.listen is needed: {others[0].name} is a broker of the cluster, too"
            )
        for each in others:
            if not each.address:
                raise UnsuitableMedium(
                    f"{each.name} is a broker of the cluster, too, and has no cluster.listen:"
                    " restart it with one"
                )
        if not coordination.agree(SECRET_NAME, self._fingerprint()):
            raise UnsuitableMedium(
                "cluster.secret is not that of the brokers that run; to change it, stop them all"
            )

    def _fingerprint(self) -> int:
        """A number that tells two secrets apart, and takes long to be made."""
        report = self.database.report()
        salt = f"leveret cluster.secret {'' if report is None else report.system}".encode()
        secret = self._config.cluster.secret.encode()
        digest = hashlib.scrypt(secret, salt=salt, n=2**14, r=8, p=1, dklen=8)
        return int.from_bytes(digest) >> 1

    def _watch(self, server: AmqpServer) -> None:
        """Block publishers while the database is away."""
        loop = asyncio.get_running_loop()

        def changed(reason: str) -> None:
            server.alarms.set(Resource.STORAGE, bool(reason))
            if reason:
                logger.warning("storage unreachable: publishers wait", reason=reason)
            else:
                logger.warning("storage reached again", found=str(self.database.report() or ""))
                self._note_server()
                self._save_soon()

        def tell(reason: str) -> None:
            loop.call_soon_threadsafe(changed, reason)

        self.database.watch(tell)

    def _check_memory(self) -> None:
        """Check that the database is not older than what this broker has seen of it.

        :raises DataLost: if it is.
        """
        report = self.database.report()
        if report is not None:
            self.memory.check_server(report.system, self.database.schema, report.timeline)
            self._note_server()
        for store in self.memory.stores():
            with closing(self.database.open_medium("", store)) as medium:
                self.memory.check_store(store, medium.read_head()[0])

    def _note_server(self) -> None:
        report = self.database.report()
        if report is not None:
            self.memory.note_server(report.system, self.database.schema, report.timeline)

    def _changed(self) -> None:
        self._note_seen()
        if self.failed:
            ended, self._ended = self._ended, lambda: None
            ended()

    def _note_seen(self) -> None:
        """Note which epochs and definitions there are, whoever has made them."""
        if self.agent is None:
            return
        epochs = {store.store: store.epoch for store in self.agent.view().stores}
        is_new = self.memory.note_epochs(epochs)
        if self.memory.note_definitions(self.definitions.version) or is_new:
            self._save_soon()

    def _save_soon(self) -> None:
        """Save what was noted, in a thread; once for what is noted meanwhile."""
        if self._saving is None or self._saving.done():
            loop = asyncio.get_running_loop()
            self._saving = loop.run_in_executor(None, self.memory.save_if_possible)

    async def hand_over(self) -> None:
        """Hand over all stores, and be no member any more."""
        if self.agent is not None:
            await self.agent.drain_and_stop(DRAIN_TIMEOUT_S)
        if self.stores is not None:
            await self.stores.wait_until_ended()

    async def leave(self) -> None:
        """Change no definitions any more; after `hand_over`."""
        await self.definitions.stop()

    def at_close(self, release: Callable[[], None]) -> None:
        """Have something released with the database."""
        self._at_close = release

    def close(self) -> None:
        """Release the database. What is not durable is not written. Waits for threads."""
        self.definitions.kill()
        self.database.close()
        self._at_close()

    def kill(self) -> None:
        """End without a word to the others, as a killed process does."""
        if self.agent is not None:
            self.agent.kill()
        self.database.coordination.close()
        if self.stores is not None:
            self.stores.kill()
        self.definitions.kill()


def _address_for_others(config: Config, server: AmqpServer) -> str:
    """HOST:PORT at which other brokers reach this one; empty if it does not listen for them.

    :raises UnknownMedium: if the configuration does not say where that is.
    """
    listener = server.cluster_listener
    if config.cluster.advertise or listener is None:
        return config.cluster.advertise
    address = listener.addresses[0]
    if ip_address(address.host).is_unspecified:
        raise UnknownMedium(
            f"cluster.advertise is needed: cluster.listen = {address} does not name a host"
        )
    return str(address)


class _UsedStores:
    """The stores that have virtual hosts: looked for again when the metadata have changed."""

    def __init__(self, placement: Placement, metadata: Metadata) -> None:
        self._placement = placement
        self._metadata = metadata
        self._version = -1
        self._found: frozenset[int] = frozenset()

    def find(self) -> frozenset[int]:
        """Their numbers."""
        if self._version != self._metadata.version:
            self._version = self._metadata.version
            self._found = frozenset(vhosts_by_store(self._placement, self._metadata))
        return self._found


def _pin_of(metadata: Metadata, vhost: str) -> int:
    """The store that a virtual host is pinned to; negative for none."""
    entity = metadata.get(VirtualHostEntity, vhost)
    return -1 if entity is None else entity.store

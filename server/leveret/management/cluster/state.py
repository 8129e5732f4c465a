"""The cluster as operators see it: members, stores and the database, and what is wrong.

What is shown is what this broker knows: its last look at the members and leases, which it takes
several times while a lease lasts. What operators order goes to the database, and whom it concerns
reads it there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from leveret.cluster.cluster_status import ClusterStatus, FailedMember, StoreStatus
from leveret.cluster.placement import vhosts_by_store
from leveret.cluster.shared_database import Standby
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.placement import Placement
from leveret.management.cluster.database_watch import DatabaseState, DatabaseWatch
from leveret.management.cluster.peers import Peer
from leveret_storage.coordination import Coordination, Member

MS: Final = 1000


async def _no_standbys() -> list[Standby]:
    """The default of `standbys`."""
    return []


class PassedOn(NamedTuple):
    """Connections of clients to this broker that it passes on to the owners of their virtual
    hosts."""

    open: int = 0
    total: int = 0
    """Since the start."""
    waiting: int = 0
    """Those that wait for their owner."""
    failures: int = 0
    """Attempts to reach an owner that have failed, since the start."""


class ClusterState:
    """The cluster, as this broker knows it. For the event loop."""

    def __init__(
        self,
        view: Callable[[], ClusterStatus],
        placement: Placement,
        metadata: Metadata,
        coordination: Coordination,
        database: DatabaseWatch | None = None,
    ) -> None:
        """
        :param view: returns what this broker knows of members and stores.
        :param coordination: carries out what operators order.
        """
        self.view: Final = view
        self.silent: Callable[[], dict[str, str]] = dict
        """Returns the brokers that live and do not answer, and why."""
        self.standbys: Callable[[], Awaitable[list[Standby]]] = _no_standbys
        """Returns the standbys of the database."""
        self.passed_on: Callable[[], PassedOn] = PassedOn
        self._placement = placement
        self._metadata = metadata
        self._coordination = coordination
        self._database = database

    # --- who has what -------------------------------------------------------------------------

    @property
    def node(self) -> str:
        """The name of this broker among the members."""
        return self.view().node

    def owner_of(self, vhost: str) -> str:
        """The node that serves a virtual host; empty while none does."""
        served_by = self._placement.served_by(vhost)
        return "" if served_by is None else served_by.node

    def vhosts_by_store(self) -> dict[int, list[str]]:
        """The names of the virtual hosts, by the store that carries them."""
        return vhosts_by_store(self._placement, self._metadata)

    def vhosts_without_owner(self) -> list[str]:
        """The virtual hosts that nobody serves."""
        names = (each.name for each in self._metadata.all(VirtualHostEntity).values())
        return [name for name in names if not self.owner_of(name)]

    def others(self) -> list[Member]:
        """The members beside this one."""
        view = self.view()
        return [each for each in view.members if each.name != view.node]

    def peers(self) -> list[Peer]:
        """The other brokers that live."""
        return [Peer(each.name, each.address) for each in self.others() if each.is_alive]

    def _down(self) -> list[Member]:
        return [each for each in self.others() if not each.is_alive]

    def down_nodes(self) -> list[dict[str, Any]]:
        """Rows of the list of nodes for members that are down."""
        return [{"name": each.name, "type": "disc", "running": False} for each in self._down()]

    def database(self) -> DatabaseState | None:
        """The database; None if it is not watched."""
        return None if self._database is None else self._database.state()

    def warnings(self) -> list[str]:
        """What is wrong, in sentences."""
        found = [
            f"node '{node}' does not answer: {why}; what it has is missing here"
            for node, why in sorted(self.silent().items())
        ]
        found += [
            f"node '{each.name}' is down, for {each.silent_ms // MS} s" for each in self._down()
        ]
        found += [
            f"nobody may take store {each.store}: {each.reason}"
            for each in self.view().stores
            if is_refused(each)
        ]
        found += self._failing()
        if down := self.vhosts_without_owner():
            found.append(f"virtual hosts that nobody serves: {', '.join(map(repr, sorted(down)))}")
        database = self.database()
        reason = self.view().reason if database is None else database.reason
        if reason:
            found.append(f"the database does not answer: {reason}")
        return found

    def _failing(self) -> list[str]:
        """The members that cannot open stores, with a reason each."""
        stores: dict[FailedMember, list[str]] = {}
        for store in self.view().stores:
            for each in store.failed:
                stores.setdefault(each, []).append(str(store.store))
        return [
            f"node '{each.node}' could not open store {', '.join(numbers)}: {each.reason}"
            for each, numbers in sorted(stores.items())
        ]

    # --- what operators order -----------------------------------------------------------------
    # Calls of the coordination block, within a time: they are made in a thread.

    async def move(self, store: int, node: str) -> None:
        """Have a store be owned by a member whenever that lives; empty takes the order back.

        :raises StorageError: if the database does not answer.
        """
        await asyncio.to_thread(self._coordination.move, store, node)

    async def allow(self, store: int) -> None:
        """Have a store be taken again that was refused; raises as `move`."""
        await asyncio.to_thread(self._coordination.allow, store)

    async def drain(self, node: str, *, draining: bool) -> bool:
        """Have a member own no store, or its share again; whether there is one. Raises as
        `move`."""
        return await asyncio.to_thread(self._coordination.drain, node, draining)

    async def forget(self, node: str) -> bool:
        """Remove a member that is down; whether one was removed. Raises as `move`."""
        return await asyncio.to_thread(self._coordination.forget, node)


def is_refused(store: StoreStatus) -> bool:
    """Whether nobody may take a store until an operator allows it."""
    return store.state == "refused"

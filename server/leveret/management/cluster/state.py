"""The cluster as operators see it: members, stores and the database, and what is wrong.

What is shown is what this broker knows: its last look at the members and leases, which it takes
several times while a lease lasts. What operators order goes to the database, and whom it concerns
reads it there.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.placement import Placement
from leveret.management.cluster.database_watch import DatabaseState, DatabaseWatch
from leveret.management.cluster.peers import Peer
from leveret_storage.coordination import ClusterView, Coordination, Member, StoreLease

MS: Final = 1000


class Counts(NamedTuple):
    """What has happened since the start of this broker."""

    taken: int = 0
    """Stores that it has taken."""
    handed_over: int = 0
    """Stores that it has handed over."""
    lost: int = 0
    """Stores that it has given up, because another one may own them."""


class ClusterState:
    """The cluster, as this broker knows it. For the event loop."""

    def __init__(
        self,
        node: str,
        view: Callable[[], ClusterView],
        placement: Placement,
        metadata: Metadata,
        coordination: Coordination,
        database: DatabaseWatch | None = None,
        counts: Callable[[], Counts] = Counts,
    ) -> None:
        """
        :param node: the name of this broker among the members.
        :param view: returns the members and leases of its last look.
        :param coordination: carries out what operators order.
        """
        self.node: Final = node
        self.view: Final = view
        self.counts: Final = counts
        self.silent: Callable[[], dict[str, str]] = dict
        """Returns the brokers that live and do not answer, and why."""
        self._placement = placement
        self._metadata = metadata
        self._coordination = coordination
        self._database = database

    # --- who has what -------------------------------------------------------------------------

    def owner_of(self, vhost: str) -> str:
        """The node that serves a virtual host; empty while none does."""
        served_by = self._placement.served_by(vhost)
        return "" if served_by is None else served_by.node

    def vhosts_of(self, store: int) -> list[str]:
        """The virtual hosts that a store carries."""
        names = (each.name for each in self._metadata.all(VirtualHostEntity).values())
        return [name for name in names if self._placement.store_of(name) == store]

    def vhosts_by_store(self) -> dict[int, list[str]]:
        """The virtual hosts, by the store that carries them."""
        found: dict[int, list[str]] = {}
        for entity in self._metadata.all(VirtualHostEntity).values():
            found.setdefault(self._placement.store_of(entity.name), []).append(entity.name)
        return found

    def vhosts_without_owner(self) -> list[str]:
        """The virtual hosts that nobody serves."""
        names = (each.name for each in self._metadata.all(VirtualHostEntity).values())
        return [name for name in names if not self.owner_of(name)]

    def members(self) -> list[Member]:
        """The members, this one among them."""
        return list(self.view().members)

    def leases(self) -> list[StoreLease]:
        """The leases of all stores."""
        return list(self.view().leases)

    def owned_by(self, node: str) -> list[int]:
        """The stores of a member."""
        return [lease.store for lease in self.view().leases if lease.owner == node]

    def peers(self) -> list[Peer]:
        """The other brokers that live."""
        return [
            Peer(each.name, each.address)
            for each in self.view().members
            if each.is_alive and each.name != self.node
        ]

    def down_nodes(self) -> list[dict[str, Any]]:
        """Rows of the list of nodes for members that are down."""
        return [
            {"name": each.name, "type": "disc", "running": False}
            for each in self.view().members
            if not each.is_alive and each.name != self.node
        ]

    def database(self) -> DatabaseState | None:
        """The database; None if it is not watched."""
        return None if self._database is None else self._database.state()

    def warnings(self) -> list[str]:
        """What is wrong, in sentences."""
        view = self.view()
        found = [
            f"node '{node}' does not answer: {why}; what it has is missing here"
            for node, why in sorted(self.silent().items())
        ]
        found += [
            f"node '{each.name}' is down, for {each.silent_ms // MS} s"
            for each in view.members
            if not each.is_alive and each.name != self.node
        ]
        found += [
            f"nobody may take store {lease.store}: {lease.refused}"
            for lease in view.leases
            if lease.refused
        ]
        if down := self.vhosts_without_owner():
            found.append(f"virtual hosts that nobody serves: {', '.join(map(repr, sorted(down)))}")
        database = self.database()
        if database is not None and database.reason:
            found.append(f"the database does not answer: {database.reason}")
        return found

    # --- what operators order -----------------------------------------------------------------
    # Calls of the coordination block, within a time: they are made in a thread.

    async def move(self, store: int, node: str) -> None:
        """Have the owner of a store hand it over to a member; empty takes the order back.

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

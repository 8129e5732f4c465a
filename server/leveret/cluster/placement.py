"""Where the virtual hosts of a cluster are: virtual host to store, store to owner.

A virtual host is in the store that its name hashes to, unless it is pinned to one. The hash is the
CRC-32 of its name in UTF-8 modulo the number of stores: all brokers, of all versions, agree on it.
"""

import zlib
from collections.abc import Callable
from typing import Final, Protocol

from leveret.cluster.cluster_status import StoreStatus
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.placement import Placement, ServedBy


class Owners(Protocol):
    """What says who owns a store (`Agent`)."""

    @property
    def node(self) -> str:
        """The name of this broker."""

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing was heard of the cluster for the length of a lease."""

    def store(self, store: int) -> StoreStatus:
        """What is known of a store."""


class ClusterPlacement(Placement):
    """The placement of a broker, by the last view of its agent."""

    def __init__(self, owners: Owners, stores: int, pin_of: Callable[[str], int]) -> None:
        """:param pin_of: the store that a virtual host is pinned to; negative if it is not."""
        self._owners: Final = owners
        self._stores: Final = stores
        self._pin_of: Final = pin_of

    @property
    def is_cut_off(self) -> bool:
        return self._owners.is_cut_off

    def store_of(self, vhost: str) -> int:
        pin = self._pin_of(vhost)
        return pin if 0 <= pin < self._stores else hashed_store(vhost, self._stores)

    def served_by(self, vhost: str) -> ServedBy | None:
        status = self._owners.store(self.store_of(vhost))
        if not status.is_served:
            return None
        return ServedBy(status.owner, status.address, status.owner == self._owners.node)


def vhosts_by_store(placement: Placement, metadata: Metadata) -> dict[int, list[str]]:
    """The virtual hosts that the metadata name, by the store that carries them."""
    found: dict[int, list[str]] = {}
    for (name,) in metadata.all(VirtualHostEntity):
        found.setdefault(placement.store_of(name), []).append(name)
    return found


def hashed_store(vhost: str, stores: int) -> int:
    """The store of a virtual host that is not pinned."""
    return zlib.crc32(vhost.encode()) % stores

"""Which broker of a cluster serves a virtual host.

A broker that shares no storage with others has no placement: it serves all that there are.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple


class ServedBy(NamedTuple):
    """The broker that serves a virtual host."""

    node: str
    address: str
    """HOST:PORT at which it takes connections that others pass on; empty if it takes none."""
    is_local: bool
    """Whether it is this one."""


class Placement(ABC):
    """Where the virtual hosts of a cluster are, as far as this broker knows."""

    @property
    def is_cut_off(self) -> bool:
        """Whether this broker has heard nothing of the cluster for as long as others wait before
        they take its stores: what it knows is old."""
        return False

    @abstractmethod
    def store_of(self, vhost: str) -> int:
        """The number of the store that carries a virtual host."""

    @abstractmethod
    def served_by(self, vhost: str) -> ServedBy | None:
        """The broker that serves a virtual host; None while none does."""

"""What several brokers that share an engine agree on through it: who there is, and who owns which
store.

Liveness only: a lease says who may take a store, by the engine's clock. Whether an owner may still
write is decided by the epoch of its medium (`medium.py`), whatever the lease says.

Calls block, may be made from any thread, and end: with Unreachable if the engine does not answer
in time. Its outcome is unknown then.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple

from leveret_storage.errors import StorageError


class Unreachable(StorageError):
    """The engine did not answer in time."""


class NameTaken(StorageError):
    """Another process announces itself with the same name, and lives."""


class Member(NamedTuple):
    """A broker of the cluster, as it has announced itself."""

    name: str
    incarnation: str
    """A random text of the process: another one of the same name has another."""
    address: str
    """HOST:PORT at which other brokers pass on connections; empty for none."""
    version: str
    """Of Leveret."""
    started_at: int
    """Milliseconds since 1970, by the engine's clock."""
    silent_ms: int
    """Since its last sign of life, by the engine's clock."""
    steady_ms: int
    """For how long it has lived without a silence as long as a lease, by the engine's clock."""
    draining: bool
    """Whether it is to own no store."""
    is_alive: bool
    """Whether its last sign of life is younger than a lease is long."""


class Unseen(NamedTuple):
    """A member that is alive by its last sign of life, and has no connection to the engine."""

    incarnation: str
    address: str


class Glance(NamedTuple):
    """What makes it worth while to look."""

    unseen: list[Unseen]
    """Members that may have died since their last sign of life."""
    has_free: bool
    """Whether a store has been given back that nobody has taken."""


class FailedOpening(NamedTuple):
    """A process could not open a store, or could not go on with it. The reason need not be the
    store's."""

    incarnation: str
    ago_ms: int
    """Since then, by the engine's clock."""
    back_off_ms: int
    """For how long after that it does not try again."""
    reason: str


class StoreLease(NamedTuple):
    """Who may own a store."""

    store: int
    """From 0."""
    owner: str
    """Name of a member; empty if it was released. Of a lease that has ended, the last one."""
    incarnation: str
    """Of the owner's process."""
    epoch: int
    """Of the store's head, as the last owner has noted it; 0 if there was none."""
    left_ms: int
    """Until it ends, by the engine's clock; 0 if it has ended."""
    is_open: bool
    """Whether the owner serves it: it has noted its epoch since it took it."""
    successor: str
    """Member that it was released for; empty for any."""
    wanted: str
    """Member that an operator wants it to be owned by whenever that is alive; empty for any."""
    refused: str
    """Why nobody may take it, until an operator allows it again; empty if anybody may."""
    failed: tuple[FailedOpening, ...] = ()
    """The last failure of each process that has failed with it, and has not opened it since."""


class ClusterView(NamedTuple):
    """Everything at one instant."""

    members: tuple[Member, ...]
    """By name."""
    leases: tuple[StoreLease, ...]
    """By store: all there are."""


class Coordination(ABC):
    """The members and the leases of one cluster."""

    @abstractmethod
    def join(self, member: Member, stores: int, lease_ms: int) -> None:
        """Announce a broker, and make the rows of the stores if there are none.

        :param lease_ms: length of its leases, in milliseconds.
        :raises NameTaken: if another process of that name is alive.
        :raises UnsuitableMedium: if the cluster has another number of stores.
        """

    @abstractmethod
    def renew(self, stores: Collection[int]) -> ClusterView:
        """Give a sign of life, renew the leases of these stores, and look. A lease that is not ours
        stays as it is; one of ours that is not named, too, and ends.

        :raises NameTaken: if another process has taken the name.
        """

    @abstractmethod
    def look(self) -> ClusterView:
        """Look, and change nothing."""

    def glance(self) -> Glance:
        """Look for what should be done soon, which is cheaper than to look at everything. An engine
        that cannot tell finds nothing."""
        return Glance([], False)

    def end_leases(self, incarnation: str) -> None:
        """End the leases of a process that has died, and its life as a member. If it has a
        connection to the engine, everything stays as it is. Does nothing where `glance` finds
        nothing."""
        del incarnation

    def agree(self, name: str, value: int) -> bool:
        """Have a number be the same for all members that live: it is noted if no other one does.

        :param name: of the number.
        :param value: from 0 to 2**63 - 1.
        :returns: whether it is the one that is noted. An engine that notes none always agrees.
        """
        return True

    @abstractmethod
    def try_take(self, store: int) -> bool:
        """Take the lease of a store that is free, that has ended, or that is ours already; whether
        it is ours. One that is refused stays as it is."""

    @abstractmethod
    def note_epoch(self, store: int, epoch: int) -> None:
        """Note in its lease with which epoch this process has taken a store."""

    @abstractmethod
    def release(self, store: int, successor: str = "") -> None:
        """Give back a lease that is ours; any other stays as it is."""

    def give_back(self, store: int, back_off_ms: int, reason: str) -> None:
        """Give back a lease that is ours, and have others know that this process has failed with
        the store. An engine that notes no failure only gives it back.

        :param back_off_ms: for how long this process does not try again.
        """
        del back_off_ms, reason
        self.release(store)

    @abstractmethod
    def refuse(self, store: int, reason: str) -> None:
        """Give back a lease that is ours, and have nobody take the store until it is allowed."""

    @abstractmethod
    def allow(self, store: int) -> None:
        """Have a store be taken again that was refused."""

    @abstractmethod
    def move(self, store: int, member: str) -> None:
        """Have a store be owned by a member whenever that is alive; empty takes the order back.
        Failures with it are forgotten, so that who has failed may try again."""

    @abstractmethod
    def drain(self, member: str, draining: bool) -> bool:
        """Have a member own no store, or its share again; whether there is such a member. The order
        ends when another process joins with its name."""

    @abstractmethod
    def forget(self, member: str) -> bool:
        """Remove a member that is not alive; whether one was removed."""

    @abstractmethod
    def leave(self) -> None:
        """Remove this process from the members, and give back its leases."""

    @abstractmethod
    def close(self) -> None:
        """End all calls, and the connections; what is known of this process stays."""

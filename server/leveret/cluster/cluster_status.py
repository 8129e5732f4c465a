"""What a broker knows of its cluster: values for placement, HTTP API, metrics and commands."""

from typing import NamedTuple

from leveret_storage.coordination import Member


class FailedMember(NamedTuple):
    """A member that has failed with a store a while ago."""

    node: str
    reason: str


class StoreStatus(NamedTuple):
    """A store, as this broker sees it."""

    store: int
    owner: str
    """Name of the member whose lease has not ended; empty if there is none."""
    address: str
    """Of the owner, for other brokers; empty if it has none."""
    is_served: bool
    """Whether its owner serves it."""
    state: str
    """In words: `owned`, `opening`, `handing over`, `free`, `refused` ..."""
    epoch: int
    """That its last owner has noted."""
    left_ms: int
    """Until its lease ends, when the view was made; 0 if it has ended."""
    target: str
    """Member that is to own it; empty if none can."""
    wanted: str
    """Member that an operator wants it to be owned by; empty for any."""
    reason: str
    """Why it is refused, or why this broker has given it up last; empty if neither is so."""
    failed: tuple[FailedMember, ...] = ()
    """Members that get it last, if at all."""


class ClusterCounts(NamedTuple):
    """What has happened to the stores of this broker since its start."""

    taken: int
    """Stores taken that no broker had handed over."""
    received: int
    """Stores taken that another broker had handed over."""
    handed_over: int
    lost: int
    """Stores given up: another broker had taken them, or their lease could not be renewed."""
    failed: int
    """Stores that could not be opened, or that failed while they were owned."""


class ClusterStatus(NamedTuple):
    """The cluster, as this broker sees it."""

    node: str
    members: tuple[Member, ...]
    """By name."""
    stores: tuple[StoreStatus, ...]
    """By number."""
    counts: ClusterCounts
    is_reachable: bool
    """Whether the database answered when it was asked last."""
    reason: str
    """Why not, or why this broker has left the cluster; empty otherwise."""
    view_age_s: float
    """Seconds since the view was asked for; -1 if there was none."""
    renewal_age_s: float
    """Seconds since the renewal was sent that has succeeded last; -1 if there was none."""

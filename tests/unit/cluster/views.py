"""Views of a cluster for tests, in few words."""

from collections.abc import Iterable

from leveret_storage.coordination import ClusterView, FailedOpening, Member, StoreLease

LEASE_MS = 3000
BACK_OFF_MS = 2000


def member(
    name: str, *, steady_ms: int = 60_000, draining: bool = False, is_alive: bool = True
) -> Member:
    return Member(name, f"{name}-1", f"{name}:1", "1.0", 0, 0, steady_ms, draining, is_alive)


def lease(
    store: int,
    owner: str = "",
    *,
    left_ms: int = LEASE_MS,
    is_open: bool = True,
    successor: str = "",
    wanted: str = "",
    refused: str = "",
    failed: str = "",
    ago_ms: int = 0,
) -> StoreLease:
    """A lease of a process that `member` describes; of nobody without an owner.

    :param failed: the names of members that have failed with it, each a letter.
    """
    incarnation = f"{owner}-1" if owner else ""
    left_ms = left_ms if owner else 0
    is_open = is_open and bool(owner)
    failures = tuple(FailedOpening(f"{name}-1", ago_ms, BACK_OFF_MS, "no") for name in failed)
    return StoreLease(
        store, owner, incarnation, 1, left_ms, is_open, successor, wanted, refused, failures
    )


def view(members: Iterable[Member | str], leases: Iterable[StoreLease | str]) -> ClusterView:
    """A name is a member that is steady, or the owner of a store, empty for none."""
    return ClusterView(
        tuple(member(each) if isinstance(each, str) else each for each in members),
        tuple(
            lease(store, each) if isinstance(each, str) else each
            for store, each in enumerate(leases)
        ),
    )

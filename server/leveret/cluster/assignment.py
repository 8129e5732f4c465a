"""Which member is to own which store: even shares, with as few changes as possible.

A pure function of a view, so all members that see the same come to the same result.

- A store stays with its owner while that is alive and not draining.
- A store that is free goes to the member it was released for, else to its last owner if that is
  alive, else to the member that has the fewest.
- Shares that differ by two or more are evened, but nothing is given to a member that has not been
  alive for a while (STEADY_LEASES): one that comes and goes gets free stores only.
- Where a free store goes, and which store is given away, is chosen so that members have equally
  many stores with virtual hosts. For that alone nothing is given away.
- What an operator wants comes first (`StoreLease.wanted`), and counts in the share of the member.
"""

from functools import partial
from typing import Final

from leveret_storage.coordination import ClusterView, Member, StoreLease

STEADY_LEASES: Final = 3
"""Lease lengths for which a member has to be alive before others hand stores over to it."""


def is_live(lease: StoreLease) -> bool:
    """Whether a store has an owner whose lease has not ended."""
    return bool(lease.owner) and lease.left_ms > 0


def assign(view: ClusterView, lease_ms: int, used: frozenset[int] = frozenset()) -> dict[int, str]:
    """The member that is to own each store. A store is missing if it is refused, or if no member
    may own one.

    :param used: the stores that have virtual hosts.
    """
    candidates = [each for each in view.members if each.is_alive and not each.draining]
    if not candidates:
        return {}
    names = {each.name for each in candidates}
    steady = {each.name for each in candidates if _is_steady(each, lease_ms)}
    owned: dict[str, list[int]] = {each: [] for each in sorted(names)}
    homeless = []
    fixed = set()
    for lease in view.leases:
        if lease.refused:
            continue
        wanted = _wanted(lease, names, steady)
        if wanted:
            fixed.add(lease.store)
        member = wanted or _present(lease, names)
        if member:
            owned[member].append(lease.store)
        else:
            homeless.append(lease.store)
    for store in sorted(homeless, key=lambda store: (store not in used, store)):
        least = min(owned, key=partial(_load_of, owned, store, used))
        owned[least].append(store)
    _even_out(owned, steady, fixed, used)
    return {store: name for name, stores in owned.items() for store in stores}


def _is_steady(member: Member, lease_ms: int) -> bool:
    return member.steady_ms >= STEADY_LEASES * lease_ms


def _wanted(lease: StoreLease, names: set[str], steady: set[str]) -> str:
    """The member that an operator wants, if it can have the store."""
    wanted = lease.wanted
    has_it = wanted == lease.owner or not is_live(lease)
    return wanted if wanted in steady or (has_it and wanted in names) else ""


def _present(lease: StoreLease, names: set[str]) -> str:
    """The member that has a store, or that a free one waits for."""
    if is_live(lease) or lease.owner:
        return lease.owner if lease.owner in names else ""
    return lease.successor if lease.successor in names else ""


def _load_of(
    owned: dict[str, list[int]], store: int, used: frozenset[int], member: str
) -> tuple[int, int]:
    """What a member has already: who has least gets a store."""
    stores = owned[member]
    return (len(used.intersection(stores)) if store in used else 0, len(stores))


def _even_out(
    owned: dict[str, list[int]], steady: set[str], fixed: set[int], used: frozenset[int]
) -> None:
    """Move stores from those that have most to the steady ones that have fewest."""
    givers = set(owned)
    while givers and steady:
        giver = max(sorted(givers), key=lambda name: len(owned[name]))
        receiver = min(sorted(steady), key=lambda name: len(owned[name]))
        if len(owned[giver]) - len(owned[receiver]) < 2:
            return
        movable = [store for store in owned[giver] if store not in fixed]
        if not movable:
            givers.discard(giver)
            continue
        given = _given(movable, owned[giver], owned[receiver], used)
        owned[giver].remove(given)
        owned[receiver].append(given)


def _given(movable: list[int], giver: list[int], receiver: list[int], used: frozenset[int]) -> int:
    """The store that a member gives to another: one with virtual hosts, if it has more of them."""
    has_more = len(used.intersection(giver)) > len(used.intersection(receiver)) + 1
    wanted = [store for store in movable if (store in used) == has_more]
    return (wanted or movable)[-1]

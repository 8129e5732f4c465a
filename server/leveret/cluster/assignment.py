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
- A member that has failed with a store (`StoreLease.failed`) does not get it until its back-off is
  over: others do. If all have failed, the one whose back-off ends first gets it. Where others have
  not failed with that store, nothing is handed over to it for RETURN_BACK_OFFS of its back-offs.
"""

from functools import partial
from operator import itemgetter
from typing import Final

from leveret_storage.coordination import ClusterView, FailedOpening, Member, StoreLease

STEADY_LEASES: Final = 3
"""Lease lengths for which a member has to be alive before others hand stores over to it."""


RETURN_BACK_OFFS: Final = 5
"""Back-offs after which a member that has failed with a store is handed over one that others serve:
trying costs the clients of the store a short interruption."""


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
    processes = {each.incarnation: each.name for each in candidates}
    failing = _failing(view, processes)
    owned: dict[str, list[int]] = {each: [] for each in sorted(names)}
    homeless = []
    fixed = set()
    for lease in view.leases:
        if lease.refused:
            continue
        able = names - _failed(lease, processes, 1)
        returning = steady - _failed(lease, processes, RETURN_BACK_OFFS)
        wanted = _wanted(lease, names, able, returning)
        if wanted:
            fixed.add(lease.store)
        member = wanted or _present(lease, names, able)
        if member:
            owned[member].append(lease.store)
        elif able:
            homeless.append((lease.store not in used, lease.store, able))
    for _, store, able in sorted(homeless, key=itemgetter(0, 1)):
        least = min(sorted(able), key=partial(_load_of, owned, store, used, failing))
        owned[least].append(store)
    _even_out(owned, steady - failing, fixed, used)
    return {store: name for name, stores in owned.items() for store in stores}


def _is_steady(member: Member, lease_ms: int) -> bool:
    return member.steady_ms >= STEADY_LEASES * lease_ms


def is_recent(failure: FailedOpening, back_offs: int = RETURN_BACK_OFFS) -> bool:
    """Whether it was less than so many of its back-offs ago."""
    return failure.ago_ms < back_offs * failure.back_off_ms


def _failed(lease: StoreLease, processes: dict[str, str], back_offs: int) -> set[str]:
    """The members that have failed with a store recently."""
    return {
        processes[each.incarnation]
        for each in lease.failed
        if each.incarnation in processes and is_recent(each, back_offs)
    }


def _failing(view: ClusterView, processes: dict[str, str]) -> set[str]:
    """The members that have failed with a store with which others have not."""
    failing = set()
    for lease in view.leases:
        failed = _failed(lease, processes, RETURN_BACK_OFFS)
        if len(failed) < len(processes):
            failing |= failed
    return failing


def _wanted(lease: StoreLease, names: set[str], able: set[str], steady: set[str]) -> str:
    """The member that an operator wants, if it can have the store."""
    wanted = lease.wanted
    has_it = is_live(lease) and wanted == lease.owner
    may_have_it = wanted in names if has_it else wanted in steady
    return wanted if may_have_it or (not is_live(lease) and wanted in able) else ""


def _present(lease: StoreLease, names: set[str], able: set[str]) -> str:
    """The member that has a store, or that a free one waits for."""
    if is_live(lease):
        return lease.owner if lease.owner in names else ""
    waited_for = lease.owner or lease.successor
    return waited_for if waited_for in able else ""


def _load_of(
    owned: dict[str, list[int]], store: int, used: frozenset[int], failing: set[str], member: str
) -> tuple[bool, int, int]:
    """What a member has already: who has least gets a store."""
    stores = owned[member]
    used_stores = len(used.intersection(stores)) if store in used else 0
    return (member in failing, used_stores, len(stores))


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

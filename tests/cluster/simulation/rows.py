"""The state of the simulated database: what its write-ahead log makes of nothing.

What statements do to rows is what `media/postgres/cluster_schema.py` and
`media/postgres/coordination.py` of the storage do, with times in seconds of the database's clock.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from leveret_storage.coordination import ClusterView, FailedOpening, Member, StoreLease


class Record(NamedTuple):
    """One record of a store."""

    number: int
    epoch: int


class MemberRow:
    """A member."""

    def __init__(self, incarnation: str, now: float, lease_s: float) -> None:
        self.incarnation = incarnation
        self.seen_at = now
        self.steady_since = now
        self.lease_s = lease_s
        self.draining = False


class LeaseRow:
    """The lease of a store."""

    def __init__(self) -> None:
        self.owner = ""
        self.incarnation = ""
        self.until = 0.0
        self.epoch = 0
        self.takes = 0
        self.is_open = False
        self.successor = ""
        self.wanted = ""
        self.refused = ""
        self.failed: dict[str, tuple[float, float, str]] = {}
        """Since when, for how long and why a process does not take it."""

    def release(self, successor: str) -> None:
        self.owner = self.incarnation = ""
        self.until, self.is_open, self.successor = 0.0, False, successor


class Rows:
    """All rows."""

    def __init__(self, stores: int) -> None:
        self.members: Final[dict[str, MemberRow]] = {}
        self.leases: Final = [LeaseRow() for _ in range(stores)]
        self.heads: Final = [(0, "") for _ in range(stores)]
        """Epoch and token of each store."""
        self.records: Final[list[dict[int, Record]]] = [{} for _ in range(stores)]
        """By number."""

    def view(self, now: float) -> ClusterView:
        return ClusterView(
            tuple(
                Member(
                    name,
                    row.incarnation,
                    name,
                    "",
                    0,
                    _milliseconds(now - row.seen_at),
                    _milliseconds(row.seen_at - row.steady_since),
                    row.draining,
                    row.seen_at > now - row.lease_s,
                )
                for name, row in sorted(self.members.items())
            ),
            tuple(
                StoreLease(
                    store,
                    row.owner,
                    row.incarnation,
                    row.epoch,
                    _milliseconds(row.until - now + 0.001),
                    row.is_open,
                    row.successor,
                    row.wanted,
                    row.refused,
                    tuple(
                        FailedOpening(
                            incarnation, int((now - failed_at) * 1000), int(back_off * 1000), reason
                        )
                        for incarnation, (failed_at, back_off, reason) in row.failed.items()
                        if failed_at <= now
                    ),
                )
                for store, row in enumerate(self.leases)
            ),
        )


Change: TypeAlias = Callable[[Rows], None]


def _milliseconds(seconds: float) -> int:
    return max(0, int(seconds * 1000))


def renewal(
    name: str, incarnation: str, stores: frozenset[int], lease_s: float, now: float
) -> Change:
    """A sign of life, and the renewal of leases. The name is nobody else's."""

    def change(rows: Rows) -> None:
        row = rows.members.get(name)
        if row is None or row.incarnation != incarnation:
            row = rows.members[name] = MemberRow(incarnation, now, lease_s)
        if row.seen_at <= now - lease_s:
            row.steady_since = now
        row.steady_since = min(row.steady_since, now)
        row.seen_at = now
        for store in stores:
            lease = rows.leases[store]
            if lease.incarnation == incarnation:
                lease.until = now + lease_s

    return change


def clock_set_back(lease_s: float, now: float) -> Change:
    """Shorten what ends later than any lease could."""

    def change(rows: Rows) -> None:
        for lease in rows.leases:
            if lease.until > now + 2 * lease_s:
                lease.until = now + lease_s
        for row in rows.members.values():
            if row.seen_at > now + lease_s:
                row.seen_at = now

    return change


def may_take(rows: Rows, store: int, incarnation: str, now: float) -> bool:
    lease = rows.leases[store]
    is_free = lease.incarnation in ("", incarnation) or lease.until <= now
    return is_free and not lease.refused


def take(store: int, name: str, incarnation: str, until: float) -> Change:
    def change(rows: Rows) -> None:
        lease = rows.leases[store]
        lease.owner, lease.incarnation, lease.until = name, incarnation, until
        lease.takes += 1
        lease.is_open, lease.successor = False, ""

    return change


def note_epoch(store: int, incarnation: str, epoch: int) -> Change:
    def change(rows: Rows) -> None:
        lease = rows.leases[store]
        lease.failed.pop(incarnation, None)
        if lease.incarnation == incarnation:
            lease.epoch, lease.is_open = epoch, True

    return change


def release(store: int, incarnation: str, successor: str, takes_max: float) -> Change:
    def change(rows: Rows) -> None:
        lease = rows.leases[store]
        if lease.incarnation == incarnation and lease.takes <= takes_max:
            lease.release(successor)

    return change


def give_back(
    store: int, incarnation: str, takes_max: float, back_off_s: float, reason: str, now: float
) -> Change:
    def change(rows: Rows) -> None:
        lease = rows.leases[store]
        if lease.incarnation == incarnation and lease.takes <= takes_max:
            lease.release("")
            alive = {each.incarnation for each in rows.members.values()}
            for each in set(lease.failed) - alive:
                del lease.failed[each]
            lease.failed[incarnation] = (now, back_off_s, reason)

    return change


def refuse(store: int, incarnation: str, reason: str) -> Change:
    def change(rows: Rows) -> None:
        lease = rows.leases[store]
        if lease.incarnation == incarnation:
            lease.release("")
            lease.refused = reason

    return change


def allow(store: int) -> Change:
    def change(rows: Rows) -> None:
        rows.leases[store].refused = ""

    return change


def move(store: int, member: str) -> Change:
    def change(rows: Rows) -> None:
        rows.leases[store].wanted = member
        rows.leases[store].failed.clear()

    return change


def drain(member: str, draining: bool) -> Change:
    def change(rows: Rows) -> None:
        if member in rows.members:
            rows.members[member].draining = draining

    return change


def forget(member: str, now: float) -> Change:
    def change(rows: Rows) -> None:
        row = rows.members.get(member)
        if row is not None and row.seen_at <= now - row.lease_s:
            del rows.members[member]

    return change


def leave(name: str, incarnation: str) -> Change:
    def change(rows: Rows) -> None:
        for lease in rows.leases:
            if lease.incarnation == incarnation:
                lease.release("")
        if name in rows.members and rows.members[name].incarnation == incarnation:
            del rows.members[name]

    return change


def set_head(store: int, epoch: int, token: str) -> Change:
    def change(rows: Rows) -> None:
        rows.heads[store] = (epoch, token)

    return change


def add_record(store: int, record: Record) -> Change:
    def change(rows: Rows) -> None:
        rows.records[store].setdefault(record.number, record)

    return change

"""The members, the stores and the database of a cluster."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from leveret.cluster.cluster_status import ClusterStatus, StoreStatus
from leveret.cluster.shared_database import Standby
from leveret.management.cluster.database_watch import DatabaseState
from leveret.management.columns import Columns, columns_of_dicts
from leveret_storage.coordination import Member

MS: Final = 1000

MEMBER: Final[Columns[dict[str, Any]]] = columns_of_dicts(
    "ClusterMember",
    {
        "name": str,
        "running": bool,
        "draining": bool,
        "stores": list[int],
        "stores_count": int,
        "address": str,
        "version": str,
        "started_at": int,
        "silent_ms": int,
        "answers": bool,
    },
)
"""A member. `silent_ms` is the time since its last sign of life; `answers` is false of one that
lives, and has not answered a request of the broker that was asked."""

STORE: Final[Columns[dict[str, Any]]] = columns_of_dicts(
    "ClusterStore",
    {
        "store": int,
        "node": str,
        "state": str,
        "served": bool,
        "vhosts": list[str],
        "epoch": int,
        "lease_left_ms": int,
        "target": str,
        "wanted": str,
        "reason": str,
    },
)
"""A store. `target` is the member that is to own it, `wanted` the one that an operator wants."""


class StandbyShown(msgspec.Struct):
    """A standby of the database, as its primary lists it."""

    name: str
    address: str
    state: str
    """`streaming` of one that follows; empty if the role of Leveret may not see it."""
    sync_state: str
    behind_bytes: int | None
    """Of the write-ahead log that it has not flushed."""
    silent_ms: int | None
    """Since its last reply."""


class ClusterDatabase(msgspec.Struct):
    """The database that the brokers share."""

    hosts: list[str]
    """Where it is looked for."""
    server: str
    """The primary that was found last; empty if none was."""
    version: str
    timeline: int
    tls: bool
    synchronous_standby_names: str
    replicas: int | None
    """Standbys that had what was committed when the connection was made; null if that is the
    matter of a provider."""
    away: str
    """Why it is away; empty if it answers."""
    away_since: int | UnsetType = UNSET
    """Milliseconds since 1970."""
    away_count: int = 0
    """How often it was away since the start of the broker."""
    away_seconds: float = 0.0
    """For how long altogether."""
    failovers: int = 0
    """How often another primary was there afterwards."""
    standbys: list[StandbyShown] = []
    """Those that the primary has listed last."""


class ClusterCountsShown(msgspec.Struct):
    """What has happened to the stores of the broker that was asked, since its start."""

    taken: int
    received: int
    handed_over: int
    lost: int
    failed: int


class PassedOnShown(msgspec.Struct):
    """Connections of clients that the broker that was asked passes on to other brokers."""

    open: int
    total: int
    waiting: int
    failures: int


class ClusterShown(msgspec.Struct):
    """The cluster, as the broker sees it that was asked."""

    node: str
    """That broker."""
    clustered: bool
    """Whether it shares its storage with others."""
    members: list[dict[str, Any]]
    stores: list[dict[str, Any]]
    database: ClusterDatabase | None
    counts: ClusterCountsShown | None
    passed_on: PassedOnShown | None
    warnings: list[str]


def member_row(member: Member, view: ClusterStatus, silent: dict[str, str]) -> dict[str, Any]:
    """The row of a member."""
    stores = [each.store for each in view.stores if each.owner == member.name]
    return {
        "name": member.name,
        "running": member.is_alive,
        "draining": member.draining,
        "stores": stores,
        "stores_count": len(stores),
        "address": member.address,
        "version": member.version,
        "started_at": member.started_at,
        "silent_ms": member.silent_ms,
        "answers": member.is_alive and member.name not in silent,
    }


def store_row(store: StoreStatus, vhosts: list[str]) -> dict[str, Any]:
    """The row of a store."""
    return {
        "store": store.store,
        "node": store.owner,
        "state": store.state,
        "served": store.is_served,
        "vhosts": sorted(vhosts),
        "epoch": store.epoch,
        "lease_left_ms": store.left_ms,
        "target": store.target,
        "wanted": store.wanted,
        "reason": store.reason,
    }


def lacks_standbys(database: ClusterDatabase) -> bool:
    """Whether commits wait for standbys, and none follows."""
    follows = any(each.state == "streaming" for each in database.standbys)
    return bool(database.replicas) and not database.away and not follows


def database_shown(
    state: DatabaseState | None, standbys: Iterable[Standby]
) -> ClusterDatabase | None:
    """The database; None if it is not known."""
    if state is None:
        return None
    report = state.report
    return ClusterDatabase(
        hosts=list(state.hosts),
        server="" if report is None else report.server,
        version="" if report is None else report.version,
        timeline=0 if report is None else report.timeline,
        tls=report is not None and report.tls,
        synchronous_standby_names="" if report is None else report.standby_names,
        replicas=None if report is None else report.replicas,
        away=state.reason,
        away_since=int(state.away_since * MS) if state.reason else UNSET,
        away_count=state.away_count,
        away_seconds=round(state.away_s, 3),
        failovers=state.failovers,
        standbys=[
            StandbyShown(
                each.name,
                each.address,
                each.state,
                each.sync_state,
                None if each.behind_bytes < 0 else each.behind_bytes,
                None if each.silent_ms < 0 else each.silent_ms,
            )
            for each in standbys
        ],
    )

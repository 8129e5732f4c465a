"""The metrics of a broker in a cluster: its stores, the members that it sees, and the database.

They are written by brokers of a cluster only. How long commits take is in
`leveret_store_sync_seconds` (`own_metrics.py`), for stores in a database as for one in a directory.
"""

from collections.abc import Callable, Iterable
from typing import Final

from leveret.cluster.cluster_status import ClusterStatus
from leveret.management.cluster.database_watch import DatabaseState
from leveret.management.metrics.exposition import Kind, Metric, labels
from leveret.management.metrics.own_metrics import OWN_FAMILY
from leveret.management.metrics.scrape import NO_FAMILY, NodeMetric
from leveret.management.metrics.source import Source

Samples = Iterable[tuple[str, float]]


def _of_view(read: Callable[[ClusterStatus], Samples]) -> Callable[[Source], Samples]:
    """What is read of members and stores."""

    def samples(source: Source) -> Samples:
        return () if source.cluster is None else read(source.cluster.view)

    return samples


def _of_database(read: Callable[[DatabaseState], float]) -> Callable[[Source], Samples]:
    """What is read of the database."""

    def samples(source: Source) -> Samples:
        found = None if source.cluster is None else source.cluster.database
        return () if found is None else (("", read(found)),)

    return samples


def _metric(
    kind: Kind, name: str, read: Callable[[Source], Samples], text: str, family: str = OWN_FAMILY
) -> NodeMetric:
    return NodeMetric(family, Metric(name, kind, text, complete=True), read)


def _owned(view: ClusterStatus) -> Samples:
    return (
        (labels(store=str(each.store)), int(each.owner == view.node and each.is_served))
        for each in view.stores
    )


def _served(view: ClusterStatus) -> Samples:
    return ((labels(store=str(each.store)), int(each.is_served)) for each in view.stores)


def _refused(view: ClusterStatus) -> Samples:
    return ((labels(store=str(each.store)), int(each.state == "refused")) for each in view.stores)


def _up(view: ClusterStatus) -> Samples:
    return ((labels(node=each.name), int(each.is_alive)) for each in view.members)


def _draining(view: ClusterStatus) -> Samples:
    return ((labels(node=each.name), int(each.draining)) for each in view.members)


def _taken(view: ClusterStatus) -> Samples:
    counts = view.counts
    return (
        (labels(after="a hand-over"), counts.received),
        (labels(after="an end"), counts.taken),
    )


def _count(name: str) -> Callable[[Source], Samples]:
    return _of_view(lambda view: (("", getattr(view.counts, name)),))


def _passed_on(name: str) -> Callable[[Source], Samples]:
    def samples(source: Source) -> Samples:
        return () if source.cluster is None else (("", getattr(source.cluster.passed_on, name)),)

    return samples


def _unreachable(source: Source) -> Samples:
    return () if source.cluster is None else (("", source.cluster.silent),)


def _replicas(database: DatabaseState) -> float:
    report = database.report
    return 0 if report is None or report.replicas is None else report.replicas


CLUSTER: Final = (
    _metric(
        Kind.GAUGE, "leveret_store_owned", _of_view(_owned), "Whether this broker owns a store"
    ),
    _metric(
        Kind.GAUGE,
        "leveret_store_served",
        _of_view(_served),
        "Whether a store has an owner that serves it, as this broker sees it",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_store_refused",
        _of_view(_refused),
        "Whether nobody may take a store until an operator allows it",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_cluster_member_up",
        _of_view(_up),
        "Whether a member of the cluster lives, as this broker sees it",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_cluster_member_draining",
        _of_view(_draining),
        "Whether a member of the cluster is to own no store",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_cluster_lease_age_seconds",
        _of_view(lambda view: (("", view.renewal_age_s),)),
        "Time since this broker has renewed its leases; -1 before the first time",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_stores_taken_total",
        _of_view(_taken),
        "Stores that this broker has taken",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_stores_handed_over_total",
        _count("handed_over"),
        "Stores that this broker has handed over",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_stores_lost_total",
        _count("lost"),
        "Stores that this broker has given up: another one had them, or a lease was not renewed",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_stores_failed_total",
        _count("failed"),
        "Stores that this broker could not open, or that failed",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_passed_on_connections",
        _passed_on("open"),
        "Connections of clients that this broker passes on to other brokers",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_passed_on_connections_total",
        _passed_on("total"),
        "Connections of clients that this broker has passed on",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_passed_on_connections_waiting",
        _passed_on("waiting"),
        "Connections of clients that wait for the owner of their virtual host",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_passed_on_failures_total",
        _passed_on("failures"),
        "Attempts to reach the owner of a virtual host that have failed",
    ),
    _metric(
        Kind.GAUGE,
        "rabbitmq_unreachable_cluster_peers_count",
        _unreachable,
        "Members that live, and have not answered this broker",
        NO_FAMILY,
    ),
    _metric(
        Kind.GAUGE,
        "leveret_database_up",
        _of_database(lambda database: int(not database.reason)),
        "Whether the database answers",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_database_away_total",
        _of_database(lambda database: database.away_count),
        "How often the database was away",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_database_away_seconds_total",
        _of_database(lambda database: database.away_s),
        "For how long the database was away",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_database_failovers_total",
        _of_database(lambda database: database.failovers),
        "How often another primary was there afterwards",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_database_timeline",
        _of_database(lambda database: 0 if database.report is None else database.report.timeline),
        "Timeline of the primary: it grows with each failover",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_database_replicas",
        _of_database(_replicas),
        "Standbys that had what was committed when this broker connected; 0 if not measured",
    ),
)

"""The generated form of the tables of metrics: the tables of `docs/monitoring.md`.

`python -m leveret.reference.metrics` in a checkout writes them.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from leveret.cluster.cluster_status import ClusterCounts, ClusterStatus, StoreStatus
from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.management.cluster.database_watch import DatabaseState
from leveret.management.cluster.state import PassedOn
from leveret.management.metrics.application import TABLES
from leveret.management.metrics.cluster_metrics import CLUSTER
from leveret.management.metrics.node_metrics import NODE
from leveret.management.metrics.object_metrics import (
    CHANNELS,
    CONNECTIONS,
    EXCHANGES,
    NAMES_OF_EXCHANGES,
    QUEUES,
    VHOSTS,
)
from leveret.management.metrics.own_metrics import OWN
from leveret.management.metrics.scrape import PREFIX, NodeMetric, ObjectMetric, Objects
from leveret.management.metrics.source import ClusterFacts, Source
from leveret.management.service import Management
from leveret.reference.markdown import GeneratedSection, table
from leveret_storage.coordination import Member
from leveret_storage.histogram import Histogram

DOCUMENT_PATH: Final = Path("docs/monitoring.md")
SECTION: Final = GeneratedSection(str(DOCUMENT_PATH), "metrics")

_LABEL: Final = re.compile(r'([a-z_]+)="')

_OBJECTS: Final = (
    ("queue", "`vhost`, `queue`", QUEUES),
    ("channel", "`channel`", CHANNELS),
    ("connection", "`connection`", CONNECTIONS),
    ("exchange", "`vhost`, `exchange`", EXCHANGES),
    ("exchange, only where it is asked for", "`vhost`, `exchange`, `type`", NAMES_OF_EXCHANGES),
    ("virtual host, only where it is asked for", "`vhost`", VHOSTS),
)


_CLUSTER: Final = ClusterFacts(
    ClusterStatus(
        "",
        (Member("", "", "", "", 0, 0, 0, False, True),),
        (StoreStatus(0, "", "", False, "", 0, 0, "", "", ""),),
        ClusterCounts(0, 0, 0, 0, 0),
        True,
        "",
        0.0,
        0.0,
    ),
    DatabaseState((), None, "", 0.0, 0, 0.0, 0),
    0,
    PassedOn(),
)
"""Has something of each kind, whose labels are shown."""


def with_tables(document: str) -> str:
    """`docs/monitoring.md` with its tables generated.

    :raises ValueError: if the marks around the tables are missing.
    """
    service = Management(Broker(Config()), list, list, _ignore)
    source = Source(service, "aggregated", _CLUSTER)
    parts = [
        f"\n### Of each {noun}\n\nLabels: {labels}.\n\n{_of_objects(objects)}"
        for noun, labels, objects in _OBJECTS
    ]
    sums = [each for objects in TABLES.objects for each in objects.metrics if each.is_sum]
    parts += [
        f"\n### Of the broker\n\n{_of_broker(source, sums)}",
        f"\n### Leveret's own\n\n{_of_node(source, OWN)}",
        f"\n### Of a broker in a cluster\n\n{_of_node(source, CLUSTER)}\n",
    ]
    return SECTION.replace(document, "".join(parts))


def _ignore(limit_bytes: int) -> None:
    """What does not change the memory limit."""


def _of_objects(objects: Objects) -> str:
    rows = (
        (_name(each), each.metric.kind.value, f"`{each.family}`", each.metric.text)
        for each in objects.metrics
        if not each.is_sum
    )
    return table(("metric", "type", "group", "meaning"), rows)


def _of_broker(source: Source, sums: Iterable[ObjectMetric]) -> str:
    rows = [
        (_name(each), each.metric.kind.value, "", _labels([each.sum_labels]), each.metric.text)
        for each in sums
    ]
    rows += _rows(source, (*NODE, *TABLES.identity))
    return table(("metric", "type", "group", "labels", "meaning"), rows)


def _of_node(source: Source, metrics: Iterable[NodeMetric]) -> str:
    return table(("metric", "type", "group", "labels", "meaning"), _rows(source, metrics))


def _rows(source: Source, metrics: Iterable[NodeMetric]) -> list[tuple[str, str, str, str, str]]:
    return [
        (
            _name(each),
            each.metric.kind.value,
            f"`{each.family}`" if each.family else "",
            _labels(_shown(each, source)),
            each.metric.text,
        )
        for each in metrics
    ]


def _shown(metric: NodeMetric, source: Source) -> list[str]:
    found = metric.read(source)
    if isinstance(found, Histogram):
        return list(metric.histogram_labels)
    return [shown for shown, _ in found]


def _labels(shown: Iterable[str]) -> str:
    names = dict.fromkeys(name for each in shown for name in _LABEL.findall(each))
    return ", ".join(f"`{name}`" for name in names)


def _name(each: ObjectMetric | NodeMetric) -> str:
    return f"`{each.metric.name if each.metric.complete else PREFIX + each.metric.name}`"


if __name__ == "__main__":
    DOCUMENT_PATH.write_text(with_tables(DOCUMENT_PATH.read_text("utf-8")), "utf-8")

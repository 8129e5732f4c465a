"""What a query of PromQL selects, as far as the queries of dashboards and alerts need it."""

import re
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

PREFIXES = ("rabbitmq_", "leveret_", "process_")

FROM_PROMETHEUS = {"instance", "job", "namespace", "le"}
"""Labels that Prometheus adds to what it scrapes, and that of the classes of a histogram."""

_SELECTOR = re.compile(rf"\b((?:{'|'.join(PREFIXES)})[a-z0-9_]+)(\{{[^}}]*\}})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_LABEL_LIST = re.compile(r"\b(?:by|without|on|group_left|ignoring)\s*\(([^)]*)\)")


class Selector(NamedTuple):
    """A metric with the values that labels have to have."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    """Label, operator and value of each."""

    def selects(self, metrics: dict[str, Metric]) -> bool:
        """Whether there is a sample that it selects."""
        return any(
            sample.name == self.name
            and all(self._matches(sample.labels, *m) for m in self.matchers)
            for metric in metrics.values()
            for sample in metric.samples
        )

    @staticmethod
    def _matches(labels: dict[str, str], label: str, operator: str, value: str) -> bool:
        if label in FROM_PROMETHEUS or value.startswith("$"):
            return label in FROM_PROMETHEUS or label in labels
        found = labels.get(label, "")
        is_equal = found == value
        if "~" in operator:
            is_equal = re.fullmatch(value, found) is not None
        return is_equal == (operator in ("=", "=~"))


def selectors(query: str) -> list[Selector]:
    """What a query selects."""
    grouped = _LABEL_LIST.sub("", query)
    return [
        Selector(name, tuple(_MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(grouped)
    ]


def labels(query: str) -> set[str]:
    """The labels that a query groups or joins by, but for those that Prometheus adds."""
    found = {label.strip() for listed in _LABEL_LIST.findall(query) for label in listed.split(",")}
    return found - FROM_PROMETHEUS - {""}


def nothing_found(query: str, metrics: dict[str, Metric]) -> list[str]:
    """What a query selects, or groups by, that is not there."""
    missing = [each.name for each in selectors(query) if not each.selects(metrics)]
    named = {
        label for metric in metrics.values() for each in metric.samples for label in each.labels
    }
    return missing + sorted(labels(query) - named)

"""One scrape: which metrics are asked for, and their text, written in slices of the broker's time.

The samples of a metric have to stand together, so each metric is written for all objects before the
next. The objects are those that there were when the scrape began.

Deliberately elsewhere: which metrics there are (`object_metrics.py`, `node_metrics.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from leveret.management.metrics.exposition import (
    LINES_AT_ONCE,
    Format,
    Metric,
    header,
    histogram,
    number,
    samples,
)
from leveret_storage.histogram import Histogram

PREFIX: Final = "rabbitmq_"
DETAILED_PREFIX: Final = "rabbitmq_detailed_"

NO_FAMILY: Final = ""
"""The group of what cannot be asked for by itself."""


class Endpoint(Enum):
    """What is asked for; the value is that of the label `rabbitmq_endpoint`."""

    AGGREGATED = "aggregated"
    PER_OBJECT = "per-object"
    DETAILED = "detailed"


class NodeMetric(NamedTuple):
    """A metric of the node, whose samples are read at once."""

    family: str
    """What RabbitMQ calls the group that is asked for."""
    metric: Metric
    read: Callable[[Any], Iterable[tuple[str, float]] | Histogram]
    """Returns labels and value of each sample, or a histogram."""
    histogram_labels: tuple[str, ...] = ()
    """Of the histogram, each as NAME="VALUE"."""


class ObjectMetric(NamedTuple):
    """A metric of every object of a kind, which is summed where objects are not shown."""

    family: str
    metric: Metric
    value: Callable[[Any], float]
    gone: Callable[[Any], float] | None = None
    """Reads what is added to the sum for objects that are gone. A sum that must not go back has
    it."""
    total: Callable[[Any], float] | None = None
    """Reads the sum, where it need not be summed."""
    sum_labels: str = ""
    is_sum: bool = False
    """Whether there is the sum only."""
    has_sum: bool = True
    """Whether the sum means anything."""


class Objects(NamedTuple):
    """Objects of a kind: how they are found, and their metrics."""

    find: Callable[[Any, frozenset[str]], Iterator[tuple[str, list[Any]]]]
    """Returns virtual hosts with some of their objects, which `value` and `labels` get; of the
    named virtual hosts only if there are any. Objects may come and go between two of them."""
    labels: Callable[[str, Any], str]
    metrics: Sequence[ObjectMetric]
    when_asked: bool = False
    """Whether they are written only where their group is asked for."""


class Asked(NamedTuple):
    """What a request asks for."""

    endpoint: Endpoint
    families: frozenset[str] = frozenset()
    vhosts: frozenset[str] = frozenset()

    def wants(self, family: str) -> bool:
        """Whether a group is to be written."""
        return self.endpoint is not Endpoint.DETAILED or family in self.families


class Tables(NamedTuple):
    """All metrics there are."""

    objects: Sequence[Objects]
    node: Sequence[NodeMetric]
    identity: Sequence[NodeMetric]
    """Those of the node that are written whatever is asked for."""


def text_of(source: Any, tables: Tables, asked: Asked, format_: Format) -> Iterator[bytes]:
    """The text in pieces, each written in a fraction of a millisecond; some may be empty.

    :param source: what the metrics of the node are read from.
    """
    is_detailed = asked.endpoint is Endpoint.DETAILED
    for objects in tables.objects:
        if objects.when_asked and not is_detailed:
            continue
        wanted = [each for each in objects.metrics if asked.wants(each.family)]
        shown = [] if asked.endpoint is Endpoint.AGGREGATED else _each_once(wanted)
        summed = (
            []
            if is_detailed
            else [each for each in wanted if each.has_sum and (each.is_sum or not shown)]
        )
        if shown or summed:
            found: list[tuple[str, list[Any]]] = []
            for group in objects.find(source, asked.vhosts):
                found.append(group)
                if len(found) % LINES_AT_ONCE == 0:
                    yield b""
            yield from _each(found, objects, shown, asked.endpoint, format_)
            yield from _summed(source, found, _once(summed), format_)
    for known in tables.node:
        if asked.wants(known.family):
            yield _node_metric(source, known, asked.endpoint, format_)
    for known in tables.identity:
        yield _node_metric(source, known, asked.endpoint, format_)
    yield format_.end


def complete_name(metric: Metric, endpoint: Endpoint) -> str:
    """The name of a metric with its prefix."""
    if metric.complete:
        return metric.name
    prefix = DETAILED_PREFIX if endpoint is Endpoint.DETAILED else PREFIX
    return f"{prefix}{metric.name}"


def _once(metrics: Iterable[ObjectMetric]) -> list[ObjectMetric]:
    """The metrics, each once: some are in two groups."""
    return list({each.metric.name: each for each in metrics}.values())


def _each_once(metrics: Iterable[ObjectMetric]) -> list[ObjectMetric]:
    """Those that are shown for each object."""
    return _once(each for each in metrics if not each.is_sum)


def _node_metric(source: Any, known: NodeMetric, endpoint: Endpoint, format_: Format) -> bytes:
    name = complete_name(known.metric, endpoint)
    found = known.read(source)
    if isinstance(found, Histogram):
        samples_ = histogram(name, found, known.histogram_labels)
        return f"{header(name, known.metric, format_)}{samples_}".encode()
    lines = [f"{name}{shown} {number(value)}\n" for shown, value in found]
    return f"{header(name, known.metric, format_)}{''.join(lines)}".encode()


def _each(
    found: list[tuple[str, list[Any]]],
    objects: Objects,
    metrics: list[ObjectMetric],
    endpoint: Endpoint,
    format_: Format,
) -> Iterator[bytes]:
    """A sample of each metric for each object."""
    if not metrics:
        return
    shown: list[str] = []
    for vhost, group in found:
        for each in group:
            shown.append(objects.labels(vhost, each))
            if len(shown) % LINES_AT_ONCE == 0:
                yield b""
    for known in metrics:
        name, value = complete_name(known.metric, endpoint), known.value
        yield header(name, known.metric, format_).encode()
        values = (value(each) for _, group in found for each in group)
        yield from samples(name, zip(shown, values, strict=True))


def _summed(
    source: Any, found: list[tuple[str, list[Any]]], metrics: list[ObjectMetric], format_: Format
) -> Iterator[bytes]:
    """The sum of each metric."""
    added = [each for each in metrics if each.total is None]
    sums: list[float] = [0] * len(added)
    position = 0
    for _, group in found:
        for each in group:
            position += 1
            for index, known in enumerate(added):
                sums[index] += known.value(each)
            if position % LINES_AT_ONCE == 0:
                yield b""
    by_name = dict(zip((each.metric.name for each in added), sums, strict=True))
    lines = []
    for known in metrics:
        name = complete_name(known.metric, Endpoint.AGGREGATED)
        value = by_name[known.metric.name] if known.total is None else known.total(source)
        if known.gone is not None:
            value += known.gone(source)
        lines.append(header(name, known.metric, format_))
        lines.append(f"{name}{known.sum_labels} {number(value)}\n")
    yield "".join(lines).encode()

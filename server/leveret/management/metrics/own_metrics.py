"""The metrics that are Leveret's own: `leveret_*`, and those that every process has."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from leveret.management.metrics.exposition import Kind, Metric, labels
from leveret.management.metrics.scrape import NodeMetric
from leveret.management.metrics.source import Source
from leveret.net.alarms import Resource
from leveret_storage.histogram import Histogram

OWN_FAMILY: Final = "leveret"
"""The group by which an operator asks for all of them."""

Samples = Callable[[Source], Iterable[tuple[str, float]] | Histogram]


def _metric(kind: Kind, name: str, read: Samples, text: str) -> NodeMetric:
    return NodeMetric(OWN_FAMILY, Metric(name, kind, text, complete=True), read)


def _gauge(name: str, read: Callable[[Source], float], text: str) -> NodeMetric:
    return _metric(Kind.GAUGE, name, lambda source: (("", read(source)),), text)


def _counter(name: str, read: Callable[[Source], float], text: str) -> NodeMetric:
    return _metric(Kind.COUNTER, name, lambda source: (("", read(source)),), text)


def _of_stores(read: Callable[[Any], Histogram]) -> Samples:
    """The histogram of all stores together."""

    def summed(source: Source) -> Histogram:
        found = [read(hosted.store.measures) for hosted in source.broker.stores]
        bounds = found[0].bounds if found else read(source.no_measures).bounds
        total = Histogram(bounds)
        for each in found:
            total.counts = [sum(pair) for pair in zip(total.counts, each.counts, strict=True)]
            total.sum += each.sum
        return total

    return summed


def _log_size(index: int) -> Callable[[Source], float]:
    return lambda source: sum(each.store.log_size()[index] for each in source.broker.stores)


def _of_alarms(read: Callable[[Source, Resource], float]) -> Samples:
    return lambda source: [
        (labels(resource=resource.value), read(source, resource)) for resource in Resource
    ]


def _expiries(source: Source) -> Iterable[tuple[str, float]]:
    return (
        (labels(file=file), 0.0 if expires is None else expires.timestamp())
        for file, expires in source.status.certificates()
    )


def _info(source: Source) -> Iterable[tuple[str, float]]:
    return ((labels(version=source.version, build=source.build, python=source.python), 1),)


OWN: Final = (
    _metric(Kind.GAUGE, "leveret_info", _info, "Version, kind of build, and version of Python"),
    _metric(
        Kind.HISTOGRAM,
        "leveret_store_sync_seconds",
        _of_stores(lambda measures: measures.sync_seconds),
        "Time of a sync of the log, for which confirms wait, with the write before it",
    ),
    _metric(
        Kind.HISTOGRAM,
        "leveret_store_write_seconds",
        _of_stores(lambda measures: measures.write_seconds),
        "Time of a write of a batch that is not synced at once (storage.sync)",
    ),
    _metric(
        Kind.HISTOGRAM,
        "leveret_store_batch_bytes",
        _of_stores(lambda measures: measures.batch_bytes),
        "Size of a batch, which one write takes to the log",
    ),
    _metric(
        Kind.HISTOGRAM,
        "leveret_store_read_seconds",
        _of_stores(lambda measures: measures.read_seconds),
        "Time of a read of messages from disk",
    ),
    _gauge("leveret_store_log_bytes", _log_size(1), "Size of the log"),
    _gauge("leveret_store_log_segments", _log_size(0), "Files of the log"),
    _gauge(
        "leveret_store_unwritten_bytes",
        lambda source: sum(each.store.unwritten_bytes() for each in source.broker.stores),
        "Messages that wait to be written to the files of their queues",
    ),
    _metric(
        Kind.HISTOGRAM,
        "leveret_loop_lag_seconds",
        lambda source: source.status.loop_lag.seconds,
        "How late the event loop runs what is due, measured ten times a second",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_alarm",
        _of_alarms(lambda source, resource: int(source.status.alarms.is_set(resource))),
        "Whether publishers are blocked because a resource is short",
    ),
    _metric(
        Kind.COUNTER,
        "leveret_blocked_seconds_total",
        _of_alarms(lambda source, resource: source.status.alarms.seconds(resource)),
        "For how long publishers have been blocked because a resource is short",
    ),
    _counter(
        "leveret_alarms_total",
        lambda source: source.broker.alarms_begun,
        "How often publishers were blocked",
    ),
    _gauge(
        "leveret_message_memory_bytes",
        lambda source: int(source.broker.memory.charged),
        "Memory that messages take, ready and delivered ones",
    ),
    _gauge(
        "leveret_delayed_messages",
        lambda source: sum(
            int(store.message_count())
            for vhost in source.vhosts
            for store in vhost.delayed_stores.values()
        ),
        "Messages of delayed exchanges that are not due",
    ),
    _metric(
        Kind.GAUGE,
        "leveret_certificate_expiry_timestamp_seconds",
        _expiries,
        "When a TLS certificate expires; 0 for one that has expired",
    ),
    _counter("process_cpu_seconds_total", lambda _: time.process_time(), "Processor time used"),
    _gauge(
        "process_start_time_seconds",
        lambda source: source.status.started_at,
        "Start of the process, in seconds since 1970",
    ),
)

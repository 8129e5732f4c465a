"""The node as RabbitMQ shows it.

What RabbitMQ says of Erlang, its schema database and its message store is left out, but for what
tools require: `proc_used` and `proc_total` are threads, and `run_queue` is 0.
"""

import gc
import os
import resource
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from leveret.addresses import Address
from leveret.engine.routing.exchanges import EXCHANGE_TYPES
from leveret.management.columns import Column, Columns
from leveret.management.service import Management
from leveret.management.statistics.details import Details, Moment
from leveret.management.statistics.message_stats import node_statistics
from leveret.management.statistics.sampling import CHURN
from leveret.net.alarms import Resource
from leveret.protocol.wire.sasl import MECHANISMS
from leveret_storage.histogram import Histogram
from leveret_storage.media.locations import directory_of, is_postgres

PLUGINS: Final = ("rabbitmq_management", "rabbitmq_prometheus")
"""What of RabbitMQ's plugins tools look for is there."""

THREADS_MAX: Final = 1_048_576
"""What is said where threads have no limit."""


class Named(msgspec.Struct):
    """Something that the node offers."""

    name: str
    description: str
    enabled: bool


class Context(msgspec.Struct):
    """An address that serves HTTP."""

    description: str
    path: str
    ip: str
    port: str
    """A string, as in RabbitMQ."""


class NodeRow(NamedTuple):
    """The node, and its statistics, which are looked up together."""

    service: Management
    statistics: dict[str, Any]


def node_row(service: Management, at: Moment) -> NodeRow:
    """The row of this node."""
    found = node_statistics(service.sampler, at)
    if found["fd_used"] == 0:
        found["fd_used"] = service.status.descriptors()[0]
    return NodeRow(service, found)


def _alarm(kind: Resource) -> Callable[[NodeRow], bool]:
    return lambda row: row.service.status.alarms.is_set(kind)


def _is_drained(row: NodeRow) -> bool:
    cluster = row.service.cluster
    if cluster is None:
        return False
    view = cluster.view()
    return any(each.draining for each in view.members if each.name == view.node)


def _threads_max(row: NodeRow) -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return THREADS_MAX if limit == resource.RLIM_INFINITY else limit


def _context_switches(_: NodeRow) -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw


def _exchange_types(_: NodeRow) -> list[Named]:
    return [Named(name, f"{name} exchange", True) for name in EXCHANGE_TYPES]


def _mechanisms(_: NodeRow) -> list[Named]:
    return [Named(name, f"SASL {name} authentication mechanism", True) for name in MECHANISMS]


def _contexts(row: NodeRow) -> list[Context]:
    return [_context(protocol, address) for protocol, address in row.service.http_listeners]


def _context(protocol: str, address: Address) -> Context:
    return Context(protocol, "/", address.host, str(address.port))


def _directory(row: NodeRow) -> str:
    storage = row.service.broker.config.storage
    if storage.memory or is_postgres(storage.data_dir):
        return "" if storage.memory else storage.data_dir
    return str(directory_of(storage.data_dir))


def _histograms(row: NodeRow, *names: str) -> list[Histogram]:
    """Those of all stores, of some names."""
    measures = [hosted.store.measures for hosted in row.service.broker.stores]
    return [getattr(each, name) for each in measures for name in names]


def _counted(*names: str) -> Callable[[NodeRow], int]:
    return lambda row: sum(each.count for each in _histograms(row, *names))


def _added(name: str) -> Callable[[NodeRow], int]:
    return lambda row: int(sum(each.sum for each in _histograms(row, name)))


def _average_ms(*names: str) -> Callable[[NodeRow], float]:
    def average(row: NodeRow) -> float:
        found = _histograms(row, *names)
        count = sum(each.count for each in found)
        return 1000 * sum(each.sum for each in found) / count if count else 0.0

    return average


def _sampled(name: str, text: str) -> tuple[Column[NodeRow], Column[NodeRow]]:
    details = f"{name}_details"
    return (
        Column(name, int, lambda row: row.statistics[name], text),
        Column(details, Details, lambda row: row.statistics[details]),
    )


def _churn(name: str) -> Column[NodeRow]:
    return Column(name, int, lambda row: int(getattr(row.service.broker.churn, name)))


NODE: Final[Columns[NodeRow]] = Columns(
    "Node",
    Column("name", str, lambda row: row.service.node),
    Column("type", str, lambda row: "disc"),
    Column("running", bool, lambda row: True),
    Column("being_drained", bool, _is_drained, "Whether it is to own no store of the cluster"),
    Column("os_pid", str, lambda row: str(os.getpid()), "Number of the process"),
    Column("uptime", int, lambda row: int(row.service.status.uptime_s * 1000), "Milliseconds"),
    Column("processors", int, lambda row: os.cpu_count() or 1),
    Column("run_queue", int, lambda row: 0, "Always 0"),
    Column("rates_mode", str, lambda row: "basic"),
    Column("mem_calculation_strategy", str, lambda row: "rss"),
    *_sampled("mem_used", "Bytes of memory"),
    Column(
        "mem_limit",
        int,
        lambda row: row.service.broker.memory_limit_bytes,
        "Bytes of memory above which publishers are blocked",
    ),
    Column("mem_alarm", bool, _alarm(Resource.MEMORY), "Whether they are, for that reason"),
    *_sampled("disk_free", "Bytes of free disk space"),
    Column(
        "disk_free_limit",
        int,
        lambda row: row.service.broker.config.storage.disk_free_limit,
        "Bytes of free disk space below which publishers are blocked",
    ),
    Column("disk_free_alarm", bool, _alarm(Resource.DISK), "Whether they are, for that reason"),
    *_sampled("fd_used", "File descriptors that are open"),
    Column("fd_total", int, lambda row: row.service.status.descriptors()[1], "That may be open"),
    *_sampled("sockets_used", "Sockets of clients that are open"),
    Column("sockets_total", int, lambda row: row.service.status.sockets()[1], "That may be open"),
    Column("proc_used", int, lambda row: threading.active_count(), "Threads"),
    Column("proc_total", int, _threads_max, "Threads that there may be"),
    Column("gc_num", int, lambda row: sum(each["collections"] for each in gc.get_stats())),
    Column("context_switches", int, _context_switches),
    Column("io_read_count", int, _counted("read_seconds"), "Reads of messages from disk"),
    Column("io_read_avg_time", float, _average_ms("read_seconds"), "Milliseconds"),
    Column(
        "io_write_count", int, _counted("sync_seconds", "write_seconds"), "Batches written to disk"
    ),
    Column("io_write_bytes", int, _added("batch_bytes")),
    Column(
        "io_write_avg_time", float, _average_ms("sync_seconds", "write_seconds"), "Milliseconds"
    ),
    Column("io_sync_count", int, _counted("sync_seconds"), "Syncs of the disk"),
    Column("io_sync_avg_time", float, _average_ms("sync_seconds"), "Milliseconds"),
    *map(_churn, CHURN),
    Column("enabled_plugins", list[str], lambda row: list(PLUGINS)),
    Column("exchange_types", list[Named], _exchange_types),
    Column("auth_mechanisms", list[Named], _mechanisms),
    Column("applications", list[Any], lambda row: []),
    Column("contexts", list[Context], _contexts, "Where HTTP is served"),
    Column("db_dir", str, _directory, "The data directory; empty for a broker in memory"),
    Column("log_files", list[str], lambda row: ["<stderr>"]),
    Column("config_files", list[str], lambda row: []),
    Column("partitions", list[str], lambda row: [], "There are no other nodes"),
    Column("cluster_links", list[Any], lambda row: []),
    Column("net_ticktime", int, lambda row: 60, "Of no meaning"),
)

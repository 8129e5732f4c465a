"""The metrics of the node that RabbitMQ has, too, with its names, labels and groups.

(RabbitMQ: Monitoring with Prometheus and Grafana.) What has no meaning here is left out: Erlang but
for the uptime, Raft, the schema database. All queues count as classic ones.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final, TypeAlias

from leveret.engine.queues.drop_counters import DropCounters
from leveret.engine.values.counters import SIZE_BOUNDS
from leveret.management.metrics.exposition import Kind, Metric, labels
from leveret.management.metrics.object_metrics import AMQP
from leveret.management.metrics.scrape import NO_FAMILY, NodeMetric
from leveret.management.metrics.source import Source
from leveret.net.alarms import Resource
from leveret_storage.histogram import Histogram

Read: TypeAlias = Callable[[Source], float]

QUEUE_TYPE: Final = "rabbit_classic_queue"
OF_QUEUES: Final = labels(protocol="amqp091", queue_type=QUEUE_TYPE)
"""The labels of what RabbitMQ counts by protocol and type of queue."""


def _metric(kind: Kind, family: str, name: str, read: Read, text: str, shown: str) -> NodeMetric:
    def samples(source: Source) -> Iterable[tuple[str, float]]:
        return ((shown, read(source)),)

    return NodeMetric(family, Metric(name, kind, text), samples)


def _gauge(family: str, name: str, read: Read, text: str) -> NodeMetric:
    return _metric(Kind.GAUGE, family, name, read, text, "")


def _counter(family: str, name: str, read: Read, text: str, shown: str = "") -> NodeMetric:
    return _metric(Kind.COUNTER, family, name, read, text, shown)


# --- the process and the machine ----------------------------------------------------------------


def _disk_limit(source: Source) -> int:
    return source.broker.config.storage.disk_free_limit


def _alarm(resource: Resource) -> Read:
    return lambda source: int(source.status.alarms.is_set(resource))


def _no_descriptor(source: Source) -> int:
    used, most = source.status.descriptors()
    return int(used >= most)


PROCESS: Final = (
    _gauge(
        "node_coarse_metrics",
        "process_open_fds",
        lambda source: source.status.descriptors()[0],
        "Open file descriptors",
    ),
    _gauge(
        "node_coarse_metrics",
        "process_open_tcp_sockets",
        lambda source: source.status.sockets()[0],
        "Open sockets of clients",
    ),
    _gauge(
        "node_coarse_metrics",
        "process_resident_memory_bytes",
        attrgetter("status.memory_bytes"),
        "Memory used in bytes",
    ),
    _gauge(
        "node_coarse_metrics",
        "disk_space_available_bytes",
        lambda source: source.status.free_bytes(),
        "Disk space available in bytes",
    ),
    _gauge(
        "node_metrics",
        "process_max_fds",
        lambda source: source.status.descriptors()[1],
        "Limit of open file descriptors",
    ),
    _gauge(
        "node_metrics",
        "process_max_tcp_sockets",
        lambda source: source.status.sockets()[1],
        "Limit of open sockets of clients",
    ),
    _gauge(
        "node_metrics",
        "resident_memory_limit_bytes",
        attrgetter("broker.memory_limit_bytes"),
        "Memory in bytes above which publishers are blocked",
    ),
    _gauge(
        "node_metrics",
        "disk_space_available_limit_bytes",
        _disk_limit,
        "Free disk space in bytes below which publishers are blocked",
    ),
    _gauge(
        "node_metrics",
        "erlang_uptime_seconds",
        attrgetter("status.uptime_s"),
        "Time since the start of the broker",
    ),
    _gauge(
        "alarms",
        "alarms_file_descriptor_limit",
        _no_descriptor,
        "Whether there is no free file descriptor",
    ),
    _gauge(
        "alarms",
        "alarms_free_disk_space_watermark",
        _alarm(Resource.DISK),
        "Whether publishers are blocked because disk space is short",
    ),
    _gauge(
        "alarms",
        "alarms_memory_used_watermark",
        _alarm(Resource.MEMORY),
        "Whether publishers are blocked because memory is short",
    ),
)


# --- the store ----------------------------------------------------------------------------------


def _of_stores(field: str) -> Read:
    read = attrgetter(f"store.measures.{field}")
    return lambda source: sum(read(hosted) for hosted in source.broker.stores)


def _writes(field: str) -> Read:
    """Syncs are writes as well, of a batch."""
    synced, written = _of_stores(f"sync_seconds.{field}"), _of_stores(f"write_seconds.{field}")
    return lambda source: synced(source) + written(source)


_STORE: Final = "node_persister_metrics"

STORE: Final = (
    _counter(_STORE, "io_read_ops_total", _of_stores("read_seconds.count"), "Reads from disk"),
    _counter(
        _STORE,
        "io_read_time_seconds_total",
        _of_stores("read_seconds.sum"),
        "Time of reads from disk",
    ),
    _counter(_STORE, "io_write_ops_total", _writes("count"), "Writes of batches to the log"),
    _counter(
        _STORE,
        "io_write_bytes_total",
        _of_stores("batch_bytes.sum"),
        "Bytes written to the log",
    ),
    _counter(
        _STORE,
        "io_write_time_seconds_total",
        _writes("sum"),
        "Time of writes to the log, with their syncs",
    ),
    _counter(_STORE, "io_sync_ops_total", _of_stores("sync_seconds.count"), "Syncs of the log"),
    _counter(
        _STORE,
        "io_sync_time_seconds_total",
        _of_stores("sync_seconds.sum"),
        "Time of syncs of the log, with their writes",
    ),
)


# --- clients ------------------------------------------------------------------------------------

_CHURN: Final = "connection_churn_metrics"

CHURN: Final = tuple(
    _counter(_CHURN, name, attrgetter(f"broker.churn.{field}"), text)
    for name, field, text in (
        ("connections_opened_total", "connection_created", "Connections opened"),
        ("connections_closed_total", "connection_closed", "Connections closed or lost"),
        ("channels_opened_total", "channel_created", "Channels opened"),
        ("channels_closed_total", "channel_closed", "Channels closed"),
        ("queues_declared_total", "queue_declared", "Queues declared, also those that existed"),
        ("queues_created_total", "queue_created", "Queues created"),
        ("queues_deleted_total", "queue_deleted", "Queues deleted"),
    )
)


def _failed_logins(source: Source) -> int:
    return source.broker.login_failures.count


def _logins(source: Source) -> int:
    return int(source.broker.churn.connection_created)


_AUTH: Final = "auth_attempt_metrics"

LOGINS: Final = (
    _counter(
        _AUTH,
        "auth_attempts_total",
        lambda source: _logins(source) + _failed_logins(source),
        "Logins attempted",
        AMQP,
    ),
    _counter(_AUTH, "auth_attempts_succeeded_total", _logins, "Logins that succeeded", AMQP),
    _counter(_AUTH, "auth_attempts_failed_total", _failed_logins, "Logins that failed", AMQP),
)

TOTALS: Final = (
    _gauge(
        NO_FAMILY,
        "connections",
        lambda source: len(source.broker.connections),
        "Connections currently open",
    ),
    _gauge(NO_FAMILY, "channels", lambda source: source.channel_count(), "Channels currently open"),
    _gauge(
        NO_FAMILY,
        "queues",
        lambda source: sum(len(vhost.queues) for vhost in source.vhosts),
        "Queues available",
    ),
)


# --- messages -----------------------------------------------------------------------------------


def _sizes(source: Source) -> Histogram:
    found = Histogram(SIZE_BOUNDS)
    found.counts = source.broker.sizes.counts(int(source.counters.publish))
    found.sum = float(source.broker.sizes.bytes)
    return found


def _delivered(source: Source) -> int:
    found = source.counters
    return int(found.deliver + found.deliver_no_ack + found.get + found.get_no_ack)


MESSAGES: Final = (
    NodeMetric(
        NO_FAMILY,
        Metric(
            "message_size_bytes",
            Kind.HISTOGRAM,
            "Size of messages received from publishers",
        ),
        _sizes,
        histogram_labels=('protocol="amqp091"',),
    ),
    *(
        _counter(
            NO_FAMILY,
            f"global_messages_{name}_total",
            attrgetter(f"counters.{field}"),
            text,
            AMQP,
        )
        for name, field, text in (
            ("received", "publish", "Messages received from publishers"),
            ("confirmed", "confirm", "Messages confirmed to publishers"),
            (
                "unroutable_returned",
                "return_unroutable",
                "Messages published as mandatory and returned as unroutable",
            ),
            (
                "unroutable_dropped",
                "drop_unroutable",
                "Messages published as non-mandatory and dropped as unroutable",
            ),
        )
    ),
    _counter(
        NO_FAMILY,
        "global_messages_delivered_total",
        _delivered,
        "Messages delivered to clients",
        OF_QUEUES,
    ),
    *(
        _counter(
            NO_FAMILY,
            f"global_messages_{name}_total",
            attrgetter(f"counters.{field}"),
            text,
            OF_QUEUES,
        )
        for name, field, text in (
            (
                "delivered_consume_manual_ack",
                "deliver",
                "Messages delivered to consumers that acknowledge",
            ),
            (
                "delivered_consume_auto_ack",
                "deliver_no_ack",
                "Messages delivered to consumers that do not acknowledge",
            ),
            (
                "delivered_get_manual_ack",
                "get",
                "Messages that basic.get fetched, to be acknowledged",
            ),
            (
                "delivered_get_auto_ack",
                "get_no_ack",
                "Messages that basic.get fetched without acknowledgement",
            ),
            ("redelivered", "redeliver", "Messages redelivered to clients"),
            ("acknowledged", "ack", "Messages acknowledged by clients"),
            ("get_empty", "get_empty", "basic.get that found no message"),
        )
    ),
)


def _dropped(field: str) -> Callable[[Source], Iterable[tuple[str, float]]]:
    read = attrgetter(field)

    def samples(source: Source) -> Iterable[tuple[str, float]]:
        drops: list[DropCounters] = [vhost.drops for vhost in source.vhosts]
        return ((labels(queue_type=QUEUE_TYPE), sum(map(read, drops))),)

    return samples


DEAD_LETTERS: Final = tuple(
    NodeMetric(
        NO_FAMILY,
        Metric(f"global_messages_dead_lettered_{name}_total", Kind.COUNTER, text),
        _dropped(field),
    )
    for name, field, text in (
        ("expired", "expired", "Messages dead-lettered or dropped as their time to live was over"),
        ("maxlen", "maxlen", "Messages dead-lettered or dropped as their queue was full"),
        ("rejected", "rejected", "Messages dead-lettered or dropped as a client rejected them"),
        (
            "delivery_limit",
            "delivery_limit",
            "Messages dead-lettered or dropped as they were delivered too often",
        ),
    )
)


# --- who this is --------------------------------------------------------------------------------


def _identity(source: Source) -> Iterable[tuple[str, float]]:
    service = source.service
    shown = labels(
        rabbitmq_node=service.node,
        rabbitmq_cluster=source.cluster_name,
        rabbitmq_cluster_permanent_id=source.broker.config.server.node_name,
        rabbitmq_endpoint=source.endpoint,
    )
    return ((shown, 1),)


def _build(source: Source) -> Iterable[tuple[str, float]]:
    shown = labels(
        rabbitmq_version=source.broker.version,
        product_name=source.broker.product,
        product_version=source.version,
        erlang_version=source.python,
        prometheus_plugin_version=source.version,
        prometheus_client_version=source.version,
    )
    return ((shown, 1),)


IDENTITY: Final = (
    NodeMetric(
        NO_FAMILY,
        Metric("rabbitmq_build_info", Kind.GAUGE, "Versions of the broker", complete=True),
        _build,
    ),
    NodeMetric(
        NO_FAMILY,
        Metric(
            "rabbitmq_identity_info", Kind.GAUGE, "Names of the node and the cluster", complete=True
        ),
        _identity,
    ),
)

NODE: Final = (*PROCESS, *STORE, *CHURN, *LOGINS, *TOTALS, *MESSAGES, *DEAD_LETTERS)
"""All but the identity, in the order in which they are written."""

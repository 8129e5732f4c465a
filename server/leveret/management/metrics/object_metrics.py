"""The metrics of queues, exchanges, channels, connections and virtual hosts.

Names, groups and texts are RabbitMQ's (RabbitMQ: Monitoring with Prometheus and Grafana). What has
no meaning here is left out: Erlang's processes, and message indexes. Where RabbitMQ names a channel
or a connection by its process, it has the name that the HTTP API shows.
"""

from collections.abc import Callable, Iterable
from math import nan
from operator import attrgetter
from typing import Any, Final

from leveret.engine.queues.queue import Queue
from leveret.management.metrics import source
from leveret.management.metrics.exposition import Kind, Metric
from leveret.management.metrics.scrape import NO_FAMILY, ObjectMetric, Objects
from leveret.management.metrics.source import CountedExchange, NamedChannel
from leveret.management.statistics import queue_figures
from leveret.protocol.connections.connection import Connection

AMQP: Final = '{protocol="amqp091"}'
"""The labels of what RabbitMQ counts by protocol."""


def _gauge(family: str, name: str, value: Callable[[Any], float], text: str) -> ObjectMetric:
    return ObjectMetric(family, Metric(name, Kind.GAUGE, text), value)


def _counter(
    family: str, name: str, value: Callable[[Any], float], gone: str, text: str
) -> ObjectMetric:
    """:param gone: where the source has what objects that are gone have counted."""
    return ObjectMetric(family, Metric(name, Kind.COUNTER, text), value, attrgetter(gone))


def _counters(
    family: str, path: str, rows: Iterable[tuple[str, str, str]]
) -> Iterable[ObjectMetric]:
    """Counters that the broker has for all clients as well: field, name and text of each.

    :param path: of the counters in an object.
    """
    for field, name, text in rows:
        metric = Metric(name, Kind.COUNTER, text)
        value, total = attrgetter(f"{path}.{field}"), attrgetter(f"counters.{field}")
        yield ObjectMetric(family, metric, value, total=total)


def _own_sum(name: str, value: Callable[[Any], float], text: str) -> ObjectMetric:
    """A sum that RabbitMQ does not have."""
    return ObjectMetric(NO_FAMILY, Metric(name, Kind.GAUGE, text, True), value, is_sum=True)


def _sum_for_clients(metric: ObjectMetric) -> ObjectMetric:
    """What RabbitMQ has for all clients of a protocol only."""
    return metric._replace(sum_labels=AMQP, is_sum=True)


# --- queues -------------------------------------------------------------------------------------


def _ready(queue: Queue) -> int:
    return int(queue.message_count())


def _messages(queue: Queue) -> int:
    return int(queue.message_count()) + int(queue.unacknowledged)


def _is_unconsumed(queue: Queue) -> int:
    return int(queue.message_count() > 0 and queue.consumer_count == 0)


def _is_paused(queue: Queue) -> int:
    return int(queue.paused)


def _head_timestamp(queue: Queue) -> float:
    found = queue_figures.head_timestamp(queue)
    return nan if found is None else found


_COARSE: Final = "queue_coarse_metrics"
_CONSUMERS: Final = attrgetter("consumer_count")

_OF_QUEUES: Final = (
    ("get", "queue_get_ack_total", "Messages fetched from a queue, to be acknowledged"),
    ("get_no_ack", "queue_get_total", "Messages fetched from a queue without acknowledgement"),
    (
        "deliver",
        "queue_messages_delivered_ack_total",
        "Messages delivered from a queue to consumers that acknowledge",
    ),
    (
        "deliver_no_ack",
        "queue_messages_delivered_total",
        "Messages delivered from a queue to consumers that do not acknowledge",
    ),
    ("redeliver", "queue_messages_redelivered_total", "Messages redelivered from a queue"),
    ("ack", "queue_messages_acked_total", "Messages of a queue acknowledged by clients"),
    ("get_empty", "queue_get_empty_total", "basic.get that found no message in a queue"),
)

QUEUES: Final = Objects(
    source.find_queues,
    source.queue_labels,
    (
        _gauge(
            _COARSE, "queue_messages_ready", _ready, "Messages ready to be delivered to consumers"
        ),
        _gauge(
            _COARSE,
            "queue_messages_unacked",
            attrgetter("unacknowledged"),
            "Messages delivered to consumers but not yet acknowledged",
        ),
        _gauge(_COARSE, "queue_messages", _messages, "Ready and unacknowledged messages"),
        _gauge("queue_consumer_count", "queue_consumers", _CONSUMERS, "Consumers on a queue"),
        _gauge("queue_metrics", "queue_consumers", _CONSUMERS, "Consumers on a queue"),
        _gauge(
            "queue_metrics",
            "queue_messages_ready_bytes",
            attrgetter("contents.backlog.bytes"),
            "Size in bytes of ready messages",
        ),
        *(
            _gauge("queue_metrics", name, queue_figures.capacity, text)._replace(has_sum=False)
            for name, text in (
                (
                    "queue_consumer_capacity",
                    "Share of the time in which consumers could take another message",
                ),
                ("queue_consumer_utilisation", "Same as consumer capacity"),
            )
        ),
        _gauge(
            "queue_metrics",
            "queue_head_message_timestamp",
            _head_timestamp,
            "Timestamp of the next message, if it has one and is in memory",
        )._replace(has_sum=False),
        *_counters("queue_delivery_metrics", "counters", _OF_QUEUES),
        _counter(
            "channel_queue_exchange_metrics",
            "queue_messages_published_total",
            attrgetter("counters.publish"),
            "broker.gone.publish",
            "Messages published to queues",
        ),
        _sum_for_clients(
            _gauge(NO_FAMILY, "global_consumers", _CONSUMERS, "Current number of consumers")
        ),
        _gauge(NO_FAMILY, "consumers", _CONSUMERS, "Consumers currently connected")._replace(
            is_sum=True
        ),
        _own_sum(
            "leveret_unconsumed_queues", _is_unconsumed, "Queues with messages and no consumer"
        ),
        _own_sum("leveret_paused_queues", _is_paused, "Queues that an operator has paused"),
    ),
)


# --- exchanges ----------------------------------------------------------------------------------

_OF_EXCHANGES: Final = (
    ("publish_in", "exchange_messages_published_total", "Messages published into an exchange"),
    (
        "return_unroutable",
        "exchange_messages_unroutable_returned_total",
        "Messages published into an exchange as mandatory and returned as unroutable",
    ),
    (
        "drop_unroutable",
        "exchange_messages_unroutable_dropped_total",
        "Messages published into an exchange as non-mandatory and dropped as unroutable",
    ),
)


def _one(_: object) -> int:
    return 1


def _bindings(exchange: CountedExchange) -> int:
    return exchange.bindings


EXCHANGES: Final = Objects(
    source.find_exchanges,
    source.exchange_labels,
    (
        *(
            _counter(
                "exchange_metrics",
                name,
                attrgetter(f"counters.{field}"),
                f"broker.gone.{field}",
                text,
            )
            for field, name, text in _OF_EXCHANGES
        ),
        _sum_for_clients(
            _counter(
                NO_FAMILY,
                "global_messages_routed_total",
                attrgetter("counters.publish_out"),
                "broker.gone.publish_out",
                "Messages routed to queues: each counts for every queue",
            )
        ),
    ),
)

NAMES_OF_EXCHANGES: Final = Objects(
    source.find_exchanges,
    source.typed_exchange_labels,
    (
        ObjectMetric(
            "exchange_names",
            Metric("rabbitmq_cluster_exchange_name", Kind.GAUGE, "Exchanges", complete=True),
            _one,
        ),
        ObjectMetric(
            "exchange_bindings",
            Metric(
                "rabbitmq_cluster_exchange_bindings",
                Kind.GAUGE,
                "Bindings from an exchange",
                complete=True,
            ),
            _bindings,
        ),
    ),
    when_asked=True,
)

VHOSTS: Final = Objects(
    source.find_vhosts,
    source.vhost_labels,
    (
        ObjectMetric(
            "vhost_status",
            Metric(
                "rabbitmq_cluster_vhost_status",
                Kind.GAUGE,
                "Whether a virtual host serves clients",
                complete=True,
            ),
            _one,
        ),
    ),
    when_asked=True,
)


# --- channels -----------------------------------------------------------------------------------


def _publishes(found: NamedChannel) -> int:
    return 1 if found.channel.counters.publish else 0


def _expecting_confirms(found: NamedChannel) -> int:
    return int(found.channel.confirms.published_count)


def _unconfirmed(found: NamedChannel) -> int:
    confirms = found.channel.confirms
    return int(confirms.published_count) - int(confirms.confirmed_count)


_CHANNEL: Final = "channel_metrics"

_PUBLISHED: Final = (
    ("publish", "channel_messages_published_total", "Messages published on a channel"),
    ("confirm", "channel_messages_confirmed_total", "Messages confirmed on a channel"),
    (
        "return_unroutable",
        "channel_messages_unroutable_returned_total",
        "Messages published on a channel as mandatory and returned as unroutable",
    ),
    (
        "drop_unroutable",
        "channel_messages_unroutable_dropped_total",
        "Messages published on a channel as non-mandatory and dropped as unroutable",
    ),
)

_DELIVERED: Final = (
    ("get", "channel_get_ack_total", "Messages fetched on a channel, to be acknowledged"),
    ("get_no_ack", "channel_get_total", "Messages fetched on a channel without acknowledgement"),
    (
        "deliver",
        "channel_messages_delivered_ack_total",
        "Messages delivered on a channel to consumers that acknowledge",
    ),
    (
        "deliver_no_ack",
        "channel_messages_delivered_total",
        "Messages delivered on a channel to consumers that do not acknowledge",
    ),
    ("redeliver", "channel_messages_redelivered_total", "Messages redelivered on a channel"),
    ("ack", "channel_messages_acked_total", "Messages acknowledged on a channel"),
    ("get_empty", "channel_get_empty_total", "basic.get on a channel that found no message"),
)

CHANNELS: Final = Objects(
    source.find_channels,
    source.channel_labels,
    (
        _gauge(
            _CHANNEL,
            "channel_consumers",
            lambda found: len(found.channel.deliveries.consumers),
            "Consumers on a channel",
        ),
        _gauge(
            _CHANNEL,
            "channel_messages_unacked",
            lambda found: len(found.channel.deliveries.unacknowledged),
            "Messages delivered on a channel but not yet acknowledged",
        ),
        _gauge(
            _CHANNEL,
            "channel_messages_unconfirmed",
            _unconfirmed,
            "Messages published on a channel but not yet confirmed",
        ),
        _gauge(
            _CHANNEL,
            "consumer_prefetch",
            attrgetter("channel.prefetch"),
            "Limit of unacknowledged messages for each consumer",
        ),
        _gauge(
            _CHANNEL,
            "channel_prefetch",
            attrgetter("channel.deliveries.prefetch"),
            "Limit of unacknowledged messages for all consumers on a channel",
        ),
        *_counters("channel_exchange_metrics", "channel.counters", _PUBLISHED),
        *_counters("channel_queue_metrics", "channel.counters", _DELIVERED),
        _sum_for_clients(
            _gauge(NO_FAMILY, "global_publishers", _publishes, "Current number of publishers")
        ),
        _sum_for_clients(
            _counter(
                NO_FAMILY,
                "global_messages_received_confirm_total",
                _expecting_confirms,
                "broker.gone.publish_confirm",
                "Messages received from publishers that expect confirms",
            )
        ),
    ),
)


# --- connections --------------------------------------------------------------------------------

_TRAFFIC: Final = (
    (
        "connection_coarse_metrics",
        "recv_oct",
        "connection_incoming_bytes_total",
        "Bytes received on a connection",
    ),
    (
        "connection_coarse_metrics",
        "send_oct",
        "connection_outgoing_bytes_total",
        "Bytes sent on a connection",
    ),
    (
        "connection_metrics",
        "recv_cnt",
        "connection_incoming_packets_total",
        "Reads of the socket of a connection",
    ),
    (
        "connection_metrics",
        "send_cnt",
        "connection_outgoing_packets_total",
        "Writes to the socket of a connection",
    ),
)


def _is_blocked(connection: Connection) -> int:
    return int(connection.blocked)


def _channels(connection: Connection) -> int:
    return len(connection.channels.by_number)


CONNECTIONS: Final = Objects(
    source.find_connections,
    source.connection_labels,
    (
        *(
            _counter(
                family, name, attrgetter(f"session.traffic.{field}"), f"gone_traffic.{field}", text
            )
            for family, field, name, text in _TRAFFIC
        ),
        _gauge("connection_metrics", "connection_channels", _channels, "Channels on a connection"),
        _own_sum("leveret_blocked_connections", _is_blocked, "Publishers that an alarm blocks"),
    ),
)

OBJECTS: Final = (QUEUES, CHANNELS, CONNECTIONS, EXCHANGES, NAMES_OF_EXCHANGES, VHOSTS)
"""All of them, in the order in which they are written."""

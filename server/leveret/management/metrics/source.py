"""What metrics are read from: the broker as one scrape sees it, and its objects."""

import platform
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from leveret import __version__
from leveret.cluster.cluster_status import ClusterStatus
from leveret.compiled import build_kind
from leveret.engine.queues.queue import Queue
from leveret.engine.values.counters import ExchangeCounters, TrafficCounters
from leveret.engine.vhost import VirtualHost
from leveret.management.cluster.database_watch import DatabaseState
from leveret.management.cluster.state import PassedOn
from leveret.management.metrics.exposition import labels
from leveret.management.nouns.connections import channel_name, connection_name
from leveret.management.service import Management
from leveret.protocol.channels.channel import Channel
from leveret.protocol.connections.connection import Connection
from leveret_storage.store.measures import StoreMeasures

_build_kind = cache(build_kind)


Group: TypeAlias = tuple[str, list[Any]]
"""A virtual host, and some objects of it."""


class NamedChannel(NamedTuple):
    """A channel, and its connection."""

    connection: Connection
    channel: Channel


class CountedExchange(NamedTuple):
    """An exchange with its counters. The default exchange has counters only."""

    name: str
    type: str
    counters: ExchangeCounters
    bindings: int


class ClusterFacts(NamedTuple):
    """The cluster as a scrape sees it."""

    view: ClusterStatus
    database: DatabaseState | None
    silent: int
    """Members that live, and have not answered lately."""
    passed_on: PassedOn


def _facts(service: Management) -> ClusterFacts | None:
    cluster = service.cluster
    if cluster is None:
        return None
    return ClusterFacts(
        cluster.view(), cluster.database(), len(cluster.silent()), cluster.passed_on()
    )


class Source:
    """The broker as a scrape sees it."""

    def __init__(
        self, service: Management, endpoint: str, cluster: ClusterFacts | None = None
    ) -> None:
        """
        :param endpoint: the value of the label `rabbitmq_endpoint`.
        :param cluster: instead of that of the broker, if it has none.
        """
        self.cluster = _facts(service) or cluster
        """None for a broker that shares its storage with no other."""
        self.service = service
        self.broker = service.broker
        self.status = service.status
        self.endpoint = endpoint
        self.counters = self.broker.counters()
        self.version = __version__
        self.build = _build_kind()
        self.python = platform.python_version()
        self.no_measures = StoreMeasures()
        """Those of a broker that persists nothing."""

    @property
    def cluster_name(self) -> str:
        """The name of the cluster, as clients are told."""
        return self.broker.cluster_name

    @property
    def vhosts(self) -> list[VirtualHost]:
        """All virtual hosts."""
        return list(self.broker.vhosts.values())

    def channel_count(self) -> int:
        """Channels that are open."""
        return sum(each.channels for each in self.broker.connections.all())

    @property
    def gone_traffic(self) -> TrafficCounters:
        """What the connections that have ended have received and sent."""
        total = TrafficCounters()
        total.add(self.broker.deleted_traffic)
        for vhost in self.vhosts:
            total.add(vhost.closed_traffic)
        return total


def _wanted(source: Source, vhosts: frozenset[str]) -> Iterator[VirtualHost]:
    return (vhost for vhost in source.vhosts if not vhosts or vhost.name in vhosts)


def find_vhosts(source: Source, vhosts: frozenset[str]) -> Iterator[Group]:
    """The virtual hosts."""
    return ((vhost.name, [vhost]) for vhost in _wanted(source, vhosts))


def vhost_labels(vhost: str, _: VirtualHost) -> str:
    """The labels of a virtual host."""
    return labels(vhost=vhost)


def find_queues(source: Source, vhosts: frozenset[str]) -> Iterator[Group]:
    """The queues, by virtual host."""
    return ((vhost.name, list(vhost.queues.values())) for vhost in _wanted(source, vhosts))


def queue_labels(vhost: str, queue: Queue) -> str:
    """The labels of a queue."""
    return labels(vhost=vhost, queue=queue.name)


def find_exchanges(source: Source, vhosts: frozenset[str]) -> Iterator[Group]:
    """The exchanges, one by one."""
    for vhost in _wanted(source, vhosts):
        default = vhost.router.default_counters
        yield vhost.name, [CountedExchange("", "direct", default, len(vhost.queues))]
        for each in list(vhost.exchanges.values()):
            yield (
                vhost.name,
                [CountedExchange(each.name, each.type, each.counters, each.binding_count())],
            )


def exchange_labels(vhost: str, exchange: CountedExchange) -> str:
    """The labels of an exchange."""
    return labels(vhost=vhost, exchange=exchange.name)


def typed_exchange_labels(vhost: str, exchange: CountedExchange) -> str:
    """The labels of an exchange, with its type."""
    return labels(vhost=vhost, exchange=exchange.name, type=exchange.type)


def find_connections(source: Source, vhosts: frozenset[str]) -> Iterator[Group]:
    """The connections, one by one."""
    for connection in source.service.sampler.connections():
        name = connection.session.vhost.name
        if not vhosts or name in vhosts:
            yield name, [connection]


def connection_labels(_: str, connection: Connection) -> str:
    """The labels of a connection."""
    return labels(connection=connection_name(connection))


def find_channels(source: Source, vhosts: frozenset[str]) -> Iterator[Group]:
    """The channels, by connection."""
    for vhost, connections in find_connections(source, vhosts):
        for connection in connections:
            channels = connection.channels.by_number.values()
            yield vhost, [NamedChannel(connection, channel) for channel in channels]


def channel_labels(_: str, found: NamedChannel) -> str:
    """The labels of a channel."""
    return labels(channel=channel_name(found.connection, found.channel))

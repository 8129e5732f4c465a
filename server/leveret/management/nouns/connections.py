"""Connections, channels and consumers as RabbitMQ shows them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import UNSET, UnsetType

from leveret.addresses import shown_address
from leveret.engine.queues.queue import Queue
from leveret.engine.values.json_values import to_json
from leveret.management.columns import Column, Columns
from leveret.management.nouns.erlang import process_columns
from leveret.management.statistics.details import Details, Moment, idle_since
from leveret.management.statistics.message_stats import (
    MessageStats,
    channel_stats,
    traffic_details,
)
from leveret.management.statistics.sampling import oldest_tag
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import DeliveryConsumer
from leveret.protocol.channels.session import Session
from leveret.protocol.connections.connection import Connection

EXAMINED_MAX: Final = 10_000
"""Deliveries of a channel among which the oldest one to a consumer is looked for."""


class ConnectionRow(NamedTuple):
    """A connection, and the node that it is open to."""

    node: str
    connection: Connection
    at: Moment
    """When its statistics are looked at."""


class ChannelRow(NamedTuple):
    """A channel, and its connection."""

    node: str
    connection: Connection
    channel: Channel
    at: Moment
    """When its statistics are looked at."""


class ConsumerRow(NamedTuple):
    """A consumer, and its channel."""

    node: str
    deliveries: Deliveries
    consumer: DeliveryConsumer
    at: Moment
    """When its deliveries are looked at."""


class ConnectionDetails(msgspec.Struct):
    """What a channel says of its connection."""

    name: str
    peer_host: str
    peer_port: int


class QueueDetails(msgspec.Struct):
    """What a consumer says of its queue."""

    name: str
    vhost: str


class ChannelDetails(msgspec.Struct):
    """What a consumer says of its channel."""

    name: str
    number: int
    node: str
    connection_name: str
    peer_host: str
    peer_port: int
    user: str


def connection_name(connection: Connection) -> str:
    """What a connection is found by: the addresses of its two ends, which are one's own."""
    return f"{connection.session.peer.address} -> {connection.session.peer.local}"


def channel_name(connection: Connection, channel: Channel) -> str:
    """What a channel is found by."""
    return f"{connection_name(connection)} ({channel.number})"


def _state(row: ConnectionRow) -> str:
    if row.connection.blocked:
        return "blocked"
    return "flow" if row.connection.session.throttled_by is not None else "running"


def _tls_version(row: ConnectionRow) -> str | None:
    tls = row.connection.session.peer.tls
    return None if tls is None else tls.version


def _tls_cipher(row: ConnectionRow) -> str | None:
    tls = row.connection.session.peer.tls
    return None if tls is None else tls.cipher


def _connected_at(row: ConnectionRow) -> int:
    opened = row.connection.opened
    return 0 if opened is None else opened.connected_at


def _client_properties(row: ConnectionRow) -> object:
    return msgspec.json.decode(row.connection.session.peer.properties or b"{}")


NOT_SHOWN: Final = "Not shown"

CONNECTION: Final[Columns[ConnectionRow]] = Columns(
    "Connection",
    Column("name", str, lambda row: connection_name(row.connection)),
    Column("user_provided_name", str | None, lambda row: row.connection.session.peer.name or None),
    Column("node", str, lambda row: row.node),
    Column("vhost", str, lambda row: row.connection.session.vhost.name),
    Column("user", str, lambda row: row.connection.session.user),
    Column("protocol", str, lambda row: "AMQP 0-9-1"),
    Column("peer_host", str, lambda row: shown_address(row.connection.session.peer.address).host),
    Column("peer_port", int, lambda row: shown_address(row.connection.session.peer.address).port),
    Column("host", str, lambda row: shown_address(row.connection.session.peer.local).host),
    Column("port", int, lambda row: shown_address(row.connection.session.peer.local).port),
    Column("ssl", bool, lambda row: row.connection.session.peer.tls is not None),
    Column("ssl_protocol", str | None, _tls_version),
    Column("ssl_cipher", str | None, _tls_cipher),
    Column("auth_mechanism", str, lambda row: row.connection.session.peer.mechanism),
    Column("state", str, _state, "`running`, `flow` or `blocked`"),
    Column("channels", int, lambda row: len(row.connection.channels.by_number)),
    Column("channel_max", int, lambda row: row.connection.channels.most),
    Column("frame_max", int, lambda row: int(row.connection.session.frame_max), "Bytes"),
    Column("timeout", int, lambda row: row.connection.heartbeat_s, "Heartbeat, in seconds"),
    Column("type", str, lambda row: "network"),
    Column("peer_cert_subject", str | None, lambda row: None, NOT_SHOWN),
    Column("peer_cert_issuer", str | None, lambda row: None, NOT_SHOWN),
    Column("peer_cert_validity", str | None, lambda row: None, NOT_SHOWN),
    Column("ssl_key_exchange", str | None, lambda row: None, NOT_SHOWN),
    Column("ssl_hash", str | None, lambda row: None, NOT_SHOWN),
    Column("user_who_performed_action", str, lambda row: row.connection.session.user),
    *process_columns(),
    Column("connected_at", int, _connected_at, "Milliseconds since 1970"),
    Column(
        "recv_oct",
        int,
        lambda row: int(row.connection.session.traffic.recv_oct),
        "Bytes received",
    ),
    Column(
        "recv_oct_details",
        Details,
        lambda row: traffic_details(row.connection.session.traffic, "recv_oct", row.at),
    ),
    Column(
        "recv_cnt",
        int,
        lambda row: int(row.connection.session.traffic.recv_cnt),
        "Reads of the socket",
    ),
    Column("send_oct", int, lambda row: int(row.connection.session.traffic.send_oct), "Bytes sent"),
    Column(
        "send_oct_details",
        Details,
        lambda row: traffic_details(row.connection.session.traffic, "send_oct", row.at),
    ),
    Column(
        "send_cnt",
        int,
        lambda row: int(row.connection.session.traffic.send_cnt),
        "Writes to the socket",
    ),
    Column(
        "send_pend",
        int,
        lambda row: row.connection.session.traffic.pending(),
        "Bytes that the client has not read yet",
    ),
    Column("client_properties", dict[str, Any], _client_properties),
)


def connection_details(connection: Connection) -> ConnectionDetails:
    """What a channel says of its connection."""
    return details_of_session(connection.session)


def details_of_session(session: Session) -> ConnectionDetails:
    """What an exclusive queue says of its connection."""
    peer = shown_address(session.peer.address)
    return ConnectionDetails(
        f"{session.peer.address} -> {session.peer.local}", peer.host, peer.port
    )


def _unconfirmed(row: ChannelRow) -> int:
    confirms = row.channel.confirms
    return int(confirms.published_count - confirms.confirmed_count) if confirms.enabled else 0


def _delivered_at(deliveries: Deliveries, tag: int, at: Moment) -> int:
    """When a delivery was made, in milliseconds since 1970; now, if that is less than a second
    ago."""
    times = deliveries.times
    time = 0 if times is None else times.time_of(tag)
    return at.wall_time(time or at.now)


def _channel_oldest(row: ChannelRow) -> int | None:
    deliveries = row.channel.deliveries
    if not deliveries.unacknowledged:
        return None
    return _delivered_at(deliveries, int(oldest_tag(deliveries)), row.at)


CHANNEL: Final[Columns[ChannelRow]] = Columns(
    "Channel",
    Column("name", str, lambda row: channel_name(row.connection, row.channel)),
    Column("number", int, lambda row: int(row.channel.number)),
    Column("node", str, lambda row: row.node),
    Column("vhost", str, lambda row: row.connection.session.vhost.name),
    Column("user", str, lambda row: row.connection.session.user),
    Column("state", str, lambda row: "running" if row.channel.open else "closing"),
    Column("confirm", bool, lambda row: row.channel.confirms.enabled),
    Column("transactional", bool, lambda row: row.channel.transaction.selected),
    Column("consumer_count", int, lambda row: len(row.channel.deliveries.consumers)),
    Column("messages_unacknowledged", int, lambda row: len(row.channel.deliveries.unacknowledged)),
    Column("prefetch_count", int, lambda row: row.channel.prefetch),
    Column("messages_unconfirmed", int, _unconfirmed),
    Column("messages_uncommitted", int, lambda row: row.channel.transaction.publish_count),
    Column("acks_uncommitted", int, lambda row: row.channel.transaction.settle_count),
    Column("pending_raft_commands", int, lambda row: 0),
    Column("user_who_performed_action", str, lambda row: row.connection.session.user),
    *process_columns(),
    Column("global_prefetch_count", int, lambda row: int(row.channel.deliveries.prefetch)),
    Column(
        "message_stats",
        MessageStats | UnsetType,
        lambda row: channel_stats(row.channel.counters, row.at),
        "What has happened on it; nothing if nothing has",
    ),
    Column(
        "idle_since",
        str | UnsetType,
        lambda row: idle_since(row.channel.counters, row.at),
        "When something happened on it last, if that is some seconds ago",
    ),
    Column(
        "oldest_unacknowledged",
        int | None,
        _channel_oldest,
        "When the oldest unacknowledged delivery was made, in milliseconds since 1970, about",
    ),
    Column("connection_details", ConnectionDetails, lambda row: connection_details(row.connection)),
)


def _channel_details(row: ConsumerRow) -> ChannelDetails:
    session, number = row.deliveries.session, int(row.deliveries.channel)
    details = details_of_session(session)
    return ChannelDetails(
        f"{details.name} ({number})",
        number,
        row.node,
        details.name,
        details.peer_host,
        details.peer_port,
        session.user,
    )


def _queue_details(row: ConsumerRow) -> QueueDetails:
    return QueueDetails(to_json(row.consumer.queue.name), row.deliveries.session.vhost.name)


def consumers_of_channel(node: str, channel: Channel, at: Moment) -> Iterator[ConsumerRow]:
    """The rows of the consumers of a channel."""
    for consumer in list(channel.deliveries.consumers.values()):
        yield ConsumerRow(node, channel.deliveries, consumer, at)


def consumers_of_queue(node: str, queue: Queue, at: Moment) -> Iterator[ConsumerRow]:
    """The rows of the consumers of a queue."""
    for each in queue.consumers:
        consumer = cast("ChannelConsumer", each)
        yield ConsumerRow(node, consumer.deliveries, consumer, at)


def _consumer_oldest(row: ConsumerRow) -> int | UnsetType:
    """When the oldest delivery to a consumer that is unacknowledged was made; UNSET if there is
    none: rabbitmqadmin cannot print the null of a column it does not know."""
    if row.consumer.outstanding == 0:
        return UNSET
    unacknowledged = row.deliveries.unacknowledged
    for tag, delivery in islice(unacknowledged.items(), EXAMINED_MAX):
        if delivery.consumer is row.consumer:
            return _delivered_at(row.deliveries, tag, row.at)
    return UNSET


CONSUMER: Final[Columns[ConsumerRow]] = Columns(
    "Consumer",
    Column("consumer_tag", str, lambda row: to_json(row.consumer.tag)),
    Column("queue", QueueDetails, _queue_details),
    Column("channel_details", ChannelDetails, _channel_details),
    Column("ack_required", bool, lambda row: not row.consumer.no_ack),
    Column("exclusive", bool, lambda row: row.consumer.exclusive),
    Column("prefetch_count", int, lambda row: int(row.consumer.prefetch)),
    Column("arguments", dict[str, Any], lambda row: to_json(row.consumer.arguments)),
    Column(
        "messages_unacknowledged",
        int,
        lambda row: int(row.consumer.outstanding),
        "Deliveries to it that it has not settled",
    ),
    Column(
        "oldest_unacknowledged",
        int | UnsetType,
        _consumer_oldest,
        "When the oldest of them was made, in milliseconds since 1970, about",
    ),
    Column(
        "consumer_timeout",
        int,
        lambda row: int(row.consumer.timeout_ms),
        "Milliseconds that a delivery may be unacknowledged; 0 is no limit",
    ),
    Column("deliver", int, lambda row: int(row.consumer.delivered), "Deliveries to it, ever"),
    Column("active", bool, lambda row: row.consumer.active),
    Column(
        "activity_status",
        str,
        lambda row: "up" if row.consumer.active else "waiting",
        "`up`, or `waiting` for another to go where a single one is active",
    ),
)

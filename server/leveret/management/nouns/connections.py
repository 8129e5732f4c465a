"""Connections, channels and consumers as RabbitMQ shows them."""

from typing import Any, Final, NamedTuple

import msgspec

from leveret.addresses import shown_address
from leveret.engine.values.json_values import to_json
from leveret.management.columns import Column, Columns
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.delivery import DeliveryConsumer
from leveret.protocol.connections.connection import Connection


class ConnectionRow(NamedTuple):
    """A connection, and the node that it is open to."""

    node: str
    connection: Connection


class ChannelRow(NamedTuple):
    """A channel, and its connection."""

    node: str
    connection: Connection
    channel: Channel


class ConsumerRow(NamedTuple):
    """A consumer, and its channel."""

    node: str
    connection: Connection
    channel: Channel
    consumer: DeliveryConsumer


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
    Column("connected_at", int, _connected_at, "Milliseconds since 1970"),
    Column("client_properties", dict[str, Any], _client_properties),
)


def connection_details(connection: Connection) -> ConnectionDetails:
    """What a channel says of its connection."""
    peer = shown_address(connection.session.peer.address)
    return ConnectionDetails(connection_name(connection), peer.host, peer.port)


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
    Column("global_prefetch_count", int, lambda row: int(row.channel.deliveries.prefetch)),
    Column("connection_details", ConnectionDetails, lambda row: connection_details(row.connection)),
)


def _channel_details(row: ConsumerRow) -> ChannelDetails:
    details = connection_details(row.connection)
    return ChannelDetails(
        channel_name(row.connection, row.channel),
        int(row.channel.number),
        row.node,
        details.name,
        details.peer_host,
        details.peer_port,
        row.connection.session.user,
    )


def _queue_details(row: ConsumerRow) -> QueueDetails:
    return QueueDetails(to_json(row.consumer.queue.name), row.connection.session.vhost.name)


CONSUMER: Final[Columns[ConsumerRow]] = Columns(
    "Consumer",
    Column("consumer_tag", str, lambda row: to_json(row.consumer.tag)),
    Column("queue", QueueDetails, _queue_details),
    Column("channel_details", ChannelDetails, _channel_details),
    Column("ack_required", bool, lambda row: not row.consumer.no_ack),
    Column("exclusive", bool, lambda row: row.consumer.exclusive),
    Column("prefetch_count", int, lambda row: int(row.consumer.prefetch)),
    Column("arguments", dict[str, Any], lambda row: to_json(row.consumer.arguments)),
    Column("active", bool, lambda row: row.consumer.active),
    Column(
        "activity_status",
        str,
        lambda row: "up" if row.consumer.active else "waiting",
        "`up`, or `waiting` for another to go where a single one is active",
    ),
)

"""Connections, channels and consumers (RabbitMQ: HTTP API Reference, /api/connections)."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.addresses import shown_address
from leveret.engine.administration.operator import NotFound
from leveret.engine.values.json_values import to_json
from leveret.management.http import changed, json, management, operator, route, segment
from leveret.management.listing import listed
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.delivery import DeliveryConsumer
from leveret.protocol.connections.connection import Connection

CLOSE_REASON: Final = "Closed via management plugin"
REASON_HEADER: Final = "X-Reason"
REASON_CHARACTERS_MAX: Final = 200


def connection_name(connection: Connection) -> str:
    """What a connection is found by: the addresses of its two ends, which are one's own."""
    return f"{connection.session.peer.address} -> {connection.session.peer.local}"


def connection_as_json(node: str, connection: Connection) -> dict[str, Any]:
    """A connection as RabbitMQ shows it."""
    session, opened = connection.session, connection.opened
    peer, local = shown_address(session.peer.address), shown_address(session.peer.local)
    return {
        "name": connection_name(connection),
        "user_provided_name": connection.session.peer.name or None,
        "node": node,
        "vhost": session.vhost.name,
        "user": session.user,
        "protocol": "AMQP 0-9-1",
        "peer_host": peer.host,
        "peer_port": peer.port,
        "host": local.host,
        "port": local.port,
        "ssl": connection.session.peer.tls is not None,
        "ssl_protocol": None
        if connection.session.peer.tls is None
        else connection.session.peer.tls.version,
        "ssl_cipher": None
        if connection.session.peer.tls is None
        else connection.session.peer.tls.cipher,
        "auth_mechanism": connection.session.peer.mechanism,
        "state": _state(connection),
        "channels": len(connection.channels.by_number),
        "channel_max": connection.channels.most,
        "frame_max": int(session.frame_max),
        "timeout": connection.heartbeat_s,
        "connected_at": 0 if opened is None else opened.connected_at,
        "client_properties": msgspec.json.decode(connection.session.peer.properties or b"{}"),
    }


def _state(connection: Connection) -> str:
    if connection.blocked:
        return "blocked"
    return "flow" if connection.session.throttled_by is not None else "running"


def channel_as_json(node: str, connection: Connection, channel: Channel) -> dict[str, Any]:
    """A channel as RabbitMQ shows it."""
    session, deliveries = connection.session, channel.deliveries
    return {
        "name": f"{connection_name(connection)} ({channel.number})",
        "number": int(channel.number),
        "node": node,
        "vhost": session.vhost.name,
        "user": session.user,
        "state": "running" if channel.open else "closing",
        "confirm": channel.confirms.enabled,
        "transactional": channel.transaction.selected,
        "consumer_count": len(deliveries.consumers),
        "messages_unacknowledged": len(deliveries.unacknowledged),
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": int(deliveries.prefetch),
        "connection_details": _details(connection),
    }


def _details(connection: Connection) -> dict[str, Any]:
    peer = shown_address(connection.session.peer.address)
    return {
        "name": connection_name(connection),
        "peer_host": peer.host,
        "peer_port": peer.port,
    }


def consumer_as_json(
    connection: Connection, channel: Channel, consumer: DeliveryConsumer
) -> dict[str, Any]:
    """A consumer as RabbitMQ shows it."""
    details = _details(connection)
    return {
        "consumer_tag": to_json(consumer.tag),
        "queue": {
            "name": to_json(consumer.queue.name),
            "vhost": connection.session.vhost.name,
        },
        "channel_details": {
            "name": f"{details['name']} ({channel.number})",
            "number": int(channel.number),
            "connection_name": details["name"],
            "peer_host": details["peer_host"],
            "peer_port": details["peer_port"],
            "user": connection.session.user,
        },
        "ack_required": not consumer.no_ack,
        "exclusive": consumer.exclusive,
        "prefetch_count": int(consumer.prefetch),
        "arguments": to_json(consumer.arguments),
        "active": consumer.active,
        "activity_status": "up" if consumer.active else "waiting",
    }


def _wanted(request: Request) -> list[Connection]:
    """The open connections, to the virtual host that the path names if it names one."""
    found = management(request).connections()
    if "vhost" not in request.path_params:
        return found
    vhost = segment(request, "vhost")
    return [connection for connection in found if connection.session.vhost.name == vhost]


async def get_connections(request: Request) -> Response:
    node = management(request).node
    return await listed(request, (connection_as_json(node, each) for each in _wanted(request)))


def _find(request: Request) -> Connection:
    name = segment(request, "name")
    for connection in management(request).connections():
        if connection_name(connection) == name:
            return connection
    raise NotFound(f"connection '{name}' does not exist")


async def get_connection(request: Request) -> Response:
    return json(connection_as_json(management(request).node, _find(request)))


async def delete_connection(request: Request) -> Response:
    reason = request.headers.get(REASON_HEADER, CLOSE_REASON)[:REASON_CHARACTERS_MAX]
    connection = _find(request)
    name, user = connection_name(connection), connection.session.user
    connection.force_close(reason)
    operator(request).log("connection closed", {"name": name, "user": user, "reason": reason})
    return await changed(request)


def _channels(node: str, connections: list[Connection]) -> Iterator[dict[str, Any]]:
    for connection in connections:
        for channel in list(connection.channels.by_number.values()):
            yield channel_as_json(node, connection, channel)


async def get_channels(request: Request) -> Response:
    return await listed(request, _channels(management(request).node, _wanted(request)))


async def get_channels_of_connection(request: Request) -> Response:
    return await listed(request, _channels(management(request).node, [_find(request)]))


def _consumers(connections: list[Connection]) -> Iterator[dict[str, Any]]:
    for connection in connections:
        for channel in list(connection.channels.by_number.values()):
            for consumer in list(channel.deliveries.consumers.values()):
                yield consumer_as_json(connection, channel, consumer)


async def get_consumers(request: Request) -> Response:
    return await listed(request, _consumers(_wanted(request)))


ROUTES: Final = (
    route("/api/connections", GET=get_connections),
    route("/api/vhosts/{vhost}/connections", GET=get_connections),
    route("/api/connections/{name}", GET=get_connection, DELETE=delete_connection),
    route("/api/connections/{name}/channels", GET=get_channels_of_connection),
    route("/api/channels", GET=get_channels),
    route("/api/vhosts/{vhost}/channels", GET=get_channels),
    route("/api/consumers", GET=get_consumers),
    route("/api/consumers/{vhost}", GET=get_consumers),
)

"""Connections, channels and consumers (RabbitMQ: HTTP API Reference, /api/connections)."""

from collections.abc import Iterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.operator import NotFound
from leveret.management.authorisation import Access
from leveret.management.http import changed, json, management, moment, operator, route, segment
from leveret.management.listing import listed
from leveret.management.nouns.connections import (
    CHANNEL,
    CONNECTION,
    CONSUMER,
    ChannelRow,
    ConnectionRow,
    ConsumerRow,
    connection_name,
)
from leveret.management.objects import find_vhost
from leveret.management.statistics.details import Moment
from leveret.protocol.channels.channel import Channel
from leveret.protocol.connections.connection import Connection

CLOSE_REASON: Final = "Closed via management plugin"
REASON_HEADER: Final = "X-Reason"
REASON_CHARACTERS_MAX: Final = 200


def _wanted(request: Request) -> list[Connection]:
    """The open connections, to the virtual host that the path names if it names one."""
    found = management(request).connections()
    if "vhost" not in request.path_params:
        return found
    vhost = segment(request, "vhost")
    return [connection for connection in found if connection.session.vhost.name == vhost]


async def get_connections(request: Request) -> Response:
    node, at = management(request).node, moment(request)
    rows = (ConnectionRow(node, each, at) for each in _wanted(request))
    return await listed(request, CONNECTION, rows)


def _find(request: Request) -> Connection:
    name = segment(request, "name")
    for connection in management(request).connections():
        if connection_name(connection) == name:
            return connection
    raise NotFound(f"connection '{name}' does not exist")


async def get_connection(request: Request) -> Response:
    row = ConnectionRow(management(request).node, _find(request), moment(request))
    return json(CONNECTION.shown(row))


async def delete_connection(request: Request) -> Response:
    reason = request.headers.get(REASON_HEADER, CLOSE_REASON)[:REASON_CHARACTERS_MAX]
    connection = _find(request)
    name, user = connection_name(connection), connection.session.user
    connection.force_close(reason)
    operator(request).log("connection closed", {"name": name, "user": user, "reason": reason})
    return await changed(request)


def _channels(node: str, connections: list[Connection], at: Moment) -> Iterator[ChannelRow]:
    for connection in connections:
        for channel in list(connection.channels.by_number.values()):
            yield ChannelRow(node, connection, channel, at)


async def get_channels(request: Request) -> Response:
    rows = _channels(management(request).node, _wanted(request), moment(request))
    return await listed(request, CHANNEL, rows)


async def get_channels_of_connection(request: Request) -> Response:
    rows = _channels(management(request).node, [_find(request)], moment(request))
    return await listed(request, CHANNEL, rows)


def _consumers(node: str, connections: list[Connection], at: Moment) -> Iterator[ConsumerRow]:
    for connection in connections:
        for channel in list(connection.channels.by_number.values()):
            for consumer in list(channel.deliveries.consumers.values()):
                yield ConsumerRow(node, connection, channel, consumer, at)


async def get_consumers(request: Request) -> Response:
    rows = _consumers(management(request).node, _wanted(request), moment(request))
    return await listed(request, CONSUMER, rows)


async def cancel_consumer(request: Request) -> Response:
    """Cancel a consumer, and tell its client by basic.cancel. What it has not acknowledged stays
    with its channel, as after a basic.cancel of its own."""
    vhost, channel = find_vhost(request), _find_channel(request)
    tag = segment(request, "tag")
    consumer = channel.deliveries.consumers.get(tag)
    if consumer is None or channel.vhost is not vhost:
        raise NotFound(f"consumer '{tag}' does not exist")
    queue = consumer.queue
    channel.deliveries.consumer_cancelled(consumer)
    consumer.end(vhost)
    queue.deliver_ready()
    fields = {"vhost": vhost.name, "queue": queue.name, "consumer_tag": tag}
    operator(request).log("consumer cancelled", fields)
    return await changed(request)


def _find_channel(request: Request) -> Channel:
    name, number = segment(request, "connection"), segment(request, "channel")
    for connection in management(request).connections():
        if connection_name(connection) == name:
            for channel in connection.channels.by_number.values():
                if str(channel.number) == number:
                    return channel
    raise NotFound(f"channel {number} of connection '{name}' does not exist")


ROUTES: Final = (
    route("/api/connections", GET=get_connections),
    route("/api/vhosts/{vhost}/connections", GET=get_connections),
    route(
        "/api/connections/{name}",
        change=Access.ADMINISTRATOR,
        GET=get_connection,
        DELETE=delete_connection,
    ),
    route("/api/connections/{name}/channels", GET=get_channels_of_connection),
    route("/api/channels", GET=get_channels),
    route("/api/vhosts/{vhost}/channels", GET=get_channels),
    route("/api/consumers", GET=get_consumers),
    route("/api/consumers/{vhost}", GET=get_consumers),
    route("/api/consumers/{vhost}/{connection}/{channel}/{tag}", DELETE=cancel_consumer),
)

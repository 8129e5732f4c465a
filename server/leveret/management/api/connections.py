"""Connections, channels and consumers (RabbitMQ: HTTP API Reference, /api/connections)."""

import re
from collections.abc import Iterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.accounts import ADMINISTRATOR
from leveret.engine.administration.operator import NotFound
from leveret.management.authorisation import MONITORING, Access, NotAuthorised
from leveret.management.description import ListOf, described
from leveret.management.http import (
    changed,
    identity,
    json,
    management,
    moment,
    operator,
    route,
    segment,
)
from leveret.management.listing import listed
from leveret.management.nouns.connections import (
    CHANNEL,
    CONNECTION,
    CONSUMER,
    ChannelRow,
    ConnectionRow,
    ConsumerRow,
    connection_name,
    consumers_of_channel,
)
from leveret.management.objects import find_vhost, vhosts_of
from leveret.management.statistics.details import Moment
from leveret.protocol.channels.channel import Channel
from leveret.protocol.connections.connection import Connection
from leveret.protocol.handlers.basic import cancel_from_outside

CHANNEL_NAME: Final = re.compile(r"(.*) \(([0-9]{1,5})\)")
"""The name of a connection, and the number of a channel."""

CLOSE_REASON: Final = "Closed via management plugin"
REASON_HEADER: Final = "X-Reason"
REASON_CHARACTERS_MAX: Final = 200


def _is_shown(request: Request, connection: Connection) -> bool:
    """Whether who asks sees a connection: monitoring sees all, others their own."""
    by = identity(request)
    return by.has(MONITORING) or connection.session.user == by.name


def _wanted(request: Request) -> list[Connection]:
    """The open connections that are shown: those of the virtual host or of the user that the path
    names, if it names one."""
    found = [each for each in management(request).connections() if _is_shown(request, each)]
    if "vhost" in request.path_params:
        vhost = find_vhost(request)
        found = [each for each in found if each.session.vhost is vhost]
    if "user" in request.path_params:
        user = segment(request, "user")
        found = [each for each in found if each.session.user == user]
    return found


@described(gives=ListOf(CONNECTION))
async def get_connections(request: Request) -> Response:
    """The open connections, of all virtual hosts or of one."""
    node, at = management(request).node, moment(request)
    rows = (ConnectionRow(node, each, at) for each in _wanted(request))
    return await listed(request, CONNECTION, rows)


def _find(request: Request) -> Connection:
    return _named(request, segment(request, "name"))


def _named(request: Request, name: str) -> Connection:
    """The connection of a name.

    :raises NotFound: if there is none.
    :raises NotAuthorised: if who asks does not see it.
    """
    address = name.partition(" -> ")[0]
    for connection in management(request).connections():
        # Of many thousands, nearly all are passed over by this.
        if connection.session.peer.address == address and connection_name(connection) == name:
            if not _is_shown(request, connection):
                raise NotAuthorised("User not authorised to see the connection")
            return connection
    raise NotFound(f"connection '{name}' does not exist")


@described(gives=CONNECTION)
async def get_connection(request: Request) -> Response:
    """One connection."""
    row = ConnectionRow(management(request).node, _find(request), moment(request))
    return json(CONNECTION.shown(row))


async def delete_connection(request: Request) -> Response:
    """Close a connection; the header `X-Reason` has the text that the client gets."""
    reason = request.headers.get(REASON_HEADER, CLOSE_REASON)[:REASON_CHARACTERS_MAX]
    connection = _find(request)
    by = identity(request)
    if not by.has(ADMINISTRATOR) and connection.session.user != by.name:
        raise NotAuthorised("Not administrator user")
    name, user = connection_name(connection), connection.session.user
    connection.force_close(reason)
    operator(request).log("connection closed", {"name": name, "user": user, "reason": reason})
    return await changed(request)


async def delete_connections_of_user(request: Request) -> Response:
    """Close the connections of a user."""
    reason = request.headers.get(REASON_HEADER, CLOSE_REASON)[:REASON_CHARACTERS_MAX]
    user = segment(request, "user")
    for connection in _wanted(request):
        fields = {"name": connection_name(connection), "user": user, "reason": reason}
        connection.force_close(reason)
        operator(request).log("connection closed", fields)
    return await changed(request)


def _channels(node: str, connections: list[Connection], at: Moment) -> Iterator[ChannelRow]:
    for connection in connections:
        for channel in list(connection.channels.by_number.values()):
            yield ChannelRow(node, connection, channel, at)


@described(gives=ListOf(CHANNEL))
async def get_channels(request: Request) -> Response:
    """The open channels, of all virtual hosts or of one."""
    rows = _channels(management(request).node, _wanted(request), moment(request))
    return await listed(request, CHANNEL, rows)


@described(gives=CHANNEL)
async def get_channel(request: Request) -> Response:
    """One channel."""
    name = segment(request, "name")
    node = management(request).node
    at = moment(request)
    parts = CHANNEL_NAME.fullmatch(name)
    connection = _named(request, parts[1] if parts else name)
    channel = connection.channels.by_number.get(int(parts[2])) if parts else None
    if channel is None:
        raise NotFound(f"channel '{name}' does not exist")
    consumers = consumers_of_channel(node, channel, at)
    shown = CHANNEL.shown(ChannelRow(node, connection, channel, at))
    shown["consumer_details"] = [CONSUMER.shown(each) for each in consumers]
    return json({"deliveries": [], "publishes": [], **shown})


@described(gives=ListOf(CHANNEL))
async def get_channels_of_connection(request: Request) -> Response:
    """The channels of a connection."""
    rows = _channels(management(request).node, [_find(request)], moment(request))
    return await listed(request, CHANNEL, rows)


def _consumers(node: str, connections: list[Connection], at: Moment) -> Iterator[ConsumerRow]:
    for connection in connections:
        for channel in list(connection.channels.by_number.values()):
            yield from consumers_of_channel(node, channel, at)


@described(gives=ListOf(CONSUMER))
async def get_consumers(request: Request) -> Response:
    """The consumers of the virtual hosts that are shown, whoever they belong to."""
    names = {vhost.name for vhost in vhosts_of(request)}
    connections = [
        each for each in management(request).connections() if each.session.vhost.name in names
    ]
    rows = _consumers(management(request).node, connections, moment(request))
    return await listed(request, CONSUMER, rows)


async def cancel_consumer(request: Request) -> Response:
    """Cancel a consumer, and tell its client by basic.cancel. What it has not acknowledged stays
    with its channel, as after a basic.cancel of its own."""
    vhost, channel = find_vhost(request), _find_channel(request)
    tag = segment(request, "tag")
    queue = cancel_from_outside(channel, tag) if channel.vhost is vhost else None
    if queue is None:
        raise NotFound(f"consumer '{tag}' does not exist")
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
        access=Access.USER,
        change=Access.USER,
        GET=get_connection,
        DELETE=delete_connection,
    ),
    route(
        "/api/connections/username/{user}",
        change=Access.ADMINISTRATOR,
        GET=get_connections,
        DELETE=delete_connections_of_user,
    ),
    route("/api/connections/{name}/channels", GET=get_channels_of_connection),
    route("/api/channels", GET=get_channels),
    route("/api/channels/{name}", GET=get_channel),
    route("/api/vhosts/{vhost}/channels", GET=get_channels),
    route("/api/consumers", GET=get_consumers),
    route("/api/consumers/{vhost}", GET=get_consumers),
    route("/api/consumers/{vhost}/{connection}/{channel}/{tag}", DELETE=cancel_consumer),
)

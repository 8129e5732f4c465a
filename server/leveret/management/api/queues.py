"""Queues (RabbitMQ: HTTP API Reference, /api/queues)."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import CONFIGURE, READ
from leveret.engine.administration.operator import Refused
from leveret.engine.administration.values import check_name
from leveret.engine.lifecycle.names import check_owner
from leveret.engine.lifecycle.policy_keys import type_name
from leveret.engine.lifecycle.queues import (
    change_own_arguments,
    declare_queue,
    find_deletable,
    remove_queue,
    set_paused,
)
from leveret.engine.values.arguments import Arguments
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.management.authorisation import Access
from leveret.management.description import ListOf, described
from leveret.management.http import (
    body,
    changed,
    json,
    management,
    moment,
    operator,
    rights,
    route,
    segment,
    table,
)
from leveret.management.listing import listed
from leveret.management.nouns.bindings import BINDING, binding_row, default_binding_row
from leveret.management.nouns.connections import CONSUMER, consumers_of_queue
from leveret.management.nouns.queues import QUEUE, QueueRow
from leveret.management.objects import find_queue, find_vhost, owner_for, vhosts_of
from leveret.management.statistics.details import Moment


class ArgumentsBody(msgspec.Struct):
    """Arguments of a queue that are to change; null removes one."""

    arguments: dict[str, Any]


class ActionBody(msgspec.Struct):
    """What is to be done with the mirrors of a queue."""

    action: Literal["sync", "cancel_sync"]


class QueueBody(msgspec.Struct):
    """A queue, as PUT takes it."""

    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, Any] | list[Any] = {}
    node: str = ""


def _queues(node: str, vhosts: list[VirtualHost], at: Moment) -> Iterator[QueueRow]:
    for vhost in vhosts:
        for queue in list(vhost.queues.values()):
            if not queue.deleted:
                yield QueueRow(node, vhost, queue, at)


@described(gives=ListOf(QUEUE))
async def get_queues(request: Request) -> Response:
    """The queues, of all virtual hosts or of one."""
    rows = _queues(management(request).node, vhosts_of(request), moment(request))
    return await listed(request, QUEUE, rows)


@described(gives=QUEUE)
async def get_queue(request: Request) -> Response:
    """One queue."""
    vhost, queue = find_queue(request)
    service, at = management(request), moment(request)
    shown = QUEUE.shown(QueueRow(service.node, vhost, queue, at))
    shown["consumer_details"] = [
        CONSUMER.shown(row) for row in consumers_of_queue(service.node, queue, at)
    ]
    return json({"deliveries": [], "incoming": [], **shown})


@described(takes=QueueBody)
async def put_queue(request: Request) -> Response:
    """Declare a queue."""
    vhost, name = find_vhost(request), segment(request, "name")
    given = await body(request, QueueBody)
    check_name("queue", name)
    arguments = table(given.arguments, "arguments")
    types = {argument: type_name(value) for argument, value in arguments.items()}
    created = name not in vhost.queues
    declare_queue(
        vhost,
        name,
        durable=given.durable,
        auto_delete=given.auto_delete,
        owner=None,
        connection=None,
        arguments=Arguments(arguments, types),
        declared_by=operator(request).label,
        rights=rights(request, vhost.name),
    )
    if created:
        fields = {"vhost": vhost.name, "name": name}
        operator(request).log("queue declared", fields)
    return await changed(request, created=created)


@described(takes=ArgumentsBody)
async def change_queue(request: Request) -> Response:
    """Change arguments of a queue while it is in use; null removes one."""
    vhost, queue = find_queue(request)
    rights(request, vhost.name).check_queue(CONFIGURE, queue.name)
    given = table((await body(request, ArgumentsBody)).arguments, "arguments")
    types = {name: type_name(value) for name, value in given.items() if value is not None}
    if not queue.deleted:
        change_own_arguments(vhost, queue, Arguments(given, types))
        fields = {"vhost": vhost.name, "name": queue.name, "arguments": given}
        operator(request).log("queue changed", fields)
    return await changed(request)


async def pause_queue(request: Request) -> Response:
    """Stop deliveries from a queue; it takes messages still."""
    return await _set_paused(request, True)


async def resume_queue(request: Request) -> Response:
    """Have a paused queue deliver again."""
    return await _set_paused(request, False)


async def _set_paused(request: Request, paused: bool) -> Response:
    vhost, queue = find_queue(request)
    rights(request, vhost.name).check_queue(CONFIGURE, queue.name)
    if queue.paused != paused:
        set_paused(vhost, queue, paused)
        what = "queue paused" if paused else "queue resumed"
        operator(request).log(what, {"vhost": vhost.name, "name": queue.name})
    return await changed(request)


async def delete_queue(request: Request) -> Response:
    """Delete a queue with its messages; `if-unused` and `if-empty` refuse it otherwise."""
    vhost, queue = find_queue(request)
    rights(request, vhost.name).check_queue(CONFIGURE, queue.name)
    try:
        find_deletable(
            vhost,
            queue.name,
            if_unused=request.query_params.get("if-unused") == "true",
            if_empty=request.query_params.get("if-empty") == "true",
            connection=owner_for(request, queue),
        )
    except AmqpError as error:
        if error.code != ReplyCode.PRECONDITION_FAILED:
            raise
        raise Refused(error.text) from None
    remove_queue(vhost, queue)
    operator(request).log("queue deleted", {"vhost": vhost.name, "name": queue.name})
    return await changed(request)


async def purge_queue(request: Request) -> Response:
    """Drop the ready messages of a queue."""
    vhost, queue = find_queue(request)
    rights(request, vhost.name).check_queue(READ, queue.name)
    check_owner(vhost, queue, owner_for(request, queue))
    purge = queue.purge()
    await management(request).run(purge)
    operator(request).log(
        "queue purged", {"vhost": vhost.name, "name": queue.name, "messages": int(purge.count)}
    )
    return await changed(request)


@described(takes=ActionBody)
async def act_on_queue(request: Request) -> Response:
    """Synchronise the mirrors of a queue, of which there are none."""
    find_queue(request)
    await body(request, ActionBody)
    return Response(status_code=204)


@described(gives=ListOf(BINDING))
async def get_bindings(request: Request) -> Response:
    """The bindings of a queue, of a virtual host, or all."""
    vhost, queue = find_queue(request)
    found = (binding_row(vhost.name, each) for each in queue.destination.incoming())
    own = default_binding_row(vhost.name, queue.name)
    return await listed(request, BINDING, chain((own,), found))


ROUTES: Final = (
    route("/api/queues", change=Access.VHOST, GET=get_queues),
    route("/api/queues/detailed", change=Access.VHOST, GET=get_queues),
    route("/api/queues/{vhost}", change=Access.VHOST, GET=get_queues),
    route(
        "/api/queues/{vhost}/{name}",
        change=Access.VHOST,
        GET=get_queue,
        PUT=put_queue,
        PATCH=change_queue,
        DELETE=delete_queue,
    ),
    route(
        "/api/queues/{vhost}/{name}/pause",
        change=Access.VHOST,
        PUT=pause_queue,
        DELETE=resume_queue,
    ),
    route("/api/queues/{vhost}/{name}/actions", POST=act_on_queue),
    route("/api/queues/{vhost}/{name}/contents", change=Access.VHOST, DELETE=purge_queue),
    route("/api/queues/{vhost}/{name}/bindings", change=Access.VHOST, GET=get_bindings),
)

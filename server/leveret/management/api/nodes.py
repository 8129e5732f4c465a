"""The node (RabbitMQ: HTTP API Reference, /api/nodes)."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.operator import NotFound
from leveret.management.authorisation import Access
from leveret.management.description import ListOf, described
from leveret.management.http import json, management, moment, route, segment
from leveret.management.listing import listed
from leveret.management.nouns.nodes import NODE, node_row

WHOLE: Final = 100

BREAKDOWN: Final = (
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "queue_slave_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_system",
    "allocated_unused",
    "reserved_unallocated",
)
"""What RabbitMQ divides its memory into: tools require all of it. Of a broker that is one process
with one heap most of it is 0."""

MESSAGES: Final = "binary"
"""Where RabbitMQ has the bodies of messages."""

OTHER: Final = "other_system"


@described(gives=ListOf(NODE))
async def get_nodes(request: Request) -> Response:
    """The node, with what it uses and its limits."""
    return await listed(request, NODE, [node_row(management(request), moment(request))])


def _check_name(request: Request) -> None:
    name = segment(request, "name")
    if name != management(request).node:
        raise NotFound(f"node '{name}' does not exist")


@described(gives=NODE)
async def get_node(request: Request) -> Response:
    """The node."""
    _check_name(request)
    return json(NODE.shown(node_row(management(request), moment(request))))


def _memory(request: Request) -> dict[str, int]:
    """Bytes by what they are used for."""
    service = management(request)
    used = service.status.memory_bytes
    messages = min(int(service.broker.memory.charged), used)
    return dict.fromkeys(BREAKDOWN, 0) | {MESSAGES: messages, OTHER: used - messages}


async def get_memory(request: Request) -> Response:
    """What the memory of the node is used for, in bytes."""
    _check_name(request)
    found: dict[str, Any] = {**_memory(request)}
    total = sum(found.values())
    found["strategy"] = "rss"
    found["total"] = {"erlang": total, "rss": total, "allocated": total}
    return json({"memory": found})


async def get_relative_memory(request: Request) -> Response:
    """What the memory of the node is used for, in parts of a hundred."""
    _check_name(request)
    found = _memory(request)
    total = sum(found.values())
    shares = {name: round(WHOLE * value / total) for name, value in found.items()}
    return json({"memory": {"total": WHOLE, **shares}})


ROUTES: Final = (
    route("/api/nodes", access=Access.MONITORING, GET=get_nodes),
    route("/api/nodes/{name}", access=Access.MONITORING, GET=get_node),
    route("/api/nodes/{name}/memory", access=Access.MONITORING, GET=get_memory),
    route("/api/nodes/{name}/memory/relative", access=Access.MONITORING, GET=get_relative_memory),
)

"""The broker as a whole (RabbitMQ: HTTP API Reference, /api/overview and /api/whoami)."""

import os
import platform
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from leveret import __version__
from leveret.compiled import build_kind
from leveret.engine.metadata.entities import User
from leveret.management.authorisation import MONITORING, Access
from leveret.management.http import identity, json, management, moment, operator, route
from leveret.management.statistics.message_stats import (
    broker_statistics,
    some_vhosts_statistics,
)
from leveret.net.memory_shortage import ResidentMemory

_STARTED: Final = time.monotonic()
_RESIDENT: Final = ResidentMemory()


async def get_overview(request: Request) -> Response:
    service = management(request)
    broker = service.broker
    vhosts = list(broker.vhosts.values())
    totals: dict[str, Any] = {
        "connections": len(broker.connections),
        "channels": sum(each.channels for each in broker.connections.all()),
        "queues": sum(len(vhost.queues) for vhost in vhosts),
        "exchanges": sum(len(vhost.exchanges) for vhost in vhosts),
    }
    return json(
        {
            "product_name": "Leveret",
            "product_version": __version__,
            "rabbitmq_version": broker.version,
            "build": build_kind(),
            "python_version": platform.python_version(),
            "cluster_name": broker.cluster_name,
            "node": service.node,
            "pid": os.getpid(),
            "uptime": int((time.monotonic() - _STARTED) * 1000),
            "alarm": broker.alarm,
            "memory_used": _RESIDENT.resident_bytes(),
            "memory_limit": broker.memory_limit_bytes,
            "vhosts": len(vhosts),
            "object_totals": totals,
            **_statistics(request),
            "listeners": [
                {"protocol": protocol, "ip_address": address.host, "port": address.port}
                for protocol, address in service.listeners()
            ],
        }
    )


def _statistics(request: Request) -> dict[str, Any]:
    """What has happened in the broker, or in what the user sees of it."""
    service, by, at = management(request), identity(request), moment(request)
    if by.has(MONITORING):
        return broker_statistics(service.sampler, at)
    vhosts = [
        vhost for name, vhost in service.broker.vhosts.items() if by.sees(service.broker, name)
    ]
    return some_vhosts_statistics(vhosts, service.sampler, at)


async def get_whoami(request: Request) -> Response:
    by = operator(request)
    user = by.metadata.get(User, by.name)
    return json({"name": by.name, "tags": [] if user is None else list(user.tags)})


ROUTES: Final = (
    route("/api/overview", access=Access.USER, GET=get_overview),
    route("/api/whoami", access=Access.USER, GET=get_whoami),
)

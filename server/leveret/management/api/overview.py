"""The broker as a whole (RabbitMQ: HTTP API Reference, /api/overview and /api/whoami)."""

import os
import platform
import time
from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from leveret import __version__
from leveret.compiled import build_kind
from leveret.engine.metadata.entities import User
from leveret.engine.routing.exchanges.delayed import TYPE as DELAYED
from leveret.engine.routing.exchanges.types import EXCHANGE_TYPES
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps
from leveret.engine.vhost import VirtualHost
from leveret.management.authorisation import MONITORING, Access
from leveret.management.http import clustered, identity, json, management, moment, operator, route
from leveret.management.service import Management
from leveret.management.statistics.message_stats import (
    broker_statistics,
    some_vhosts_statistics,
)
from leveret.net.memory_shortage import ResidentMemory

_STARTED: Final = time.monotonic()
_RESIDENT: Final = ResidentMemory()

RETENTION: Final = {"global": [60, 3600, 86400], "basic": [60, 3600], "detailed": [60]}
"""Seconds for which samples are kept, by their interval (RabbitMQ: Management Plugin)."""

COUNTED_AT_ONCE: Final = 256
"""Queues whose consumers are counted before it is looked at the time."""

EXCHANGE_TYPE_TEXT: Final = "see the page Features of the documentation"


class _Consumers(Work):
    """Counts the consumers of all queues."""

    def __init__(self, vhosts: list[VirtualHost]) -> None:
        self.count = 0
        self._steps = self._run(vhosts)

    def run(self, time_slice: TimeSlice) -> bool:
        return run_steps(self._steps, time_slice)

    def _run(self, vhosts: list[VirtualHost]) -> Iterator[None]:
        for vhost in vhosts:
            queues = list(vhost.queues.values())
            for first in range(0, len(queues), COUNTED_AT_ONCE):
                some = queues[first : first + COUNTED_AT_ONCE]
                self.count += sum(queue.consumer_count for queue in some)
                yield


async def get_overview(request: Request) -> Response:
    """The broker as a whole: its version, totals and rates."""
    service = management(request)
    broker = service.broker
    vhosts = list(broker.vhosts.values())
    consumers = _Consumers(vhosts)
    await service.run(consumers)
    totals: dict[str, Any] = {
        "connections": len(broker.connections),
        "channels": sum(each.channels for each in broker.connections.all()),
        "queues": sum(len(vhost.queues) for vhost in vhosts),
        "exchanges": sum(len(vhost.exchanges) + 1 for vhost in vhosts),
        "consumers": consumers.count,
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
            "alarms": alarms_of(service.node, broker.alarm),
            "memory_used": _RESIDENT.resident_bytes(),
            "memory_limit": broker.memory_limit_bytes,
            "vhosts": len(vhosts),
            "object_totals": totals,
            **_statistics(request),
            "listeners": _listeners(service),
            "contexts": _contexts(service),
            "exchange_types": _exchange_types(),
            "management_version": broker.version,
            "rates_mode": "basic",
            "sample_retention_policies": RETENTION,
            "statistics_db_event_queue": 0,
            "disable_stats": False,
            "enable_queue_totals": False,
            "release_series_support_status": "supported",
        }
    )


def alarms_of(node: str, alarm: str) -> list[dict[str, str]]:
    """What blocks publishers at one node: an entry, or none."""
    return [{"node": node, "alarm": alarm}] if alarm else []


def _statistics(request: Request) -> dict[str, Any]:
    """What has happened in the broker, or in what the user sees of it."""
    service, by, at = management(request), identity(request), moment(request)
    if by.has(MONITORING):
        return broker_statistics(service.sampler, at)
    vhosts = [
        vhost for name, vhost in service.broker.vhosts.items() if by.sees(service.broker, name)
    ]
    return some_vhosts_statistics(vhosts, service.sampler, at)


def _listeners(service: Management) -> list[dict[str, Any]]:
    """What is listened on, for every protocol."""
    return [
        {
            "node": service.node,
            "protocol": protocol,
            "ip_address": address.host,
            "port": address.port,
            "socket_opts": {},
        }
        for protocol, address in [*service.listeners(), *service.http_listeners]
    ]


def _contexts(service: Management) -> list[dict[str, Any]]:
    """Where the HTTP API is; the values are strings, as in RabbitMQ."""
    return [
        {
            "node": service.node,
            "description": "Leveret Management",
            "path": "/",
            "ip": address.host,
            "port": str(address.port),
            "protocol": protocol,
            "ssl_opts": [],
        }
        for protocol, address in service.http_listeners
    ]


def _exchange_types() -> list[dict[str, Any]]:
    return [
        {"name": name, "description": EXCHANGE_TYPE_TEXT, "enabled": True}
        for name in sorted([*EXCHANGE_TYPES, DELAYED])
    ]


async def get_whoami(request: Request) -> Response:
    """Who asks, and their tags."""
    by = operator(request)
    user = by.metadata.get(User, by.name)
    shown = {"name": by.name, "tags": [] if user is None else list(user.tags)}
    return json(shown | clustered(request))


ROUTES: Final = (
    route("/api/overview", access=Access.USER, GET=get_overview),
    route("/api/whoami", access=Access.USER, GET=get_whoami),
)

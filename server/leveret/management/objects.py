"""The objects that the path of a request names."""

import asyncio

from starlette.requests import Request

from leveret.engine.administration.operator import NotFound
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.vhost import VirtualHost
from leveret.limits import SLICE_NS
from leveret.management.http import Front, identity, management, segment

DEFAULT_EXCHANGE_NAME = "amq.default"
"""The default exchange in a path."""

DISK_RETRY_S = 0.001
"""Seconds until it is looked again whether a message was read."""


def find_vhost(request: Request) -> VirtualHost:
    """The virtual host that the path names.

    :raises NotFound: if there is none.
    """
    name = segment(request, "vhost")
    vhost = management(request).broker.vhosts.get(name)
    if vhost is None:
        raise NotFound(f"virtual host '{name}' does not exist")
    return vhost


def sees(request: Request, vhost: str) -> bool:
    """Whether who asks sees what is in a virtual host."""
    return identity(request).sees(management(request).broker, vhost)


def belongs_here(request: Request, vhost: str) -> bool:
    """Whether this broker has a virtual host in a list that brokers of a cluster make together."""
    front: Front | None = request.app.state.front
    return front is None or front.lists(request, vhost)


def node_of(request: Request, vhost: str) -> str:
    """The node that serves a virtual host, or this one if none does."""
    service = management(request)
    placement = service.broker.placement
    served_by = None if placement is None else placement.served_by(vhost)
    return service.node if served_by is None else served_by.node


def vhosts_of(request: Request) -> list[VirtualHost]:
    """The virtual host that the path names, or all that who asks sees if it names none.

    :raises NotFound: if there is none of that name.
    """
    if "vhost" in request.path_params:
        return [find_vhost(request)]
    found = management(request).broker.vhosts.values()
    return [vhost for vhost in found if sees(request, vhost.name)]


def find_queue(request: Request) -> tuple[VirtualHost, Queue]:
    """The queue that the path names, with its virtual host.

    :raises NotFound: if there is none.
    """
    vhost, name = find_vhost(request), segment(request, "name")
    queue = vhost.queues.get(name)
    if queue is None:
        raise NotFound(f"queue '{name}' does not exist in virtual host '{vhost.name}'")
    return vhost, queue


async def prepared_take(queue: Queue) -> None:
    """Wait until `queue.take` need not wait for the disk, and has little to drop."""
    time_slice = queue.host.time_slice
    time_slice.begin(SLICE_NS)
    while not queue.prepare_take():
        await asyncio.sleep(DISK_RETRY_S if queue.awaits_disk() else 0)
        time_slice.begin(SLICE_NS)


def exchange_name(request: Request, parameter: str = "name") -> str:
    """The exchange that the path names; the name of the default exchange is empty."""
    name = segment(request, parameter)
    return "" if name == DEFAULT_EXCHANGE_NAME else name


def owner_for(request: Request, queue: Queue | None) -> object:
    """As which connection who asks uses a queue: the owner of the broker's process may use the
    exclusive queue of any connection, nobody else any."""
    return queue.owner if queue is not None and identity(request).is_owner else None


def find_exchange(request: Request, parameter: str = "name") -> tuple[VirtualHost, Exchange]:
    """The exchange that the path names, with its virtual host.

    :raises NotFound: if there is none.
    """
    vhost, name = find_vhost(request), segment(request, parameter)
    exchange = vhost.exchanges.get(name)
    if exchange is None:
        raise NotFound(f"exchange '{name}' does not exist in virtual host '{vhost.name}'")
    return vhost, exchange

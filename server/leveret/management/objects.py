"""The objects that the path of a request names."""

from starlette.requests import Request

from leveret.engine.administration.operator import NotFound
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.vhost import VirtualHost
from leveret.management.http import management, segment

DEFAULT_EXCHANGE_NAME = "amq.default"
"""The default exchange in a path."""


def find_vhost(request: Request) -> VirtualHost:
    """The virtual host that the path names.

    :raises NotFound: if there is none.
    """
    name = segment(request, "vhost")
    vhost = management(request).broker.vhosts.get(name)
    if vhost is None:
        raise NotFound(f"virtual host '{name}' does not exist")
    return vhost


def vhosts_of(request: Request) -> list[VirtualHost]:
    """The virtual host that the path names, or all if it names none.

    :raises NotFound: if there is none of that name.
    """
    if "vhost" in request.path_params:
        return [find_vhost(request)]
    return list(management(request).broker.vhosts.values())


def find_queue(request: Request) -> tuple[VirtualHost, Queue]:
    """The queue that the path names, with its virtual host.

    :raises NotFound: if there is none.
    """
    vhost, name = find_vhost(request), segment(request, "name")
    queue = vhost.queues.get(name)
    if queue is None:
        raise NotFound(f"queue '{name}' does not exist in virtual host '{vhost.name}'")
    return vhost, queue


def find_exchange(request: Request, parameter: str = "name") -> tuple[VirtualHost, Exchange]:
    """The exchange that the path names, with its virtual host.

    :raises NotFound: if there is none.
    """
    vhost, name = find_vhost(request), segment(request, parameter)
    exchange = vhost.exchanges.get(name)
    if exchange is None:
        raise NotFound(f"exchange '{name}' does not exist in virtual host '{vhost.name}'")
    return vhost, exchange

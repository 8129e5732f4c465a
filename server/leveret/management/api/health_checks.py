"""Health checks: 200 if all is well, 503 with the reason if not.

(RabbitMQ: HTTP API Reference, /api/health/checks, /api/healthchecks/node, /api/aliveness-test.)

The check of mirrors, which there are none of, always succeeds.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pamqp.commands import Basic
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.access.rights import READ, WRITE, Rights
from leveret.engine.administration.operator import NotFound
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message, short_strings
from leveret.engine.values.text import octets_of_text
from leveret.engine.vhost import VirtualHost
from leveret.management.authorisation import Access
from leveret.management.http import (
    BadRequest,
    json,
    management,
    operator,
    rights,
    route,
    segment,
    whole_number,
)
from leveret.management.objects import find_vhost, prepared_take
from leveret.net.alarms import Resource
from leveret.protocol.channels.published_properties import check
from leveret.protocol.wire.methods import encode_header

ALIVENESS_QUEUE: Final = "aliveness-test"
"""The queue of the aliveness test, which stays."""

ALIVENESS_BODY: Final = b"test_message"

UNIT_DAYS: Final = {"days": 1, "weeks": 7, "months": 30, "years": 365}

PROTOCOLS: Final = {
    "amqp091": "amqp",
    "amqp0.9.1": "amqp",
    "amqp0-9-1": "amqp",
    "amqps": "amqp/ssl",
    "amqp0-9-1s": "amqp/ssl",
}
"""Other names of protocols, in lower case."""

SINGLE_NODE: Final = "single node cluster"


def _ok(**facts: Any) -> Response:
    return json({"status": "ok", **facts})


def _failed(reason: str, **facts: Any) -> Response:
    return json({"status": "failed", "reason": reason, **facts}, 503)


def _alarms(request: Request) -> list[dict[str, str]]:
    service = management(request)
    return [
        {"node": service.node, "resource": resource.value}
        for resource in Resource
        if service.status.alarms.is_set(resource)
    ]


async def check_alarms(request: Request) -> Response:
    """Whether there is no alarm of memory or disk: 200, else 503."""
    found = _alarms(request)
    if found:
        return _failed("There are alarms in effect in the cluster", alarms=found)
    return _ok()


async def check_local_alarms(request: Request) -> Response:
    """Whether there is no alarm on this node: 200, else 503."""
    found = _alarms(request)
    if found:
        return _failed("There are alarms in effect on the node", alarms=found)
    return _ok()


async def check_node(request: Request) -> Response:
    """The older check of everything, which is that of alarms by now."""
    service = management(request)
    if request.path_params.get("node", service.node) != service.node:
        raise NotFound
    names = [f"{{resource_limit,{each['resource']},'{each['node']}'}}" for each in _alarms(request)]
    if names:
        return _failed(f"resource alarm(s) in effect:[{','.join(names)}]")
    return _ok()


async def check_certificates(request: Request) -> Response:
    """Whether no certificate expires within a time: 200, else 503."""
    within, unit = whole_number(segment(request, "within"), 4), segment(request, "unit")
    if within is None:
        raise BadRequest("Invalid expiration value.")
    if unit not in UNIT_DAYS:
        raise BadRequest("Time unit not recognised. Supported units: days, weeks, months, years.")
    until = datetime.now(UTC) + timedelta(days=within * UNIT_DAYS[unit])
    service = management(request)
    expiring = [
        {
            "node": service.node,
            "certfile": file,
            "certfile_expires_on": "expired" if expires is None else f"{expires:%Y-%m-%d %H:%M:%S}",
        }
        for file, expires in service.status.certificates()
        if expires is None or expires <= until
    ]
    if expiring:
        return _failed("Certificates expiring", expired=expiring)
    return _ok()


async def check_port(request: Request) -> Response:
    """Whether there is a listener on a port: 200, else 503."""
    port = whole_number(segment(request, "port"), 5)
    if port is None:
        raise BadRequest("Invalid port")
    ports = sorted({address.port for _, address in management(request).all_listeners()} - {0})
    if port in ports:
        return _ok(port=port)
    return _failed("No active listener", missing=port, ports=ports)


async def check_protocol(request: Request) -> Response:
    """Whether there is a listener for a protocol: 200, else 503."""
    asked = segment(request, "protocol")
    wanted = PROTOCOLS.get(asked.lower(), asked.lower())
    found = dict.fromkeys(
        PROTOCOLS.get(each, each) for each, _ in management(request).all_listeners()
    )
    if wanted in found:
        return _ok(protocol=wanted)
    return _failed("No active listener", missing=wanted, protocols=list(found))


async def check_virtual_hosts(request: Request) -> Response:
    """Virtual hosts are there from the start of the broker to its end."""
    return _ok()


async def check_mirrors(request: Request) -> Response:
    """Always 200: there are no mirrors."""
    return _ok(reason=SINGLE_NODE)


async def check_quorum(request: Request) -> Response:
    """Whether another broker of the cluster takes over if this one is stopped: 200, else 503; 200
    without a cluster, too."""
    cluster = management(request).cluster
    if cluster is None or len(cluster.view().members) == 1:
        return _ok(reason=SINGLE_NODE)
    if any(each.is_alive and not each.draining for each in cluster.others()):
        return _ok()
    return _failed("no other node of the cluster would serve the queues of this one")


async def check_in_service(request: Request) -> Response:
    """Whether the broker serves: 200, else 503."""
    reason = management(request).status.not_ready()
    return _failed(reason) if reason else _ok()


async def check_connection_limit(request: Request) -> Response:
    """Whether further connections are accepted: 200, else 503."""
    broker = management(request).broker
    current, limit = len(broker.connections), broker.config.amqp.max_connections
    if current >= limit:
        return _failed("node connection limit is reached", current=current, limit=limit)
    return _ok(current=current, limit=limit)


async def check_ready(request: Request) -> Response:
    """Whether clients are served: 200, else 503."""
    reason = management(request).status.not_ready()
    if reason:
        return _failed(reason)
    return await check_connection_limit(request)


async def check_aliveness(request: Request) -> Response:
    """Publish a message to a queue, and get it."""
    vhost = find_vhost(request)
    if await _is_alive(vhost, rights(request, vhost.name), operator(request).label):
        return _ok()
    return _failed("the message that was published did not come back")


async def _is_alive(vhost: VirtualHost, asking: Rights, declared_by: str) -> bool:
    asking.check_queue(READ, ALIVENESS_QUEUE)
    asking.check_exchange(WRITE, "")
    declare_queue(
        vhost,
        ALIVENESS_QUEUE,
        durable=False,
        auto_delete=False,
        owner=None,
        connection=None,
        arguments=Arguments({}, {}),
        declared_by=declared_by,
        rights=asking,
    )
    now = int(vhost.clock.now)
    raw = short_strings(b"", octets_of_text(ALIVENESS_QUEUE))
    header = check(encode_header(Basic.Properties(), len(ALIVENESS_BODY)), None, b"").header
    message = Message(raw, header, ALIVENESS_BODY, False, now, 0)
    vhost.publisher.publish(message, vhost.router.route(raw).sinks)
    queue = vhost.queues[ALIVENESS_QUEUE]
    await prepared_take(queue)
    taken = queue.take()
    if taken is None:
        return False
    found, position, _ = taken
    queue.settle(position)
    return found.body == ALIVENESS_BODY


ROUTES: Final = (
    route("/api/health/checks/alarms", GET=check_alarms),
    route("/api/health/checks/local-alarms", GET=check_local_alarms),
    route("/api/health/checks/certificate-expiration/{within}/{unit}", GET=check_certificates),
    route("/api/health/checks/port-listener/{port}", GET=check_port),
    route("/api/health/checks/protocol-listener/{protocol}", GET=check_protocol),
    route("/api/health/checks/virtual-hosts", GET=check_virtual_hosts),
    route("/api/health/checks/node-is-mirror-sync-critical", GET=check_mirrors),
    route("/api/health/checks/node-is-quorum-critical", GET=check_quorum),
    route("/api/health/checks/is-in-service", GET=check_in_service),
    route("/api/health/checks/below-node-connection-limit", GET=check_connection_limit),
    route("/api/health/checks/ready-to-serve-clients", GET=check_ready),
    route("/api/healthchecks/node", GET=check_node),
    route("/api/healthchecks/node/{node}", GET=check_node),
    route("/api/aliveness-test/{vhost}", access=Access.VHOST, GET=check_aliveness),
)

"""Where would a message go? Which queues it would reach, and through which bindings."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.explain import Explanation, Step
from leveret.engine.administration.values import check_short
from leveret.engine.values.json_values import to_json
from leveret.engine.values.message import Message, short_strings
from leveret.engine.values.text import octets_of_text
from leveret.management.authorisation import Access
from leveret.management.content_header import content_header
from leveret.management.description import described
from leveret.management.http import body, json, management, route, segment
from leveret.management.objects import DEFAULT_EXCHANGE_NAME, find_exchange, find_vhost


class RouteBody(msgspec.Struct):
    """What the message would have."""

    routing_key: str = ""
    headers: dict[str, Any] = {}
    properties: dict[str, Any] = {}


class RouteStep(msgspec.Struct):
    """A step of the way."""

    source: str
    routing_key: str
    arguments: dict[str, Any]
    destination: str
    destination_type: str
    why: str
    """binding, alternate (nothing else matches), random (it may be chosen), or hash (the message
    decides)."""
    delayed_ms: int
    """For how long the source delays the message before."""


class RouteReached(msgspec.Struct):
    """A queue that the message would reach."""

    name: str
    via: list[RouteStep]
    """The first of the ways."""
    ways: list[list[RouteStep]]


class RouteAnswer(msgspec.Struct):
    """Where the message would go."""

    queues: list[RouteReached]
    complete: bool
    """Whether these are all."""


@described(takes=RouteBody, gives=RouteAnswer)
async def route_message(request: Request) -> Response:
    """The queues that a message would reach; nothing is published."""
    vhost, name = find_vhost(request), segment(request, "name")
    exchange = "" if name == DEFAULT_EXCHANGE_NAME else find_exchange(request)[1].name
    given = await body(request, RouteBody)
    check_short("a routing key", given.routing_key)
    header = content_header({**given.properties, "headers": given.headers}, 0)
    raw = short_strings(octets_of_text(exchange), octets_of_text(given.routing_key))
    message = Message(raw, header, b"", False, int(vhost.clock.now))
    found = Explanation(vhost, exchange, message)
    await management(request).run(found)
    queues: list[RouteReached] = []
    for reached in found.reached.values():
        ways = [[_shown(step) for step in way] for way in reached.ways]
        queues.append(RouteReached(to_json(reached.queue), ways[0], ways))
    return json(RouteAnswer(queues, found.is_complete))


def _shown(step: Step) -> RouteStep:
    return RouteStep(
        to_json(step.source),
        to_json(step.routing_key),
        to_json(step.arguments or {}),
        to_json(step.destination),
        step.destination_type,
        step.why,
        step.delayed_ms,
    )


ROUTES: Final = (
    route("/api/exchanges/{vhost}/{name}/route", change=Access.VISIBLE, POST=route_message),
)

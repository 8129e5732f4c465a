"""Whether the broker is alive, and whether it serves clients: for whoever starts and stops it.

(Kubernetes: Liveness, readiness and startup probes.) A broker whose publishers are blocked by an
alarm is ready: consumers, who end the alarm, have to reach it. The health checks of RabbitMQ's HTTP
API say more, to users who log in (`api/health_checks.py`).
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from leveret.management.authorisation import Access
from leveret.management.http import json, management, route


async def get_alive(request: Request) -> Response:
    """It answers, so its event loop runs."""
    return json({"status": "ok"})


async def get_ready(request: Request) -> Response:
    """Whether clients are served: 200, else 503. Needs no login."""
    service = management(request)
    reason = service.status.not_ready()
    if reason:
        return json({"status": "failed", "reason": reason}, 503)
    return json({"status": "ok", "alarm": service.broker.alarm})


ROUTES: Final = (
    route("/healthz", access=Access.ANYBODY, GET=get_alive),
    route("/readyz", access=Access.ANYBODY, GET=get_ready),
)

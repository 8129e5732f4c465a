"""Why is it stuck? What keeps messages from moving, for one queue and for all of them."""

import time
from typing import Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.values.json_values import to_json
from leveret.engine.vhost import VirtualHost
from leveret.management.authorisation import Access
from leveret.management.description import described
from leveret.management.diagnosis.collector import Surroundings, collect
from leveret.management.diagnosis.diagnosis import BrokerDiagnosis, alarm_of, findings_of
from leveret.management.diagnosis.facts import Finding, Severity
from leveret.management.diagnosis.message_findings import alarm_of as alarm_finding
from leveret.management.http import identity, json, management, route
from leveret.management.objects import find_queue
from leveret.management.service import Management

MS: Final = 1000

SHARED_S: Final = 3.0
"""Seconds for which the findings of all queues are shown to others who ask: with ten thousand stuck
queues they take half a second of the broker's work."""


def _surroundings(request: Request) -> Surroundings:
    service = management(request)
    return Surroundings(service.watch, int(service.status.started_at * MS), service.connections())


class FindingLink(msgspec.Struct):
    """An object that a finding is about."""

    kind: str
    """connection, channel, queue, exchange or policy."""
    vhost: str | None
    name: str


class ShownFinding(msgspec.Struct):
    """One reason why messages do not move."""

    severity: Literal["error", "warning", "info"]
    code: str
    """The kind of finding."""
    text: str
    """What is the case, in sentences."""
    vhost: str
    queue: str
    """Empty for a finding about the whole broker."""
    since: int | None
    """Milliseconds since the epoch."""
    facts: dict[str, Any]
    """The numbers and names in the text."""
    links: list[FindingLink]


SEVERITIES: Final[dict[Severity, Literal["error", "warning", "info"]]] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
}


def _shown(finding: Finding, vhost: str, queue: str) -> ShownFinding:
    return ShownFinding(
        SEVERITIES[finding.severity],
        finding.code,
        to_json(finding.text),
        vhost,
        to_json(queue),
        finding.since,
        to_json(dict(finding.facts)),
        [FindingLink(link.kind, link.vhost, to_json(link.name)) for link in finding.links],
    )


@described(gives=list[ShownFinding])
async def get_queue_diagnosis(request: Request) -> Response:
    """Why the messages of a queue do not move, the worst reason first."""
    vhost, queue = find_queue(request)
    alarm = alarm_of(management(request).broker)
    found = findings_of(collect(vhost, queue, _surroundings(request), alarm))
    return json([_shown(each, vhost.name, queue.name) for each in found])


@described(gives=list[ShownFinding])
async def get_diagnosis(request: Request) -> Response:
    """The worst findings of all queues, after what concerns the whole broker."""
    service = management(request)
    wanted = request.query_params.get("vhost")
    who = identity(request)
    vhosts = [
        each
        for each in service.broker.vhosts.values()
        if who.sees(service.broker, each.name) and wanted in (None, each.name)
    ]
    surroundings = _surroundings(request)
    found = await _worst(service, vhosts, surroundings)
    reason, since = alarm_of(service.broker)
    if reason:
        now = int(service.broker.clock.wall_time())
        whole = alarm_finding(reason, since, surroundings.blocked, now)
        found = [_shown(whole, "", ""), *found]
    return json(found)


async def _worst(
    service: Management, vhosts: list[VirtualHost], surroundings: Surroundings
) -> list[ShownFinding]:
    """The worst findings, for some seconds the same for all who ask: many may watch them."""
    key, now = tuple(each.name for each in vhosts), time.monotonic()
    known = service.diagnoses.get(key)
    if known is not None and now - known[0] < SHARED_S:
        shared: list[ShownFinding] = known[1]
        return shared
    work = BrokerDiagnosis(vhosts, surroundings)
    await service.run(work)
    found = [_shown(finding, vhost.name, queue.name) for vhost, queue, finding in work.worst()]
    recent = {each: value for each, value in service.diagnoses.items() if now - value[0] < SHARED_S}
    service.diagnoses = {**recent, key: (now, found)}
    return found


ROUTES: Final = (
    route("/api/diagnosis", access=Access.USER, GET=get_diagnosis),
    route("/api/queues/{vhost}/{name}/diagnosis", GET=get_queue_diagnosis),
)

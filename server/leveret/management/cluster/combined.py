"""Answers that are made of those of all brokers, each in its own way."""

from typing import Any, Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.management.api.logs import latest
from leveret.management.api.overview import alarms_of
from leveret.management.cluster.definitions import DefinitionsOfAll
from leveret.management.cluster.marks import target_of
from leveret.management.cluster.merged_list import LEFT_OUT
from leveret.management.cluster.peers import Answer, PeerFailed, Peers
from leveret.management.cluster.state import ClusterState
from leveret.management.cluster.sums import added
from leveret.management.http import Endpoint, Json, failed, identity, json, management

SUMMED: Final = ("object_totals", "message_stats", "queue_totals", "churn_rates")
"""Parts of the overview that are added up."""

JOINED: Final = ("alarms", "listeners", "contexts")
"""Parts of the overview that are lists of each broker."""

LOGGED_BY: Final = "logged_by"
"""The node that has logged an event. Events have a `node` of their own, which is another one."""

SEVERITIES: Final = ("error", "warning", "info")

FINDINGS_MAX: Final = 200
"""Findings that are shown, the worst of all brokers."""

SAID_OF_ALARMS: Final = ("ok", "failed")
"""What the check of alarms says, with the status 200 or 503. An error has 503, too."""

_Said: TypeAlias = tuple[str, Any]
"""Another broker, and what it has said."""

ALARMS: Final = "There are alarms in effect in the cluster"
ALARMS_CHECK: Final = "/api/health/checks/alarms"


class Combined:
    """Combines the answers of this broker and of the others."""

    def __init__(self, peers: Peers, state: ClusterState) -> None:
        self._peers = peers
        self._state = state
        self._definitions = DefinitionsOfAll(peers, state)

    async def respond(
        self, request: Request, path: str, method: str, endpoint: Endpoint
    ) -> Response:
        """The answer of the cluster.

        :raises PeerFailed: if it is of no use without a broker that does not answer.
        """
        if path == "/api/definitions":
            if method == "GET":
                return await self._definitions.exported(request, endpoint)
            return await self._definitions.imported(request)
        if path == "/api/health/checks/virtual-hosts":
            return self._virtual_hosts(request)
        answers = await self._peers.ask_all(
            identity(request), method, target_of(request, whole=True)
        )
        own = await endpoint(request)
        others: list[_Said] = []
        left_out: list[str] = []
        for each in answers:
            try:
                others.append(_said(each, path))
            except PeerFailed as error:
                left_out.append(error.node)
        if path == "/api/overview":
            response = self._overview(request, own, others)
        elif path == "/api/diagnosis":
            response = _diagnosis(own, others)
        elif path == "/api/logs":
            response = self._logs(request, own, others)
        else:
            response = _alarms(own, others)
        if left_out:
            response.headers[LEFT_OUT] = ", ".join(left_out)
        return response

    def _overview(self, request: Request, own: Response, others: list[_Said]) -> Response:
        found = _value_of(own)
        for node, other in others:
            for name in SUMMED:
                found[name] = added(found[name], other.get(name, {}))
            for name in JOINED:
                found[name] += other.get(name, [])
            if "alarms" not in other:
                found["alarms"] += alarms_of(node, other.get("alarm", ""))
        found["alarm"] = "; ".join(f"{each['node']}: {each['alarm']}" for each in found["alarms"])
        found["vhosts"] = len(management(request).metadata.all(VirtualHostEntity))
        found["warnings"] = self._state.warnings()
        return json(found)

    def _logs(self, request: Request, own: Response, others: list[_Said]) -> Response:
        """What all have logged, by the clocks of their machines."""
        found: list[dict[str, Any]] = []
        for node, events in [(management(request).node, _value_of(own)), *others]:
            found += [{**each, LOGGED_BY: node} for each in events]
        found.sort(key=lambda each: str(each.get("timestamp", "")))
        return latest(request, found)

    def _virtual_hosts(self, request: Request) -> Response:
        """Whether each virtual host is served: 200, else 503."""
        down = sorted(
            entity.name
            for entity in management(request).metadata.all(VirtualHostEntity).values()
            if not self._state.owner_of(entity.name)
        )
        if not down:
            return json({"status": "ok"})
        reason = "Some virtual hosts are down"
        return json({"status": "failed", "reason": reason, "virtual-hosts": down}, 503)


def _said(answer: Answer | PeerFailed, path: str) -> _Said:
    """What another broker has said. It may be of another version: fields may be missing, and there
    may be more.

    :raises PeerFailed: if it is no answer.
    """
    if isinstance(answer, PeerFailed):
        raise answer
    if answer.status == 503 and path == ALARMS_CHECK:
        found = answer.json()
        if isinstance(found, dict) and found.get("status") in SAID_OF_ALARMS:
            return answer.node, found
    if answer.status != 200:
        raise PeerFailed(answer.node, f"status {answer.status}")
    return answer.node, answer.json()


def _diagnosis(own: Response, others: list[_Said]) -> Response:
    found = list(_value_of(own))
    for _, findings in others:
        found += [each for each in findings if each.get("severity") in SEVERITIES]
    found.sort(key=lambda each: SEVERITIES.index(each["severity"]))
    return json(found[:FINDINGS_MAX])


def _alarms(own: Response, others: list[_Said]) -> Response:
    found: list[Any] = list(_value_of(own).get("alarms", []))
    for _, other in others:
        found += other.get("alarms", [])
    if not found:
        return json({"status": "ok"})
    return json({"status": "failed", "reason": ALARMS, "alarms": found}, 503)


def _value_of(response: Response) -> Any:
    if not isinstance(response, Json):
        return failed(500, "internal_server_error", "no value")
    return msgspec.to_builtins(response.value)

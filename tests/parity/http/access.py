"""Who may do what: every route, asked by users with every tag, and by nobody.

A row of the table is a request, a cell the status that one user gets. Where a list was answered,
the cell has the virtual hosts that its objects are in. Requests that change something are such that
they can be sent again: what is not there is deleted, what is there is declared as it is.
"""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from tests.parity.http.client import Answer, Api
from tests.parity.http.play import RECORDINGS, Play

TABLE: Final = RECORDINGS / "access.txt"

PERMISSIONS: Final = {"configure": "^open", "write": "^open", "read": "^open"}
USERS: Final[dict[str, tuple[str, bool]]] = {
    "untagged": ("", True),
    "outsider": ("management", False),
    "manager": ("management", True),
    "policymaker": ("policymaker", True),
    "stranger": ("policymaker", False),
    "monitor": ("monitoring", False),
    "watcher": ("monitoring", True),
    "admin": ("administrator", False),
    "owner": ("administrator", True),
}
"""Users by name: their tags, and whether they have permissions in `/`, for `open...` only."""

NOBODY: Final = "nobody"

READS: Final = [
    "/overview",
    "/cluster-name",
    "/nodes",
    "/nodes/{node}",
    "/nodes/{node}/memory",
    "/extensions",
    "/feature-flags",
    "/whoami",
    "/vhosts",
    "/vhosts/%2F",
    "/vhosts/second",
    "/vhosts/%2F/permissions",
    "/vhosts/%2F/topic-permissions",
    "/vhosts/%2F/connections",
    "/vhosts/%2F/channels",
    "/users",
    "/users/owner",
    "/users/{self}",
    "/users/without-permissions",
    "/users/owner/permissions",
    "/users/owner/topic-permissions",
    "/users/{self}/permissions",
    "/permissions",
    "/permissions/%2F/owner",
    "/topic-permissions",
    "/topic-permissions/%2F/manager",
    "/user-limits",
    "/user-limits/owner",
    "/vhost-limits",
    "/vhost-limits/%2F",
    "/parameters",
    "/parameters/federation-upstream",
    "/parameters/federation-upstream/%2F",
    "/parameters/federation-upstream/%2F/up",
    "/global-parameters",
    "/global-parameters/colour",
    "/policies",
    "/policies/%2F",
    "/policies/%2F/p",
    "/operator-policies",
    "/operator-policies/%2F",
    "/operator-policies/%2F/p",
    "/exchanges",
    "/exchanges/%2F",
    "/exchanges/second",
    "/exchanges/%2F/open",
    "/exchanges/%2F/amq.direct",
    "/exchanges/%2F/open/bindings/source",
    "/queues",
    "/queues/%2F",
    "/queues/second",
    "/queues/%2F/open",
    "/queues/%2F/shut",
    "/queues/%2F/open/bindings",
    "/bindings",
    "/bindings/%2F",
    "/bindings/second",
    "/bindings/%2F/e/open/q/open",
    "/bindings/%2F/e/open/q/open/k",
    "/connections",
    "/connections/{connection}",
    "/connections/{connection}/channels",
    "/connections/username/owner",
    "/channels",
    "/channels/{channel}",
    "/consumers",
    "/consumers/%2F",
    "/consumers/second",
    "/definitions",
    "/definitions/%2F",
    "/shovels",
    "/shovels/%2F",
    "/federation-links",
    "/federation-links/%2F",
    "/aliveness-test/second",
    "/healthchecks/node",
    "/health/checks/alarms",
    "/health/checks/local-alarms",
    "/health/checks/virtual-hosts",
    "/health/checks/port-listener/1",
    "/health/checks/node-is-quorum-critical",
]

MESSAGE: Final = {"properties": {}, "routing_key": "k", "payload": "", "payload_encoding": "string"}
GET: Final = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
POLICY: Final = {"pattern": "^p$", "definition": {"max-length": 1}, "apply-to": "queues"}
UPSTREAM: Final = {"value": {"uri": "amqp://127.0.0.1"}}

CHANGES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("PUT", "/queues/%2F/open", {"durable": True}),
    ("PUT", "/queues/%2F/shut", {"durable": True}),
    ("DELETE", "/queues/%2F/open-none", None),
    ("DELETE", "/queues/%2F/shut-none", None),
    ("PUT", "/queues/second/open", {"durable": True}),
    ("DELETE", "/queues/%2F/open/contents", None),
    ("DELETE", "/queues/%2F/shut/contents", None),
    ("POST", "/queues/%2F/open/actions", {"action": "sync"}),
    ("PUT", "/exchanges/%2F/open", {"type": "topic", "durable": True}),
    ("PUT", "/exchanges/%2F/shut", {"type": "topic", "durable": True}),
    ("DELETE", "/exchanges/%2F/open-none", None),
    ("POST", "/bindings/%2F/e/open/q/open", {"routing_key": "k"}),
    ("POST", "/bindings/%2F/e/open/q/shut", {"routing_key": "k"}),
    ("POST", "/bindings/%2F/e/shut/q/open", {"routing_key": "k"}),
    ("DELETE", "/bindings/%2F/e/open/q/open/none", None),
    ("POST", "/exchanges/%2F/open/publish", MESSAGE),
    ("POST", "/exchanges/%2F/shut/publish", MESSAGE),
    ("POST", "/exchanges/%2F/amq.default/publish", MESSAGE),
    ("POST", "/queues/%2F/open/get", GET),
    ("POST", "/queues/%2F/shut/get", GET),
    ("PUT", "/vhosts/second", {}),
    ("DELETE", "/vhosts/none", None),
    ("PUT", "/users/somebody", {"password": "x", "tags": ""}),
    ("DELETE", "/users/none", None),
    ("POST", "/users/bulk-delete", {"users": []}),
    ("PUT", "/permissions/second/somebody", PERMISSIONS),
    ("DELETE", "/permissions/%2F/none", None),
    ("PUT", "/topic-permissions/%2F/somebody", {"exchange": "open", "write": "", "read": ""}),
    ("DELETE", "/topic-permissions/%2F/none", None),
    ("PUT", "/user-limits/somebody/max-channels", {"value": 10}),
    ("DELETE", "/user-limits/somebody/max-connections", None),
    ("PUT", "/vhost-limits/%2F/max-queues", {"value": 1000}),
    ("DELETE", "/vhost-limits/%2F/max-connections", None),
    ("PUT", "/policies/%2F/p", POLICY),
    ("DELETE", "/policies/%2F/none", None),
    ("PUT", "/operator-policies/%2F/p", POLICY),
    ("DELETE", "/operator-policies/%2F/none", None),
    ("PUT", "/parameters/federation-upstream/%2F/up", UPSTREAM),
    ("DELETE", "/parameters/federation-upstream/%2F/none", None),
    ("PUT", "/global-parameters/colour", {"value": 1}),
    ("DELETE", "/global-parameters/none", None),
    ("PUT", "/cluster-name", {"name": "a name"}),
    ("POST", "/definitions", {"queues": []}),
    ("POST", "/definitions/%2F", {"queues": []}),
    ("DELETE", "/connections/none", None),
)


def table(play: Play) -> str:
    """Ask everything as everybody; the table."""
    _declare(play)
    users = [*USERS, NOBODY]
    lines = ["\t".join(["request", *users])]
    with play.connection(name="observed") as opened:
        opened.channel()
        play.quietly_until("/channels", lambda found: len(found) == 1)
        play.quietly_until("/connections", lambda found: found[0]["vhost"] == "/")
        names = dict(_names(play))
        for method, path, body in [*(("GET", path, None) for path in READS), *CHANGES]:
            cells = [_cell(play, user, method, path, body, names) for user in users]
            lines.append("\t".join([f"{method} {path}", *cells]))
    return "\n".join([*lines, ""])


def _declare(play: Play) -> None:
    ask = play.quietly
    ask("PUT", "/vhosts/second", {})
    for name, (tags, has_permissions) in USERS.items():
        ask("PUT", f"/users/{name}", {"password": name, "tags": tags})
        if has_permissions:
            ask("PUT", f"/permissions/%2F/{name}", PERMISSIONS)
    ask("PUT", "/topic-permissions/%2F/manager", {"exchange": "x", "write": "", "read": ""})
    ask("PUT", "/users/somebody", {"password": "x", "tags": ""})
    ask("PUT", "/permissions/second/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    ask("PUT", "/permissions/second/somebody", PERMISSIONS)
    for vhost in ("%2F", "second"):
        for name in ("open", "shut"):
            ask("PUT", f"/queues/{vhost}/{name}", {"durable": True})
            ask("PUT", f"/exchanges/{vhost}/{name}", {"type": "topic", "durable": True})
            path = f"/bindings/{vhost}/e/{name}/q/{name}"
            ask("POST", path, {"routing_key": "k"})
    for method, path, body in CHANGES:
        if method == "PUT":
            ask(method, path, body)


def _names(play: Play) -> Iterator[tuple[str, str]]:
    """What stands in paths for names that are others each time."""
    connection: str = play.quietly("GET", "/connections").value[0]["name"]
    yield "connection", quote(connection, safe="")
    yield "node", quote(play.quietly("GET", "/overview").value["node"])
    channel: str = play.quietly("GET", "/channels").value[0]["name"]
    yield "channel", quote(channel, safe="")


def _cell(play: Play, user: str, method: str, path: str, body: Any, names: dict[str, str]) -> str:
    api = Api(play.api.host, play.api.port, None if user == NOBODY else user, user)
    found = path.format(**names, self=user) if "{" in path else path
    return _told(api.ask(method, f"/api{found}", body))


def _told(answer: Answer) -> str:
    value = answer.value if answer.status == 200 else None
    if not isinstance(value, list) or not value:
        return str(answer.status) + (" []" if value == [] else "")
    vhosts = sorted({str(each.get("vhost", "")) for each in value} - {""})
    return f"200 {','.join(vhosts)}".rstrip()

"""Users, permissions, virtual hosts, limits, policies and parameters: added, changed, deleted."""

from tests.parity.http.play import Play

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


def play(play: Play) -> None:
    """Change them, rightly and wrongly."""
    _users(play)
    _vhosts(play)
    _permissions(play)
    _limits(play)
    _policies(play)
    _parameters(play)


def _users(play: Play) -> None:
    play.ask("PUT", "/users/bob", {"password": "secret", "tags": "monitoring"})
    play.ask("PUT", "/users/bob", {"password": "secret", "tags": "monitoring,management"})
    play.ask("GET", "/users/bob")
    play.ask("PUT", "/users/bob", {"tags": ["management", "other"], "password": "x"})
    play.ask("PUT", "/users/bob", {"password_hash": "", "tags": ""})
    play.ask("PUT", "/users/bob", {"tags": ""})
    play.ask(
        "PUT",
        "/users/bob",
        {"password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "tags": ""},
    )
    play.ask("PUT", "/users/bob", {"password_hash": "no base64!", "tags": ""})
    play.ask("PUT", "/users/bob", {"password": "secret"})
    play.ask("PUT", "/users/bob", {"password": "", "tags": ""})
    play.ask("PUT", "/users/bob", {"password": "a", "password_hash": "b", "tags": ""})
    play.ask("PUT", "/users/bob", {"password": 1, "tags": ""})
    play.ask("PUT", "/users/bob", {"password_hash": "", "tags": "", "hashing_algorithm": "none"})
    play.ask("PUT", "/users/bob", raw="{")
    play.ask("PUT", "/users/carol", {"password": "p", "tags": "administrator"})
    play.ask("GET", "/whoami", user="alice")
    play.ask("POST", "/users/bulk-delete", {"users": ["carol", "none"]})
    play.ask("POST", "/users/bulk-delete", {"users": ["carol"]})
    play.ask("POST", "/users/bulk-delete", {})
    play.ask("POST", "/users/bulk-delete", {"users": []})
    play.ask("DELETE", "/users/bob")
    play.ask("DELETE", "/users/bob")


def _vhosts(play: Play) -> None:
    play.ask("PUT", "/vhosts/new")
    play.ask("PUT", "/vhosts/new")
    play.ask("PUT", "/vhosts/new", {})
    play.ask("PUT", "/vhosts/new", {"description": "text", "tags": "a,b"})
    play.ask("GET", "/vhosts/new")
    play.ask("PUT", "/vhosts/new", {"description": "text", "tags": ["a"], "tracing": True})
    play.ask("GET", "/vhosts/new")
    play.ask("PUT", "/vhosts/new", {"tracing": False})
    play.ask("PUT", "/vhosts/new", {"description": 1})
    play.ask("PUT", "/vhosts/new", raw="{")
    play.ask("GET", "/vhosts/new/permissions")
    play.ask("DELETE", "/vhosts/new")
    play.ask("DELETE", "/vhosts/new")
    play.ask("PUT", "/vhosts/a%2Fb", {})
    play.ask("GET", "/vhosts/a%2Fb?columns=name")
    play.ask("DELETE", "/vhosts/a%2Fb")


def _permissions(play: Play) -> None:
    play.ask("PUT", "/permissions/second/alice", EVERYTHING)
    play.ask("PUT", "/permissions/second/alice", EVERYTHING)
    play.ask("GET", "/permissions/second/alice")
    play.ask("PUT", "/permissions/second/alice", {"configure": ".*"})
    play.ask("PUT", "/permissions/second/alice", {**EVERYTHING, "read": "["})
    play.ask("PUT", "/permissions/second/alice", {**EVERYTHING, "read": 1})
    play.ask("PUT", "/permissions/second/none", EVERYTHING)
    play.ask("PUT", "/permissions/none/alice", EVERYTHING)
    play.ask("PUT", "/permissions/second/alice", raw="{")
    play.ask("DELETE", "/permissions/second/alice")
    play.ask("DELETE", "/permissions/second/alice")
    topic = {"exchange": "amq.topic", "write": ".*", "read": ".*"}
    play.ask("PUT", "/topic-permissions/second/alice", topic)
    play.ask("PUT", "/topic-permissions/second/alice", topic)
    play.ask("GET", "/topic-permissions/second/alice")
    play.ask("PUT", "/topic-permissions/second/alice", {"write": ".*", "read": ".*"})
    play.ask("PUT", "/topic-permissions/second/alice", {**topic, "write": "["})
    play.ask("PUT", "/topic-permissions/second/none", topic)
    play.ask("PUT", "/topic-permissions/none/alice", topic)
    play.ask("DELETE", "/topic-permissions/second/alice")
    play.ask("DELETE", "/topic-permissions/second/alice")


def _limits(play: Play) -> None:
    for path, names in (
        ("/vhost-limits/%2F", ("max-connections", "max-queues", "max-none")),
        ("/user-limits/alice", ("max-connections", "max-channels", "max-none")),
    ):
        for name in names:
            play.ask("PUT", f"{path}/{name}", {"value": 1000})
        play.ask("PUT", f"{path}/{names[0]}", {"value": -1})
        play.ask("PUT", f"{path}/{names[0]}", {"value": -2})
        play.ask("PUT", f"{path}/{names[0]}", {"value": "10"})
        play.ask("PUT", f"{path}/{names[0]}", {"value": "x"})
        play.ask("PUT", f"{path}/{names[0]}", {})
        play.ask("GET", path)
        for name in names[:2]:
            play.ask("DELETE", f"{path}/{name}")
            play.ask("DELETE", f"{path}/{name}")
    play.ask("PUT", "/vhost-limits/none/max-queues", {"value": 1})
    play.ask("PUT", "/user-limits/none/max-channels", {"value": 1})


def _policies(play: Play) -> None:
    for kind in ("policies", "operator-policies"):
        path = f"/{kind}/%2F/new"
        given = {"pattern": "^new", "definition": {"max-length": 10}, "apply-to": "queues"}
        play.ask("PUT", path, {**given, "priority": 2})
        play.ask("PUT", path, given)
        play.ask("GET", path)
        play.ask("PUT", path, {"pattern": "^new", "definition": {"max-length": 1}})
        play.ask("PUT", path, {**given, "priority": "3"})
        play.ask("PUT", path, {**given, "priority": "high"})
        play.ask("PUT", path, {**given, "apply-to": "none"})
        play.ask("PUT", path, {**given, "pattern": "["})
        play.ask("PUT", path, {**given, "pattern": 1})
        play.ask("PUT", path, {**given, "definition": {}})
        play.ask("PUT", path, {**given, "definition": {"no-such-key": 1}})
        play.ask("PUT", path, {**given, "definition": {"max-length": "x"}})
        play.ask("PUT", path, {**given, "definition": []})
        play.ask("PUT", path, {"pattern": "^new"})
        play.ask("PUT", path, {"definition": {"max-length": 1}})
        play.ask("PUT", path, raw="{")
        play.ask("PUT", f"/{kind}/none/new", given)
        play.ask("DELETE", path)
        play.ask("DELETE", path)


def _parameters(play: Play) -> None:
    path = "/parameters/federation-upstream/%2F/new"
    given = {"value": {"uri": "amqp://127.0.0.1"}}
    play.ask("PUT", path, given)
    play.ask("PUT", path, given)
    play.ask("GET", path)
    play.ask("PUT", path, {})
    play.ask("PUT", path, raw="{")
    play.ask("PUT", "/parameters/federation-upstream/none/new", given)
    play.ask("PUT", "/parameters/none/%2F/new", given)
    play.ask("DELETE", path)
    play.ask("DELETE", path)
    path = "/global-parameters/new"
    play.ask("PUT", path, {"value": [1, "a", {"b": None}]})
    play.ask("PUT", path, {"value": "text"})
    play.ask("PUT", path, {"name": "new", "value": 5})
    play.ask("GET", path)
    play.ask("PUT", path, {})
    play.ask("DELETE", path)
    play.ask("DELETE", path)
    play.ask("PUT", "/cluster-name", {"name": "a name"})
    play.ask("GET", "/cluster-name")
    play.ask("PUT", "/cluster-name", {})
    play.ask("PUT", "/cluster-name", {"name": 1})

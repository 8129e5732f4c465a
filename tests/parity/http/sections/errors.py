"""What is not there, not allowed, or no request."""

from tests.parity.http.play import Play

MISSING = """
/nothing
/queues/none
/queues/none/none
/queues/%2F/none
/queues/%2F/none/bindings
/queues/%2F/none/contents
/exchanges/none
/exchanges/%2F/none
/exchanges/%2F/none/bindings/source
/bindings/none
/bindings/%2F/e/none/q/none
/bindings/%2F/e/events/q/none
/bindings/%2F/e/events/q/work/none
/vhosts/none
/vhosts/none/permissions
/vhosts/none/connections
/users/none
/users/none/permissions
/permissions/%2F/none
/permissions/none/guest
/topic-permissions/%2F/none
/user-limits/none
/vhost-limits/none
/parameters/none
/parameters/none/%2F
/parameters/federation-upstream/none
/parameters/federation-upstream/%2F/none
/global-parameters/none
/policies/none
/policies/%2F/none
/operator-policies/%2F/none
/connections/none
/connections/none/channels
/connections/username/none
/channels/none
/consumers/none
/definitions/none
/shovels/none
/aliveness-test/none
"""

DELETIONS = """
/queues/%2F/none
/queues/none/none
/queues/%2F/none/contents
/exchanges/%2F/none
/exchanges/none/none
/bindings/%2F/e/events/q/work/none
/bindings/%2F/e/none/q/none/~
/vhosts/none
/users/none
/permissions/%2F/none
/permissions/none/guest
/topic-permissions/%2F/none
/topic-permissions/none/guest
/user-limits/none/max-connections
/user-limits/alice/none
/vhost-limits/none/max-queues
/vhost-limits/%2F/none
/parameters/federation-upstream/%2F/none
/global-parameters/none
/policies/%2F/none
/operator-policies/%2F/none
/connections/none
/queues
/exchanges/%2F/amq.topic
/exchanges/%2F/amq.default
/overview
/bindings
"""

NO_QUEUE = (
    "",
    "{",
    "[]",
    '"text"',
    '{"durable": "maybe"}',
    '{"durable": "true", "auto_delete": "false"}',
    '{"arguments": []}',
    '{"arguments": 1}',
    '{"auto_delete": null}',
    '{"unknown": 1}',
    '{"arguments": {"x-message-ttl": "long"}}',
    '{"arguments": {"x-max-length": 5}}',
)


def play(play: Play) -> None:
    """Ask wrongly."""
    for path in MISSING.split():
        play.ask("GET", path)
    for path in DELETIONS.split():
        play.ask("DELETE", path)
    for path in ("/overview", "/queues", "/exchanges/%2F/events/publish"):
        play.ask("PUT", path, {})
    play.ask("POST", "/queues/%2F/work", {})
    play.ask("OPTIONS", "/queues/%2F/work")
    for raw in NO_QUEUE:
        play.ask("PUT", "/queues/%2F/wrong", raw=raw)
        play.quietly("DELETE", "/queues/%2F/wrong")
    _logins(play)
    _conflicts(play)


def _logins(play: Play) -> None:
    for path in ("/overview", "/queues/%2F", "/whoami", "/nothing", "/queues/none/none"):
        play.ask("GET", path, user=None)
    # No more: who fails often is answered late.
    for user in ("lonely", "nobody"):
        play.ask("GET", "/overview", user=user)
    for header in ("Basic", "Basic x", "Basic bm9jb2xvbg==", "Bearer x", "Digest x"):
        play.ask(
            "GET",
            "/overview",
            headers={"Authorization": header},
            user=None,
            shown=f"/overview ({header})",
        )


def _conflicts(play: Play) -> None:
    play.ask("PUT", "/queues/%2F/work", {"durable": False})
    play.ask("PUT", "/queues/%2F/work", {"durable": True, "arguments": {"x-max-length": 1}})
    play.ask("PUT", "/queues/none/q", {})
    play.ask("PUT", "/queues/%2F/amq.reserved", {})
    play.ask("PUT", "/exchanges/%2F/events", {"type": "fanout"})
    play.ask("PUT", "/exchanges/%2F/wrong", {"type": "no-type"})
    play.ask("PUT", "/exchanges/%2F/wrong", {})
    play.ask("PUT", "/exchanges/%2F/amq.reserved", {"type": "fanout"})
    play.ask("PUT", "/exchanges/none/x", {"type": "fanout"})
    play.ask("DELETE", "/queues/%2F/work?if-empty=true")
    play.ask("DELETE", "/queues/%2F/work?if-unused=true")
    play.ask("DELETE", "/queues/%2F/mine")
    play.ask("DELETE", "/queues/%2F/mine/contents")
    play.ask("DELETE", "/exchanges/%2F/events?if-unused=true")
    play.ask("POST", "/bindings/%2F/e/events/q/none", {"routing_key": "k"})
    play.ask("POST", "/bindings/%2F/e/none/q/work", {"routing_key": "k"})
    play.ask("POST", "/bindings/%2F/e/events/e/none", {"routing_key": "k"})
    play.ask("POST", "/bindings/none/e/events/q/work", {"routing_key": "k"})
    play.ask("POST", "/bindings/%2F/e/events/q/work", {"routing_key": 1})
    play.ask("POST", "/bindings/%2F/e/events/q/work", {"arguments": []})
    play.ask("POST", "/bindings/%2F/e/events/q/work", raw="{")
    play.ask("POST", "/bindings/%2F/e/amq.default/q/work", {"routing_key": "k"})
    play.ask("POST", "/queues/%2F/work/actions", {"action": "none"})
    play.ask("POST", "/queues/%2F/work/actions", {})
    play.ask("POST", "/queues/%2F/work/actions", {"action": "sync"})

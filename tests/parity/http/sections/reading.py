"""Every resource that can be read."""

from urllib.parse import quote

from tests.parity.http.play import Play

RESOURCES = """
/overview
/cluster-name
/extensions
/feature-flags
/whoami
/vhosts
/vhosts/%2F
/vhosts/second
/vhosts/%2F/permissions
/vhosts/%2F/topic-permissions
/vhosts/%2F/connections
/vhosts/%2F/channels
/users
/users/
/users/alice
/users/guest
/users/without-permissions
/users/alice/permissions
/users/alice/topic-permissions
/permissions
/permissions/%2F/alice
/topic-permissions
/topic-permissions/%2F/alice
/user-limits
/user-limits/alice
/user-limits/guest
/vhost-limits
/vhost-limits/second
/vhost-limits/%2F
/parameters
/parameters/federation-upstream
/parameters/federation-upstream/%2F
/parameters/federation-upstream/%2F/up
/global-parameters
/global-parameters/colour
/policies
/policies/%2F
/policies/%2F/ttl
/operator-policies
/operator-policies/%2F
/operator-policies/%2F/limit
/exchanges
/exchanges/%2F
/exchanges/%2F/
/exchanges/%2F/events
/exchanges/%2F/events/
/exchanges/%2F/amq.topic
/exchanges/%2F/amq.default
/exchanges/%2F/events/bindings/source
/exchanges/%2F/dead/bindings/destination
/exchanges/%2F/amq.default/bindings/source
/queues
/queues/%2F
/queues/second
/queues/%2F/work
/queues/%2F/spare
/queues/%2F/single
/queues/%2F/mine
/queues/%2F/a%20b%2Fc
/queues/%2F/work/bindings
/queues/%2F/work?columns=name,messages,message_stats.publish,nothing
/bindings
/bindings/%2F
/bindings/second
/bindings/%2F/e/events/q/work
/bindings/%2F/e/events/e/dead
/bindings/%2F/e/events/e/dead/~
/bindings/%2F/e/events/q/spare/b.%23
/bindings/%2F/e/events/q/spare/b.%2523
/bindings/%2F/e//q/work
/bindings/%2F/e/amq.default/q/work
/connections
/connections/username/guest
/channels
/consumers
/consumers/%2F
/consumers/second
/definitions
/definitions/%2F
/shovels
/shovels/%2F
/federation-links
/federation-links/%2F
/aliveness-test/%2F
/healthchecks/node
/health/checks/alarms
/health/checks/local-alarms
/health/checks/virtual-hosts
/health/checks/node-is-mirror-sync-critical
/health/checks/node-is-quorum-critical
/health/checks/port-listener/1
/health/checks/protocol-listener/amqp091
/health/checks/protocol-listener/mqtt
/health/checks/certificate-expiration/1/weeks
"""


def play(play: Play) -> None:
    """Read them, and those that have a name of their own at each start."""
    for path in RESOURCES.split():
        play.ask("GET", path)
    play.ask("HEAD", "/queues/%2F/work")
    rates = "lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5"
    play.ask("GET", f"/queues/%2F/work?{rates}")
    play.ask("GET", f"/overview?{rates}")
    play.ask(
        "GET",
        f"/health/checks/port-listener/{play.amqp_port}",
        shown="/health/checks/port-listener/{amqp}",
    )
    connections = play.quietly("GET", "/connections").value
    for user_name in ("consumers", "publishers"):
        name = next(each["name"] for each in connections if each["user_provided_name"] == user_name)
        path, shown = f"/connections/{quote(name, safe='')}", f"/connections/{{{user_name}}}"
        play.ask("GET", path, shown=shown)
        play.ask("GET", f"{path}/channels", shown=f"{shown}/channels")
        channel = quote(f"{name} (1)", safe="")
        play.ask("GET", f"/channels/{channel}", shown=f"/channels/{{{user_name}}}")
    play.ask("GET", "/queues/%2F/work/bindings")
    key = play.quietly("GET", "/bindings/%2F/e/events/q/work").value[0]["properties_key"]
    path = f"/bindings/%2F/e/events/q/work/{quote(key, safe='')}"
    play.ask("GET", path, shown="/bindings/%2F/e/events/q/work/{key}")

"""The HTTP API of brokers that share a database: each shows the whole cluster."""

import os
import subprocess
import sys
import time
from typing import Any

import msgspec
import pika
import pytest

from leveret.control_address import SOCKET_NAME
from leveret.management.nouns.cluster import MEMBER, STORE
from tests.cluster.world import World
from tests.parity.http.client import Api
from tests.support.brokers import HOST, wait_until
from tests.support.cluster import BrokerCluster, Node

COMMAND_S = 120.0
VHOSTS = ("a", "b", "c", "d")
PATTERNS = {"configure": ".*", "write": ".*", "read": ".*"}


@pytest.fixture
def cluster(world: World) -> BrokerCluster:
    """Three brokers, with some virtual hosts in which guest may do everything."""
    for node in nodes(world.brokers):
        world.brokers.await_share(node)
    for vhost in VHOSTS:
        assert api(world.brokers["one"]).ask("PUT", f"/api/vhosts/{vhost}").status in (201, 204)
    return world.brokers


def api(node: Node, user: str = "guest") -> Api:
    """The HTTP API of a broker, as a user sees it."""
    return Api(HOST, node.running.management_port, user, user)


def get(node: Node, path: str, user: str = "guest") -> Any:
    """What a broker answers, with 200, and nobody left out."""
    answer = api(node, user).ask("GET", f"/api/{path}")
    assert (answer.status, answer.headers.get("x-leveret-left-out")) == (200, None), answer
    return answer.value


def change(node: Node, method: str, path: str, body: object = None) -> int:
    """The status of a change."""
    answer = api(node).ask(method, f"/api/{path}", body)
    print(f"{node.name}: {method} {path}: {answer.status} {answer.body[:200]!r}")
    return answer.status


def run_command(node: Node, *arguments: str) -> str:
    """What a command prints that asks a broker over its control socket."""
    ended = subprocess.run(
        [sys.executable, "-m", "leveret", *arguments],
        env={**os.environ, "LEVERET_CONTROL_SOCKET": str(node.local_dir / SOCKET_NAME)},
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert ended.returncode == 0, ended
    return ended.stdout


def nodes(cluster: BrokerCluster) -> list[Node]:
    return list(cluster.nodes.values())


def test_a_virtual_host_made_at_one_broker_is_used_at_the_other_at_once(
    cluster: BrokerCluster,
) -> None:
    one, two = cluster["one"], cluster["two"]
    for number in range(5):
        vhost = f"made-{number}"
        assert change(one, "PUT", f"vhosts/{vhost}") == 201
        assert change(two, "PUT", f"queues/{vhost}/q", {}) == 201
        assert change(one, "PUT", f"queues/{vhost}/r", {}) == 201
        assert {each["name"] for each in get(two, f"queues/{vhost}")} == {"q", "r"}
        assert change(two, "DELETE", f"vhosts/{vhost}") == 204


def test_every_broker_shows_the_same_objects_with_their_owners(cluster: BrokerCluster) -> None:
    for vhost in VHOSTS:
        for number in range(3):
            assert change(cluster["two"], "PUT", f"queues/{vhost}/q{number}", {}) == 201
    owners = {vhost: cluster.await_owner(vhost).name for vhost in VHOSTS}
    assert len(set(owners.values())) > 1
    for node in nodes(cluster):
        rows = get(node, "queues?sort=vhost&filter=name~q")
        found = [(each["vhost"], each["node"]) for each in rows if each["vhost"] in VHOSTS]
        assert found == [(vhost, owners[vhost]) for vhost in VHOSTS for _ in range(3)]
        page = get(node, "queues?page=2&page_size=5&sort=vhost&columns=name,vhost")
        assert len(page["items"]) == 5
        assert page["total_count"] == get(node, "overview")["object_totals"]["queues"]
        states = {each["name"]: each["cluster_state"] for each in get(node, "vhosts")}
        assert {vhost: states[vhost] for vhost in VHOSTS} == {
            vhost: {owner: "running"} for vhost, owner in owners.items()
        }
        assert {each["name"] for each in get(node, "nodes")} == set(cluster.nodes)
        assert get(node, "nodes/two")["name"] == "two"


def test_connections_are_shown_and_closed_by_any_broker(cluster: BrokerCluster) -> None:
    vhost = VHOSTS[0]
    owner = cluster.await_owner(vhost)
    other = next(each for each in nodes(cluster) if each is not owner)
    # Through the broker that does not serve it.
    parameters = pika.URLParameters(f"amqp://guest:guest@{HOST}:{other.port}/{vhost}")
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.queue_declare("consumed")
    channel.basic_consume("consumed", print)
    for node in nodes(cluster):
        (found,) = (each for each in get(node, "connections") if each["vhost"] == vhost)
        assert (found["node"], found["peer_host"]) == (owner.name, HOST)
        name = found["name"].replace(" ", "%20").replace(">", "%3E")
        assert get(node, f"connections/{name}")["user"] == "guest"
        assert len(get(node, f"connections/{name}/channels")) == 1
        assert [each["node"] for each in get(node, "channels")] == [owner.name]
        assert [each["queue"]["name"] for each in get(node, "consumers")] == ["consumed"]
        assert get(node, "overview")["object_totals"]["consumers"] == 1
    assert get(other, "cluster")["passed_on"]["open"] == 1
    assert change(other, "DELETE", f"connections/{name}") == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
        channel.start_consuming()


def test_messages_are_published_and_taken_through_any_broker(cluster: BrokerCluster) -> None:
    vhost = VHOSTS[1]
    assert change(cluster["one"], "PUT", f"queues/{vhost}/messages", {}) == 201
    message = {
        "properties": {"delivery_mode": 2},
        "routing_key": "messages",
        "payload": "hello",
        "payload_encoding": "string",
    }
    for node in nodes(cluster):
        published = api(node).ask("POST", f"/api/exchanges/{vhost}/amq.default/publish", message)
        assert published.value == {"routed": True}
    wanted = {"count": 5, "ackmode": "ack_requeue_false", "encoding": "auto"}
    for node in nodes(cluster):
        peeked = api(node).ask("POST", f"/api/queues/{vhost}/messages/peek", {"count": 5})
        assert peeked.status == 200, peeked
    got = api(cluster["two"]).ask("POST", f"/api/queues/{vhost}/messages/get", wanted)
    assert [each["payload"] for each in got.value] == ["hello"] * 3


def test_a_user_sees_at_every_broker_what_is_theirs(cluster: BrokerCluster) -> None:
    one, two = cluster["one"], cluster["two"]
    assert change(one, "PUT", "users/ann", {"password": "ann", "tags": "management"}) == 201
    assert change(one, "PUT", f"permissions/{VHOSTS[2]}/ann", PATTERNS) == 201
    for vhost in VHOSTS:
        change(one, "PUT", f"queues/{vhost}/of-{vhost}", {})
    for node in (one, two):
        wait_until(
            lambda node=node: api(node, "ann").ask("GET", "/api/queues").status == 200,  # type: ignore[misc]
            what="ann at every broker",
        )
        assert {each["vhost"] for each in get(node, "queues", "ann")} == {VHOSTS[2]}
        assert api(node, "ann").ask("GET", f"/api/queues/{VHOSTS[0]}").status == 401
        assert api(node, "ann").ask("GET", "/api/cluster").status == 401


def test_a_session_of_the_page_is_one_at_every_broker(cluster: BrokerCluster) -> None:
    apis = [Api(HOST, node.running.management_port, user=None) for node in nodes(cluster)]
    page = {"X-Requested-With": "leveret"}
    who = {"username": "guest", "password": "guest"}
    begun = apis[0].ask("POST", "/api/session", who, headers=page)
    cookie = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    for each in apis:
        assert each.ask("GET", "/api/overview", headers=cookie).status == 200
    assert apis[1].ask("DELETE", "/api/session", headers=cookie | page).status == 204
    for each in apis:
        wait_until(
            lambda each=each: each.ask("GET", "/api/whoami", headers=cookie).status == 401,  # type: ignore[misc]
            what="the end of the session at every broker",
        )
    assert b"session" not in api(cluster["one"]).ask("GET", "/api/definitions").body


def test_the_log_is_that_of_all_brokers(cluster: BrokerCluster) -> None:
    logged = get(cluster["two"], "logs?lines=100000")
    assert {each["logged_by"] for each in logged} == set(cluster.nodes)
    times = [each["timestamp"] for each in logged]
    assert times == sorted(times)


def test_definitions_go_out_and_come_in_whole(cluster: BrokerCluster) -> None:
    one, two = cluster["one"], cluster["two"]
    for vhost in VHOSTS:
        assert change(one, "PUT", f"queues/{vhost}/exported", {}) in (201, 204)
    exported = get(two, "definitions")
    assert _sorted(exported) == _sorted(get(one, "definitions"))
    found = {(each["vhost"], each["name"]) for each in exported["queues"]}
    assert {(vhost, "exported") for vhost in VHOSTS} <= found
    for vhost in VHOSTS:
        assert change(one, "DELETE", f"queues/{vhost}/exported") == 204
    assert change(two, "POST", "definitions", exported) == 204
    again = get(one, "definitions")
    assert {(each["vhost"], each["name"]) for each in again["queues"]} == found


def _sorted(exported: dict[str, Any]) -> dict[str, Any]:
    """Definitions whose entries are in the same order at every broker."""
    return {
        name: sorted(map(str, entries)) if isinstance(entries, list) else entries
        for name, entries in exported.items()
    }


def test_stores_move_and_nodes_drain_by_any_broker(cluster: BrokerCluster) -> None:
    one, two = cluster["one"], cluster["two"]
    vhost = VHOSTS[3]
    assert change(one, "PUT", f"queues/{vhost}/moved", {}) in (201, 204)
    store, owner = cluster.store_of(vhost), cluster.await_owner(vhost)
    other = next(each for each in nodes(cluster) if each is not owner)
    for target in (other, owner):
        ended = run_command(one, "cluster", "move", str(store), target.name)
        assert ended == ""
        wait_until(lambda: cluster.owner_of(vhost) is target, what="the move")  # noqa: B023
        for node in (one, two):
            assert get(node, f"queues/{vhost}/moved")["node"] == target.name
    assert run_command(two, "cluster", "move", str(store), "--undo") == ""
    assert run_command(one, "cluster", "drain", "two") == ""
    wait_until(lambda: _shares(one)["two"] == 0, what="a drained node")
    # What is drained still answers for all, and passes on.
    assert "two" not in {each["node"] for each in get(two, "queues")}
    assert "two true true 0" in _words(run_command(one, "cluster", "status"))
    assert run_command(one, "cluster", "drain", "two", "--undo") == ""
    wait_until(lambda: _shares(two)["two"] > 0, what="even shares")


def _shares(node: Node) -> dict[str, int]:
    return {each["name"]: each["stores_count"] for each in get(node, "cluster/members")}


def _words(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_a_quorum_queue_is_what_its_name_says(cluster: BrokerCluster) -> None:
    owner = cluster.await_owner(VHOSTS[0])
    parameters = pika.URLParameters(f"amqp://guest:guest@{HOST}:{owner.port}/{VHOSTS[0]}")
    with pika.BlockingConnection(parameters) as connection:
        arguments = {"x-queue-type": "quorum"}
        connection.channel().queue_declare("quorum", durable=True, arguments=arguments)
    found = get(cluster["one"], f"queues/{VHOSTS[0]}/quorum")
    shown = {name: found[name] for name in ("type", "copies", "leader")}
    assert shown == {"type": "quorum", "copies": 2, "leader": owner.name}
    assert "quorum queue declared" not in owner.running.log_text()


def test_the_cluster_has_its_schema(cluster: BrokerCluster) -> None:
    for columns, path in ((MEMBER, "members"), (STORE, "stores")):
        body = api(cluster["one"]).ask("GET", f"/api/cluster/{path}").body
        assert msgspec.json.decode(body, type=list[columns.schema])  # type: ignore[name-defined]
    found = get(cluster["one"], "cluster")
    assert found["database"]["replicas"] >= 1
    standbys = found["database"]["standbys"]
    assert [each["state"] for each in standbys] == ["streaming", "streaming"]
    assert all(each["behind_bytes"] is not None for each in standbys)
    assert found["database"]["away"] == ""


def test_a_broker_that_stands_still_is_left_out_and_named(cluster: BrokerCluster) -> None:
    one, two = cluster["one"], cluster["two"]
    two.pause()
    try:
        began = time.monotonic()
        answer = api(one).ask("GET", "/api/queues?page=1")
        assert answer.status == 200
        assert "two" in answer.headers["x-leveret-left-out"]
        # It is left out at once until it answers or is taken for dead.
        status = api(one).ask("GET", "/api/overview").value
        assert any("two" in each for each in status["warnings"]), status["warnings"]
        print(f"a list took {time.monotonic() - began:.2f} s with a broker that stands still")
        wait_until(lambda: _is_down(one, "two"), what="a node that is down")
        rows = api(one).ask("GET", "/api/nodes").value
        running = {each["name"]: each["running"] for each in rows}
        assert running == {"one": True, "two": False, "three": True}
        assert run_command(one, "rabbitmqctl", "-q", "await_online_nodes", "2") == ""
    finally:
        two.resume()


def _is_down(node: Node, name: str) -> bool:
    members = {each["name"]: each["running"] for each in get(node, "cluster/members")}
    return not members[name]

"""Users, virtual hosts and the like of a cluster, as operators change them at its brokers."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest

from leveret.errors import ReplyCode
from tests.cluster.world import STORES, World
from tests.parity.http.client import Answer, Api
from tests.support.brokers import HOST, STOP_DEADLINE_S, wait_until
from tests.support.cluster import BrokerCluster, Node
from tests.support.postgres import programs

FILE: dict[str, Any] = {
    "vhosts": [{"name": name} for name in ("a", "b", "c", "d")],
    "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
    "permissions": [
        {"user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}
        for name in ("a", "b", "c", "d")
    ],
    "queues": [{"vhost": name, "name": f"q-{name}"} for name in ("a", "b", "c", "d")],
}


def ask(node: Node, method: str, path: str, body: object = None) -> Answer:
    return Api(HOST, node.running.management_port).ask(method, f"/api/{path}", body)


def queues(node: Node, vhost: str) -> list[str] | None:
    """The queues of a virtual host; None while nobody serves it."""
    answer = ask(node, "GET", f"queues/{vhost}")
    return [each["name"] for each in answer.value] if answer.status == 200 else None


def owner_of_store(cluster: BrokerCluster, store: int) -> Node:
    def owner() -> Node | None:
        view = cluster.look()
        lease = None if view is None else view.leases[store]
        is_served = lease is not None and lease.is_open and lease.left_ms > 0
        return cluster.nodes[lease.owner] if lease is not None and is_served else None

    wait_until(lambda: owner() is not None, what=f"an owner of store {store}")
    return owner() or owner_of_store(cluster, store)


def test_a_virtual_host_is_pinned_when_it_is_added(world: World) -> None:
    one, two = world.brokers["one"], world.brokers["two"]
    store = (world.brokers.store_of("pinned") + 1) % STORES
    assert ask(one, "PUT", "vhosts/pinned", {"store": store}).status == 201
    wait_until(lambda: ask(two, "GET", "vhosts/pinned").status == 200, what="it is seen")
    assert ask(two, "GET", "vhosts/pinned").value["store"] == store
    assert ask(two, "PUT", "vhosts/pinned", {"store": store}).status == 204
    again = ask(two, "PUT", "vhosts/pinned", {"store": (store + 1) % STORES})
    assert (again.status, "cannot change its store" in again.value["reason"]) == (400, True)
    beyond = ask(one, "PUT", "vhosts/beyond", {"store": STORES})
    assert (beyond.status, "there is no store" in beyond.value["reason"]) == (400, True)
    exported = ask(two, "GET", "definitions").value["vhosts"]
    assert [each["store"] for each in exported if each["name"] == "pinned"] == [store]


def test_a_user_that_is_added_at_one_broker_logs_in_at_the_others(world: World) -> None:
    one, two = world.brokers["one"], world.brokers["two"]
    body = {"password": "pw", "tags": "management"}
    assert ask(one, "PUT", "users/ann", body).status in (201, 204)
    ann = Api(HOST, two.running.management_port, "ann", "pw")
    wait_until(lambda: ann.ask("GET", "/api/whoami").status == 200, what="ann logs in")
    assert ask(two, "DELETE", "users/ann").status == 204
    ann = Api(HOST, one.running.management_port, "ann", "pw")
    wait_until(lambda: ann.ask("GET", "/api/whoami").status == 401, what="ann is gone")


NEWCOMERS = 50


def test_what_was_made_at_one_broker_is_there_at_all_when_the_answer_comes(world: World) -> None:
    """A user, a virtual host and a permission are used at the two others at once, and nobody is
    refused."""
    one, *others = world.brokers.nodes.values()
    paths: list[str] = []
    for number in range(NEWCOMERS):
        name = f"newcomer-{number}"
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        assert ask(one, "PUT", f"vhosts/{name}").status == 201
        for node in others:
            visit(node, name, "guest", "guest")
        user = {"password": "pw", "tags": "management"}
        assert ask(one, "PUT", f"users/{name}", user).status == 201
        assert ask(one, "PUT", f"permissions/{name}/{name}", everything).status == 201
        for node in others:
            visit(node, name, name, "pw")
        paths += (f"users/{name}", f"vhosts/{name}")
        for node in others:
            assert ask(node, "GET", f"users/{name}").status == 200
            api = Api(HOST, node.running.management_port, name, "pw")
            assert api.ask("GET", f"/api/queues/{name}").status == 200
    for path in paths:
        assert ask(one, "DELETE", path).status == 204


def visit(node: Node, vhost: str, user: str, password: str) -> None:
    """Open a virtual host, and go. Who is closed since it moves to another broker tries again; who
    is refused does not."""
    while True:
        try:
            connect(node, vhost, user, password).close()
        except pika.exceptions.ConnectionWrongStateError:
            continue
        except pika.exceptions.ConnectionClosedByBroker as error:
            if error.reply_code != ReplyCode.CONNECTION_FORCED:
                raise
            continue
        return


def connect(node: Node, vhost: str, user: str, password: str) -> pika.BlockingConnection:
    parameters = pika.ConnectionParameters(
        HOST, node.port, vhost, pika.PlainCredentials(user, password)
    )
    return pika.BlockingConnection(parameters)


def test_what_was_taken_away_at_one_broker_is_of_no_use_at_the_others(world: World) -> None:
    world.brokers.await_even()
    one, *others = world.brokers.nodes.values()
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    assert ask(one, "PUT", "users/leaver", {"password": "pw", "tags": ""}).status == 201
    assert ask(one, "PUT", "permissions/%2f/leaver", everything).status == 201
    connections = [connect(node, "/", "leaver", "pw") for node in others]
    assert ask(one, "DELETE", "permissions/%2f/leaver").status == 204
    for node in others:

        def is_refused(node: Node = node) -> bool:
            try:
                connect(node, "/", "leaver", "pw").close()
            except (pika.exceptions.ConnectionClosed, pika.exceptions.ProbableAccessDeniedError):
                return True
            return False

        wait_until(is_refused, what=f"{node.name} refuses the virtual host")
    for connection in connections:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            connection.channel().queue_declare("leavers")
    assert ask(one, "DELETE", "users/leaver").status == 204
    for connection in connections:
        with pytest.raises(pika.exceptions.ConnectionClosed, match="user 'leaver' is deleted"):
            connection.sleep(STOP_DEADLINE_S)


def test_changes_one_after_the_other_are_made_whichever_brokers_are_asked(world: World) -> None:
    one, two = world.brokers["one"], world.brokers["two"]
    for path, body in (
        ("vhosts/again", None),
        ("users/again", {"password": "secret", "tags": ""}),
        ("policies/%2f/again", {"pattern": "^again$", "definition": {"max-length": 1}}),
    ):
        for _ in range(10):
            assert ask(one, "PUT", path, body).status == 201
            assert ask(two, "DELETE", path).status == 204


def test_the_contents_of_a_virtual_host_that_is_deleted_without_its_owner_are_gone(
    world: World,
) -> None:
    cluster = world.brokers
    world.brokers.await_served()
    owner = owner_of_store(cluster, 1)
    other = world.others(owner)[0]
    assert ask(other, "PUT", "vhosts/gone", {"store": 1}).status == 201
    wait_until(lambda: ask(other, "PUT", "queues/gone/q", {}).status in (201, 204), what="q")
    owner.kill()
    assert ask(other, "DELETE", "vhosts/gone").status == 204
    assert ask(other, "PUT", "vhosts/gone", {"store": 1}).status == 201
    wait_until(lambda: queues(other, "gone") is not None, what="it is served again")
    assert queues(other, "gone") == []
    assert ask(other, "DELETE", "vhosts/gone").status == 204


def test_a_change_is_refused_at_a_broker_that_does_not_reach_the_database(world: World) -> None:
    one, two = world.brokers["one"], world.brokers["two"]
    network = world.networks["one"]
    network.close()
    try:
        wait_until(
            lambda: ask(one, "PUT", "users/bob", {"password": "pw", "tags": ""}).status == 503,
            what="a change is refused",
        )
        refused = ask(one, "PUT", "users/bob", {"password": "pw", "tags": ""})
        assert refused.status == 503
        assert refused.value["reason"]
        assert ask(two, "PUT", "users/eve", {"password": "pw", "tags": ""}).status in (201, 204)
    finally:
        network.open()
    wait_until(lambda: ask(one, "GET", "users/eve").status == 200, what="it follows again")
    wait_until(
        lambda: ask(one, "PUT", "users/bob", {"password": "pw", "tags": ""}).status in (201, 204),
        what="changes are made again",
    )
    wait_until(lambda: ask(two, "GET", "users/bob").status == 200, what="they are seen")


def test_a_definitions_file_is_imported_once_with_the_queues_of_all(tmp_path: Path) -> None:
    if programs() is None:
        pytest.skip("PostgreSQL 15 or newer is not installed: apt-get install postgresql")
    path = tmp_path / "definitions.json"
    path.write_text(json.dumps(FILE))
    with World(("one", "two"), LEVERET_DEFINITIONS_FILE=str(path)) as world:
        one = world.brokers["one"]

        def is_complete(vhost: str) -> bool:
            return queues(one, vhost) == [f"q-{vhost}"]

        for name in ("a", "b", "c", "d"):
            wait_until(partial(is_complete, name), what=f"the queue of {name}")
        assert ask(one, "DELETE", "queues/a/q-a").status == 204
        one.stop()
        one.start()
        wait_until(lambda: queues(one, "a") is not None, what="a is served")
        assert queues(one, "a") == []

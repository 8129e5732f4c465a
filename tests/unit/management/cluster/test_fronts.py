"""Who answers a request in a cluster: the broker that serves the virtual host, or all of them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from leveret.engine.metadata.entities import Permission, User, VirtualHostEntity
from leveret.logging import RECENT
from leveret.management.application import ROUTES
from leveret.management.cluster.marks import MISDIRECTED
from leveret.management.cluster.merged_list import LEFT_OUT
from leveret.management.cluster.scopes import Scope, scope_of
from leveret.management.http import Resource
from tests.unit.management.cluster.brokers import Cluster, request_of


def run(test: Callable[[Cluster], Awaitable[None]], **vhosts: tuple[str, ...]) -> None:
    """Run a test with brokers that serve these virtual hosts."""

    async def begin() -> None:
        await test(Cluster(**(vhosts or {"a": ("red",), "b": ("blue",), "c": ()})))

    asyncio.run(begin())


def test_what_is_in_a_virtual_host_is_asked_of_the_broker_that_serves_it() -> None:
    async def test(cluster: Cluster) -> None:
        for node in cluster.brokers.values():
            name = f"of-{node.name}"
            status, _, _ = await node.ask("PUT", f"queues/blue/{name}", body={})
            assert status == 201
            published = {
                "properties": {},
                "routing_key": name,
                "payload": "hello",
                "payload_encoding": "string",
            }
            exchange = "exchanges/blue/amq.default/publish"
            assert (await node.ask("POST", exchange, body=published))[1] == {"routed": True}
            assert (await node.get(f"queues/blue/{name}"))["messages"] == 1
            assert (await node.get(f"queues/blue/{name}"))["node"] == "b"
            got = await node.ask(
                "POST",
                f"queues/blue/{name}/get",
                body={"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"},
            )
            assert [each["payload"] for each in got[1]] == ["hello"]
            status, _, headers = await node.ask(
                "POST", f"bindings/blue/e/amq.topic/q/{name}", body={"routing_key": "k.#"}
            )
            assert (status, headers["location"]) == (201, f"{name}/k.%2523")
            assert (await node.ask("DELETE", f"queues/blue/{name}"))[0] == 204
            assert (await node.ask("GET", f"queues/blue/{name}"))[0] == 404
        assert set(cluster.brokers["b"].broker.vhosts) == {"blue"}

    run(test)


def test_the_broker_that_is_asked_for_somebody_checks_the_rights_again() -> None:
    async def test(cluster: Cluster) -> None:
        ann = User("ann", tags=("management",))
        cluster.put(ann, Permission("ann", "blue", "", "", ".*"))
        status, value, _ = await cluster.brokers["a"].ask("PUT", "queues/blue/q", user="ann")
        assert (status, value["error"]) == (401, "not_authorised")
        # The owner knows already what the other one has not heard of.
        cluster.brokers["b"].broker.metadata.delete(Permission, "ann", "blue")
        assert (await cluster.brokers["a"].ask("GET", "queues/blue", user="ann"))[0] == 401
        # And nothing is asked of others that is refused here.
        asked = len(cluster.asked)
        assert (await cluster.brokers["a"].ask("GET", "queues/red", user="ann"))[0] == 401
        assert len(cluster.asked) == asked

    run(test)


def test_metadata_are_answered_by_the_broker_that_was_asked() -> None:
    async def test(cluster: Cluster) -> None:
        node = cluster.brokers["c"]
        for path in ("policies/blue", "vhosts/blue/permissions", "users", "vhost-limits/blue"):
            await node.get(path)
        assert cluster.asked == []

    run(test)


def test_a_virtual_host_that_nobody_serves_is_down() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.wait_for_no_owner()
        status, value, _ = await cluster.brokers["a"].ask("GET", "queues/gray")
        assert (status, value) == (503, {"error": "vhost_down", "reason": "vhost 'gray' is down"})
        assert (await cluster.brokers["a"].ask("GET", "queues/none"))[0] == 404
        status, value, _ = await cluster.brokers["a"].ask("GET", "health/checks/virtual-hosts")
        assert (status, value["virtual-hosts"]) == (503, ["gray"])

    run(test, a=("red",), down_d=("gray",))


def test_a_request_waits_for_the_broker_that_is_to_serve_its_virtual_host() -> None:
    async def test(cluster: Cluster) -> None:
        blue = cluster.brokers["b"].broker.vhosts.pop("blue")
        asking = asyncio.get_running_loop().create_task(cluster.brokers["a"].get("queues/blue"))
        await cluster.was_asked.wait()
        # Handed over to the one that was asked.
        cluster.brokers["a"].broker.vhosts["blue"] = blue
        assert await asking == []

    run(test)


def test_a_change_whose_owner_has_changed_is_made_by_the_next_one() -> None:
    async def test(cluster: Cluster) -> None:
        blue = cluster.brokers["b"].broker.vhosts.pop("blue")
        declaring = asyncio.get_running_loop().create_task(
            cluster.brokers["a"].ask("PUT", "queues/blue/q", body={"durable": False})
        )
        await cluster.was_asked.wait()
        cluster.brokers["a"].broker.vhosts["blue"] = blue
        assert (await declaring)[0] == 201
        assert not blue.queues["q"].durable

    run(test)


def test_a_broker_answers_for_no_virtual_host_that_it_does_not_serve() -> None:
    async def test(cluster: Cluster) -> None:
        node = cluster.brokers["a"]
        response = await request_of(
            node.for_peers,
            "GET",
            "/api/queues/blue",
            {"x-leveret-asked-by": '{"name":"x","origin":"","is_owner":true}'},
            b"",
        )
        assert response.status == MISDIRECTED

    run(test)


def test_another_broker_has_to_say_who_asked() -> None:
    async def test(cluster: Cluster) -> None:
        app = cluster.brokers["a"].for_peers
        assert (await request_of(app, "GET", "/api/queues", {}, b"")).status == 401

    run(test)


def test_the_owner_has_the_metadata_first_that_the_broker_has_that_asks() -> None:
    async def test(cluster: Cluster) -> None:
        asking, owner = cluster.brokers["a"], cluster.brokers["b"]
        owner.shared.to_come.append(VirtualHostEntity("green"))
        cluster.owners["green"] = "b"
        asking.broker.metadata.put(VirtualHostEntity("green"))
        asking.broker.vhosts.pop("green", None)
        asking.shared.version = 1
        assert await asking.get("queues/green") == []
        assert "green" in owner.broker.vhosts

    run(test)


def test_a_virtual_host_that_another_broker_has_just_made_is_known() -> None:
    async def test(cluster: Cluster) -> None:
        asking = cluster.brokers["c"]
        ann = User("ann", tags=("management",))
        asking.broker.metadata.put(ann)
        asking.shared.to_come.append(VirtualHostEntity("green"))
        # The rights of who asks are checked when it is known.
        assert (await asking.ask("GET", "queues/green", user="ann"))[0] == 401
        assert await asking.get("queues/green") == []

    run(test)


def test_an_owner_that_does_not_answer_is_named() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.silent.add("b")
        status, value, _ = await cluster.brokers["a"].ask("GET", "queues/blue")
        assert (status, value["error"]) == (503, "node_down")
        assert value["reason"] == "node 'b' does not answer: no answer in 5 s"

    run(test)


def test_what_belongs_to_no_virtual_host_is_looked_for_everywhere() -> None:
    async def test(cluster: Cluster) -> None:
        status, _, _ = await cluster.brokers["a"].ask("GET", "connections/nobody")
        assert status == 404
        assert {each[0] for each in cluster.asked} == {"b", "c"}
        cluster.silent.add("b")
        status, value, _ = await cluster.brokers["a"].ask("GET", "connections/nobody")
        assert (status, value["error"]) == (503, "node_down")

    run(test)


def test_the_connections_of_a_user_are_closed_by_every_broker() -> None:
    async def test(cluster: Cluster) -> None:
        status, _, _ = await cluster.brokers["a"].ask("DELETE", "connections/username/ann")
        assert status == 204
        assert sorted(each[:2] for each in cluster.asked) == [("b", "DELETE"), ("c", "DELETE")]

    run(test)


def test_the_overview_adds_up_what_all_brokers_have() -> None:
    async def test(cluster: Cluster) -> None:
        for vhost, name in (("red", "q1"), ("blue", "q2"), ("blue", "q3")):
            await cluster.brokers["c"].ask("PUT", f"queues/{vhost}/{name}", body={})
        found = await cluster.brokers["c"].get("overview")
        assert found["object_totals"]["queues"] == 3
        assert found["vhosts"] == 2
        assert found["queue_totals"]["messages"] == 0
        assert found["queue_totals"]["messages_details"]["rate"] == 0
        assert found["node"] == "c"
        assert found["warnings"] == []
        found = await cluster.brokers["c"].get("overview?lengths_age=60&lengths_incr=5")
        assert len(found["queue_totals"]["messages_details"]["samples"]) == 13

    run(test)


def test_columns_of_what_is_combined_are_of_all_brokers() -> None:
    async def test(cluster: Cluster) -> None:
        for vhost, name in (("red", "q1"), ("blue", "q2")):
            await cluster.brokers["c"].ask("PUT", f"queues/{vhost}/{name}", body={})
        found = await cluster.brokers["c"].get("overview?columns=object_totals.queues,queue_totals")
        assert found["object_totals"] == {"queues": 2}
        assert found["queue_totals"]["messages"] == 0
        assert found.keys() == {"object_totals", "queue_totals"}
        found = await cluster.brokers["c"].get("definitions?columns=queues.name")
        assert sorted(each["name"] for each in found["queues"]) == ["q1", "q2"]

    run(test)


def test_the_overview_names_nodes_that_are_down_and_virtual_hosts_without_a_broker() -> None:
    async def test(cluster: Cluster) -> None:
        found = await cluster.brokers["a"].get("overview")
        assert found["warnings"] == [
            "node 'down_d' is down, for 0 s",
            "virtual hosts that nobody serves: 'gray'",
        ]

    run(test, a=("red",), down_d=("gray",))


def test_an_alarm_of_any_broker_is_an_alarm_of_the_cluster() -> None:
    async def test(cluster: Cluster) -> None:
        assert await cluster.brokers["a"].get("health/checks/alarms") == {"status": "ok"}
        assert {each[0] for each in cluster.asked} == {"b", "c"}

    run(test)


def test_the_overview_says_which_nodes_have_an_alarm() -> None:
    async def test(cluster: Cluster) -> None:
        a, b = cluster.brokers["a"], cluster.brokers["b"]
        assert ((await a.get("overview"))["alarm"], (await a.get("overview"))["alarms"]) == ("", [])
        b.broker.set_alarm("low on memory")
        found = await a.get("overview")
        assert (found["node"], found["alarm"]) == ("a", "b: low on memory")
        a.broker.set_alarm("low on disk")
        alarms = (await a.get("overview"))["alarms"]
        assert alarms == [
            {"node": "a", "alarm": "low on disk"},
            {"node": "b", "alarm": "low on memory"},
        ]

    run(test, a=("red",), b=("blue",))


def test_a_node_that_is_drained_says_so() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.draining.add("b")
        rows = await cluster.brokers["a"].get("nodes")
        assert {each["name"]: each["being_drained"] for each in rows} == {"a": False, "b": True}

    run(test, a=("red",), b=("blue",))


def test_a_node_is_critical_if_no_other_would_serve() -> None:
    async def test(cluster: Cluster) -> None:
        check = "health/checks/node-is-quorum-critical"
        assert (await cluster.brokers["a"].get(check))["status"] == "ok"
        cluster.draining.add("b")
        status, value, _ = await cluster.brokers["a"].ask("GET", check)
        assert (status, value["status"]) == (503, "failed")

    run(test, a=("red",), b=("blue",), down_d=())


def test_the_log_has_the_lines_of_all_brokers_in_the_order_of_time() -> None:
    async def test(cluster: Cluster) -> None:
        # All brokers of this process have one log.
        RECENT.events.clear()
        for number, second in enumerate((3, 1, 2)):
            timestamp = f"2099-01-01T00:00:0{second}.000000Z"
            RECENT.add({"timestamp": timestamp, "event": "seen", "node": f"n{number}"})
        found = await cluster.brokers["a"].get("logs?lines=6")
        assert [(each["node"], each["logged_by"]) for each in found] == [
            ("n1", "a"),
            ("n1", "b"),
            ("n2", "a"),
            ("n2", "b"),
            ("n0", "a"),
            ("n0", "b"),
        ]
        assert [each["logged_by"] for each in await cluster.brokers["b"].get("logs?lines=1")] == [
            "a"
        ]
        cluster.silent.add("b")
        status, found, headers = await cluster.brokers["a"].ask("GET", "logs?lines=3")
        assert (status, headers[LEFT_OUT.lower()]) == (200, "b")
        assert {each["logged_by"] for each in found} == {"a"}
        RECENT.events.clear()

    run(test, a=("red",), b=("blue",))


def test_an_export_has_the_queues_of_all_brokers() -> None:
    async def test(cluster: Cluster) -> None:
        for vhost, name in (("red", "q1"), ("blue", "q2")):
            await cluster.brokers["c"].ask("PUT", f"queues/{vhost}/{name}", body={})
        found = await cluster.brokers["c"].get("definitions")
        assert {(each["vhost"], each["name"]) for each in found["queues"]} == {
            ("red", "q1"),
            ("blue", "q2"),
        }
        assert [each["name"] for each in found["vhosts"]] == ["red", "blue"]
        of_one = await cluster.brokers["c"].get("definitions/blue")
        assert [each["name"] for each in of_one["queues"]] == ["q2"]
        cluster.silent.add("b")
        assert (await cluster.brokers["c"].ask("GET", "definitions"))[0] == 503

    run(test)


def test_an_import_gives_every_broker_its_part() -> None:
    async def test(cluster: Cluster) -> None:
        file = {
            "users": [{"name": "ann", "password_hash": "", "tags": ""}],
            "queues": [{"name": name, "vhost": name} for name in ("red", "blue")],
            "exchanges": [{"name": "x", "vhost": "blue", "type": "fanout"}],
            "bindings": [
                {"source": "x", "vhost": "blue", "destination": "blue", "routing_key": ""}
            ],
        }
        status, value, _ = await cluster.brokers["a"].ask("POST", "definitions", body=file)
        assert (status, value) == (204, None)
        for vhost in ("red", "blue"):
            found = await cluster.brokers["c"].get(f"queues/{vhost}")
            assert [each["name"] for each in found] == [vhost]
        bindings = await cluster.brokers["c"].get("bindings/blue")
        assert [each["source"] for each in bindings] == ["", "x"]

    run(test)


def test_a_part_that_is_refused_says_why() -> None:
    async def test(cluster: Cluster) -> None:
        file = {"bindings": [{"source": "none", "vhost": "blue", "destination": "q"}]}
        status, value, _ = await cluster.brokers["a"].ask("POST", "definitions", body=file)
        assert status == 400
        assert "there is no exchange 'none' in virtual host 'blue'" in value["reason"]

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/queues", Scope.MERGED),
        ("GET", "/api/queues/{vhost}", Scope.OWNER),
        ("PUT", "/api/queues/{vhost}/{name}", Scope.OWNER),
        ("GET", "/api/vhosts/{vhost}", Scope.OWNER),
        ("PUT", "/api/vhosts/{vhost}", Scope.HERE),
        ("GET", "/api/vhosts/{vhost}/connections", Scope.OWNER),
        ("GET", "/api/vhosts/{vhost}/permissions", Scope.HERE),
        ("PUT", "/api/policies/{vhost}/{name}", Scope.HERE),
        ("GET", "/api/aliveness-test/{vhost}", Scope.OWNER),
        ("GET", "/api/connections/{name}/channels", Scope.ANYWHERE),
        ("DELETE", "/api/connections/username/{user}", Scope.EVERYWHERE),
        ("GET", "/api/nodes/{name}/memory", Scope.NODE),
        ("GET", "/api/overview", Scope.COMBINED),
        ("GET", "/api/users", Scope.HERE),
    ],
)
def test_each_resource_has_its_place(method: str, path: str, scope: Scope) -> None:
    assert scope_of(path, method) is scope
    resource = next(each for each in ROUTES if isinstance(each, Resource) and each.path == path)
    assert method in resource.endpoints

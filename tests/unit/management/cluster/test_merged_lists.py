"""Lists of a cluster: any broker shows the rows of all, in one order and once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.metadata.entities import Permission, User
from leveret.engine.values.arguments import Arguments
from tests.unit.management.cluster.brokers import Cluster, request_of


def declare(cluster: Cluster, vhost: str, *names: str) -> None:
    """Declare queues at the broker that serves a virtual host."""
    node = cluster.brokers[cluster.owners[vhost]]
    for name in names:
        declare_queue(
            node.broker.vhosts[vhost],
            name,
            durable=False,
            auto_delete=False,
            owner=None,
            connection=None,
            arguments=Arguments({}, {}),
        )


def run(test: Callable[[Cluster], Awaitable[None]], **vhosts: tuple[str, ...]) -> None:
    """Run a test with brokers that serve these virtual hosts."""

    async def begin() -> None:
        await test(Cluster(**(vhosts or {"a": ("red",), "b": ("blue",), "c": ()})))

    asyncio.run(begin())


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [each["name"] for each in rows]


def test_a_list_has_the_rows_of_all_brokers_with_the_names_of_their_owners() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "red", "q1", "q3")
        declare(cluster, "blue", "q2")
        for node in cluster.brokers.values():
            found = await node.get("queues?sort=name")
            assert [(each["name"], each["node"]) for each in found] == [
                ("q1", "a"),
                ("q2", "b"),
                ("q3", "a"),
            ]
            assert len(await node.get("exchanges")) == 14
            assert len(await node.get("bindings")) == 3

    run(test)


def test_without_an_order_the_rows_of_the_broker_that_was_asked_come_first() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "red", "z")
        declare(cluster, "blue", "a")
        assert names(await cluster.brokers["a"].get("queues")) == ["z", "a"]
        assert names(await cluster.brokers["b"].get("queues")) == ["a", "z"]

    run(test)


@pytest.mark.parametrize("page", [1, 2, 3, 4])
@pytest.mark.parametrize("reverse", [False, True])
def test_pages_are_cut_out_of_the_order_of_all(page: int, reverse: bool) -> None:
    async def test(cluster: Cluster) -> None:
        expected = []
        for number in range(17):
            vhost = "red" if number % 3 else "blue"
            declare(cluster, vhost, f"q{number:02}")
            expected.append(f"q{number:02}")
        if reverse:
            expected.reverse()
        query = f"queues?sort=name&sort_reverse={str(reverse).lower()}&page={page}&page_size=5"
        for node in cluster.brokers.values():
            found = await node.get(query)
            assert names(found.pop("items")) == expected[5 * page - 5 : 5 * page]
            assert found == {
                "total_count": 17,
                "filtered_count": 17,
                "item_count": 5 if page < 4 else 2,
                "page": page,
                "page_size": 5,
                "page_count": 4,
            }

    run(test)


def test_a_page_far_from_the_beginning_is_found_by_keys() -> None:
    async def test(cluster: Cluster) -> None:
        for number in range(1300):
            declare(cluster, "red" if number % 2 else "blue", f"q{number:04}")
        for node in cluster.brokers.values():
            found = await node.get("queues?page=12&page_size=100&columns=name,vhost")
            assert names(found["items"]) == [f"q{number:04}" for number in range(1100, 1200)]
            assert (found["total_count"], found["page_count"]) == (1300, 13)
            last = await node.get("queues?page=13&page_size=100")
            assert names(last["items"]) == [f"q{number:04}" for number in range(1200, 1300)]

    run(test)


def test_a_page_that_does_not_exist_is_refused_as_by_one_broker() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "red", "q1")
        status, value, _ = await cluster.brokers["b"].ask("GET", "queues?page=2&page_size=1")
        assert (status, value["error"]) == (400, "page_out_of_range")
        assert value["reason"] == "Page: 2 out of range, page_size: 1, len: 1"

    run(test)


def test_filters_hold_at_every_broker() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "red", "mail.1", "other.1")
        declare(cluster, "blue", "mail.2", "other.2")
        found = await cluster.brokers["c"].get("queues?filter=name~mail&page=1")
        assert names(found["items"]) == ["mail.1", "mail.2"]
        assert (found["total_count"], found["filtered_count"]) == (4, 2)

    run(test)


def test_a_filter_that_is_wrong_is_refused() -> None:
    async def test(cluster: Cluster) -> None:
        status, value, _ = await cluster.brokers["a"].ask("GET", "queues?filter=nothing>1")
        assert (status, value["reason"]) == (400, "filter: no column 'nothing'")

    run(test)


def test_who_asks_sees_of_other_brokers_what_is_theirs() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "red", "q1")
        declare(cluster, "blue", "q2")
        cluster.put(User("ann", tags=("management",)), Permission("ann", "blue", "", "", ""))
        for node in cluster.brokers.values():
            assert names(await node.get("queues", "ann")) == ["q2"]
        status, _, _ = await cluster.brokers["a"].ask("GET", "queues/red", user="ann")
        assert status == 401

    run(test)


def test_a_broker_that_does_not_answer_is_left_out_and_named() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "red", "q1")
        declare(cluster, "blue", "q2")
        node = cluster.brokers["a"]
        cluster.silent.add("b")
        status, value, headers = await node.ask("GET", "queues?page=1")
        assert (status, names(value["items"])) == (200, ["q1"])
        assert headers["x-leveret-left-out"] == "b"
        # It is not asked again for a while.
        asked = len(cluster.asked)
        assert names(await node.get("queues")) == ["q1"]
        assert [each[0] for each in cluster.asked[asked:]] == ["c"]
        overview = await node.get("overview")
        assert overview["warnings"] == [
            "node 'b' does not answer: no answer in 5 s; what it has is missing here"
        ]

    run(test)


def test_a_broker_that_has_started_again_is_asked_at_once() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "blue", "q1")
        cluster.silent.add("b")
        assert await cluster.brokers["a"].get("queues") == []
        cluster.silent.remove("b")
        assert await cluster.brokers["a"].get("queues") == []
        cluster.starts["b"] += 1
        assert names(await cluster.brokers["a"].get("queues")) == ["q1"]

    run(test)


def test_a_broker_that_cannot_be_reached_is_left_out_at_once() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.refused["b"] = ConnectionRefusedError(111, "Connection refused")
        _, value, headers = await cluster.brokers["a"].ask("GET", "vhosts")
        assert [(each["name"], each["cluster_state"]) for each in value] == [
            ("red", {"a": "running"}),
            ("blue", {"b": "stopped"}),
        ]
        assert headers["x-leveret-left-out"] == "b"

    run(test)


def test_virtual_hosts_are_listed_once_with_the_numbers_of_their_owners() -> None:
    async def test(cluster: Cluster) -> None:
        for node in cluster.brokers.values():
            found = await node.get("vhosts?sort=name")
            assert [(each["name"], each["cluster_state"]) for each in found] == [
                ("blue", {"b": "running"}),
                ("gray", {node.name: "stopped"}),
                ("red", {"a": "running"}),
            ]
            assert ["messages" in each for each in found] == [True, False, True]

    run(test, a=("red",), b=("blue",), c=(), down_d=("gray",))


def test_nodes_that_are_down_are_listed_as_such() -> None:
    async def test(cluster: Cluster) -> None:
        for query in ("nodes", "nodes?page=1"):
            found = await cluster.brokers["b"].get(query)
            rows = found["items"] if "page" in query else found
            running = {each["name"]: each["running"] for each in rows}
            assert running == {"a": True, "b": True, "down_d": False}
        assert (await cluster.brokers["a"].get("nodes/b"))["name"] == "b"
        assert (await cluster.brokers["a"].get("nodes/down_d"))["running"] is False
        status, _, _ = await cluster.brokers["a"].ask("GET", "nodes/nobody")
        assert status == 404

    run(test, a=("red",), b=("blue",), down_d=())


def test_a_long_list_is_sent_as_it_comes() -> None:
    async def test(cluster: Cluster) -> None:
        for number in range(900):
            declare(cluster, "red" if number % 2 else "blue", f"q{number:04}")
        found = await cluster.brokers["c"].get("queues?sort=name")
        assert names(found) == [f"q{number:04}" for number in range(900)]

    run(test)


def test_what_another_broker_asked_for_is_closed_when_it_was_answered() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "blue", "q1")
        await cluster.brokers["a"].get("queues?page=1")
        await cluster.brokers["a"].get("queues")
        assert cluster.responses
        assert all(each.is_closed for each in cluster.responses)

    run(test)


def test_requests_of_other_brokers_are_not_passed_on_again() -> None:
    async def test(cluster: Cluster) -> None:
        await cluster.brokers["a"].get("queues?sort=name")
        assert sorted(each[0] for each in cluster.asked) == ["b", "c"]

    run(test)


def test_a_list_that_breaks_off_when_rows_are_sent_is_not_ended() -> None:
    async def test(cluster: Cluster) -> None:
        for number in range(2400):
            declare(cluster, "red" if number % 2 else "blue", f"q{number:04}")
        node = cluster.brokers["c"]
        response = await request_of(node.for_users, "GET", "/api/queues?sort=name", {}, b"")
        pieces = response.pieces()
        begun = await anext(pieces)
        assert begun.startswith(b"[{")
        cluster.responses[-1].break_off()
        rest = b"".join([piece async for piece in pieces])
        assert not (begun + rest).endswith(b"]")
        assert len(begun + rest) > 1024 * 1024

    run(test)


def test_a_list_that_breaks_off_before_is_a_broker_left_out() -> None:
    async def test(cluster: Cluster) -> None:
        declare(cluster, "red", "q1")
        for number in range(200):
            declare(cluster, "blue", f"q2.{number:03}")
        cluster.break_off.add("b")
        status, value, headers = await cluster.brokers["a"].ask("GET", "queues?sort=name")
        assert (status, names(value)[0]) == (200, "q1")
        assert headers["x-leveret-left-out"] == "b"

    run(test)

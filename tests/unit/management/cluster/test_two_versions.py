"""Brokers of two versions beside each other, as during a rolling upgrade: what one of them does not
know is ignored, and what it lacks has a default."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from leveret.management.cluster.marks import ASKED_BY, METADATA_VERSION
from leveret.management.cluster.merged_list import LEFT_OUT
from tests.unit.management.cluster.brokers import Cluster, request_of

Test = Callable[[Cluster], Awaitable[None]]


def run(test: Test) -> None:
    """Run a test with two brokers, the second of which is of another version."""

    async def begin() -> None:
        await test(Cluster(a=("red",), b=("blue",)))

    asyncio.run(begin())


def say(cluster: Cluster, path: str, value: object) -> None:
    """Have the broker of the other version answer this."""
    cluster.said["b", f"/api/{path}"] = msgspec.json.encode(value)


def test_an_overview_that_lacks_parts_and_has_others_is_added() -> None:
    async def test(cluster: Cluster) -> None:
        totals = {"queues": 3, "streams": 7}
        say(cluster, "overview", {"object_totals": totals, "alarm": "low on disk", "moons": [1]})
        found = await cluster.brokers["a"].get("overview")
        assert found["object_totals"]["queues"] == 3
        assert found["alarms"] == [{"node": "b", "alarm": "low on disk"}]
        assert "moons" not in found

    run(test)


def test_findings_of_a_kind_that_is_not_known_are_left_out() -> None:
    async def test(cluster: Cluster) -> None:
        say(cluster, "diagnosis", [{"severity": "fatal"}, {"code": "x"}, {"severity": "info"}])
        assert await cluster.brokers["a"].get("diagnosis") == [{"severity": "info"}]

    run(test)


def test_definitions_may_lack_a_section() -> None:
    async def test(cluster: Cluster) -> None:
        say(cluster, "definitions", {"queues": [{"name": "q"}], "moons": []})
        found = await cluster.brokers["a"].get("definitions")
        assert [each["name"] for each in found["queues"]] == ["q"]

    run(test)


@pytest.mark.parametrize("path", ["overview", "diagnosis", "logs", "health/checks/alarms"])
def test_an_answer_that_is_none_is_left_out_and_named(path: str) -> None:
    async def test(cluster: Cluster) -> None:
        cluster.said["b", f"/api/{path}"] = b"<html>"
        status, _, headers = await cluster.brokers["a"].ask("GET", path)
        assert (status, headers[LEFT_OUT.lower()]) == (200, "b")

    run(test)


@pytest.mark.parametrize("path", ["overview", "diagnosis", "logs", "health/checks/alarms"])
def test_a_broker_that_answers_with_an_error_is_left_out_and_named(path: str) -> None:
    async def test(cluster: Cluster) -> None:
        say(cluster, path, {"error": "service_unavailable", "reason": "it starts"})
        cluster.said_with = 503
        status, _, headers = await cluster.brokers["a"].ask("GET", path)
        assert (status, headers[LEFT_OUT.lower()]) == (200, "b")

    run(test)


def test_a_list_with_more_in_its_lines_is_merged() -> None:
    async def test(cluster: Cluster) -> None:
        row = msgspec.json.encode([0, 0, {"name": "q", "colour": "red"}, "more"])
        counts = msgspec.json.encode({"total": 1, "filtered": 1, "more": 1})
        cluster.said["b", "/api/queues"] = row + b"\n" + counts + b"\n"
        assert await cluster.brokers["a"].get("queues") == [{"name": "q", "colour": "red"}]

    run(test)


@pytest.mark.parametrize(
    "asked_by",
    [{"name": "guest"}, {"name": "guest", "origin": "x", "is_owner": False, "shoe_size": 38}],
)
def test_a_broker_of_another_version_may_ask(asked_by: dict[str, Any]) -> None:
    async def test(cluster: Cluster) -> None:
        headers = {ASKED_BY: msgspec.json.encode(asked_by).decode(), METADATA_VERSION: "x"}
        app = cluster.brokers["a"].for_peers
        response = await request_of(app, "GET", "/api/whoami", headers, b"")
        assert response.status == 200
        assert msgspec.json.decode(await response.whole())["name"] == "guest"

    run(test)

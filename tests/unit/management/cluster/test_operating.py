"""What operators see of a cluster and order, over the HTTP API and on the command line."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from leveret.cluster.cluster_status import FailedMember
from leveret.cluster.shared_database import Standby
from leveret.commands.cluster import cluster_group
from leveret.commands.objects import status
from leveret.commands.rabbitmqctl import group as rabbitmqctl
from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import User
from leveret.management.cluster.database_watch import DatabaseWatch
from leveret.management.cluster.standby_watch import StandbyWatch
from leveret.management.control_socket import ControlSocket
from leveret.management.metrics.application import metrics_application
from leveret.management.metrics.cluster_metrics import CLUSTER
from leveret.management.service import Management
from tests.unit.management.cluster.brokers import Cluster, ignore, request_of

BROKEN = FailedMember("b", "no local directory")


def run(test: Callable[[Cluster], Awaitable[None]]) -> None:
    """Run a test with two brokers, of three members."""

    async def begin() -> None:
        cluster = Cluster(a=("red",), b=("blue",), down_d=("gray",))
        cluster.coordination.members = {"a", "b", "down_d"}
        await test(cluster)

    asyncio.run(begin())


class Report:
    """What was found of a server."""

    def __init__(self, server: str, timeline: int) -> None:
        self.server = server
        self.version = "15.18"
        self.timeline = timeline
        self.system = "7"
        self.tls = False
        self.standby_names = "ANY 1 (*)"
        self.replicas = 2


class Database:
    """A database that is away when a test says so."""

    def __init__(self) -> None:
        self.reason = ""
        self.report: Report | None = Report("db1:5432", 1)
        self._watchers: list[Callable[[str], None]] = []

    def watch(self, watcher: Callable[[str], None]) -> None:
        self._watchers.append(watcher)

    def tell(self, reason: str, report: Report | None) -> None:
        self.reason, self.report = reason, report
        for each in self._watchers:
            each(reason)


def test_members_and_stores_are_shown() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.refusals[2] = "confirmed data are missing"
        cluster.failed = {0: (BROKEN,), 1: (BROKEN,)}
        found = await cluster.brokers["a"].get("cluster")
        assert (found["node"], found["clustered"]) == ("a", True)
        assert [(each["name"], each["running"], each["stores"]) for each in found["members"]] == [
            ("a", True, [0]),
            ("b", True, [1]),
            ("down_d", False, []),
        ]
        assert [(each["store"], each["node"], each["vhosts"]) for each in found["stores"]] == [
            (0, "a", ["red"]),
            (1, "b", ["blue"]),
            (2, "", ["gray"]),
        ]
        assert "nobody may take store 2: confirmed data are missing" in found["warnings"]
        assert "node 'b' could not open store 0, 1: no local directory" in found["warnings"]
        members = await cluster.brokers["b"].get("cluster/members?sort=name&page=1&page_size=2")
        assert [each["name"] for each in members["items"]] == ["a", "b"]
        stores = await cluster.brokers["b"].get("cluster/stores?filter=node=b")
        assert [each["store"] for each in stores] == [1]

    run(test)


def test_a_broker_that_does_not_answer_is_told_apart_from_one_that_is_down() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.silent.add("b")
        node = cluster.brokers["a"]
        await node.get("queues")
        members = await node.get("cluster/members")
        shown = {each["name"]: (each["running"], each["answers"]) for each in members}
        assert shown == {"a": (True, True), "b": (True, False), "down_d": (False, False)}

    run(test)


@pytest.mark.parametrize(
    ("method", "target", "body", "order"),
    [
        ("PUT", "cluster/stores/1/successor", {"node": "a"}, ("move", 1, "a")),
        ("DELETE", "cluster/stores/1/successor", None, ("move", 1, "")),
        ("PUT", "cluster/members/b/drain", None, ("drain", "b", True)),
        ("DELETE", "cluster/members/b/drain", None, ("drain", "b", False)),
        ("DELETE", "cluster/members/down_d", None, ("forget", "down_d")),
        ("DELETE", "cluster/stores/2/refusal", None, ("allow", 2)),
    ],
)
def test_an_order_goes_to_the_database(
    method: str, target: str, body: object, order: tuple[object, ...]
) -> None:
    async def test(cluster: Cluster) -> None:
        cluster.refusals[2] = "damaged"
        status, _, _ = await cluster.brokers["a"].ask(method, target, body=body)
        assert status == 204
        assert cluster.coordination.orders == [order]

    run(test)


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "reason"),
    [
        ("PUT", "cluster/stores/9/successor", {"node": "a"}, 404, "store '9' does not exist"),
        ("PUT", "cluster/stores/x/successor", {"node": "a"}, 404, "store 'x' does not exist"),
        (
            "PUT",
            "cluster/stores/1/successor",
            {"node": "z"},
            400,
            "node 'z' is no member of the cluster",
        ),
        ("PUT", "cluster/stores/1/successor", {"node": "down_d"}, 400, "node 'down_d' is down"),
        (
            "PUT",
            "cluster/stores/0/successor",
            {"node": "b"},
            400,
            "node 'b' is drained: it takes no store",
        ),
        ("PUT", "cluster/members/z/drain", None, 404, "node 'z' is no member of the cluster"),
        ("DELETE", "cluster/members/z", None, 404, "node 'z' is no member of the cluster"),
        ("DELETE", "cluster/stores/1/refusal", None, 404, "store 1 is not refused"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    method: str, target: str, body: object, status: int, reason: str
) -> None:
    async def test(cluster: Cluster) -> None:
        cluster.draining.add("b")
        got, value, _ = await cluster.brokers["a"].ask(method, target, body=body)
        assert (got, value["reason"]) == (status, reason)

    run(test)


def test_a_member_that_runs_is_not_forgotten() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.coordination.members.discard("b")
        got, value, _ = await cluster.brokers["a"].ask("DELETE", "cluster/members/b")
        assert (got, value["reason"]) == (400, "node 'b' is running: stop it first")

    run(test)


def test_monitoring_sees_the_cluster_and_changes_nothing() -> None:
    async def test(cluster: Cluster) -> None:
        cluster.put(User("watch", tags=("monitoring",)), User("other", tags=("management",)))
        node = cluster.brokers["a"]
        assert (await node.ask("GET", "cluster", user="watch"))[0] == 200
        assert (await node.ask("GET", "cluster", user="other"))[0] == 401
        status, _, _ = await node.ask("PUT", "cluster/members/b/drain", user="watch")
        assert status == 401
        assert cluster.coordination.orders == []

    run(test)


def test_failovers_of_the_database_are_counted_and_timed() -> None:
    database = Database()
    watch = DatabaseWatch(database.watch, lambda: database.report, ["db1:5432", "db2:5432"])
    assert watch.state()[2:] == ("", 0.0, 0, 0.0, 0)
    database.tell("the connection was lost", None)
    state = watch.state()
    assert (state.reason, state.away_count) == ("the connection was lost", 1)
    assert state.away_since > 0
    assert state.report is not None
    assert state.report.server == "db1:5432"
    database.tell("no host accepts writes", None)
    database.tell("", Report("db2:5432", 2))
    state = watch.state()
    assert (state.reason, state.away_since, state.away_count) == ("", 0.0, 1)
    assert (state.failovers, state.away_s > 0) == (1, True)
    # A connection that was made anew to the same server is no failover.
    database.tell("the connection was lost", None)
    database.tell("", Report("db2:5432", 2))
    assert (watch.state().failovers, watch.state().away_count) == (1, 2)


def with_socket(
    tmp_path: Path, command: object, *arguments: str, clustered: bool = True, alarm: str = ""
) -> tuple[Result, Cluster]:
    """Run a command against a broker; the other one may have an alarm."""
    cluster = Cluster(a=("red",), b=("blue",), down_d=("gray",))
    cluster.brokers["b"].broker.set_alarm(alarm)
    cluster.coordination.members = {"a", "b", "down_d"}
    path = tmp_path / "socket"

    async def begin() -> Result:
        node = cluster.brokers["a"]
        if clustered:
            control = ControlSocket(node.management, path, node.front)
        else:
            node.broker = Broker(Config())
            node.broker.work.added = node._run_work
            control = ControlSocket(Management(node.broker, list, list, ignore), path)
        await control.start()
        environment = {"LEVERET_CONTROL_SOCKET": str(path)}
        try:
            return await asyncio.to_thread(
                CliRunner().invoke,
                command,  # type: ignore[arg-type]
                arguments,
                env=environment,
            )
        finally:
            await control.stop()

    return asyncio.run(begin()), cluster


def test_the_status_is_for_people(tmp_path: Path) -> None:
    result, _ = with_socket(tmp_path, cluster_group, "status")
    assert [" ".join(line.split()) for line in result.output.splitlines()] == [
        "name running draining stores silent_s address version",
        "a true false 1 0.0 a:1 1.0",
        "b true false 1 0.0 b:1 1.0",
        "down_d false false 0 0.0 down_d:1 1.0",
        "",
        "stores: 3, of which 2 are served",
        "warning: node 'down_d' is down, for 0 s",
        "warning: virtual hosts that nobody serves: 'gray'",
    ]


def test_the_status_of_a_broker_has_what_the_cluster_has(tmp_path: Path) -> None:
    result, _ = with_socket(tmp_path, status, alarm="low on memory")
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    own, cluster = lines[: lines.index("")], lines[lines.index("") :]
    assert own[0] == "node: a"
    assert own[-1] == "alarm: none"
    assert cluster[1:3] == ["in the cluster:", "node running memory disk_free alarm"]
    assert cluster[3].startswith("a true ")
    assert cluster[4].startswith("b true ")
    assert cluster[4].endswith(" low on memory")
    assert cluster[5] == "down_d false"
    assert "virtual hosts: 3" in cluster
    # Of three virtual hosts two are served, by two brokers; one broker has seven exchanges in each.
    assert "exchanges: 14" in cluster
    assert cluster[-1] == "warning: virtual hosts that nobody serves: 'gray'"
    alone, _ = with_socket(tmp_path, status, clustered=False)
    assert alone.output.startswith("node:          leveret@")
    assert "cluster" not in alone.output


def test_rabbitmqctl_tells_alarms_of_a_node_from_those_of_the_cluster(tmp_path: Path) -> None:
    result, _ = with_socket(tmp_path, rabbitmqctl, "check_local_alarms", alarm="low on memory")
    assert result.exit_code == 0
    result, _ = with_socket(tmp_path, rabbitmqctl, "check_alarms", alarm="low on memory")
    assert (result.exit_code, "Node b reported an alarm: low on memory" in result.output) == (
        69,
        True,
    )
    result, _ = with_socket(tmp_path, rabbitmqctl, "cluster_status", alarm="low on memory")
    assert "Alarms\n\nNode b: low on memory\n" in result.output
    result, _ = with_socket(tmp_path, rabbitmqctl, "check_alarms")
    assert "reported no alarms, local or clusterwide" in result.output


def test_the_stores_are_listed_with_their_virtual_hosts(tmp_path: Path) -> None:
    result, _ = with_socket(tmp_path, cluster_group, "stores")
    assert result.output.splitlines()[1].split() == ["0", "a", "owned", "7", "2000", "red"]
    result, _ = with_socket(tmp_path, cluster_group, "stores", "--json")
    assert msgspec.json.decode(result.output)[1]["vhosts"] == ["blue"]


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (("move", "1", "a"), ("move", 1, "a")),
        (("move", "1", "--undo"), ("move", 1, "")),
        (("drain", "b"), ("drain", "b", True)),
        (("drain", "b", "--undo"), ("drain", "b", False)),
        (("forget", "down_d"), ("forget", "down_d")),
    ],
)
def test_commands_order(
    tmp_path: Path, arguments: tuple[str, ...], order: tuple[object, ...]
) -> None:
    result, cluster = with_socket(tmp_path, cluster_group, *arguments)
    assert result.exit_code == 0
    assert cluster.coordination.orders == [order]


def test_a_command_says_why_it_is_refused(tmp_path: Path) -> None:
    result, _ = with_socket(tmp_path, cluster_group, "allow", "1")
    assert (result.exit_code, result.output) == (1, "leveret: store 1 is not refused\n")
    result, _ = with_socket(tmp_path, cluster_group, "move", "1")
    assert result.exit_code == 2
    assert "expected either NODE or --undo" in result.output


def test_a_broker_without_a_cluster_says_so(tmp_path: Path) -> None:
    for arguments in (("status",), ("stores",), ("drain", "b")):
        result, _ = with_socket(tmp_path, cluster_group, *arguments, clustered=False)
        assert result.exit_code == 1
        assert "there is no cluster" in result.output


def test_rabbitmqctl_knows_the_members(tmp_path: Path) -> None:
    result, _ = with_socket(tmp_path, rabbitmqctl, "-q", "cluster_status")
    output = result.output
    assert "Disk Nodes\n\na\nb\ndown_d\n" in output
    assert "Running Nodes\n\na\nb\n" in output
    assert "Node: b, status: not under maintenance\n" in output
    result, _ = with_socket(tmp_path, rabbitmqctl, "cluster_status", "--formatter", "json")
    found = msgspec.json.decode(result.output)
    assert (found["disk_nodes"], found["running_nodes"]) == (["a", "b", "down_d"], ["a", "b"])
    result, _ = with_socket(tmp_path, rabbitmqctl, "await_online_nodes", "2", "-t", "0.1")
    assert result.exit_code == 0
    result, _ = with_socket(tmp_path, rabbitmqctl, "await_online_nodes", "3", "-t", "0.1")
    assert (result.exit_code, "2 of 3 nodes are online" in result.output) == (69, True)
    result, cluster = with_socket(tmp_path, rabbitmqctl, "set_cluster_name", "shop")
    assert result.output.startswith("Setting cluster name to shop ...\n")
    assert cluster.brokers["a"].broker.cluster_name == "shop"
    result, cluster = with_socket(tmp_path, rabbitmqctl, "forget_cluster_node", "down_d")
    assert (result.exit_code, cluster.coordination.orders) == (0, [("forget", "down_d")])
    result, _ = with_socket(tmp_path, rabbitmqctl, "check_virtual_hosts")
    assert (result.exit_code, "Some virtual hosts are down" in result.output) == (69, True)


def test_a_database_without_standbys_is_warned_of_unless_it_is_away() -> None:
    warning = "no standby follows the database: publishers wait, nothing is confirmed"

    async def test(cluster: Cluster) -> None:
        node = cluster.brokers["a"]
        assert warning not in (await node.get("cluster"))["warnings"]
        database = Database()
        node.state._database = DatabaseWatch(database.watch, lambda: database.report, ())
        assert warning in (await node.get("cluster"))["warnings"]
        following = Standby("db2", "", "streaming", "quorum", 0, 0)
        node.state.standbys = StandbyWatch(lambda: [following]).standbys
        assert warning not in (await node.get("cluster"))["warnings"]
        node.state.standbys = StandbyWatch(list).standbys
        database.tell("the connection was lost", None)
        assert warning not in (await node.get("cluster"))["warnings"]

    run(test)


def test_a_broker_of_a_cluster_has_metrics_of_it() -> None:
    async def test(cluster: Cluster) -> None:
        node = cluster.brokers["a"]
        database = Database()
        node.state._database = DatabaseWatch(database.watch, lambda: database.report, ())
        cluster.silent.add("b")
        await node.get("queues")
        app = metrics_application(node.management)
        text = await (await request_of(app, "GET", "/metrics", {}, b"")).whole()
        found = {line for line in text.decode().splitlines() if not line.startswith("#")}
        assert {
            'leveret_store_owned{store="0"} 1',
            'leveret_store_owned{store="1"} 0',
            'leveret_store_served{store="2"} 0',
            'leveret_cluster_member_up{node="b"} 1',
            'leveret_cluster_member_up{node="down_d"} 0',
            "leveret_cluster_lease_age_seconds 0.1",
            'leveret_stores_taken_total{after="an end"} 1',
            'leveret_stores_taken_total{after="a hand-over"} 2',
            "leveret_stores_handed_over_total 3",
            "leveret_stores_lost_total 4",
            "leveret_database_up 1",
            "leveret_database_timeline 1",
            "rabbitmq_unreachable_cluster_peers_count 1",
        } <= found

    run(test)


def test_a_broker_without_a_cluster_has_none_of_them() -> None:
    async def test(cluster: Cluster) -> None:
        alone = Broker(Config())
        alone.work.added = cluster.brokers["a"]._run_work
        cluster.brokers["a"].broker.work = alone.work
        app = metrics_application(Management(alone, list, list, ignore))
        text = await (await request_of(app, "GET", "/metrics", {}, b"")).whole()
        assert not [each for each in CLUSTER if each.metric.name.encode() in text]

    run(test)

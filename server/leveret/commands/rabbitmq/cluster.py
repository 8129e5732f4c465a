"""The nodes of a cluster, by the commands of rabbitmqctl(8)."""

import time
from typing import Any, Final

import click

from leveret.commands.client import RequestFailed
from leveret.commands.rabbitmq import exit_codes
from leveret.commands.rabbitmq.node import POLL_S, await_broker, listener_row
from leveret.commands.rabbitmq.session import Session, argument, ctl, fail

MAINTAINED: Final = {
    False: "not under maintenance",
    True: "marked for maintenance",
}
"""What RabbitMQ says of a node that is drained, or is not."""


def _nodes(session: Session) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = session.client.get("nodes")
    return sorted(found, key=lambda each: str(each["name"]))


def _running(session: Session) -> list[str]:
    return [each["name"] for each in _nodes(session) if each["running"]]


@ctl("set_cluster_name", "Set the name of the cluster.", argument("name"))
def set_cluster_name(session: Session, name: str) -> None:
    session.say(f"Setting cluster name to {name} ...")
    session.client.put("cluster-name", body={"name": name})


@ctl(
    "await_online_nodes",
    "Wait until so many nodes run.",
    argument("count", type=click.IntRange(1)),
)
def await_online_nodes(session: Session, count: int) -> None:
    deadline = time.monotonic() + session.timeout_s
    session.say(f"Will wait for at least {count} nodes to be online ...")
    await_broker(session)
    while (running := len(_running(session))) < count:
        if time.monotonic() > deadline:
            fail(f"{running} of {count} nodes are online", exit_codes.UNAVAILABLE)
        time.sleep(POLL_S)


@ctl("cluster_status", "List the nodes, and those that run.")
def cluster_status(session: Session) -> None:
    found, nodes = session.client.get("overview"), _nodes(session)
    cluster = session.client.get("cluster")
    draining = {each["name"]: each["draining"] for each in cluster["members"]}
    names = [each["name"] for each in nodes]
    running = [each["name"] for each in nodes if each["running"]]
    alarms = _alarms(found)
    version = f"{found['product_name']} {found['product_version']}"
    if session.prints_json():
        _print_json(session, found, names, running, draining)
        return
    session.say(f"Cluster status of node {found['node']} ...")
    click.echo(f"Cluster name: {found['cluster_name']}")
    for title, members in (("Disk Nodes", names), ("Running Nodes", running)):
        click.echo(f"\n{title}\n\n" + "\n".join(members))
    click.echo("\nVersions\n")
    for name in running:
        click.echo(f"{name}: {version}")
    if cluster["clustered"]:
        click.echo("\nMaintenance status\n")
        for name in names:
            click.echo(f"Node: {name}, status: {MAINTAINED[draining.get(name, False)]}")
    click.echo("\nAlarms\n\n" + ("\n".join(alarms) or "(none)"))
    if cluster["warnings"]:
        click.echo("\nWarnings\n\n" + "\n".join(cluster["warnings"]))


def _alarms(overview: dict[str, Any]) -> list[str]:
    return [f"Node {each['node']}: {each['alarm']}" for each in overview.get("alarms", [])]


def _print_json(
    session: Session,
    overview: dict[str, Any],
    names: list[str],
    running: list[str],
    draining: dict[str, bool],
) -> None:
    version = {
        "rabbitmq_name": overview["product_name"],
        "rabbitmq_version": overview["product_version"],
    }
    listeners: dict[str, list[dict[str, Any]]] = {name: [] for name in running}
    for each in overview["listeners"]:
        listeners.setdefault(each["node"], []).append(listener_row(each["node"], each))
    session.json(
        {
            "alarms": _alarms(overview),
            "cluster_name": overview["cluster_name"],
            "disk_nodes": names,
            "feature_flags": [],
            "listeners": listeners,
            "maintenance_status": {name: MAINTAINED[draining.get(name, False)] for name in names},
            "partitions": {},
            "ram_nodes": [],
            "running_nodes": running,
            "versions": dict.fromkeys(running, version),
        }
    )


@ctl(
    "forget_cluster_node",
    "Remove a node that is gone for good.",
    click.option("--offline", is_flag=True, help="Without an effect."),
    argument("node_name"),
)
def forget_cluster_node(session: Session, node_name: str, offline: bool) -> None:
    session.say(f"Removing node {node_name} from the cluster")
    try:
        session.client.delete("cluster", "members", node_name)
    except RequestFailed as error:
        fail(str(error), exit_codes.UNAVAILABLE)

"""`leveret declare`, `delete`, `purge`, `bind`, `unbind`, `publish`, `get` and the like."""

import base64
import os
import sys
from typing import Any

import click

from leveret.commands.client import Client
from leveret.commands.context import EXIT_REFUSED, fail, show, with_broker
from leveret.commands.policies import VHOST, json_value

NODE_COLUMNS = ("node", "running", "memory", "disk_free", "alarm")
"""What `leveret status` shows of each node of a cluster."""

ARGUMENT = click.option(
    "--argument", "arguments", metavar="NAME=JSON", multiple=True, help="Repeatable."
)


def argument_table(arguments: tuple[str, ...]) -> dict[str, Any]:
    """Arguments that are given as NAME=VALUE: JSON, or else text."""
    found: dict[str, Any] = {}
    for each in arguments:
        name, separator, value = each.partition("=")
        if not separator:
            raise click.BadParameter(f"expected NAME=JSON, got '{each}'")
        plain = value[:1] not in '{["-0123456789' and value not in ("true", "false", "null")
        found[name] = value if plain else json_value(name, value)
    return found


@click.group(name="declare")
def declare_group() -> None:
    """Declare a queue or an exchange."""


@declare_group.command(name="queue")
@click.argument("name")
@click.option("--transient", is_flag=True, help="Does not survive a restart.")
@click.option("--auto-delete", is_flag=True, help="Is deleted with its last consumer.")
@click.option("--type", "queue_type", metavar="TYPE", help="classic or quorum.")
@ARGUMENT
@VHOST
@with_broker
def declare_queue(
    client: Client,
    name: str,
    transient: bool,
    auto_delete: bool,
    queue_type: str | None,
    arguments: tuple[str, ...],
    vhost: str,
) -> None:
    """Declare a queue.

    Example: leveret declare queue orders --argument x-max-length=1000
    """
    table = argument_table(arguments)
    if queue_type is not None:
        table["x-queue-type"] = queue_type
    body = {"durable": not transient, "auto_delete": auto_delete, "arguments": table}
    client.put("queues", vhost, name, body=body)


@declare_group.command(name="exchange")
@click.argument("name")
@click.argument("kind", metavar="TYPE")
@click.option("--transient", is_flag=True, help="Does not survive a restart.")
@click.option("--auto-delete", is_flag=True, help="Is deleted with its last binding.")
@click.option("--internal", is_flag=True, help="Clients cannot publish to it.")
@ARGUMENT
@VHOST
@with_broker
def declare_exchange(
    client: Client,
    name: str,
    kind: str,
    transient: bool,
    auto_delete: bool,
    internal: bool,
    arguments: tuple[str, ...],
    vhost: str,
) -> None:
    """Declare an exchange. TYPE is direct, fanout, topic, headers or another.

    Example: leveret declare exchange events topic
    """
    body = {
        "type": kind,
        "durable": not transient,
        "auto_delete": auto_delete,
        "internal": internal,
        "arguments": argument_table(arguments),
    }
    client.put("exchanges", vhost, name, body=body)


@click.command()
@click.argument("kind", type=click.Choice(["queue", "exchange"]))
@click.argument("name")
@VHOST
@with_broker
def delete(client: Client, kind: str, name: str, vhost: str) -> None:
    """Delete a queue with its messages, or an exchange.

    Example: leveret delete queue orders
    """
    client.delete(f"{kind}s", vhost, name)


@click.command()
@click.argument("queue")
@VHOST
@with_broker
def purge(client: Client, queue: str, vhost: str) -> None:
    """Drop all messages of a queue that no consumer has.

    Example: leveret purge orders
    """
    client.delete("queues", vhost, queue, "contents")


@click.command()
@click.argument("source")
@click.argument("destination")
@click.argument("routing_key", default="")
@click.option("--to-exchange", is_flag=True, help="DESTINATION is an exchange.")
@ARGUMENT
@VHOST
@with_broker
def bind(
    client: Client,
    source: str,
    destination: str,
    routing_key: str,
    to_exchange: bool,
    arguments: tuple[str, ...],
    vhost: str,
) -> None:
    """Bind a queue, or an exchange, to the exchange SOURCE.

    Example: leveret bind events orders 'order.#'
    """
    body = {"routing_key": routing_key, "arguments": argument_table(arguments)}
    kind = "e" if to_exchange else "q"
    client.post("bindings", vhost, "e", source, kind, destination, body=body)


@click.command()
@click.argument("source")
@click.argument("destination")
@click.argument("routing_key", default="")
@click.option("--to-exchange", is_flag=True, help="DESTINATION is an exchange.")
@VHOST
@with_broker
def unbind(
    client: Client, source: str, destination: str, routing_key: str, to_exchange: bool, vhost: str
) -> None:
    """Remove the bindings with this routing key.

    Example: leveret unbind events orders 'order.#'
    """
    kind = "e" if to_exchange else "q"
    path = ("bindings", vhost, "e", source, kind, destination)
    found = [each for each in client.get(*path) if each["routing_key"] == routing_key]
    if not found:
        fail(f"no binding of '{destination}' to '{source}' with this key", EXIT_REFUSED)
    for each in found:
        client.delete_quoted(path, each["properties_key"])


@click.command()
@click.argument("exchange")
@click.argument("routing_key")
@click.argument("payload", required=False)
@click.option("--transient", is_flag=True, help="The message is lost at a restart.")
@click.option("--property", "properties", metavar="NAME=JSON", multiple=True, help="Repeatable.")
@VHOST
@with_broker
def publish(
    client: Client,
    exchange: str,
    routing_key: str,
    payload: str | None,
    transient: bool,
    properties: tuple[str, ...],
    vhost: str,
) -> None:
    """Publish a message. Without PAYLOAD its body is read from stdin. EXCHANGE may be "".

    Example: leveret publish events order.new '{"id": 1}' --property priority=3
    """
    octets = sys.stdin.buffer.read() if payload is None else os.fsencode(payload)
    body = {
        "routing_key": routing_key,
        "payload": base64.b64encode(octets).decode(),
        "payload_encoding": "base64",
        "properties": {
            "delivery_mode": 1 if transient else 2,
            **argument_table(properties),
        },
    }
    answer = client.post("exchanges", vhost, exchange or "amq.default", "publish", body=body)
    if not answer["routed"]:
        fail("no queue took the message", EXIT_REFUSED)


@click.command()
@click.argument("queue")
@click.option("--count", default=1, show_default=True, help="Messages, at most.")
@click.option("--ack", is_flag=True, help="Acknowledge: the messages leave the queue.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@VHOST
@with_broker
def get(client: Client, queue: str, count: int, ack: bool, as_json: bool, vhost: str) -> None:
    """Get messages. Without --ack they go back to their places in the queue, as redelivered.

    Example: leveret get orders --count 10
    """
    body = {
        "count": count,
        "ackmode": "ack_requeue_false" if ack else "ack_requeue_true",
        "encoding": "auto",
    }
    found = client.post("queues", vhost, queue, "get", body=body)
    columns = ("exchange", "routing_key", "redelivered", "payload_bytes", "payload")
    show(found, columns, as_json)


@click.command(name="close-connection")
@click.argument("names", nargs=-1)
@click.option("--all", "close_all", is_flag=True, help="All connections.")
@click.option("--user", metavar="NAME", help="Those of a user.")
@click.option("--vhost", metavar="NAME", help="Those to a virtual host.")
@click.option(
    "--reason", default="closed by an operator", show_default=True, help="The client is told it."
)
@with_broker
def close_connection(
    client: Client,
    names: tuple[str, ...],
    close_all: bool,
    user: str | None,
    vhost: str | None,
    reason: str,
) -> None:
    """Close connections. The clients are told the reason.

    Example: leveret close-connection --user ann
    """
    if not names and not close_all and user is None and vhost is None:
        raise click.UsageError("name connections, or say --all, --user or --vhost")
    wanted = list(names) or [
        each["name"]
        for each in client.get("connections")
        if user in (None, each["user"]) and vhost in (None, each["vhost"])
    ]
    for name in wanted:
        client.delete("connections", name, headers={"X-Reason": reason})


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@with_broker
def status(client: Client, as_json: bool) -> None:
    """Say how the broker is, and what the cluster has.

    Example: leveret status
    """
    found = client.get("overview")
    if as_json:
        show([found], (), as_json)
        return
    node = found["node"]
    # The broker may be older than this program.
    alarms = found.get("alarms", [])
    for name, value in (
        ("node", node),
        ("version", f"{found['product_version']} ({found['build']})"),
        ("pid", found["pid"]),
        ("uptime", f"{found['uptime'] // 1000} s"),
        ("memory", f"{found['memory_used'] >> 20} of {found['memory_limit'] >> 20} MiB"),
        ("alarm", _alarm_of(node, alarms) or "none"),
    ):
        _say(name, value)
    if client.get("cluster")["clustered"]:
        click.echo("\nin the cluster:")
        show([_of_node(each, alarms) for each in client.get("nodes")], NODE_COLUMNS, False)
        click.echo()
    for name, value in (("virtual hosts", found["vhosts"]), *found["object_totals"].items()):
        _say(name, value)
    for warning in found.get("warnings", ()):
        click.echo(f"warning: {warning}")


def _say(name: str, value: object) -> None:
    click.echo(f"{name + ':':15}{value}")


def _alarm_of(node: str, alarms: list[dict[str, str]]) -> str:
    """The alarms of one node, in a line."""
    return ", ".join(each["alarm"] for each in alarms if each["node"] == node)


def _of_node(row: dict[str, Any], alarms: list[dict[str, str]]) -> dict[str, Any]:
    """A node of a cluster in a line; one that is down has no numbers."""
    name = row["name"]
    shown = {"node": name, "running": row["running"], "alarm": _alarm_of(name, alarms)}
    if row["running"]:
        shown["memory"] = f"{row['mem_used'] >> 20} of {row['mem_limit'] >> 20} MiB"
        shown["disk_free"] = f"{row['disk_free'] >> 20} MiB"
    return shown

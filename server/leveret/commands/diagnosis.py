"""`leveret diagnose`, `route`, `delayed`, `cancel-consumer`: what keeps messages where they are."""

from typing import Any

import click

from leveret.commands.client import Client
from leveret.commands.context import show, with_broker
from leveret.commands.objects import argument_table
from leveret.commands.policies import VHOST


@click.command()
@click.argument("queue", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@VHOST
@with_broker
def diagnose(client: Client, queue: str | None, as_json: bool, vhost: str) -> None:
    """Say why messages do not move.

    Of a queue, or of all queues of all virtual hosts: the worst comes first.

    Example: leveret diagnose orders
    """
    if queue is not None:
        found = client.get("queues", vhost, queue, "diagnosis")
    else:
        found = client.get("diagnosis")
    if as_json:
        show(found, (), as_json)
        return
    for each in found:
        where = f"{each['vhost']} {each['queue']}: " if queue is None and each["queue"] else ""
        click.echo(f"{each['severity']}: {where}{each['text']}")


@click.command()
@click.argument("exchange")
@click.argument("routing_key", default="")
@click.option(
    "--header", "headers", metavar="NAME=JSON", multiple=True, help="A header of the message."
)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@VHOST
@with_broker
def route(
    client: Client,
    exchange: str,
    routing_key: str,
    headers: tuple[str, ...],
    as_json: bool,
    vhost: str,
) -> None:
    """Say which queues a message would reach.

    Each with the bindings on its way. Nothing is published.

    Example: leveret route amq.topic orders.new --header version=2
    """
    body = {"routing_key": routing_key, "headers": argument_table(headers)}
    name = exchange or "amq.default"
    queues = client.post("exchanges", vhost, name, "route", body=body)["queues"]
    rows = [
        {"queue": each["name"], "by": ", ".join(_step(step) for step in way)}
        for each in queues
        for way in each["ways"]
    ]
    show(queues if as_json else rows, ("queue", "by"), as_json)


def _step(step: dict[str, Any]) -> str:
    """A step in a few words."""
    if step["why"] == "alternate":
        return f"{step['source']} (alternate)"
    chosen = "" if step["why"] == "binding" else f" ({step['why']})"
    arguments = "".join(f" {name}={value}" for name, value in step["arguments"].items())
    return f"{step['source']} '{step['routing_key']}'{arguments}{chosen}"


@click.group(name="delayed")
def delayed_group() -> None:
    """Messages of a delayed exchange that are not due."""


@delayed_group.command(name="list")
@click.argument("exchange")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@VHOST
@with_broker
def list_delayed(client: Client, exchange: str, as_json: bool, vhost: str) -> None:
    """List the messages that are not due.

    Those that are due first, 5,000 at most. The due time is in milliseconds since 1970.

    Example: leveret delayed list reminders
    """
    found = client.get("exchanges", vhost, exchange, "delayed")
    show(found, ("id", "due", "exchange", "routing_key", "payload_bytes", "payload"), as_json)


@delayed_group.command(name="cancel")
@click.argument("exchange")
@click.argument("message_id", metavar="ID")
@VHOST
@with_broker
def cancel_delayed(client: Client, exchange: str, message_id: str, vhost: str) -> None:
    """Drop a message that is not due. It never reaches a queue.

    Example: leveret delayed cancel reminders 1767225600000-9f2c41d8a07be365
    """
    client.delete("exchanges", vhost, exchange, "delayed", message_id)


@click.command(name="cancel-consumer")
@click.argument("connection")
@click.argument("channel")
@click.argument("tag")
@VHOST
@with_broker
def cancel_consumer(client: Client, connection: str, channel: str, tag: str, vhost: str) -> None:
    """Cancel a consumer. Its client is told.

    What it has not acknowledged stays with its channel. `leveret list consumers --json` has the
    names.

    Example: leveret cancel-consumer '127.0.0.1:4242 -> 127.0.0.1:5672' 1 ctag1
    """
    client.delete("consumers", vhost, connection, channel, tag)

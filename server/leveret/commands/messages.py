"""`leveret peek`, `move`, `change`, `pause`, `resume`: what is done to a queue while it serves."""

import sys
from typing import Any

import click

from leveret.commands.client import Client
from leveret.commands.context import EXIT_REFUSED, EXIT_WRONG_USE, fail, show, with_broker
from leveret.commands.objects import argument_table
from leveret.commands.policies import VHOST


@click.command()
@click.argument("queue")
@click.option("--count", default=1, show_default=True, help="Messages, at most; up to 100.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@VHOST
@with_broker
def peek(client: Client, queue: str, count: int, as_json: bool, vhost: str) -> None:
    """Show the next messages, and change nothing.

    No message is marked as redelivered, or counted as delivered.

    Example: leveret peek orders --count 10
    """
    found = client.post("queues", vhost, queue, "peek", body={"count": count})
    columns = ("exchange", "routing_key", "redelivered", "payload_bytes", "payload")
    show(found, columns, as_json)


@click.command()
@click.argument("queue")
@click.argument("target")
@click.option("--to-exchange", is_flag=True, help="TARGET is an exchange.")
@click.option("--routing-key", metavar="KEY", help="At an exchange; else that of each message.")
@click.option("--count", type=click.IntRange(1), help="Messages, at most; else those it has.")
@VHOST
@with_broker
def move(
    client: Client,
    queue: str,
    target: str,
    to_exchange: bool,
    routing_key: str | None,
    count: int | None,
    vhost: str,
) -> None:
    """Move messages of a queue elsewhere.

    The target is a queue, or an exchange. A crash neither loses nor doubles a persistent message.

    Example: leveret move orders.dead orders --count 100
    """
    if routing_key is not None and not to_exchange:
        fail("--routing-key needs --to-exchange", EXIT_WRONG_USE)
    ready = int(client.get("queues", vhost, queue)["messages_ready"])
    total = ready if count is None else min(count, ready)
    body: dict[str, Any] = {"exchange" if to_exchange else "queue": target}
    if to_exchange:
        body["exchange"] = target or "amq.default"
        body["routing_key"] = routing_key
    moved = 0
    shows_progress = sys.stderr.isatty()
    while moved < total or total == 0:
        body["count"] = total - moved
        answer = client.post("queues", vhost, queue, "move", body=body)
        moved += answer["moved"]
        if shows_progress:
            click.echo(f"\r{moved} of {total} moved", nl=False, err=True)
        if answer["refused_key"] is not None or not answer["moved"]:
            break
    if shows_progress:
        click.echo(err=True)
    click.echo(f"{moved} {'message' if moved == 1 else 'messages'} moved")
    if total and answer["refused_key"] is not None:
        key = answer["refused_key"]
        fail(f"no queue took the next message, with routing key '{key}'", EXIT_REFUSED)


@click.group(name="change")
def change_group() -> None:
    """Change what exists."""


@change_group.command(name="queue")
@click.argument("name")
@click.argument("arguments", metavar="ARGUMENT=JSON...", nargs=-1, required=True)
@VHOST
@with_broker
def change_queue(client: Client, name: str, arguments: tuple[str, ...], vhost: str) -> None:
    """Change arguments of a queue.

    They are kept as if it had been declared with them; null removes one. Clients that declare the
    queue must give the same ones. What the queue is (its type, its priorities) cannot be changed.

    Example: leveret change queue orders x-message-ttl=60000 x-max-length=null
    """
    table = argument_table(arguments)
    named = {key if key.startswith("x-") else f"x-{key}": table[key] for key in table}
    client.post("queues", vhost, name, "arguments", body={"arguments": named})


@click.group(name="pause")
def pause_group() -> None:
    """Stop what runs for a while."""


@pause_group.command(name="queue")
@click.argument("name")
@VHOST
@with_broker
def pause_queue(client: Client, name: str, vhost: str) -> None:
    """Give clients no messages of a queue until it is resumed.

    Consumers stay, basic.get finds the queue empty, and publishers go on. A durable queue stays
    paused after a restart. The commands get, peek, move and purge work as ever.

    Example: leveret pause queue orders
    """
    client.put("queues", vhost, name, "pause")


@click.group(name="resume")
def resume_group() -> None:
    """Let what was paused go on."""


@resume_group.command(name="queue")
@click.argument("name")
@VHOST
@with_broker
def resume_queue(client: Client, name: str, vhost: str) -> None:
    """Give clients messages of a queue that was paused.

    Example: leveret resume queue orders
    """
    client.delete("queues", vhost, name, "pause")

"""`leveret list`: what there is."""

from typing import Final, NamedTuple

import click

from leveret.commands.client import Client
from leveret.commands.context import EXIT_WRONG_USE, fail, show, with_broker
from leveret.commands.table import text, value


class Listing(NamedTuple):
    """A kind of objects that can be listed."""

    path: str
    columns: tuple[str, ...]
    """Those that are shown if none are named."""


LISTINGS: Final = {
    "queues": Listing(
        "queues",
        (
            "vhost",
            "name",
            "state",
            "messages_ready",
            "messages_unacknowledged",
            "consumers",
            "policy",
        ),
    ),
    "exchanges": Listing("exchanges", ("vhost", "name", "type", "durable", "auto_delete")),
    "bindings": Listing(
        "bindings", ("vhost", "source", "destination_type", "destination", "routing_key")
    ),
    "connections": Listing(
        "connections", ("name", "user_provided_name", "user", "vhost", "state", "channels")
    ),
    "channels": Listing(
        "channels",
        ("name", "user", "vhost", "consumer_count", "messages_unacknowledged", "prefetch_count"),
    ),
    "consumers": Listing(
        "consumers",
        ("queue.vhost", "queue.name", "consumer_tag", "ack_required", "prefetch_count", "active"),
    ),
    "users": Listing("users", ("name", "tags", "limits")),
    "vhosts": Listing("vhosts", ("name", "description", "default_queue_type")),
    "vhost-limits": Listing("vhost-limits", ("vhost", "value")),
    "user-limits": Listing("user-limits", ("user", "value")),
    "permissions": Listing("permissions", ("vhost", "user", "configure", "write", "read")),
    "topic-permissions": Listing(
        "topic-permissions", ("vhost", "user", "exchange", "write", "read")
    ),
    "policies": Listing(
        "policies", ("vhost", "name", "pattern", "apply-to", "definition", "priority")
    ),
    "operator-policies": Listing(
        "operator-policies", ("vhost", "name", "pattern", "apply-to", "definition", "priority")
    ),
    "parameters": Listing("parameters", ("vhost", "component", "name", "value")),
    "global-parameters": Listing("global-parameters", ("name", "value")),
}


@click.command(name="list")
@click.argument("what", metavar="KIND", type=click.Choice(list(LISTINGS)))
@click.argument("columns", nargs=-1)
@click.option("--filter", "filters", metavar="COLUMN=TEXT", multiple=True, help="Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@with_broker
def list_command(
    client: Client, what: str, columns: tuple[str, ...], filters: tuple[str, ...], as_json: bool
) -> None:
    """List objects. Without COLUMNS it shows those that are asked for most.

    KIND is queues, exchanges, bindings, connections, channels, consumers, users, vhosts,
    vhost-limits, user-limits, permissions, topic-permissions, policies, operator-policies,
    parameters or global-parameters.

    Example: leveret list users name tags
    """
    listing = LISTINGS[what]
    rows = client.get(listing.path)
    for each in filters:
        column, separator, wanted = each.partition("=")
        if not separator:
            fail(f"--filter: expected COLUMN=TEXT, got '{each}'", EXIT_WRONG_USE)
        rows = [row for row in rows if text(value(row, column)) == wanted]
    show(rows, columns or listing.columns, as_json)

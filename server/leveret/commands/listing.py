"""`leveret list`: what there is, all of it or what filters leave."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

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


FILTER: Final = re.compile(r"([^=!<>~]+)(!=|=|<|>|~)(.*)", re.DOTALL)
"""A column, how it is compared, and with what."""


class Filter(NamedTuple):
    """What a row must have in a column."""

    column: str
    comparison: str
    wanted: str

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has it."""
        found = value(row, self.column)
        if self.comparison in "<>":
            if isinstance(found, bool) or not isinstance(found, int | float):
                return False
            wanted = float(self.wanted)
            return found < wanted if self.comparison == "<" else found > wanted
        if self.comparison == "~":
            return self.wanted in text(found)
        return (text(found) == self.wanted) == (self.comparison == "=")


def _filter(given: str) -> Filter:
    match = FILTER.fullmatch(given)
    if match is None:
        fail(
            f"--filter: expected COLUMN=TEXT, or one of != ~ < > for =, got '{given}'",
            EXIT_WRONG_USE,
        )
    found = Filter(*match.groups())
    if found.comparison in "<>" and not re.fullmatch(r"-?\d+(\.\d+)?", found.wanted):
        fail(f"--filter: '{found.wanted}' in '{given}' is no number", EXIT_WRONG_USE)
    return found


def _columns_of(row: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The columns that a row has, those of objects in it among them."""
    for name, each in row.items():
        yield f"{before}{name}"
        if isinstance(each, Mapping) and not before:
            yield from _columns_of(each, f"{name}.")


def _check_columns(rows: Sequence[Mapping[str, Any]], named: Sequence[str]) -> None:
    """End the command if no row has a column. A key of an object may be missing in all."""
    known = {column: None for row in rows for column in _columns_of(row)}
    for column in named:
        if rows and column not in known and column.partition(".")[0] not in known:
            near = difflib.get_close_matches(column, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
            fail(f"there is no column '{column}'; {hint}", EXIT_WRONG_USE)


@click.command(name="list")
@click.argument("what", metavar="KIND", type=click.Choice(list(LISTINGS)))
@click.argument("columns", nargs=-1)
@click.option(
    "--filter",
    "filters",
    metavar="COLUMN=TEXT",
    multiple=True,
    help="Only rows that have it. Also != for other than, ~ for contains, < and > for numbers."
    " Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@with_broker
def list_command(
    client: Client, what: str, columns: tuple[str, ...], filters: tuple[str, ...], as_json: bool
) -> None:
    """List objects. Without COLUMNS it shows those that are asked for most.

    KIND is queues, exchanges, bindings, connections, channels, consumers, users, vhosts,
    vhost-limits, user-limits, permissions, topic-permissions, policies, operator-policies,
    parameters or global-parameters.

    A column is a key of what --json prints, or of an object in it: queue.name.

    Example: leveret list queues name messages --filter 'messages>0'
    """
    listing = LISTINGS[what]
    rows = client.get(listing.path)
    asked = [_filter(each) for each in filters]
    _check_columns(rows, [*columns, *(each.column for each in asked)])
    rows = [row for row in rows if all(each.matches(row) for each in asked)]
    show(rows, columns or listing.columns, as_json)

"""Objects as rabbitmqctl prints them: columns with a tab between, JSON, CSV, or a table.

Field tables are Erlang terms in text, and objects in JSON. Definitions, limits and values of
parameters are JSON in either, which in JSON is a string.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from leveret.commands.table import text, value

ALIASES: Final = {
    "connection": "connection_details.name",
    "pid": "name",
    "channel_pid": "channel_details.name",
    "queue_name": "queue.name",
    "source_name": "source",
    "destination_name": "destination",
    "destination_kind": "destination_type",
}
"""Names of columns that RabbitMQ's command line has and its HTTP API has not."""

JSON_COLUMNS: Final = frozenset({"definition", "limits", "value"})
"""Columns whose values rabbitmqctl has as JSON texts."""


def pick(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """The columns of an object."""
    picked = {column: value(row, ALIASES.get(column, column)) for column in columns}
    if "source_kind" in picked:
        picked["source_kind"] = "exchange"
    for column in JSON_COLUMNS & picked.keys():
        picked[column] = msgspec.json.encode(picked[column]).decode()
    return picked


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """A list of objects, one a line."""
    lines = "\n,".join(msgspec.json.encode(row).decode() for row in rows)
    return f"[\n{lines}\n]" if rows else "[\n]"


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Lines of values with commas between, each in quotes, after one with the columns."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(each) for each in row.values()] for row in rows)
    return out.getvalue().rstrip("\n")


def as_columns(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, headers: bool
) -> list[str]:
    """Lines of values with tabs between."""
    lines = ["\t".join(cell(each) for each in row.values()) for row in rows]
    return ["\t".join(columns), *lines] if headers and lines else lines


def as_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Lines of a table with a frame."""
    cells = [list(columns), *([cell(each) for each in row.values()] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]

    def frame(left: str, between: str, right: str) -> str:
        return left + between.join("─" * (width + 2) for width in widths) + right

    lines = [
        "│"
        + "│".join(f" {each.ljust(width)} " for each, width in zip(line, widths, strict=True))
        + "│"
        for line in cells
    ]
    divided = f"\n{frame('├', '┼', '┤')}\n".join(lines).split("\n")
    return [frame("┌", "┬", "┐"), *divided, frame("└", "┴", "┘")]


def cell(value: Any) -> str:
    """A value in text."""
    if isinstance(value, list):
        return f"[{', '.join(map(text, value))}]"
    return term(value) if isinstance(value, Mapping) else text(value)


def term(value: Any) -> str:
    """A value in a field table, as an Erlang term. Field tables are nested a few levels at most
    (`limits.TABLE_DEPTH_MAX`)."""
    if isinstance(value, Mapping):
        pairs = ",".join(f"{{{term(name)},{term(each)}}}" for name, each in value.items())
        return f"[{pairs}]"
    if isinstance(value, list):
        return f"[{','.join(map(term, value))}]"
    return msgspec.json.encode(value).decode() if isinstance(value, str) else text(value)

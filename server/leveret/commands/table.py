"""Objects as a table of text."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A line with the names of the columns, and one for each row; numbers are set to the right.

    A column is a key, or several with dots between for an object in an object.
    """
    values = [[value(row, column) for column in columns] for row in rows]
    lines = [list(columns), *([text(each) for each in row] for row in values)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    right = [
        bool(values) and all(isinstance(row[at], int | float) for row in values)
        for at in range(len(columns))
    ]
    return "".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def value(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column; None where there is none."""
    found: Any = row
    for key in column.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def text(value: Any) -> str:
    """A value in a cell, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, str):
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in value)
    return str(value) if isinstance(value, int | float) else msgspec.json.encode(value).decode()

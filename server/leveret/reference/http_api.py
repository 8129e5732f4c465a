"""The generated form of the HTTP API: the tables of `docs/api.md`.

`python -m leveret.reference.http_api` in a checkout writes them.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from leveret.management.api.openapi import operations
from leveret.management.application import ROUTES
from leveret.management.columns import Column
from leveret.management.description import (
    Gives,
    ListOf,
    Operation,
    description_of,
    nouns,
    response_type,
)
from leveret.reference.markdown import GeneratedSection, table

DOCUMENT_PATH: Final = Path("docs/api.md")
TABLES: Final = GeneratedSection(str(DOCUMENT_PATH), "resources")


def with_tables(document: str) -> str:
    """`docs/api.md` with its tables generated.

    :raises ValueError: if the marks around the tables are missing.
    """
    found = list(operations(ROUTES))
    return TABLES.replace(document, "".join((*_resources(found), *_nouns(found))))


def _resources(found: Iterable[Operation]) -> Iterator[str]:
    groups: dict[str, list[Operation]] = {}
    for operation in found:
        parts = operation.path.split("/")
        groups.setdefault(parts[2] if len(parts) > 2 else parts[1], []).append(operation)
    for name, members in sorted(groups.items()):
        rows = (
            (
                f"`{operation.method}`",
                f"`{operation.path}`",
                _first_sentence(operation.text),
                _type_of(operation),
                operation.access,
            )
            for operation in members
        )
        yield f"\n### {name}\n\n"
        yield table(("method", "path", "what", "gives", "needs"), rows)


def _nouns(found: Iterable[Operation]) -> Iterator[str]:
    for noun, columns in nouns(found).items():
        yield f"\n### {noun}\n\n"
        rows = (
            (f"`{name}`", _json_type(column), column.text)
            for name, column in columns.by_name.items()
        )
        yield table(("field", "type", "what"), rows)


def _first_sentence(text: str) -> str:
    return re.split(r"\n\n|:param|:raises", " ".join(text.split("\n")))[0].strip()


def _type_of(operation: Operation) -> str:
    known = description_of(operation.endpoint)
    if known is None or known.gives is None:
        return ""
    return _shown(known.gives)


def _shown(gives: Gives) -> str:
    if isinstance(gives, ListOf):
        return f"list of {gives.columns.noun}"
    kind = response_type(gives)
    return getattr(kind, "__name__", "") if isinstance(kind, type) else ""


def _json_type(column: Column[Any]) -> str:
    """The type of a field in the words of JSON."""
    schema = msgspec.json.schema(column.type)
    return " or ".join(dict.fromkeys(_words(schema)))


def _words(schema: dict[str, Any]) -> Iterator[str]:
    for each in schema.get("anyOf", [schema]):
        if "$ref" in each:
            yield "object"
        elif each.get("type") == "array":
            yield "list"
        else:
            yield str(each.get("type", "any")).replace("boolean", "true or false")


if __name__ == "__main__":
    DOCUMENT_PATH.write_text(with_tables(DOCUMENT_PATH.read_text("utf-8")), "utf-8")

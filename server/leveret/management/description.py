"""What each resource of the HTTP API takes and gives, as OpenAPI 3.1 describes it.

An endpoint says it by a decorator, with the schemas that are checked and shown; its docstring says
what it does. The page and `docs/api.md` are made from it.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from leveret import __version__
from leveret.management.columns import Columns

E = TypeVar("E", bound=Callable[..., Any])

TITLE: Final = "Leveret HTTP API"

REFERENCE: Final = "#/components/schemas/{name}"

LIST_PARAMETERS: Final = {
    "page": ("integer", "The page, from 1; without it the response is the whole list."),
    "page_size": ("integer", "Objects of a page: 1 to 500."),
    "name": ("string", "A part of the name."),
    "use_regex": ("boolean", "Whether `name` is a regular expression."),
    "filter": ("string", "Conditions such as `ready>1000 consumers=0 name~mail`."),
    "sort": ("string", "The field to sort by, with dots for one inside an object."),
    "sort_reverse": ("boolean", "Whether the largest comes first."),
    "columns": ("string", "The fields to show, separated by commas."),
}
"""Query parameters of lists: type and meaning."""


class ListOf(NamedTuple):
    """A list of objects of a noun, or a page of it."""

    columns: Columns[Any]


Gives = Columns[Any] | ListOf | Any
"""What a response has: an object of a noun, a list of them, or a type that msgspec knows."""


class Description(NamedTuple):
    """What an endpoint takes and gives."""

    takes: Any
    gives: Gives


_DESCRIPTIONS: Final[dict[object, Description]] = {}


def described(*, takes: Any = None, gives: Gives = None) -> Callable[[E], E]:
    """Say what an endpoint takes and gives; None is nothing."""

    def remember(endpoint: E) -> E:
        _DESCRIPTIONS[endpoint] = Description(takes, gives)
        return endpoint

    return remember


def description_of(endpoint: object) -> Description | None:
    """What an endpoint says of itself; None if it says nothing."""
    return _DESCRIPTIONS.get(endpoint)


class Operation(NamedTuple):
    """A method of a resource."""

    method: str
    path: str
    endpoint: Callable[..., Any]
    access: str
    """What it needs, in words."""

    @property
    def text(self) -> str:
        """What it does."""
        return inspect.cleandoc(self.endpoint.__doc__ or "")


def response_type(gives: Gives) -> Any:
    """The type of a response as msgspec knows it; of a list its elements."""
    if isinstance(gives, ListOf):
        return gives.columns.schema
    return gives.schema if isinstance(gives, Columns) else gives


def nouns(operations: Iterable[Operation]) -> dict[str, Columns[Any]]:
    """The nouns of the responses, by name."""
    found: dict[str, Columns[Any]] = {}
    for operation in operations:
        known = description_of(operation.endpoint)
        gives = None if known is None else known.gives
        columns = gives.columns if isinstance(gives, ListOf) else gives
        if isinstance(columns, Columns):
            found[columns.noun] = columns
    return dict(sorted(found.items()))


def openapi(operations: Iterable[Operation]) -> dict[str, Any]:
    """The description of the API as OpenAPI 3.1."""
    operations = list(operations)
    types: list[Any] = []
    for operation in operations:
        known = description_of(operation.endpoint)
        if known is not None:
            types += [each for each in (known.takes, response_type(known.gives)) if each]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    by_type = {id(each): schema for each, schema in zip(types, schemas, strict=True)}
    for noun, columns in nouns(operations).items():
        for name, field in components.get(noun, {}).get("properties", {}).items():
            if columns.by_name[name].text:
                field["description"] = columns.by_name[name].text
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        methods = paths.setdefault(operation.path, {})
        methods[operation.method.lower()] = _operation(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"login": {"type": "http", "scheme": "basic"}},
        },
        "security": [{"login": []}],
    }


def _operation(operation: Operation, by_type: dict[int, Any]) -> dict[str, Any]:
    known = description_of(operation.endpoint) or Description(None, None)
    summary, _, rest = operation.text.partition("\n")
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)", operation.path)
    ]
    if isinstance(known.gives, ListOf):
        parameters += [
            {"name": name, "in": "query", "description": text, "schema": {"type": kind}}
            for name, (kind, text) in LIST_PARAMETERS.items()
        ]
    described_operation: dict[str, Any] = {
        "summary": summary,
        "description": f"{rest.strip()}\n\nNeeds: {operation.access}.".strip(),
        "tags": [operation.path.split("/")[2] if operation.path.count("/") > 1 else "health"],
        "parameters": parameters,
        "responses": {"default": {"description": "An error, with `error` and `reason`"}},
    }
    if known.takes is not None:
        content = {"application/json": {"schema": by_type[id(known.takes)]}}
        described_operation["requestBody"] = {"content": content}
    if known.gives is not None:
        schema = by_type[id(response_type(known.gives))]
        if isinstance(known.gives, ListOf):
            schema = {"type": "array", "items": schema}
        content = {"application/json": {"schema": schema}}
        described_operation["responses"]["200"] = {"description": "Found", "content": content}
    elif operation.method != "GET":
        described_operation["responses"]["204"] = {"description": "Done"}
    return described_operation

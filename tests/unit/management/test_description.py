"""The description of the HTTP API: every operation is described, and the description is whole."""

import inspect
import json
from typing import Any

import pytest

from leveret.management.api.openapi import operations
from leveret.management.application import ROUTES
from leveret.management.description import Operation, description_of, openapi

OPERATIONS = list(operations(ROUTES))

DESCRIPTION = openapi(OPERATIONS)


def name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def references(value: object) -> set[str]:
    """The schemas that a part of the description refers to."""
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_an_operation_says_what_it_does(operation: Operation) -> None:
    assert operation.text


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_an_operation_says_what_it_takes(operation: Operation) -> None:
    reads_body = "body(request" in inspect.getsource(operation.endpoint)
    known = description_of(operation.endpoint)
    assert reads_body == (known is not None and known.takes is not None)


def test_every_reference_has_its_schema() -> None:
    found = {each.rpartition("/")[2] for each in references(DESCRIPTION)}
    assert found
    assert found <= set(DESCRIPTION["components"]["schemas"])


def test_the_texts_of_columns_are_in_it() -> None:
    queue: dict[str, Any] = DESCRIPTION["components"]["schemas"]["Queue"]
    assert queue["properties"]["messages"]["description"] == "Ready and unacknowledged messages"


def test_it_is_json() -> None:
    assert json.loads(json.dumps(DESCRIPTION)) == DESCRIPTION

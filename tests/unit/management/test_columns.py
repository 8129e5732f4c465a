"""Tables of columns: values by path, wanted names, and the schema."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET, UnsetType

from leveret.management.columns import Column, Columns, wanted_names


class Details(msgspec.Struct):
    rate: float
    more: dict[str, int]


DETAILS = Details(1.5, {"a": 1})

THING: Columns[int] = Columns(
    "Thing",
    Column("name", str, str),
    Column("apply-to", int, lambda row: row),
    Column("details", Details, lambda row: DETAILS),
    Column("rare", int | UnsetType, lambda row: row if row > 1 else UNSET),
)


@pytest.mark.parametrize(
    ("path", "value"),
    [("name", "1"), ("details.rate", 1.5), ("details.more.a", 1), ("details.no", None)],
)
def test_a_value_is_found_by_its_path(path: str, value: object) -> None:
    assert THING.value(1, path) == value


def test_what_is_not_set_is_no_value_and_not_shown() -> None:
    assert THING.value(1, "rare") is None
    assert "rare" not in THING.shown(1)
    assert THING.shown(2)["rare"] == 2


def test_a_column_that_is_not_there_has_no_value() -> None:
    with pytest.raises(KeyError):
        THING.value(1, "none")


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["name"], {"name": "1"}),
        (["details.rate", "name"], {"details": {"rate": 1.5}, "name": "1"}),
        (["details.more.a", "details.rate"], {"details": {"more": {"a": 1}, "rate": 1.5}}),
        (["details", "details.rate"], {"details": DETAILS}),
        (["none", "rare"], {}),
    ],
)
def test_only_wanted_names_are_shown(paths: list[str], shown: dict[str, Any]) -> None:
    assert THING.shown(1, wanted_names(paths)) == shown


def test_the_schema_is_that_of_what_is_shown() -> None:
    for row in (1, 2):
        encoded = msgspec.json.encode(THING.shown(row))
        assert msgspec.json.encode(msgspec.json.decode(encoded, type=THING.schema)) == encoded
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"name": "1"}', type=THING.schema)

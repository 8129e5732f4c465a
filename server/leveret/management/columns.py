"""Tables of columns: one for each noun of the HTTP API says what its JSON has.

A list computes the columns that it is sorted and filtered by for all rows, and all columns only for
the rows that it shows. The schema of the noun is made from the same table: the documentation has
it, and tests check responses by it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args

import msgspec
from msgspec import UNSET, UnsetType

R = TypeVar("R")

Names = dict[str, "Names | None"]
"""Wanted names, each with those wanted of its object, or None for all of it."""


class Column(NamedTuple, Generic[R]):
    """One name of an object, and how its value is found."""

    name: str
    type: Any
    """The type of the value. One that includes `UnsetType` may be left out, by the value UNSET."""
    value: Callable[[R], object]
    text: str = ""
    """What it is, in a sentence for the documentation."""


class Columns(Generic[R]):
    """The columns of a noun."""

    def __init__(self, noun: str, *columns: Column[R]) -> None:
        """
        :param noun: the name of the schema, such as Queue.
        """
        self.noun: Final = noun
        self.by_name: Final = {column.name: column for column in columns}
        self.schema: Final = _schema(noun, columns)
        self.shortcuts: Final[dict[str, Callable[[R], object]]] = {}
        """What finds the values of some paths with less work than by way of their columns."""

    def value(self, row: R, path: str) -> object:
        """One value; None if there is none.

        :param path: a name, and names of objects in it, separated by dots.
        :raises KeyError: if the noun has no such column.
        """
        return self.getter(path)(row)

    def getter(self, path: str) -> Callable[[R], object]:
        """What finds the values of a path in rows.

        :raises KeyError: if the noun has no such column.
        """
        if path in self.shortcuts:
            return self.shortcuts[path]
        first, *below = path.split(".")
        found = self.by_name[first].value

        def get(row: R) -> object:
            value = found(row)
            for name in below:
                value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
            return None if value is UNSET else value

        return get

    def shown(self, row: R, wanted: Names | None = None) -> dict[str, object]:
        """The object of a row, or the wanted names of it, without those that are not set."""
        if wanted is None:
            shown = {name: column.value(row) for name, column in self.by_name.items()}
        else:
            shown = {
                name: _only(self.by_name[name].value(row), below)
                for name, below in wanted.items()
                if name in self.by_name
            }
        return {name: value for name, value in shown.items() if value is not UNSET}


def columns_of_dicts(noun: str, types: Mapping[str, Any]) -> Columns[dict[str, Any]]:
    """The columns of rows that are objects already.

    :param types: by the name of a key.
    """
    return Columns(noun, *(Column(name, each, _value_of(name)) for name, each in types.items()))


def _value_of(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda row: row.get(name, UNSET)


def wanted_names(paths: Iterable[str]) -> Names:
    """The names that paths with dots stand for."""
    names: Names = {}
    for path in paths:
        *parents, last = path.split(".")
        level = names
        for parent in parents:
            below = level.setdefault(parent, {})
            if below is None:  # all of it is wanted already
                break
            level = below
        else:
            level[last] = None
    return names


def only(value: dict[str, object], wanted: Names) -> dict[str, object]:
    """The wanted names of an object."""
    return {name: _only(value[name], below) for name, below in wanted.items() if name in value}


def _only(value: object, wanted: Names | None) -> object:
    if wanted is None or value is UNSET:
        return value
    found = msgspec.to_builtins(value)
    if not isinstance(found, dict):
        return found
    return only(found, wanted)


def _schema(noun: str, columns: Iterable[Column[Any]]) -> type[msgspec.Struct]:
    """A struct whose fields are the columns, with underscores in names that are no identifiers."""
    fields: list[Any] = []
    renamed: dict[str, str] = {}
    for column in columns:
        identifier = column.name.replace("-", "_")
        renamed[identifier] = column.name
        may_miss = UnsetType in get_args(column.type)
        fields.append((identifier, column.type, UNSET) if may_miss else (identifier, column.type))
    return msgspec.defstruct(noun, fields, rename=renamed.get, kw_only=True)

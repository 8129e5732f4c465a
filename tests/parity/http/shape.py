"""The shape of a JSON value: keys, and names of types in place of values.

A key that only some objects of a list have ends in `?`. Where the objects of a list have values of
several types, their names are joined by `|`. A list has the shape of its elements once.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

OPTIONAL: Final = "?"
MISSING: Final = "missing"
NODE: Final = "{node}"
"""A key that is the name of the node."""

_NAMES: Final[dict[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def shape(value: object) -> Any:
    """The shape of a value."""
    if isinstance(value, dict):
        return {NODE if "@" in key else key: shape(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return [_merged([shape(each) for each in value])] if value else []
    return _NAMES[type(value)]


def _merged(shapes: list[Any]) -> Any:
    """What several values have in common, and where they differ."""
    if all(isinstance(each, dict) for each in shapes):
        return _merged_objects(shapes)
    if all(isinstance(each, list) for each in shapes):
        elements = [element for each in shapes for element in each]
        return [_merged(elements)] if elements else []
    names = {name for each in shapes for name in _names(each)}
    objects = [each for each in shapes if isinstance(each, dict)]
    if objects and len(names) > 1:
        return {**_merged_objects(objects), "|": "|".join(sorted(names - {"object"}))}
    return "|".join(sorted(names))


def _names(value: Any) -> list[str]:
    if isinstance(value, dict):
        return ["object"]
    return ["list"] if isinstance(value, list) else value.split("|")


def _merged_objects(shapes: list[dict[str, Any]]) -> dict[str, Any]:
    keys = {key.removesuffix(OPTIONAL) for each in shapes for key in each}
    found: dict[str, Any] = {}
    for key in sorted(keys):
        values = [each[name] for each in shapes for name in (key, key + OPTIONAL) if name in each]
        everywhere = all(key in each for each in shapes)
        found[key if everywhere else key + OPTIONAL] = _merged(values)
    return found


def mismatches(theirs: Any, ours: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where a shape lacks something that another has: the path, and what is wrong there.

    Keys that the other lacks are no mismatch, and neither is an integer where it has numbers.
    """
    if isinstance(theirs, dict):
        if not isinstance(ours, Mapping):
            if not isinstance(ours, str) or ours not in theirs.get("|", "").split("|"):
                yield path, f"{_told(ours)} for an object"
            return
        for key, value in theirs.items():
            name = key.removesuffix(OPTIONAL)
            if name == "|":
                continue
            where = f"{path}.{name}" if path else name
            if name in ours or name + OPTIONAL in ours:
                got = ours[name] if name in ours else ours[name + OPTIONAL]
                yield from mismatches(value, got, where)
                if name not in ours and key == name:
                    yield where, "sometimes missing"
            elif key == name:
                yield where, MISSING
    elif isinstance(theirs, list):
        if not isinstance(ours, list):
            yield path, f"{_told(ours)} for a list"
        elif theirs and not ours:
            yield path, "an empty list"
        elif theirs and theirs[0] != "":
            yield from mismatches(theirs[0], ours[0], f"{path}[]")
    else:
        allowed = set(theirs.split("|"))
        if "number" in allowed:
            allowed.add("integer")
        names = set(_names(ours))
        if not names <= allowed:
            yield path, f"{_told(ours)} for {theirs}"


def _told(value: Any) -> str:
    return "|".join(_names(value))

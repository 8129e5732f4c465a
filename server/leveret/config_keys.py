"""The table of configuration keys, made from the sections of `config.py`."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from leveret.config import Config
from leveret.key_doc import KeyDoc


class Key(NamedTuple):
    """A row of the table of keys."""

    section: str
    name: str
    type: Any
    default: object
    doc: KeyDoc

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"LEVERET_{self.section}_{self.name}".upper()

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple

    @property
    def is_choice(self) -> bool:
        return get_origin(self.type) is Literal

    @property
    def expected(self) -> str:
        """The accepted values in words, for the documentation and for error messages."""
        doc = self.doc
        if doc.form:
            return doc.form
        if self.is_choice:
            return "one of " + ", ".join(get_args(self.type))
        if self.type is str:
            return "a text that is not empty" if doc.not_empty else "a text"
        if self.type is bool:
            return "true or false"
        kind = "a whole number" if self.type is int else "a number"
        return f"{kind} from {doc.low} to {doc.high}"


def _keys() -> dict[str, Key]:
    keys = {}
    for section in Config.__struct_fields__:
        defaults = getattr(Config(), section)
        for name, hint in get_type_hints(type(defaults), include_extras=True).items():
            kind, doc = get_args(hint)
            key = Key(section, name, kind, getattr(defaults, name), doc)
            keys[key.path] = key
    return keys


KEYS: Final[Mapping[str, Key]] = _keys()
"""The table of keys by `section.key`, in the order of the documentation."""


def toml_value(value: object) -> str:
    """A value of a key in TOML; JSON writes these texts, numbers and lists in the same way."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()

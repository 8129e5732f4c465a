"""The generated forms of the table of keys: `conf/leveret.toml`, the tables of
`docs/configuration.md`.

`python -m leveret.reference.configuration` in a checkout writes both files.
"""

import inspect
import textwrap
from pathlib import Path
from typing import Final

from leveret.config import KEYS, Config, Key, toml_value
from leveret.reference.markdown import GeneratedSection, table

TOML_PATH: Final = Path("conf/leveret.toml")
DOCUMENT_PATH: Final = Path("docs/configuration.md")
TABLES: Final = GeneratedSection(str(DOCUMENT_PATH), "keys")

_COLUMNS: Final = ("key", "default", "value", "description")
_TOML_HEAD: Final = """\
# Leveret's configuration: every key with its default. Environment variables and flags override this
# file (docs/configuration.md). Start with: leveret serve --config leveret.toml
"""
_TOML_WIDTH: Final = 98


def toml_text() -> str:
    """The whole of `conf/leveret.toml`."""
    return _TOML_HEAD + "".join(
        f"\n# {_heading(section)}\n[{section}]\n" + "".join(map(_toml_entry, keys))
        for section, keys in _by_section().items()
    )


def with_tables(document: str) -> str:
    """`docs/configuration.md` with its tables generated.

    :raises ValueError: if the marks around the tables are missing.
    """
    sections = [
        f"\n### `[{section}]`\n\n{_heading(section)}\n\n" + table(_COLUMNS, map(_cells, keys))
        for section, keys in _by_section().items()
    ]
    return TABLES.replace(document, "".join(sections) + "\n")


def _by_section() -> dict[str, list[Key]]:
    sections: dict[str, list[Key]] = {}
    for key in KEYS.values():
        sections.setdefault(key.section, []).append(key)
    return sections


def _heading(section: str) -> str:
    return inspect.getdoc(getattr(Config(), section)) or ""


def _cells(key: Key) -> tuple[str, ...]:
    return f"`{key.name}`", f"`{toml_value(key.default)}`", _value(key), key.doc.text


def _toml_entry(key: Key) -> str:
    comment = textwrap.wrap(f"{key.doc.text} Value: {_value(key)}.", _TOML_WIDTH)
    lines = [f"# {line}\n" for line in comment]
    return "\n" + "".join(lines) + f"{key.name} = {toml_value(key.default)}\n"


def _value(key: Key) -> str:
    unit = key.doc.unit
    return f"{key.expected} ({unit})" if unit and not key.doc.form else key.expected


if __name__ == "__main__":
    TOML_PATH.write_text(toml_text(), "utf-8")
    DOCUMENT_PATH.write_text(with_tables(DOCUMENT_PATH.read_text("utf-8")), "utf-8")

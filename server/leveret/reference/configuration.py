"""The written forms of the table of keys: `conf/leveret.toml`, the tables of
`docs/configuration.md`.

`python -m leveret.config_reference` in a checkout writes both anew; a test holds them against the
table.
"""

import inspect
import textwrap
from pathlib import Path
from typing import Final

import msgspec

from leveret.config import KEYS, Config, Key

TOML_PATH: Final = Path("conf/leveret.toml")
DOCUMENT_PATH: Final = Path("docs/configuration.md")

TABLES_BEGIN: Final = "<!-- keys: begin -->\n"
TABLES_END: Final = "<!-- keys: end -->\n"

_TOML_HEAD: Final = """\
# Leveret's configuration: every key, with its default. docs/configuration.md explains how a key can
# also be set by an environment variable or a flag. Start with: leveret serve --config leveret.toml
"""
_TOML_WIDTH: Final = 98


def toml_text() -> str:
    """The whole of `conf/leveret.toml`."""
    return _TOML_HEAD + "".join(
        f"\n# {_heading(section)}\n[{section}]\n" + "".join(map(_toml_entry, keys))
        for section, keys in _by_section().items()
    )


def tables_text() -> str:
    """The tables of `docs/configuration.md`, from the one mark to the other."""
    parts = [TABLES_BEGIN]
    for section, keys in _by_section().items():
        parts.append(f"\n### `[{section}]`\n\n{_heading(section)}\n\n")
        parts.append("| key | default | value | what it is |\n| --- | --- | --- | --- |\n")
        parts.extend(
            f"| `{key.name}` | `{_toml_value(key.default)}` | {_value(key)} | {key.about.doc} |\n"
            for key in keys
        )
    return "".join([*parts, "\n", TABLES_END])


def with_tables(document: str) -> str:
    """`docs/configuration.md` with its tables as they have to be.

    :raises ValueError: if the marks around them are missing.
    """
    before, _, rest = document.partition(TABLES_BEGIN)
    _, end, after = rest.partition(TABLES_END)
    if not end:
        raise ValueError(f"{DOCUMENT_PATH}: the marks around the tables are missing")
    return before + tables_text() + after


def _by_section() -> dict[str, list[Key]]:
    sections: dict[str, list[Key]] = {}
    for key in KEYS.values():
        sections.setdefault(key.section, []).append(key)
    return sections


def _heading(section: str) -> str:
    return inspect.getdoc(getattr(Config(), section)) or ""


def _toml_entry(key: Key) -> str:
    comment = textwrap.wrap(f"{key.about.doc} Value: {_value(key)}.", _TOML_WIDTH)
    lines = [f"# {line}\n" for line in comment]
    return "\n" + "".join(lines) + f"{key.name} = {_toml_value(key.default)}\n"


def _toml_value(value: object) -> str:
    """JSON writes the strings, numbers and lists that occur here as TOML does."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _value(key: Key) -> str:
    unit = key.about.unit
    return f"{key.expected} ({unit})" if unit and not key.about.form else key.expected


if __name__ == "__main__":
    TOML_PATH.write_text(toml_text(), "utf-8")
    DOCUMENT_PATH.write_text(with_tables(DOCUMENT_PATH.read_text("utf-8")), "utf-8")

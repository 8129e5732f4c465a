"""The generated forms of the table of keys: `conf/leveret.toml`, the tables of
`docs/configuration.md`.

`python -m leveret.reference.configuration` in a checkout writes both files.
"""

from pathlib import Path
from typing import Final

from leveret.config_keys import Key, toml_value
from leveret.reference.markdown import GeneratedSection, table
from leveret.sample_configuration import (
    accepted,
    heading,
    keys_by_section,
    sample_configuration,
)

TOML_PATH: Final = Path("conf/leveret.toml")
DOCUMENT_PATH: Final = Path("docs/configuration.md")
TABLES: Final = GeneratedSection(str(DOCUMENT_PATH), "keys")

_COLUMNS: Final = ("key", "default", "value", "description")


def with_tables(document: str) -> str:
    """`docs/configuration.md` with its tables generated.

    :raises ValueError: if the marks around the tables are missing.
    """
    sections = [
        f"\n### `[{section}]`\n\n{heading(section)}\n\n" + table(_COLUMNS, map(_cells, keys))
        for section, keys in keys_by_section().items()
    ]
    return TABLES.replace(document, "".join(sections) + "\n")


def _cells(key: Key) -> tuple[str, ...]:
    return f"`{key.name}`", f"`{toml_value(key.default)}`", accepted(key), key.doc.text


if __name__ == "__main__":
    TOML_PATH.write_text(sample_configuration(), "utf-8")
    DOCUMENT_PATH.write_text(with_tables(DOCUMENT_PATH.read_text("utf-8")), "utf-8")

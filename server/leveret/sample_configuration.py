"""The sample configuration: every key with its documentation and its default, as TOML.

It is `conf/leveret.toml` of the source tree, and what `leveret config show --defaults` prints.
"""

import inspect
import textwrap
from typing import Final

from leveret.config import Config
from leveret.config_keys import KEYS, Key, toml_value

_HEAD: Final = """\
# Leveret's configuration: every key with its default. Environment variables and flags override this
# file (docs/configuration.md). Start with: leveret serve --config leveret.toml
"""
_WIDTH: Final = 98


def sample_configuration() -> str:
    """The whole file."""
    return _HEAD + "".join(
        f"\n# {heading(section)}\n[{section}]\n" + "".join(map(_entry, keys))
        for section, keys in keys_by_section().items()
    )


def keys_by_section() -> dict[str, list[Key]]:
    """The keys in the order of the table."""
    sections: dict[str, list[Key]] = {}
    for key in KEYS.values():
        sections.setdefault(key.section, []).append(key)
    return sections


def heading(section: str) -> str:
    """What a section is about, in a sentence."""
    return inspect.getdoc(getattr(Config(), section)) or ""


def accepted(key: Key) -> str:
    """The accepted values of a key in words, with their unit."""
    unit = key.doc.unit
    return f"{key.expected} ({unit})" if unit and not key.doc.form else key.expected


def _entry(key: Key) -> str:
    comment = textwrap.wrap(f"{key.doc.text} Value: {accepted(key)}.", _WIDTH)
    lines = [f"# {line}\n" for line in comment]
    return "\n" + "".join(lines) + f"{key.name} = {toml_value(key.default)}\n"

"""Environment variables that say where a broker is, for applications that read them."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from string import Formatter
from typing import Final

from leveret.testing.broker import Broker

FIELDS: Final = ("url", "host", "port", "user", "password", "vhost")
"""What a value can have of a broker."""

_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Variable:
    """One variable."""

    name: str
    template: str
    """Its value, with the fields in braces."""

    def value(self, broker: Broker) -> str:
        """Its value for a broker whose port is known."""
        return self.template.format_map({field: getattr(broker, field) for field in FIELDS})


def read_variables(entries: Iterable[str]) -> list[Variable]:
    """The variables of entries `NAME`, which is to hold the URL, or `NAME=VALUE`.

    :raises ValueError: if an entry is wrong; the text says which.
    """
    return [_read(entry.strip()) for entry in entries]


def _read(entry: str) -> Variable:
    name, has_value, value = entry.partition("=")
    name, value = name.strip(), value.strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{entry!r} is not NAME or NAME=VALUE")
    try:
        found = [field for _, field, _, _ in Formatter().parse(value) if field is not None]
    except ValueError as error:
        raise ValueError(f"{entry!r}: {error}") from None
    for field in found:
        if field not in FIELDS:
            known = ", ".join(f"{{{each}}}" for each in FIELDS)
            raise ValueError(f"{entry!r}: {{{field}}} is none of {known}")
    return Variable(name, value if has_value else "{url}")


@contextmanager
def variables_set(variables: Sequence[Variable], broker: Broker) -> Iterator[None]:
    """Have the variables say where a broker is; afterwards they are what they were."""
    before: Mapping[str, str | None] = {
        variable.name: os.environ.get(variable.name) for variable in variables
    }
    os.environ.update({variable.name: variable.value(broker) for variable in variables})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

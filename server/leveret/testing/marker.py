"""The marker `leveret`: what a test wants of its broker.

The arguments of several markers of one test are put together: the nearest to the test wins, and
settings and variables are added to those of its class and its module.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from leveret.testing.variables import Variable, read_variables

NAME: Final = "leveret"

DESCRIPTION: Final = (
    f"{NAME}(management=False, process=False, directory=False, record=False, settings={{}}, env=[])"
    ": have a broker for this test, with the HTTP API, in a process of its own, with a temporary"
    " directory, with a record of what is published, with configuration keys, and with environment"
    " variables that say where it is"
)


@dataclass(frozen=True)
class Wanted:
    """What a test wants of its broker."""

    management: bool = False
    process: bool = False
    directory: bool = False
    record: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)
    variables: tuple[Variable, ...] = ()

    @property
    def kind(self) -> str:
        """The same for all tests that can have the same broker."""
        settings = sorted(self.settings.items())
        return repr((self.management, self.process, self.directory, settings))


ANY: Final = Wanted()
"""What a test wants that has no marker."""


def is_marked(item: pytest.Item) -> bool:
    """Whether a test has the marker."""
    return item.get_closest_marker(NAME) is not None


def wanted_by(item: pytest.Item) -> Wanted:
    """What a test wants.

    :raises ValueError: if a marker has a wrong argument.
    """
    marks = list(item.iter_markers(NAME))
    found: dict[str, Any] = {}
    settings: dict[str, object] = {}
    variables: list[Variable] = []
    for mark in reversed(marks):
        if mark.args:
            raise ValueError(f"its arguments have names: {', '.join(READERS)}")
        for name, value in mark.kwargs.items():
            if name not in READERS:
                raise ValueError(f"it has no argument {name}, but {', '.join(READERS)}")
            read = READERS[name](name, value)
            if name == "settings":
                settings.update(read)
            elif name == "env":
                variables.extend(read)
            else:
                found[name] = read
    return Wanted(**found, settings=settings, variables=tuple(variables))


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is True or False, and not {value!r}")
    return value


def _settings(name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f'{name} is a dictionary such as {{"amqp.heartbeat": 10}}, not {value!r}')
    return value


def _variables(name: str, value: object) -> list[Variable]:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, Iterable) or not all(isinstance(each, str) for each in entries):
        raise ValueError(f"{name} is a name of a variable, or several, and not {value!r}")
    return read_variables(entries)


READERS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "management": _flag,
    "process": _flag,
    "directory": _flag,
    "record": _flag,
    "settings": _settings,
    "env": _variables,
}
"""The arguments, and what checks each."""

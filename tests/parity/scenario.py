"""Scenarios by name, and their recordings.

A scenario is a function that drives a Session, named as the function, in the module's section.
Where Leveret decides otherwise than RabbitMQ 3.10.8, the scenario says why in one line (`differs`)
and holds every line that Leveret has to send, written with the functions of transcript.py.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parity import sections
from tests.parity.session import Session
from tests.parity.transcript import received
from tests.support.brokers import Leveret, RabbitMQ

RECORDINGS = Path(__file__).parent / "recordings"
HEADING = "## "

Play = Callable[[Session], None]


@dataclass(frozen=True)
class Scenario:
    """A script of raw methods, and how Leveret's answers may differ from RabbitMQ's."""

    section: str
    name: str
    play: Play
    differs: str
    leveret: tuple[str, ...]

    def expected(self, recorded: list[str]) -> list[str]:
        """What Leveret has to send: what RabbitMQ did, unless the scenario differs."""
        return list(self.leveret) if self.differs else received(recorded)

    @property
    def id(self) -> str:
        """`section.name`, unique."""
        return f"{self.section}.{self.name}"

    def run(self, broker: Leveret | RabbitMQ) -> list[str]:
        """Play it against a broker; the transcript."""
        with Session(broker.host, broker.port, broker.control) as session:
            self.play(session)
        return session.lines


_REGISTERED: dict[str, Scenario] = {}


def scenario(*, differs: str = "", leveret: Sequence[str] = ()) -> Callable[[Play], Play]:
    """Register a function as a scenario; `leveret` is what is received where it `differs`."""
    if bool(differs) != bool(leveret):
        raise ValueError("a scenario that differs says why, and what Leveret answers")

    def register(play: Play) -> Play:
        section = play.__module__.rpartition(".")[2]
        made = Scenario(section, play.__name__, play, differs, tuple(leveret))
        if made.id in _REGISTERED:
            raise ValueError(f"two scenarios named {made.id}")
        _REGISTERED[made.id] = made
        return play

    return register


def all_scenarios() -> list[Scenario]:
    """Every scenario of every section, in the order they are written."""
    for module in sorted(found.name for found in pkgutil.iter_modules(sections.__path__)):
        importlib.import_module(f"{sections.__name__}.{module}")
    return list(_REGISTERED.values())


def read_recordings() -> dict[str, list[str]]:
    """The recorded transcripts by scenario id."""
    found: dict[str, list[str]] = {}
    for path in sorted(RECORDINGS.glob("*.txt")):
        lines: list[str] = []
        for line in path.read_text().splitlines():
            if line.startswith(HEADING):
                lines = found.setdefault(f"{path.stem}.{line.removeprefix(HEADING)}", [])
            elif line:
                lines.append(line)
    return found


def write_recordings(transcripts: Mapping[str, list[str]]) -> None:
    """Replace the recordings: one file a section, one paragraph a scenario."""
    texts: dict[str, list[str]] = {}
    for name, lines in transcripts.items():
        section, _, title = name.partition(".")
        texts.setdefault(section, []).append("\n".join([f"{HEADING}{title}", "", *lines, ""]))
    for path in RECORDINGS.glob("*.txt"):
        path.unlink()
    for section, paragraphs in texts.items():
        (RECORDINGS / f"{section}.txt").write_text("\n".join(paragraphs))

"""The two ways the lessons are written, and how a program of each is started."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LESSONS = Path(__file__).parent


@dataclass(frozen=True)
class Spelling:
    """The lessons as written for one pika, and where that pika lies (None: it is installed)."""

    folder: str
    pika_directory: Path | None = None

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line of a lesson's program, named without `.py`."""
        folder = LESSONS / self.folder
        launcher = [] if self.pika_directory is None else [str(folder / "launch.py")]
        return [sys.executable, *launcher, str(folder / f"{program}.py"), *arguments]

    def environment(self, amqp_url: str) -> Mapping[str, str]:
        """What the program's environment needs besides the usual."""
        path = [] if self.pika_directory is None else [str(self.pika_directory)]
        inherited = os.environ.get("PYTHONPATH")
        return {
            "AMQP_URL": amqp_url,
            "PYTHONPATH": os.pathsep.join([*path, *([inherited] if inherited else [])]),
        }

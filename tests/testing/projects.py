"""Running the suite of another project, as its developers do: pytest in a process of its own."""

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from tests.unit.source_tree import ROOT

PLUGIN = "leveret.testing.plugin"

NO_CACHE = ("-p", "no:cacheprovider")

DEADLINE_S = 150.0


def plugin_arguments(*, elsewhere: bool = True) -> list[str]:
    """Arguments of pytest that load the plugin: none where Leveret is installed with it.

    :param elsewhere: for a process that runs in another directory, and does not find what a build
        leaves in this one.
    """
    path = [entry for entry in sys.path if not elsewhere or Path(entry).resolve() != ROOT]
    installed = any(
        entry.group == "pytest11" and entry.value == PLUGIN
        for distribution in distributions(path=path)
        for entry in distribution.entry_points
    )
    return [] if installed else ["-p", PLUGIN]


def pytest_environment() -> dict[str, str]:
    """The environment of a suite: this process's, without what concerns this suite only."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "LEVERET_", "COV_"))
    }


def run_pytest(directory: Path, *arguments: str) -> None:
    """Run the tests of a project.

    :raises AssertionError: if not all of them pass; its text is pytest's output.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *NO_CACHE, *plugin_arguments(), *arguments],
        cwd=directory,
        env=pytest_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

"""The lines that docs/commands.md has for completion work in the shells that they are for."""

import os
import re
import subprocess
import sys

import pytest

from tests.unit.source_tree import ROOT

LINES = re.findall(
    r"_LEVERET_COMPLETE=(\w+)_source leveret", (ROOT / "docs/commands.md").read_text("utf-8")
)
PROGRAM = "import sys; sys.argv[0] = 'leveret'; from leveret.cli import entry; entry()"


def run(**variables: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def test_the_three_shells_are_described() -> None:
    assert LINES == ["bash", "zsh", "fish"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    assert "_LEVERET_COMPLETE" in run(_LEVERET_COMPLETE=f"{shell}_source")


def test_commands_are_completed() -> None:
    words = {"COMP_WORDS": "leveret decl", "COMP_CWORD": "1"}
    assert "declare" in run(_LEVERET_COMPLETE="bash_complete", **words)

"""The manual of the command line, and the help of each command."""

import inspect
import subprocess
from shutil import which

import click
import pytest

from leveret.cli import main as command_line
from leveret.reference import commands, manual_page
from tests.unit.source_tree import ROOT

COMMANDS = dict(commands.commands_of(command_line, "leveret"))


def test_the_document_is_generated() -> None:
    document = (ROOT / commands.DOCUMENT_PATH).read_text("utf-8")
    assert commands.with_manual(document) == document, "python -m leveret.reference.commands"


def test_the_manual_page_is_generated() -> None:
    page = (ROOT / manual_page.DOCUMENT_PATH).read_text("utf-8")
    assert manual_page.manual_page() == page, "python -m leveret.reference.manual_page"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example(name: str) -> None:
    help_text = inspect.cleandoc(COMMANDS[name].help or "")
    examples = [each for each in help_text.split("\n\n") if each.startswith("Example: ")]
    assert len(examples) == 1
    assert f"{name} " in f"{examples[0]} ".replace("\n", " ")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_explained(name: str) -> None:
    unexplained = [
        parameter.name
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help
    ]
    assert unexplained == []


@pytest.mark.skipif(which("groff") is None, reason="groff is not installed")
def test_groff_has_no_warning_for_the_manual_page() -> None:
    formatted = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-z", str(ROOT / manual_page.DOCUMENT_PATH)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert formatted.stderr == ""

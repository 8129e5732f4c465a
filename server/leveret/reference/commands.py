"""The generated manual of the command line: `docs/commands.md`.

`python -m leveret.reference.commands` in a checkout writes it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from leveret.cli import main as command_line
from leveret.reference.markdown import GeneratedSection

DOCUMENT_PATH: Final = Path("docs/commands.md")
MANUAL: Final = GeneratedSection(str(DOCUMENT_PATH), "commands")

WIDTH: Final = 100
ELSEWHERE: Final = ("rabbitmqctl",)
"""Groups whose commands are those of another manual."""


def with_manual(document: str) -> str:
    """`docs/commands.md` with the manual generated.

    :raises ValueError: if the marks around it are missing.
    """
    sections = [_section(each, name) for name, each in commands_of(command_line, "leveret")]
    return MANUAL.replace(document, "\n" + "\n".join(sections))


def commands_of(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """The commands of a group and of the groups in it, with their full names, as they are
    documented."""
    context = click.Context(group, info_name=name)
    for command_name in group.list_commands(context):
        command = group.get_command(context, command_name)
        if command is None or command.hidden or command_name in ELSEWHERE:
            continue
        full_name = f"{name} {command_name}"
        if isinstance(command, click.Group):
            yield from commands_of(command, full_name)
        else:
            yield full_name, command


def _section(command: click.Command, name: str) -> str:
    # Without --help, which every command has.
    context = click.Context(
        command,
        info_name=name,
        max_content_width=WIDTH,
        terminal_width=WIDTH,
        help_option_names=[],
    )
    return f"### `{name}`\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    DOCUMENT_PATH.write_text(with_manual(DOCUMENT_PATH.read_text()))

"""The generated manual page of the command line: `docs/leveret.1`, which is installed.

`python -m leveret.reference.manual_page` in a checkout writes it. It has the macros of man(7).
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from leveret.cli import main as command_line
from leveret.reference.commands import commands_of

DOCUMENT_PATH: Final = Path("docs/leveret.1")

HEAD: Final = r"""
.\" Generated: python -m leveret.reference.manual_page
.TH LEVERET 1 "" "Leveret" "User Commands"
.SH NAME
leveret \- an AMQP 0-9-1 broker, and the commands for its operator
.SH SYNOPSIS
.B leveret
.I COMMAND
[\fIOPTIONS\fR] [\fIARGUMENTS\fR]
.SH DESCRIPTION
.B leveret serve
runs a broker.
.B leveret log
reads the data directory of a broker that does not run.
Most other commands talk to a running broker over its control socket, which only the owner of its
process can open, so that they need no password and work on the broker's machine only.
They find it as
.B serve
does.
.PP
.B leveret rabbitmqctl
understands what scripts call rabbitmqctl and rabbitmq-diagnostics for; see
.BR "leveret rabbitmqctl help" .
.SH COMMANDS
""".lstrip()

TAIL: Final = r"""
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
The broker refused, with its reason in one line on stderr; or
.B ping
got no answer; or
.B log check
found damage.
.TP
.B 2
The command line or the configuration is wrong, or the broker cannot start.
.TP
.B 3
The storage failed while the broker ran; the log has the reason.
.TP
.B 4
No broker listens on the control socket.
.PP
Those of
.B leveret rabbitmqctl
are RabbitMQ's: 64 to 70.
.SH ENVIRONMENT
.TP
.B LEVERET_CONFIG
The configuration file, where
.B \-\-config
names none.
.TP
.BI LEVERET_ SECTION _ KEY
The value of a key of the configuration.
.TP
.BI LEVERET_ SECTION _ KEY _FILE
The file whose first line is the value of a key that is a secret.
.SH FILES
.TP
.I leveret.toml
The configuration.
.B leveret config show \-\-defaults
prints each key, explained.
.TP
.I control.sock
The control socket, in the data directory.
""".lstrip()


def manual_page() -> str:
    """The whole page."""
    sections = (_section(name, each) for name, each in commands_of(command_line, "leveret"))
    return HEAD + "".join(sections) + TAIL


def _section(name: str, command: click.Command) -> str:
    return "".join(f"{line}\n" for line in _lines(name, command))


def _lines(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield f".SS {_escaped(name)}"
    yield f".B {_escaped(name)}"
    yield _escaped(" ".join(command.collect_usage_pieces(context)))
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        example = paragraph.removeprefix("Example: ")
        if example != paragraph:
            yield from (".PP", "Example:", ".PP", ".nf", ".RS 4", _line(example), ".RE", ".fi")
        else:
            yield ".PP"
            yield from map(_line, paragraph.split("\n"))
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            yield from (".TP", f".B {_escaped(record[0])}", _line(record[1]))


def _line(text: str) -> str:
    """A line of text, which is no request even if it begins as one."""
    escaped = _escaped(text)
    return rf"\&{escaped}" if escaped.startswith((".", "'")) or not escaped else escaped


def _escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")


if __name__ == "__main__":
    DOCUMENT_PATH.write_text(manual_page())

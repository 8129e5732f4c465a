"""What every command shares: the broker it talks to, its output, and how it fails.

Exit codes: 0 success; 1 the broker refused, with its reason in one line on stderr; 2 the command
line is wrong; 4 no broker listens on the control socket.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import click
import msgspec

from leveret.commands.client import Client, NoBroker, RequestFailed
from leveret.commands.table import table
from leveret.config_loading import ConfigError, load_config
from leveret.control_address import control_path
from leveret_storage.errors import UnknownMedium

EXIT_REFUSED: Final = 1
EXIT_WRONG_USE: Final = 2
EXIT_NO_BROKER: Final = 4

P = ParamSpec("P")
R = TypeVar("R")


def broker_option(command: Callable[..., R]) -> Callable[..., R]:
    """The options that say which broker a command talks to."""
    command = click.option(
        "--control-socket", metavar="PATH", help="The broker's control socket, if not in DIR."
    )(command)
    command = click.option(
        "--data-dir", metavar="DIR", help="The broker's data directory, as `serve` has it."
    )(command)
    return click.option(
        "--config", metavar="FILE", envvar="LEVERET_CONFIG", help="The broker's TOML file."
    )(command)


def with_broker(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the client of its broker as first argument, and have it fail in one line."""

    @broker_option
    @wraps(command)
    def run(
        *args: Any,
        data_dir: str | None,
        control_socket: str | None,
        config: str | None,
        **options: Any,
    ) -> R:
        try:
            path = find_control_socket(config, data_dir, control_socket)
            return command(Client(path), *args, **options)
        except NoBroker as error:
            fail(str(error), EXIT_NO_BROKER)
        except RequestFailed as error:
            fail(str(error), EXIT_REFUSED)

    return run


def find_control_socket(
    config: str | None, data_dir: str | None = None, control_socket: str | None = None
) -> Path:
    """The control socket of the broker that is meant. A data directory that is named on the
    command line, as its socket, comes before a socket of the configuration."""
    flags: dict[str, tuple[str, object]] = {}
    if data_dir is not None:
        flags["storage.data_dir"] = ("--data-dir", data_dir)
        flags["control.socket"] = ("--data-dir", "")
    if control_socket is not None:
        flags["control.socket"] = ("--control-socket", control_socket)
    try:
        return control_path(load_config(config, os.environ, flags, secrets=False))
    except (ConfigError, UnknownMedium) as error:
        fail(str(error), EXIT_WRONG_USE)


def fail(reason: str, code: int) -> NoReturn:
    """End with one line on stderr."""
    click.echo(f"leveret: {reason}", err=True)
    raise SystemExit(code)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print objects: as a table for people, or all that is known of them as JSON."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))  # bytes: UTF-8 in any locale
    else:
        click.echo(table(rows, columns), nl=False)


def read_password(password: str | None) -> str:
    """A password that was not given as an argument: from a terminal, or the first line of stdin."""
    if password is not None:
        return password
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\n")

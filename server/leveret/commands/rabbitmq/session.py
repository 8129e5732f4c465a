"""What every command of rabbitmqctl shares: its options, its output, and how it fails."""

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import click
import msgspec

from leveret.commands.client import Client, NoBroker, NotThere, RequestFailed
from leveret.commands.context import find_control_socket
from leveret.commands.rabbitmq import exit_codes, output

DEFAULT_TIMEOUT_S: Final = 60.0

NEAR: Final = 0.75
"""How similar a command is to what was typed, 0 to 1, from which on it is suggested."""


class Session:
    """One call of a command: the broker, and how it prints."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.vhost: str = options["vhost"] or "/"
        self.timeout_s: float = options["timeout"] or DEFAULT_TIMEOUT_S
        self.silent: bool = options["silent"]
        self._quiet: bool = options["quiet"] or options["silent"]
        self._headers: bool = not (options["silent"] or options["no_table_headers"])
        self._formatter: str = options["formatter"] or "table"
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client(find_control_socket(os.environ.get("LEVERET_CONFIG")))
        return self._client

    def prints_json(self) -> bool:
        """Whether results are printed as JSON."""
        return self._formatter == "json"

    def prints_text(self) -> bool:
        """Whether results are printed as lines of text, which is the default."""
        return self._formatter == "table"

    def say(self, line: str) -> None:
        """Print what is being done, unless the command is to be quiet."""
        if not self._quiet and self._formatter in ("table", "pretty_table"):
            click.echo(line)

    def result(self, line: str) -> None:
        """Print the result in one line, unless the command is to be silent."""
        if not self.silent:
            click.echo(line)

    def json(self, value: object) -> None:
        """Print a result as JSON."""
        click.echo(msgspec.json.encode(value).decode())

    def rows(
        self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, headers: bool = True
    ) -> None:
        """Print objects, one a line."""
        picked = [output.pick(row, columns) for row in rows]
        if self._formatter == "json":
            click.echo(output.as_json(picked))
        elif self._formatter == "csv":
            click.echo(output.as_csv(picked, columns))
        elif self._formatter == "pretty_table":
            if picked:
                click.echo("\n".join(output.as_table(picked, columns)))
        else:
            with_headers = headers and self._headers
            for line in output.as_columns(picked, columns, headers=with_headers):
                click.echo(line)


OPTIONS: Final = (
    click.option(
        "-n", "--node", metavar="NODE", help="Without an effect: that of this machine is asked."
    ),
    click.option("-l", "--longnames", is_flag=True, hidden=True),
    click.option("-t", "--timeout", type=float, metavar="SECONDS"),
    click.option("-q", "--quiet", is_flag=True, help="Print results only."),
    click.option("-s", "--silent", is_flag=True, help="As --quiet, without headers."),
    click.option("--no-table-headers", is_flag=True),
    click.option("--formatter", type=click.Choice(["table", "pretty_table", "json", "csv"])),
    click.option("-p", "--vhost", metavar="NAME"),
)
"""The options that every command has, before its name or behind it."""

OPTION_NAMES: Final = (
    "node",
    "longnames",
    "timeout",
    "quiet",
    "silent",
    "no_table_headers",
    "formatter",
    "vhost",
)


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command has."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


class _Group(click.Group):
    """The commands; a wrong command line is one line on stderr and `exit_codes.WRONG_USE`."""

    def make_context(self, *args: Any, **how: Any) -> click.Context:
        try:
            return super().make_context(*args, **how)
        except click.UsageError as error:
            fail(error.format_message(), exit_codes.WRONG_USE)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            fail(error.format_message(), exit_codes.WRONG_USE)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.list_commands(ctx), 1, NEAR)
            hint = f"Did you mean '{near[0]}'?" if near else "--help lists the commands."
            fail(f"Command '{name}' not found. {hint}", exit_codes.WRONG_USE)
        return super().resolve_command(ctx, args)


@click.group(
    name="rabbitmqctl",
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@with_options
@click.pass_context
def group(context: click.Context, /, **options: Any) -> None:
    """What scripts call by the names of RabbitMQ, for Leveret.

    Example: leveret rabbitmqctl -q list_queues name messages
    """
    context.obj = options
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        raise SystemExit(exit_codes.WRONG_USE)


def ctl(
    name: str,
    help_text: str,
    *parameters: Callable[[Any], Any],
    not_there: int = exit_codes.UNAVAILABLE,
) -> Callable[[Any], Any]:
    """Make a function a command of the group: it gets a session and the parameters.

    :param not_there: the exit code if something that it names does not exist.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @click.pass_context
        def run(context: click.Context, /, **given: Any) -> None:
            shared = {option: given.pop(option) for option in OPTION_NAMES}
            before = context.obj or {}
            session = Session({key: shared[key] or before.get(key) for key in shared})
            try:
                function(session, **given)
            except NoBroker as error:
                fail(f"unable to perform an operation: {error}", exit_codes.UNAVAILABLE)
            except NotThere as error:
                fail(str(error), not_there)
            except RequestFailed as error:
                fail(str(error), exit_codes.UNAVAILABLE)

        command: Any = with_options(run)
        for parameter in reversed(parameters):
            command = parameter(command)
        made: click.Command = click.command(name, help=help_text)(command)
        group.add_command(made)
        return made

    return decorate


def fail(reason: str, code: int) -> NoReturn:
    """End as rabbitmqctl does."""
    click.echo(f"Error:\n{reason}", err=True)
    raise SystemExit(code)


def argument(name: str, **how: Any) -> Callable[[Any], Any]:
    """A parameter without a name of its own on the command line."""
    return click.argument(name, **how)


def decoded(definition: str) -> dict[str, Any]:
    """A JSON object that was given as an argument."""
    try:
        return msgspec.json.decode(definition, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        fail(f"JSON decoding error. Reason: {error}", exit_codes.UNAVAILABLE)

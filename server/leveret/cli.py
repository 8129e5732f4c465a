"""The command line: `leveret serve`, `leveret ping`, `leveret log`, `leveret --version`.

Exit codes: 0 success; 1 `ping` got no answer; 2 the broker cannot start, with the reason in one
line on stderr; 3 the storage failed while the broker ran, with the reason in the log. A command
imports what it needs when it runs, because scripts call `ping` and `--version` often.
"""

import gc
import io
import os
import platform
import sys
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

import click

from leveret import __version__
from leveret.commands.log_copy import copy
from leveret.datadir.command import log_group

EXIT_NO_ANSWER: Final = 1
EXIT_CANNOT_START: Final = 2
EXIT_STORAGE_FAILED: Final = 3


def _print_version(context: click.Context, _parameter: click.Parameter, requested: bool) -> None:
    if not requested:
        return
    from leveret.compiled import build_kind

    python = f"{platform.python_implementation()} {platform.python_version()}"
    click.echo(f"leveret {__version__} ({python}, {build_kind()})")
    context.exit()


LATE_COMMANDS: Final = {
    "bind": ("objects", "bind"),
    "cancel-consumer": ("diagnosis", "cancel_consumer"),
    "change": ("messages", "change_group"),
    "close-connection": ("objects", "close_connection"),
    "cluster": ("cluster", "cluster_group"),
    "config": ("configuration", "config_group"),
    "copy": ("messages", "copy"),
    "declare": ("objects", "declare_group"),
    "definitions": ("definitions", "definitions_group"),
    "delayed": ("diagnosis", "delayed_group"),
    "delete": ("objects", "delete"),
    "diagnose": ("diagnosis", "diagnose"),
    "discard": ("messages", "discard"),
    "get": ("objects", "get"),
    "hash-password": ("configuration", "hash_password_command"),
    "limit": ("limits", "limit_group"),
    "list": ("listing", "list_command"),
    "move": ("messages", "move"),
    "parameter": ("policies", "parameter_group"),
    "pause": ("messages", "pause_group"),
    "peek": ("messages", "peek"),
    "permission": ("vhosts", "permission_group"),
    "policy": ("policies", "policy_group"),
    "publish": ("objects", "publish"),
    "rabbitmqctl": ("rabbitmqctl", "group"),
    "purge": ("objects", "purge"),
    "replay": ("messages", "replay"),
    "resume": ("messages", "resume_group"),
    "route": ("diagnosis", "route"),
    "status": ("objects", "status"),
    "unbind": ("objects", "unbind"),
    "user": ("users", "user_group"),
    "vhost": ("vhosts", "vhost_group"),
}
"""Commands that are imported when they run: module in `commands`, and name there."""


RABBITMQ_NAMES: Final = ("rabbitmqctl", "rabbitmq-diagnostics")
"""Names under which the program is that of RabbitMQ, as far as scripts use it."""


class _Commands(click.Group):
    """The commands, of which those that talk to a broker are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LATE_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LATE_COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = LATE_COMMANDS[cmd_name]
        command = getattr(import_module(f"leveret.commands.{module}"), name)
        if not isinstance(command, click.Command):
            raise TypeError(command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version, the version of Python, and whether the build is compiled.",
)
def main() -> None:
    """Leveret, an AMQP 0-9-1 broker."""


log_group.add_command(copy)
main.add_command(log_group)


@main.command()
@click.option("--config", "path", metavar="FILE", envvar="LEVERET_CONFIG", help="TOML file.")
@click.option("--data-dir", metavar="DIR", help="Directory or database for the data.")
@click.option("--memory", is_flag=True, default=None, help="Write no data to disk.")
@click.option("--salvage", is_flag=True, help="Set damaged data aside, and start without it.")
@click.option("--listen", metavar="HOST:PORT", multiple=True, help="Listen for AMQP; repeatable.")
@click.option(
    "--management", metavar="HOST:PORT", multiple=True, help="Serve the HTTP API; repeatable."
)
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="console or json.")
def serve(
    path: str | None,
    data_dir: str | None,
    memory: bool | None,
    salvage: bool,
    listen: tuple[str, ...],
    management: tuple[str, ...],
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Flags override LEVERET_* variables, which override the file (docs/configuration.md).

    Example: leveret serve --data-dir ./data --listen 127.0.0.1:5673
    """
    # What the imports make stays: a collection would find nothing. `app` enables it again.
    gc.disable()
    from leveret.config_loading import ConfigError, load_config

    form = log_format or os.environ.get("LEVERET_LOG_FORMAT", "console")
    flags: dict[str, tuple[str, object]] = {
        "storage.data_dir": ("--data-dir", data_dir),
        "storage.memory": ("--memory", memory),
        "amqp.listen": ("--listen", list(listen) or None),
        "management.listen": ("--management", list(management) or None),
        "log.level": ("--log-level", log_level),
        "log.format": ("--log-format", log_format),
    }
    warnings: list[str] = []
    given = {key: (flag, value) for key, (flag, value) in flags.items() if value is not None}
    try:
        config = load_config(path, os.environ, given, warn=warnings.append)
    except ConfigError as error:
        _refuse(form, str(error))

    from leveret import app

    try:
        app.serve(config, salvage=salvage, warnings=warnings)
    except app.StorageAway as error:
        _refuse(config.log.format, str(error), EXIT_STORAGE_FAILED)
    except (ConfigError, app.StartError) as error:
        _refuse(config.log.format, str(error))
    except app.StorageFailed:
        raise SystemExit(EXIT_STORAGE_FAILED) from None


@main.command()
@click.option("--config", "path", metavar="FILE", envvar="LEVERET_CONFIG", help="As for `serve`.")
@click.option("--host", metavar="HOST", help="Instead of the configured one.")
@click.option("--port", metavar="PORT", type=click.IntRange(1, 65535), help="As --host.")
@click.option("--tls", is_flag=True, help="The TLS listener.")
@click.option(
    "--timeout",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Seconds to wait.",
)
def ping(path: str | None, host: str | None, port: int | None, tls: bool, timeout: float) -> None:
    """Ask whether a broker answers. Exit with 0 if it does, in AMQP, and with 1 if none does.

    Without --host and --port it asks where the configuration says that the broker listens: over
    TCP, else over the Unix socket, else over TLS, whose certificate it does not check.

    Example: leveret ping --port 5673
    """
    from leveret.config_loading import ConfigError, load_config
    from leveret.ping import PingError, target_of
    from leveret.ping import ping as ping_broker

    try:
        target = target_of(load_config(path, os.environ, secrets=False), host, port, tls=tls)
    except ConfigError as error:
        _cannot_start(str(error))
    try:
        ping_broker(target, timeout)
    except PingError as error:
        click.echo(f"leveret: {target}: {error}", err=True)
        raise SystemExit(EXIT_NO_ANSWER) from None
    click.echo(f"a broker at {target} speaks AMQP 0-9-1")


def entry() -> None:
    """The entry point: `leveret`, or RabbitMQ's commands where a link has one of their names."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the locale has no letters for must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    if Path(sys.argv[0]).name in RABBITMQ_NAMES:
        from leveret.commands.rabbitmqctl import main as rabbitmqctl

        rabbitmqctl()
    else:
        main()


def _refuse(log_format: str, reason: str, code: int = EXIT_CANNOT_START) -> NoReturn:
    """End a start with a line in the format of the log."""
    from leveret.logging import write_refusal

    write_refusal(log_format, reason)
    raise SystemExit(code)


def _cannot_start(reason: str) -> NoReturn:
    click.echo(f"leveret: {reason}", err=True)
    raise SystemExit(EXIT_CANNOT_START)

"""`leveret config` and `leveret hash-password`: they need no broker."""

import os
from pathlib import Path
from typing import Any, Final

import click

from leveret.commands.context import EXIT_WRONG_USE, fail, read_password
from leveret.commands.rabbitmq_conf import convert as convert_text
from leveret.config import Config
from leveret.config_keys import KEYS, toml_value
from leveret.config_loading import ConfigError, load_config
from leveret.engine.access.passwords import SHA256, SHA512, hash_password
from leveret.os_errors import plain_words
from leveret.sample_configuration import sample_configuration
from leveret_storage.errors import UnknownMedium
from leveret_storage.media.locations import check_location

HIDDEN: Final = "***"
ALGORITHMS: Final = {"sha256": SHA256, "sha512": SHA512}

FILE = click.option("--config", "path", metavar="FILE", envvar="LEVERET_CONFIG", help="TOML file.")


@click.group(name="config")
def config_group() -> None:
    """The configuration: check it, show it, convert RabbitMQ's."""


@config_group.command()
@FILE
def check(path: str | None) -> None:
    """Check the configuration. Warnings name what has no effect.

    Example: leveret config check --config /etc/leveret/leveret.toml
    """
    warnings: list[str] = []
    storage = _loaded(path, warnings).storage
    try:
        if not storage.memory:
            check_location(storage.data_dir)
    except UnknownMedium as error:
        fail(f"storage.data_dir: {error}", EXIT_WRONG_USE)
    for warning in warnings:
        click.echo(f"leveret: {warning}", err=True)
    click.echo("the configuration is right")


@config_group.command()
@FILE
@click.option("--defaults", is_flag=True, help="The sample: each key, explained, as if unset.")
def show(path: str | None, defaults: bool) -> None:
    """Print every key with its value, as TOML. Secrets are not printed.

    Example: leveret config show --defaults > leveret.toml
    """
    if defaults:
        click.echo(sample_configuration(), nl=False)
        return
    values = shown_values(_loaded(path, []))
    click.echo(_toml(values), nl=False)


@config_group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def convert(file: Path) -> None:
    """Print a rabbitmq.conf as Leveret's configuration. What has no counterpart is listed.

    Example: leveret config convert /etc/rabbitmq/rabbitmq.conf > leveret.toml
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = plain_words(error) if isinstance(error, OSError) else "not UTF-8 text"
        fail(f"{file}: {reason}", EXIT_WRONG_USE)
    if text.lstrip().startswith("["):
        fail(f"{file} has Erlang's form; a rabbitmq.conf has lines KEY = VALUE", EXIT_WRONG_USE)
    converted = convert_text(text)
    click.echo(_toml(converted.values), nl=False)
    if converted.without_counterpart:
        click.echo("\n# Without a counterpart:")
        for line in converted.without_counterpart:
            click.echo(f"# line {line}")
        lines = len(converted.without_counterpart)
        click.echo(f"leveret: without a counterpart, as the end lists: {lines}", err=True)


@click.command(name="hash-password")
@click.option("--password", metavar="TEXT", help="Better typed, or from stdin, which has no trace.")
@click.option(
    "--algorithm",
    type=click.Choice(list(ALGORITHMS)),
    default="sha256",
    help="RabbitMQ 3.10 reads both.",
)
def hash_password_command(password: str | None, algorithm: str) -> None:
    """Print the hash of a password. Definitions files have it.

    Example: leveret hash-password
    """
    given = read_password(password)
    if not given:
        fail("a password must not be empty", EXIT_WRONG_USE)
    click.echo(hash_password(given.encode(), ALGORITHMS[algorithm]))


def shown_values(config: Config) -> dict[str, Any]:
    """Every key with its value; secrets are hidden."""
    values = {key.path: getattr(getattr(config, key.section), key.name) for key in KEYS.values()}
    return {
        path: HIDDEN if KEYS[path].doc.secret and value else value for path, value in values.items()
    }


def _loaded(path: str | None, warnings: list[str]) -> Config:
    try:
        return load_config(path, os.environ, warn=warnings.append)
    except ConfigError as error:
        fail(str(error), EXIT_WRONG_USE)


def _toml(values: dict[str, Any]) -> str:
    """Keys by section, in the order of the documentation."""
    lines: list[str] = []
    section = ""
    for key in KEYS.values():
        if key.path not in values:
            continue
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        lines.append(f"{key.name} = {toml_value(values[key.path])}")
    return "".join(f"{line}\n" for line in lines)

"""`leveret definitions`: export and import (RabbitMQ: Definition Export and Import)."""

from pathlib import Path
from typing import Any

import click
import msgspec

from leveret.commands.client import Client
from leveret.commands.context import EXIT_WRONG_USE, fail, with_broker
from leveret.engine.administration.merge_rules import MERGE_RULES
from leveret.engine.lifecycle.argument_checks import QUEUE_TYPE
from leveret.os_errors import plain_words

VHOST = click.option("--vhost", metavar="NAME", help="What this virtual host has only.")
FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@click.group(name="definitions")
def definitions_group() -> None:
    """Definitions, as a file of RabbitMQ's form.

    They are users, virtual hosts, policies, queues and the like.
    """


@definitions_group.command(name="export")
@click.argument("file", type=FILE, default="-")
@VHOST
@with_broker
def export_definitions(client: Client, file: Path, vhost: str | None) -> None:
    """Write the definitions to FILE, or to stdout.

    Example: leveret definitions export definitions.json
    """
    found = client.get("definitions", *([] if vhost is None else [vhost]))
    text = msgspec.json.format(msgspec.json.encode(found)) + b"\n"
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    try:
        file.write_bytes(text)
    except OSError as error:
        fail(f"{file}: {plain_words(error)}", EXIT_WRONG_USE)


@definitions_group.command(name="import")
@click.argument("file", type=FILE)
@VHOST
@click.option("--without-streams", is_flag=True, help="Leave out streams, which do not exist here.")
@with_broker
def import_definitions(
    client: Client, file: Path, vhost: str | None, without_streams: bool
) -> None:
    """Read definitions from FILE, or from stdin for "-". A wrong entry is named, and nothing is
    changed.

    Example: leveret definitions import definitions.json
    """
    try:
        with click.open_file(str(file), "rb") as opened:
            found = msgspec.json.decode(opened.read())
    except OSError as error:
        fail(f"{file}: {plain_words(error)}", EXIT_WRONG_USE)
    except msgspec.DecodeError as error:
        fail(f"{file}: no JSON: {error}", EXIT_WRONG_USE)
    if without_streams and isinstance(found, dict):
        for name in _drop_streams(found):
            click.echo(f"left out: stream '{name}'", err=True)
    client.post("definitions", *([] if vhost is None else [vhost]), body=found)
    click.echo(f"imported; {MERGE_RULES}", err=True)


def _drop_streams(definitions: dict[str, Any]) -> list[str]:
    """Take the streams out of definitions, with the bindings to them.

    :returns: their names.
    """
    streams = {
        (queue.get("vhost"), queue.get("name"))
        for queue in definitions.get("queues", [])
        if queue.get("arguments", {}).get(QUEUE_TYPE) == "stream"
    }
    for section, name in (("queues", "name"), ("bindings", "destination")):
        definitions[section] = [
            entry
            for entry in definitions.get(section, [])
            if entry.get("destination_type") == "exchange"
            or (entry.get("vhost"), entry.get(name)) not in streams
        ]
    return sorted(name for _, name in streams)

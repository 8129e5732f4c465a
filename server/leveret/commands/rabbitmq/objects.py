"""Policies, parameters, definitions, connections and queues, by the commands of rabbitmqctl(8)."""

import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from leveret.commands.rabbitmq import exit_codes
from leveret.commands.rabbitmq.session import Session, argument, ctl, decoded, fail
from leveret.os_errors import plain_words

POLICY = (
    argument("name"),
    argument("pattern"),
    argument("definition"),
    click.option("--priority", default=0),
    click.option("--apply-to", default="all"),
)


@ctl("set_policy", "Add or replace a policy.", *POLICY)
def set_policy(session: Session, **given: Any) -> None:
    _set_policy(session, "policies", "policy", given)


@ctl("set_operator_policy", "Add or replace an operator policy.", *POLICY)
def set_operator_policy(session: Session, **given: Any) -> None:
    _set_policy(session, "operator-policies", "operator policy override", given)


def _set_policy(session: Session, kind: str, title: str, given: dict[str, Any]) -> None:
    name, pattern, definition = given["name"], given["pattern"], given["definition"]
    priority = given["priority"]
    session.say(
        f'Setting {title} "{name}" for pattern "{pattern}" to "{definition}" with priority'
        f' "{priority}" for vhost "{session.vhost}" ...'
    )
    body = {
        "pattern": pattern,
        "definition": decoded(definition),
        "priority": priority,
        "apply-to": given["apply_to"],
    }
    session.client.put(kind, session.vhost, name, body=body)


@ctl("clear_policy", "Delete a policy.", argument("name"))
def clear_policy(session: Session, name: str) -> None:
    session.say(f'Clearing policy "{name}" on vhost "{session.vhost}" ...')
    session.client.delete("policies", session.vhost, name)


@ctl("clear_operator_policy", "Delete an operator policy.", argument("name"))
def clear_operator_policy(session: Session, name: str) -> None:
    session.say(f'Clearing operator policy "{name}" on vhost "{session.vhost}" ...')
    session.client.delete("operator-policies", session.vhost, name)


@ctl(
    "set_parameter",
    "Set a parameter of a component.",
    argument("component"),
    argument("name"),
    argument("value"),
)
def set_parameter(session: Session, component: str, name: str, value: str) -> None:
    session.say(
        f'Setting runtime parameter "{name}" for component "{component}" to "{value}" in vhost'
        f' "{session.vhost}" ...'
    )
    body = {"value": _value(value)}
    session.client.put("parameters", component, session.vhost, name, body=body)


@ctl(
    "clear_parameter", "Delete a parameter of a component.", argument("component"), argument("name")
)
def clear_parameter(session: Session, component: str, name: str) -> None:
    session.say(
        f'Clearing runtime parameter "{name}" for component "{component}" on vhost'
        f' "{session.vhost}" ...'
    )
    session.client.delete("parameters", component, session.vhost, name)


@ctl("set_global_parameter", "Set a global parameter.", argument("name"), argument("value"))
def set_global_parameter(session: Session, name: str, value: str) -> None:
    session.say(f'Setting global runtime parameter "{name}" to "{value}" ...')
    session.client.put("global-parameters", name, body={"value": _value(value)})


@ctl("clear_global_parameter", "Delete a global parameter.", argument("name"))
def clear_global_parameter(session: Session, name: str) -> None:
    session.say(f'Clearing global runtime parameter "{name}" ...')
    session.client.delete("global-parameters", name)


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        fail(f"JSON decoding error. Reason: {error}", exit_codes.UNAVAILABLE)


# --- definitions --------------------------------------------------------------------------------


FORMAT = click.option("--format", "form", type=click.Choice(["json"]), default="json", hidden=True)


@ctl("import_definitions", "Import a definitions file.", argument("file", required=False), FORMAT)
def import_definitions(session: Session, file: str | None, form: str) -> None:
    from_stdin = file in (None, "-")
    where = "standard input" if from_stdin else f"file {file}"
    session.say(f"Importing definitions in JSON from {where} ...")
    try:
        data = sys.stdin.buffer.read() if from_stdin else Path(file or "").read_bytes()
        found = msgspec.json.decode(data)
    except OSError as error:
        fail(f"{file}: {plain_words(error)}", exit_codes.WRONG_DATA)
    except msgspec.DecodeError as error:
        fail(f"{where}: no JSON: {error}", exit_codes.WRONG_DATA)
    session.client.post("definitions", body=found)


@ctl("export_definitions", "Export all definitions.", argument("file"), FORMAT)
def export_definitions(session: Session, file: str, form: str) -> None:
    data = msgspec.json.encode(session.client.get("definitions"))
    if file == "-":
        click.echo(data.decode())
        return
    session.say(f"Exporting definitions in JSON to a file at {file} ...")
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        fail(f"{file}: {plain_words(error)}", exit_codes.WRONG_DATA)


# --- connections and queues ---------------------------------------------------------------------


@ctl("close_connection", "Close a connection.", argument("name"), argument("reason"))
def close_connection(session: Session, name: str, reason: str) -> None:
    session.say(f"Closing connection {name}, reason: {reason}...")
    session.client.delete("connections", name, headers={"X-Reason": reason})


@ctl(
    "close_all_connections",
    "Close connections of a virtual host.",
    argument("reason"),
    click.option("--global", "everywhere", is_flag=True, help="To all virtual hosts."),
    click.option("--limit", type=click.IntRange(0), default=0, help="How many at most."),
    click.option(
        "--per-connection-delay",
        type=click.IntRange(0),
        default=0,
        metavar="MILLISECONDS",
        help="A pause after each.",
    ),
)
def close_all_connections(
    session: Session, reason: str, everywhere: bool, limit: int, per_connection_delay: int
) -> None:
    client = session.client
    if everywhere:
        session.say(f"Closing all connections (across all vhosts), reason: {reason}...")
        found = client.get("connections")
    else:
        session.say(f"Closing all connections in vhost {session.vhost}, reason: {reason}...")
        found = client.get("vhosts", session.vhost, "connections")
    closed = 0
    for connection in found[: limit or None]:
        # One that has gone meanwhile needs no closing.
        if client.find("connections", connection["name"]) is None:
            continue
        client.delete("connections", connection["name"], headers={"X-Reason": reason})
        closed += 1
        time.sleep(per_connection_delay / 1000)
    session.result(f"Closed {closed} connections")


@ctl("purge_queue", "Drop the messages of a queue.", argument("name"))
def purge_queue(session: Session, name: str) -> None:
    session.say(f"Purging queue '{name}' in vhost '{session.vhost}' ...")
    session.client.delete("queues", session.vhost, name, "contents")


@ctl(
    "delete_queue",
    "Delete a queue.",
    argument("name"),
    click.option("-e", "--if-empty", is_flag=True, help="Only if it has no messages."),
    click.option("-u", "--if-unused", is_flag=True, help="Only if it has no consumers."),
    not_there=exit_codes.WRONG_USE,
)
def delete_queue(session: Session, name: str, if_empty: bool, if_unused: bool) -> None:
    session.say(f"Deleting queue '{name}' on vhost '{session.vhost}' ...")
    ready = session.client.get("queues", session.vhost, name)["messages_ready"]
    conditions = {"if-empty": if_empty, "if-unused": if_unused}
    query = "&".join(f"{key}=true" for key, wanted in conditions.items() if wanted)
    last = quote(name, safe="", errors="surrogateescape") + (f"?{query}" if query else "")
    session.client.delete_quoted(("queues", session.vhost), last)
    session.result(f"Queue was successfully deleted with {ready} ready messages")


@ctl("eval", "Refused: there is no Erlang here.", argument("expression", nargs=-1))
def evaluate(session: Session, expression: tuple[str, ...]) -> None:
    fail(
        "eval evaluates Erlang, which Leveret does not have; see `leveret --help`",
        exit_codes.WRONG_USE,
    )

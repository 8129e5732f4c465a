"""`rabbitmqctl` and `rabbitmq-diagnostics`: what scripts call, by RabbitMQ's names.

Thin: each command is a request or two of the HTTP API over the control socket. Options and outputs
are those of RabbitMQ 3.10 (rabbitmqctl(8), rabbitmq-diagnostics(8)), with its exit codes: 0, 64 for
a wrong command line, 65 for what is refused, 69 for no broker.
"""

import csv
import io
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import click
import msgspec

from leveret.commands.client import Client, NoBroker, RequestFailed
from leveret.commands.context import find_control_socket, read_password
from leveret.commands.table import text, value
from leveret.os_errors import plain_words

EXIT_USAGE: Final = 64
EXIT_REFUSED: Final = 65
EXIT_NO_BROKER: Final = 69

DEFAULT_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.2
"""Seconds between two looks at whether the broker has started."""


ALIASES: Final = {
    "connection": "connection_details.name",
    "pid": "name",
    "queue_name": "queue.name",
    "source_name": "source",
    "destination_name": "destination",
    "destination_kind": "destination_type",
}
"""Names of columns that RabbitMQ's command line has and its HTTP API has not."""


class Session:
    """One call of a command: the broker, and how it prints."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.vhost: str = options["vhost"] or "/"
        self.timeout_s: float = options["timeout"] or DEFAULT_TIMEOUT_S
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

    def say(self, line: str) -> None:
        """Print what is being done, unless the command is to be quiet."""
        if not self._quiet and self._formatter == "table":
            click.echo(line)

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Print objects, one a line."""
        picked = [
            {column: value(row, ALIASES.get(column, column)) for column in columns} for row in rows
        ]
        if self._formatter == "json":
            click.echo(msgspec.json.encode(picked).decode())
        elif self._formatter == "csv":
            out = io.StringIO()
            writer = csv.DictWriter(out, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(picked)
            click.echo(out.getvalue(), nl=False)
        else:
            if self._headers and picked:
                click.echo("\t".join(columns))
            for row in picked:
                click.echo("\t".join(_cell(each) for each in row.values()))


def _cell(value: Any) -> str:
    """A value as rabbitmqctl prints it in a table."""
    if isinstance(value, list):
        return f"[{', '.join(map(text, value))}]"
    return text(value)


OPTIONS: Final = (
    click.option("-n", "--node", metavar="NODE", help="Without an effect: there is one broker."),
    click.option("-l", "--longnames", is_flag=True, hidden=True),
    click.option("-t", "--timeout", type=float, metavar="SECONDS"),
    click.option("-q", "--quiet", is_flag=True, help="Print results only."),
    click.option("-s", "--silent", is_flag=True, help="As --quiet, without headers."),
    click.option("--no-table-headers", is_flag=True),
    click.option("--formatter", type=click.Choice(["table", "pretty_table", "json", "csv"])),
    click.option("-p", "--vhost", metavar="NAME"),
)
"""The options that every command has, before its name or behind it."""


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command has."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def ctl(name: str, help_text: str, *parameters: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a function a command of the group: it gets a session and the parameters."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @click.pass_context
        def run(context: click.Context, /, **given: Any) -> None:
            shared = {option: given.pop(option) for option in OPTION_NAMES}
            before = context.obj or {}
            session = Session({key: shared[key] or before.get(key) for key in shared})
            try:
                function(session, **given)
            except NoBroker as error:
                fail(f"unable to perform an operation: {error}", EXIT_NO_BROKER)
            except RequestFailed as error:
                fail(str(error), EXIT_REFUSED)

        command: Any = with_options(run)
        for parameter in reversed(parameters):
            command = parameter(command)
        made: click.Command = click.command(name, help=help_text)(command)
        group.add_command(made)
        return made

    return decorate


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


@click.group(name="rabbitmqctl", context_settings={"help_option_names": ["-h", "--help"]})
@with_options
@click.pass_context
def group(context: click.Context, /, **options: Any) -> None:
    """What scripts call by the names of RabbitMQ, for Leveret."""
    context.obj = options


def fail(reason: str, code: int) -> NoReturn:
    """End as rabbitmqctl does."""
    click.echo(f"Error:\n{reason}", err=True)
    raise SystemExit(code)


def argument(name: str, **how: Any) -> Callable[[Any], Any]:
    """A parameter without a name of its own on the command line."""
    return click.argument(name, **how)


# --- the broker ---------------------------------------------------------------------------------


@ctl("ping", "Say whether the broker runs.")
def ping(session: Session) -> None:
    session.client.get("overview")
    session.say("Ping succeeded")


@ctl("check_running", "Say whether the broker runs and serves.")
def check_running(session: Session) -> None:
    session.client.get("overview")
    session.say("Leveret is fully booted and running")


@ctl("await_startup", "Wait for the broker to serve.")
def await_startup(session: Session) -> None:
    deadline = time.monotonic() + session.timeout_s
    while True:
        try:
            session.client.get("overview")
            return
        except NoBroker:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)


@ctl("check_local_alarms", "Say whether an alarm blocks publishers.")
def check_local_alarms(session: Session) -> None:
    alarm = session.client.get("overview")["alarm"]
    if alarm:
        fail(f"an alarm is in effect: {alarm}", EXIT_REFUSED)
    session.say("No alarms are in effect")


@ctl("check_port_connectivity", "Connect to every listener.")
def check_port_connectivity(session: Session) -> None:
    for listener in session.client.get("overview")["listeners"]:
        address = listener["ip_address"], listener["port"]
        try:
            socket.create_connection(address, session.timeout_s).close()
        except OSError as error:
            named = f"{address[0]}:{address[1]}"
            fail(f"cannot connect to {named}: {plain_words(error)}", EXIT_REFUSED)
    session.say("All listeners accept connections")


@ctl("status", "Say how the broker is.")
def status(session: Session) -> None:
    found = session.client.get("overview")
    if session.prints_json():
        click.echo(msgspec.json.encode(found).decode())
        return
    for name in ("product_name", "product_version", "node", "pid", "uptime", "memory_used"):
        click.echo(f"{name}: {found[name]}")


# --- users, virtual hosts, permissions ------------------------------------------------------------


@ctl("add_user", "Add a user.", argument("name"), argument("password", required=False))
def add_user(session: Session, name: str, password: str | None) -> None:
    session.say(f'Adding user "{name}" ...')
    if session.client.find("users", name) is not None:
        fail(f"user '{name}' already exists", EXIT_REFUSED)
    body = {"password": read_password(password), "tags": ""}
    session.client.put("users", name, body=body)


@ctl("change_password", "Give a user another password.", argument("name"), argument("password"))
def change_password(session: Session, name: str, password: str) -> None:
    session.say(f'Changing password for user "{name}" ...')
    tags = session.client.get("users", name)["tags"]
    session.client.put("users", name, body={"password": password, "tags": tags})


@ctl("delete_user", "Delete a user.", argument("name"))
def delete_user(session: Session, name: str) -> None:
    session.say(f'Deleting user "{name}" ...')
    session.client.delete("users", name)


@ctl("set_user_tags", "Replace the tags of a user.", argument("name"), argument("tags", nargs=-1))
def set_user_tags(session: Session, name: str, tags: tuple[str, ...]) -> None:
    session.say(f'Setting tags for user "{name}" to [{", ".join(tags)}] ...')
    user = session.client.get("users", name)
    remaining = {key: user[key] for key in ("password_hash", "hashing_algorithm")}
    given = [tag for each in tags for tag in each.split(",") if tag]
    session.client.put("users", name, body={**remaining, "tags": given})


@ctl("add_vhost", "Add a virtual host.", argument("name"))
def add_vhost(session: Session, name: str) -> None:
    session.say(f'Adding vhost "{name}" ...')
    session.client.put("vhosts", name, body={})


@ctl("delete_vhost", "Delete a virtual host with all that it has.", argument("name"))
def delete_vhost(session: Session, name: str) -> None:
    session.say(f'Deleting vhost "{name}" ...')
    session.client.delete("vhosts", name)


@ctl(
    "set_permissions",
    "Give a user access to a virtual host.",
    argument("user"),
    argument("configure"),
    argument("write"),
    argument("read"),
)
def set_permissions(session: Session, user: str, configure: str, write: str, read: str) -> None:
    session.say(f'Setting permissions for user "{user}" in vhost "{session.vhost}" ...')
    body = {"configure": configure, "write": write, "read": read}
    session.client.put("permissions", session.vhost, user, body=body)


@ctl("clear_permissions", "Take the access to a virtual host from a user.", argument("user"))
def clear_permissions(session: Session, user: str) -> None:
    session.say(f'Clearing permissions for user "{user}" in vhost "{session.vhost}" ...')
    session.client.delete("permissions", session.vhost, user)


def _limits(text: str) -> dict[str, int]:
    try:
        return msgspec.json.decode(text, type=dict[str, int])
    except msgspec.MsgspecError as error:
        fail(f"the limits are no JSON object of whole numbers: {error}", EXIT_USAGE)


@ctl("set_vhost_limits", "Set limits of a virtual host.", argument("definition"))
def set_vhost_limits(session: Session, definition: str) -> None:
    session.say(f'Setting vhost limits to "{definition}" for vhost "{session.vhost}" ...')
    for limit, most in _limits(definition).items():
        session.client.put("vhost-limits", session.vhost, limit, body={"value": most})


@ctl("clear_vhost_limits", "Remove the limits of a virtual host.")
def clear_vhost_limits(session: Session) -> None:
    session.say(f'Clearing vhost "{session.vhost}" limits ...')
    for limits in session.client.get("vhost-limits", session.vhost):
        for limit in limits["value"]:
            session.client.delete("vhost-limits", session.vhost, limit)


@ctl("set_user_limits", "Set limits of a user.", argument("user"), argument("definition"))
def set_user_limits(session: Session, user: str, definition: str) -> None:
    session.say(f'Setting user limits to "{definition}" for user "{user}" ...')
    for limit, most in _limits(definition).items():
        session.client.put("user-limits", user, limit, body={"value": most})


@ctl("list_user_permissions", "List the permissions of a user.", argument("user"))
def list_user_permissions(session: Session, user: str) -> None:
    session.say(f'Listing permissions for user "{user}" ...')
    rows = [each for each in session.client.get("permissions") if each["user"] == user]
    session.rows(rows, ("vhost", "configure", "write", "read"))


# --- policies, definitions, connections, queues ---------------------------------------------------


@ctl(
    "set_policy",
    "Add or replace a policy.",
    argument("name"),
    argument("pattern"),
    argument("definition"),
    click.option("--priority", default=0),
    click.option("--apply-to", default="all"),
)
def set_policy(
    session: Session, name: str, pattern: str, definition: str, priority: int, apply_to: str
) -> None:
    session.say(f'Setting policy "{name}" for pattern "{pattern}" ...')
    try:
        decoded = msgspec.json.decode(definition)
    except msgspec.DecodeError as error:
        fail(f"the definition is no JSON: {error}", EXIT_USAGE)
    body = {
        "pattern": pattern,
        "definition": decoded,
        "priority": priority,
        "apply-to": apply_to,
    }
    session.client.put("policies", session.vhost, name, body=body)


@ctl("clear_policy", "Delete a policy.", argument("name"))
def clear_policy(session: Session, name: str) -> None:
    session.say(f'Clearing policy "{name}" on vhost "{session.vhost}" ...')
    session.client.delete("policies", session.vhost, name)


@ctl("clear_operator_policy", "Delete an operator policy.", argument("name"))
def clear_operator_policy(session: Session, name: str) -> None:
    session.say(f'Clearing operator policy "{name}" on vhost "{session.vhost}" ...')
    session.client.delete("operator-policies", session.vhost, name)


@ctl("import_definitions", "Import a definitions file.", argument("file"))
def import_definitions(session: Session, file: str) -> None:
    session.say(f"Importing definitions from {file} ...")
    try:
        found = msgspec.json.decode(
            sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        )
    except OSError as error:
        fail(f"{file}: {plain_words(error)}", EXIT_REFUSED)
    except msgspec.DecodeError as error:
        fail(f"{file}: no JSON: {error}", EXIT_REFUSED)
    session.client.post("definitions", body=found)


@ctl("export_definitions", "Export all definitions.", argument("file"))
def export_definitions(session: Session, file: str) -> None:
    data = msgspec.json.encode(session.client.get("definitions"))
    if file == "-":
        click.echo(data.decode())
        return
    session.say(f"Exporting definitions to {file} ...")
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        fail(f"{file}: {plain_words(error)}", EXIT_REFUSED)


@ctl("close_connection", "Close a connection.", argument("name"), argument("reason"))
def close_connection(session: Session, name: str, reason: str) -> None:
    session.say(f"Closing connection {name}, reason: {reason} ...")
    session.client.delete("connections", name, headers={"X-Reason": reason})


@ctl("close_all_connections", "Close the connections to a virtual host.", argument("reason"))
def close_all_connections(session: Session, reason: str) -> None:
    for connection in session.client.get("vhosts", session.vhost, "connections"):
        session.client.delete("connections", connection["name"], headers={"X-Reason": reason})


@ctl("purge_queue", "Drop the messages of a queue.", argument("name"))
def purge_queue(session: Session, name: str) -> None:
    session.say(f"Purging queue '{name}' in vhost '{session.vhost}' ...")
    session.client.delete("queues", session.vhost, name, "contents")


@ctl("delete_queue", "Delete a queue.", argument("name"))
def delete_queue(session: Session, name: str) -> None:
    session.say(f"Deleting queue '{name}' on vhost '{session.vhost}' ...")
    session.client.delete("queues", session.vhost, name)


@ctl("eval", "Refused: there is no Erlang here.", argument("expression", nargs=-1))
def evaluate(session: Session, expression: tuple[str, ...]) -> None:
    fail("eval evaluates Erlang, which Leveret does not have; see `leveret --help`", EXIT_USAGE)


# --- lists ----------------------------------------------------------------------------------------


class Listing(NamedTuple):
    """A command that lists objects."""

    path: str
    columns: tuple[str, ...]


LISTINGS: Final = {
    "list_users": Listing("users", ("user", "tags")),
    "list_vhosts": Listing("vhosts", ("name",)),
    "list_permissions": Listing("vhosts/{}/permissions", ("user", "configure", "write", "read")),
    "list_policies": Listing(
        "policies/{}", ("vhost", "name", "pattern", "apply-to", "definition", "priority")
    ),
    "list_operator_policies": Listing(
        "operator-policies/{}", ("vhost", "name", "pattern", "apply-to", "definition", "priority")
    ),
    "list_queues": Listing("queues/{}", ("name", "messages")),
    "list_exchanges": Listing("exchanges/{}", ("name", "type")),
    "list_bindings": Listing(
        "bindings/{}",
        (
            "source_name",
            "source_kind",
            "destination_name",
            "destination_kind",
            "routing_key",
            "arguments",
        ),
    ),
    "list_connections": Listing("connections", ("user", "peer_host", "peer_port", "state")),
    "list_channels": Listing(
        "channels", ("pid", "user", "consumer_count", "messages_unacknowledged")
    ),
    "list_consumers": Listing(
        "consumers/{}",
        ("queue_name", "pid", "consumer_tag", "ack_required", "prefetch_count", "active"),
    ),
    "list_parameters": Listing("parameters", ("component", "name", "value")),
    "list_vhost_limits": Listing("vhost-limits", ("vhost", "value")),
    "list_user_limits": Listing("user-limits", ("user", "value")),
}


def _add_listing(name: str, listing: Listing) -> None:
    @ctl(name, "List them, with the columns named.", argument("columns", nargs=-1))
    def run(session: Session, columns: tuple[str, ...]) -> None:
        segments = [session.vhost if each == "{}" else each for each in listing.path.split("/")]
        session.say(f"{name.replace('list_', 'Listing ').replace('_', ' ')} ...")
        rows = session.client.get(*segments)
        if name == "list_users":
            rows = [{"user": each["name"], "tags": each["tags"]} for each in rows]
        session.rows(rows, columns or listing.columns)


for _name, _listing in LISTINGS.items():
    _add_listing(_name, _listing)


def main() -> None:
    """The entry point, under either name."""
    group(prog_name=Path(sys.argv[0]).name)

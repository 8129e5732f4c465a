"""The state of the broker, by the commands of rabbitmqctl(8) and rabbitmq-diagnostics(8)."""

import os
import re
import socket
import time
from typing import Any, Final

import click

from leveret.commands.client import NoBroker, RequestFailed
from leveret.commands.configuration import shown_values
from leveret.commands.rabbitmq import exit_codes
from leveret.commands.rabbitmq.session import Session, argument, ctl, fail
from leveret.config_keys import toml_value
from leveret.config_loading import ConfigError, load_config
from leveret.os_errors import plain_words

POLL_S: Final = 0.2
"""Seconds between two looks at whether the broker has started."""

PURPOSES: Final = {"amqp": "AMQP 0-9-1", "amqps": "AMQP 0-9-1 over TLS"}
"""What rabbitmq-diagnostics says of protocols."""

PROTOCOLS: Final = {"amqp/ssl": "amqps", "amqp0-9-1": "amqp", "amqp091": "amqp"}
"""Other names that scripts have for protocols."""

GIGABYTE: Final = 1_000_000_000


@ctl("ping", "Say whether the broker runs.")
def ping(session: Session) -> None:
    session.say("Will ask the broker over its control socket.")
    session.client.get("overview")
    session.result("Ping succeeded")


def _running(session: Session) -> None:
    session.say("Checking if the broker is running ...")
    node = session.client.get("overview")["node"]
    session.result(f"Leveret on node {node} is fully booted and running")


for _name in ("check_running", "is_running"):
    ctl(_name, "Say whether the broker runs and serves.")(_running)


@ctl("is_booting", "Say whether the broker is starting.")
def is_booting(session: Session) -> None:
    session.say("Asking the broker for its boot status ...")
    node = session.client.get("overview")["node"]
    session.result(f"Leveret on node {node} is fully booted")


def await_broker(session: Session) -> None:
    deadline = time.monotonic() + session.timeout_s
    while True:
        try:
            session.client.get("overview")
            return
        except NoBroker:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)


ctl("await_startup", "Wait for the broker to serve.")(await_broker)


def _local_alarms(session: Session) -> None:
    session.say("Asking the broker to report any resource alarms ...")
    found = session.client.get("overview")
    for each in found.get("alarms", []):
        if each["node"] == found["node"]:
            fail(f"Node {found['node']} reported an alarm: {each['alarm']}", exit_codes.UNAVAILABLE)
    session.result(f"Node {found['node']} reported no local alarms")


@ctl("check_alarms", "Say whether there is an alarm at any node.")
def check_alarms(session: Session) -> None:
    session.say("Asking the broker to report any known resource alarms ...")
    found = session.client.get("overview")
    lines = [
        f"Node {each['node']} reported an alarm: {each['alarm']}"
        for each in found.get("alarms", [])
    ]
    if lines:
        fail("\n".join(lines), exit_codes.UNAVAILABLE)
    session.result(f"Node {found['node']} reported no alarms, local or clusterwide")


for _name in ("check_local_alarms", "node_health_check"):
    ctl(_name, "Say whether there is an alarm at this node.")(_local_alarms)


@ctl("alarms", "Say which alarms block publishers.")
def alarms(session: Session) -> None:
    session.say("Asking the broker to report any resource alarms ...")
    found = session.client.get("overview")
    if session.prints_json():
        names = [found["alarm"]] if found["alarm"] else []
        session.json({"global": names, "local": names, "node": found["node"]})
    elif found["alarm"]:
        session.result(f"Alarm of node {found['node']}: {found['alarm']}")
    else:
        session.result(f"Node {found['node']} reported no alarms, local or clusterwide")


@ctl("check_virtual_hosts", "Say whether all virtual hosts are served.")
def check_virtual_hosts(session: Session) -> None:
    session.say("Checking if all vhosts are running ...")
    node = session.client.get("overview")["node"]
    try:
        session.client.get("health", "checks", "virtual-hosts")
    except RequestFailed as error:
        fail(f"{error} on node {node}", exit_codes.UNAVAILABLE)
    session.result(f"Node {node} reported all vhosts as running")


# --- listeners ----------------------------------------------------------------------------------


@ctl("listeners", "List the addresses that are listened on.")
def listeners(session: Session) -> None:
    session.say("Asking the broker to report its protocol listeners ...")
    found = session.client.get("overview")
    rows = [listener_row(found["node"], each) for each in own_listeners(found)]
    if session.prints_json():
        session.json({"node": found["node"], "listeners": rows})
        return
    for each in rows:
        click.echo(
            f"Interface: {each['interface']}, port: {each['port']}, protocol: {each['protocol']},"
            f" purpose: {each['purpose']}"
        )


def own_listeners(overview: dict[str, Any]) -> list[dict[str, Any]]:
    """The listeners of the node that was asked: the overview has those of all."""
    return [each for each in overview["listeners"] if each["node"] == overview["node"]]


def listener_row(node: str, listener: dict[str, Any]) -> dict[str, Any]:
    return {
        "interface": listener["ip_address"],
        "node": node,
        "port": listener["port"],
        "protocol": listener["protocol"],
        "purpose": PURPOSES.get(listener["protocol"], listener["protocol"]),
    }


@ctl("check_port_connectivity", "Connect to every listener.")
def check_port_connectivity(session: Session) -> None:
    session.say("Testing connections to all active listeners ...")
    found = session.client.get("overview")
    for listener in own_listeners(found):
        host, port = listener["ip_address"], listener["port"]
        try:
            if port:
                socket.create_connection((host, port), session.timeout_s).close()
            else:
                with socket.socket(socket.AF_UNIX) as unix:
                    unix.settimeout(session.timeout_s)
                    unix.connect(host)
        except OSError as error:
            fail(f"cannot connect to {host}:{port}: {plain_words(error)}", exit_codes.UNAVAILABLE)
    ports = ", ".join(str(each["port"]) for each in own_listeners(found) if each["port"])
    session.result(f"Successfully connected to ports {ports} on node {found['node']}.")


@ctl(
    "check_port_listener",
    "Say whether a port is listened on.",
    argument("port", type=click.IntRange(1, 65535)),
)
def check_port_listener(session: Session, port: int) -> None:
    session.say(f"Asking the broker if there's an active listener on port {port} ...")
    found = session.client.get("overview")
    ports = [each["port"] for each in own_listeners(found)]
    if port not in ports:
        fail(
            f"No listener for port {port} is active on node {found['node']}. Found listeners that"
            f" use the following ports: {', '.join(map(str, ports))}",
            exit_codes.UNAVAILABLE,
        )
    session.result(f"A listener for port {port} is running on node {found['node']}.")


@ctl(
    "check_protocol_listener",
    "Say whether a protocol is listened for.",
    argument("protocol"),
)
def check_protocol_listener(session: Session, protocol: str) -> None:
    session.say(f"Asking the broker if there's an active listener for protocol {protocol} ...")
    found = session.client.get("overview")
    active = {each["protocol"] for each in own_listeners(found)}
    if PROTOCOLS.get(protocol, protocol) not in active:
        fail(
            f"No listener for protocol {protocol} is active on node {found['node']}. Found"
            f" listeners for the following protocols: {', '.join(sorted(active))}",
            exit_codes.UNAVAILABLE,
        )
    session.result(f"A listener for protocol {protocol} is running on node {found['node']}.")


# --- what it is and takes -----------------------------------------------------------------------


@ctl("status", "Say how the broker is.")
def status(session: Session) -> None:
    found = session.client.get("overview")
    if session.prints_json():
        session.json(found)
        return
    session.say(f"Status of node {found['node']} ...")
    for name in ("product_name", "product_version", "node", "pid", "uptime", "memory_used"):
        click.echo(f"{name}: {found[name]}")
    click.echo(f"memory_limit: {found['memory_limit']}")
    click.echo(f"alarms: {found['alarm'] or 'none'}")
    for each in own_listeners(found):
        row = listener_row(found["node"], each)
        click.echo(
            f"Interface: {row['interface']}, port: {row['port']}, protocol: {row['protocol']},"
            f" purpose: {row['purpose']}"
        )


@ctl("server_version", "Print the version that clients are told.")
def server_version(session: Session) -> None:
    session.say("Asking the broker for its version...")
    click.echo(session.client.get("overview")["rabbitmq_version"])


@ctl("version", "Print the version of Leveret.")
def version(session: Session) -> None:
    from leveret import __version__

    click.echo(__version__)


@ctl("memory_breakdown", "Say how much memory the broker takes.")
def memory_breakdown(session: Session) -> None:
    session.say("Reporting memory breakdown ...")
    used = session.client.get("overview")["memory_used"]
    if session.prints_json():
        session.json({"total": {"bytes": used, "percentage": 100.0}})
    else:
        click.echo(f"total: {used / GIGABYTE:.4f} gb (100.0%)")


@ctl("environment", "Print the configuration, without secrets.")
def environment(session: Session) -> None:
    node = session.client.get("overview")["node"]
    session.say(f"Application environment of node {node} ...")
    try:
        config = load_config(os.environ.get("LEVERET_CONFIG"), os.environ, secrets=False)
    except ConfigError as error:
        fail(str(error), exit_codes.UNAVAILABLE)
    values = shown_values(config)
    if session.prints_json():
        session.json(values)
        return
    for name, value in values.items():
        click.echo(f"{name}: {toml_value(value)}")


@ctl("list_feature_flags", "List the feature flags: there are none.")
def list_feature_flags(session: Session) -> None:
    session.say("Listing feature flags ...")
    session.client.get("overview")
    session.rows([], ("name", "state"))


@ctl("enable_feature_flag", "Without an effect: there are none.", argument("name"))
def enable_feature_flag(session: Session, name: str) -> None:
    session.say(f"Enabling feature flag(s): {name} ...")
    session.client.get("overview")


@ctl("help", "Print the help of a command.", argument("name", required=False))
def help_command(session: Session, name: str | None) -> None:
    context = click.get_current_context().parent
    if context is None or not isinstance(context.command, click.Group):
        raise TypeError(context)
    command = context.command if name is None else context.command.get_command(context, name)
    if command is None:
        fail(f"Command '{name}' not found. --help lists the commands.", exit_codes.WRONG_USE)
    shown = context if name is None else click.Context(command, context, name)
    click.echo(command.get_help(shown))


# --- the memory limit ---------------------------------------------------------------------------


@ctl(
    "set_vm_memory_high_watermark",
    "Change the memory limit until a restart.",
    argument("words", nargs=-1, metavar="FRACTION | absolute VALUE"),
)
def set_vm_memory_high_watermark(session: Session, words: tuple[str, ...]) -> None:
    if not words or len(words) > 2 or (len(words) == 2) != (words[0] == "absolute"):
        fail("expected FRACTION, or `absolute` and VALUE", exit_codes.WRONG_USE)
    body: dict[str, Any]
    if words[0] == "absolute":
        session.say(f"Setting memory threshold to {words[1]} bytes ...")
        # RabbitMQ has k, M and G for units of 1024.
        binary = re.fullmatch(r"\d+[kKMGT]", words[1])
        body = {"absolute": f"{words[1]}iB" if binary else words[1]}
    else:
        session.say(f"Setting memory threshold to {words[0]} ...")
        try:
            body = {"fraction": float(words[0])}
        except ValueError:
            fail(f"'{words[0]}' is no fraction", exit_codes.WRONG_USE)
    try:
        session.client.put("memory-limit", body=body)
    except RequestFailed as error:
        fail(f"Bad argument: {error}", exit_codes.WRONG_DATA)

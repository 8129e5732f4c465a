"""`leveret policy` and `leveret parameter`."""

from typing import Any

import click
import msgspec

from leveret.commands.client import Client
from leveret.commands.context import EXIT_WRONG_USE, fail, with_broker

OPERATOR = click.option(
    "--operator", is_flag=True, help="An operator policy, which bounds what users set."
)
VHOST = click.option("--vhost", default="/", show_default=True, help="The virtual host.")


def _resource(operator: bool) -> str:
    return "operator-policies" if operator else "policies"


def json_value(what: str, text: str) -> Any:
    """A value that is given as JSON."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        fail(f"{what}: no JSON: {error}", EXIT_WRONG_USE)


@click.group(name="policy")
def policy_group() -> None:
    """Policies and operator policies."""


@policy_group.command(name="set")
@click.argument("name")
@click.argument("pattern")
@click.argument("definition")
@click.option(
    "--priority", default=0, show_default=True, help="Of those that match, the highest holds."
)
@click.option(
    "--apply-to", default="all", show_default=True, metavar="KIND", help="queues, exchanges or all."
)
@VHOST
@OPERATOR
@with_broker
def set_policy(
    client: Client,
    name: str,
    pattern: str,
    definition: str,
    priority: int,
    apply_to: str,
    vhost: str,
    operator: bool,
) -> None:
    """Add or replace a policy. It is a regular expression for names, and a JSON object.

    Example: leveret policy set short-lived '^tmp' '{"expires": 60000}' --apply-to queues
    """
    body = {
        "pattern": pattern,
        "definition": json_value("definition", definition),
        "priority": priority,
        "apply-to": apply_to,
    }
    client.put(_resource(operator), vhost, name, body=body)


@policy_group.command()
@click.argument("name")
@VHOST
@OPERATOR
@with_broker
def clear(client: Client, name: str, vhost: str, operator: bool) -> None:
    """Delete a policy.

    Example: leveret policy clear short-lived
    """
    client.delete(_resource(operator), vhost, name)


@click.group(name="parameter")
def parameter_group() -> None:
    """Runtime parameters of components, and of the whole broker."""


@parameter_group.command(name="set")
@click.argument("component")
@click.argument("name")
@click.argument("value")
@VHOST
@with_broker
def set_parameter(client: Client, component: str, name: str, value: str, vhost: str) -> None:
    """Set a parameter to a value, which is JSON.

    Example: leveret parameter set shovel orders '{"src-uri": "amqp://"}'
    """
    body = {"value": json_value("value", value)}
    client.put("parameters", component, vhost, name, body=body)


@parameter_group.command(name="clear")
@click.argument("component")
@click.argument("name")
@VHOST
@with_broker
def clear_parameter(client: Client, component: str, name: str, vhost: str) -> None:
    """Delete a parameter.

    Example: leveret parameter clear shovel orders
    """
    client.delete("parameters", component, vhost, name)


@parameter_group.command(name="set-global")
@click.argument("name")
@click.argument("value")
@with_broker
def set_global(client: Client, name: str, value: str) -> None:
    """Set a parameter of the whole broker to a value, which is JSON.

    Example: leveret parameter set-global cluster_name '"shop"'
    """
    client.put("global-parameters", name, body={"value": json_value("value", value)})


@parameter_group.command(name="clear-global")
@click.argument("name")
@with_broker
def clear_global(client: Client, name: str) -> None:
    """Delete a parameter of the whole broker.

    Example: leveret parameter clear-global cluster_name
    """
    client.delete("global-parameters", name)

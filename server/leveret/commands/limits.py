"""`leveret limit`: limits of virtual hosts and users, by one name."""

import click

from leveret.commands.client import Client
from leveret.commands.context import with_broker


@click.group(name="limit")
def limit_group() -> None:
    """Limits of virtual hosts and users."""


@limit_group.command()
@click.argument("name")
@click.argument("limit", type=click.Choice(["max-connections", "max-queues"]))
@click.argument("value", type=click.IntRange(0))
@with_broker
def vhost(client: Client, name: str, limit: str, value: int) -> None:
    """Limit what a virtual host may have.

    Example: leveret limit vhost shop max-queues 1000
    """
    client.put("vhost-limits", name, limit, body={"value": value})


@limit_group.command()
@click.argument("name")
@click.argument("limit", type=click.Choice(["max-connections", "max-channels"]))
@click.argument("value", type=click.IntRange(0))
@with_broker
def user(client: Client, name: str, limit: str, value: int) -> None:
    """Limit what a user may have open.

    Example: leveret limit user ann max-connections 10
    """
    client.put("user-limits", name, limit, body={"value": value})


@limit_group.command()
@click.argument("kind", type=click.Choice(["vhost", "user"]))
@click.argument("name")
@click.argument("limit")
@with_broker
def clear(client: Client, kind: str, name: str, limit: str) -> None:
    """Remove a limit.

    Example: leveret limit clear vhost shop max-queues
    """
    client.delete(f"{kind}-limits", name, limit)

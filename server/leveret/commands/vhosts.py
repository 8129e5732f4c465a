"""`leveret vhost` and `leveret permission`."""

import click

from leveret.commands.client import Client
from leveret.commands.context import with_broker


@click.group(name="vhost")
def vhost_group() -> None:
    """Virtual hosts and their limits."""


@vhost_group.command()
@click.argument("name")
@click.option("--description", metavar="TEXT", help="For people.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Repeatable.")
@click.option("--default-queue-type", metavar="TYPE", help="classic or quorum.")
@click.option(
    "--protect/--no-protect", "protected", default=None, help="Whether `delete` is refused."
)
@click.option(
    "--store", type=int, metavar="NUMBER", help="Of a cluster, in which to add it; from 0 on."
)
@with_broker
def add(
    client: Client,
    name: str,
    description: str | None,
    tags: tuple[str, ...],
    default_queue_type: str | None,
    protected: bool | None,
    store: int | None,
) -> None:
    """Add a virtual host, or change one.

    Example: leveret vhost add shop --default-queue-type quorum
    """
    given = {
        "description": description,
        "tags": list(tags) or None,
        "default_queue_type": default_queue_type,
        "protected_from_deletion": protected,
        "store": store,
    }
    body = {field: value for field, value in given.items() if value is not None}
    client.put("vhosts", name, body=body)


@vhost_group.command()
@click.argument("name")
@with_broker
def delete(client: Client, name: str) -> None:
    """Delete a virtual host with its queues and messages. Its connections are closed.

    Example: leveret vhost delete shop
    """
    client.delete("vhosts", name)


@vhost_group.command()
@click.argument("name")
@click.argument("limit", type=click.Choice(["max-connections", "max-queues"]))
@click.argument("value", type=int)
@with_broker
def limit(client: Client, name: str, limit: str, value: int) -> None:
    """Limit what a virtual host may have; -1 removes the limit.

    Example: leveret vhost limit shop max-queues 1000
    """
    if value < 0:
        client.delete("vhost-limits", name, limit)
    else:
        client.put("vhost-limits", name, limit, body={"value": value})


@click.group(name="permission")
def permission_group() -> None:
    """What users may do in virtual hosts."""


@permission_group.command(name="set")
@click.argument("user")
@click.argument("configure")
@click.argument("write")
@click.argument("read")
@click.option("--vhost", default="/", show_default=True, help="The virtual host.")
@with_broker
def set_permission(
    client: Client, user: str, configure: str, write: str, read: str, vhost: str
) -> None:
    """Give a user access to a virtual host. The rights are three regular expressions for names.

    Example: leveret permission set ann '^ann\\.' '.*' '.*' --vhost shop
    """
    body = {"configure": configure, "write": write, "read": read}
    client.put("permissions", vhost, user, body=body)


@permission_group.command()
@click.argument("user")
@click.option("--vhost", default="/", show_default=True, help="The virtual host.")
@with_broker
def clear(client: Client, user: str, vhost: str) -> None:
    """Take the access to a virtual host from a user.

    Example: leveret permission clear ann --vhost shop
    """
    client.delete("permissions", vhost, user)


@permission_group.command()
@click.argument("user")
@click.argument("exchange")
@click.argument("write")
@click.argument("read")
@click.option("--vhost", default="/", show_default=True, help="The virtual host.")
@with_broker
def topic(client: Client, user: str, exchange: str, write: str, read: str, vhost: str) -> None:
    """Restrict the routing keys of a user at a topic exchange.

    Example: leveret permission topic ann amq.topic '^{username}\\.' '.*'
    """
    body = {"exchange": exchange, "write": write, "read": read}
    client.put("topic-permissions", vhost, user, body=body)


@permission_group.command(name="clear-topics")
@click.argument("user")
@click.option("--vhost", default="/", show_default=True, help="The virtual host.")
@with_broker
def clear_topics(client: Client, user: str, vhost: str) -> None:
    """Remove all restrictions of a user at topic exchanges.

    Example: leveret permission clear-topics ann
    """
    client.delete("topic-permissions", vhost, user)

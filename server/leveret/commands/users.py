"""`leveret user`: users, their passwords, tags and limits."""

import click

from leveret.commands.client import Client
from leveret.commands.context import EXIT_REFUSED, fail, read_password, with_broker


@click.group(name="user")
def user_group() -> None:
    """Users, their passwords, tags and limits."""


@user_group.command()
@click.argument("name")
@click.option("--password", metavar="TEXT", help="Better typed, or from stdin, which has no trace.")
@click.option("--password-hash", metavar="HASH", help="As `leveret hash-password` prints it.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Repeatable.")
@with_broker
def add(
    client: Client,
    name: str,
    password: str | None,
    password_hash: str | None,
    tags: tuple[str, ...],
) -> None:
    """Add a user.

    Example: leveret user add ann --tag monitoring
    """
    if client.find("users", name) is not None:
        fail(f"user '{name}' already exists", EXIT_REFUSED)
    body: dict[str, object] = {"tags": list(tags)}
    if password_hash is not None:
        body["password_hash"] = password_hash
    else:
        body["password"] = read_password(password)
    client.put("users", name, body=body)


@user_group.command()
@click.argument("name")
@with_broker
def delete(client: Client, name: str) -> None:
    """Delete a user, and close its connections.

    Example: leveret user delete guest
    """
    client.delete("users", name)


@user_group.command()
@click.argument("name")
@click.option("--password", metavar="TEXT", help="Better typed, or from stdin, which has no trace.")
@with_broker
def password(client: Client, name: str, password: str | None) -> None:
    """Give a user another password.

    Example: leveret user password ann < new-password.txt
    """
    tags = client.get("users", name)["tags"]
    client.put("users", name, body={"tags": tags, "password": read_password(password)})


@user_group.command()
@click.argument("name")
@click.argument("tags", nargs=-1)
@with_broker
def tags(client: Client, name: str, tags: tuple[str, ...]) -> None:
    """Replace the tags of a user; without TAGS it has none.

    Example: leveret user tags ann administrator
    """
    user = client.get("users", name)
    remaining = {key: user[key] for key in ("password_hash", "hashing_algorithm")}
    client.put("users", name, body={**remaining, "tags": list(tags)})


@user_group.command()
@click.argument("name")
@click.argument("limit", type=click.Choice(["max-connections", "max-channels"]))
@click.argument("value", type=int)
@with_broker
def limit(client: Client, name: str, limit: str, value: int) -> None:
    """Limit what a user may have open; -1 removes the limit.

    Example: leveret user limit ann max-connections 10
    """
    if value < 0:
        client.delete("user-limits", name, limit)
    else:
        client.put("user-limits", name, limit, body={"value": value})

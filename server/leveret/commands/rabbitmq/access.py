"""Users, virtual hosts, permissions and limits, by the commands of rabbitmqctl(8)."""

from typing import Any

import click
import msgspec

from leveret.commands.context import read_password
from leveret.commands.rabbitmq import exit_codes
from leveret.commands.rabbitmq.session import Session, argument, ctl, fail
from leveret.engine.access.passwords import matches

NO_USER = exit_codes.NO_USER


@ctl("add_user", "Add a user.", argument("name"), argument("password", required=False))
def add_user(session: Session, name: str, password: str | None) -> None:
    session.say(f'Adding user "{name}" ...')
    if session.client.find("users", name) is not None:
        fail(f'User "{name}" already exists', exit_codes.EXISTS)
    body = {"password": read_password(password), "tags": ""}
    session.client.put("users", name, body=body)
    session.say("Done. Don't forget to grant the user permissions to some virtual hosts!")


@ctl(
    "authenticate_user",
    "Say whether a password is right.",
    argument("name"),
    argument("password", required=False),
)
def authenticate_user(session: Session, name: str, password: str | None) -> None:
    session.say(f'Authenticating user "{name}" ...')
    given = read_password(password)
    user = session.client.find("users", name)
    if user is None or not matches(
        given.encode(), user["password_hash"], user["hashing_algorithm"]
    ):
        fail(
            f"Error: failed to authenticate user \"{name}\"\nuser '{name}' - invalid credentials",
            exit_codes.WRONG_DATA,
        )
    session.result("Success")


@ctl(
    "change_password",
    "Give a user another password.",
    argument("name"),
    argument("password", required=False),
    not_there=NO_USER,
)
def change_password(session: Session, name: str, password: str | None) -> None:
    session.say(f'Changing password for user "{name}" ...')
    tags = session.client.get("users", name)["tags"]
    body = {"password": read_password(password), "tags": tags}
    session.client.put("users", name, body=body)


@ctl(
    "clear_password",
    "Take the password from a user.",
    argument("name"),
    not_there=NO_USER,
)
def clear_password(session: Session, name: str) -> None:
    session.say(f'Clearing password for user "{name}" ...')
    tags = session.client.get("users", name)["tags"]
    session.client.put("users", name, body={"tags": tags})


@ctl("delete_user", "Delete a user.", argument("name"), not_there=NO_USER)
def delete_user(session: Session, name: str) -> None:
    session.say(f'Deleting user "{name}" ...')
    session.client.delete("users", name)


@ctl(
    "set_user_tags",
    "Replace the tags of a user.",
    argument("name"),
    argument("tags", nargs=-1),
    not_there=NO_USER,
)
def set_user_tags(session: Session, name: str, tags: tuple[str, ...]) -> None:
    session.say(f'Setting tags for user "{name}" to [{", ".join(tags)}] ...')
    user = session.client.get("users", name)
    remaining = {key: user[key] for key in ("password_hash", "hashing_algorithm")}
    given = [tag for each in tags for tag in each.split(",") if tag]
    session.client.put("users", name, body={**remaining, "tags": given})


@ctl(
    "add_vhost",
    "Add a virtual host.",
    argument("name"),
    click.option("--description"),
    click.option("--tags", help="With commas between."),
    click.option("--default-queue-type"),
)
def add_vhost(session: Session, name: str, **given: str | None) -> None:
    session.say(f'Adding vhost "{name}" ...')
    body = {key: value for key, value in given.items() if value is not None}
    session.client.put("vhosts", name, body=body)


@ctl(
    "delete_vhost",
    "Delete a virtual host and all in it.",
    argument("name"),
    not_there=exit_codes.WRONG_DATA,
)
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
    _find_user(session, user)
    body = {"configure": configure, "write": write, "read": read}
    session.client.put("permissions", session.vhost, user, body=body)


@ctl("clear_permissions", "Take a virtual host from a user.", argument("user"))
def clear_permissions(session: Session, user: str) -> None:
    session.say(f'Clearing permissions for user "{user}" in vhost "{session.vhost}" ...')
    _find_user(session, user)
    session.client.delete("permissions", session.vhost, user)


@ctl(
    "set_topic_permissions",
    "Limit the routing keys of a user.",
    argument("user"),
    argument("exchange"),
    argument("write"),
    argument("read"),
)
def set_topic_permissions(
    session: Session, user: str, exchange: str, write: str, read: str
) -> None:
    session.say(
        f'Setting topic permissions on "{exchange}" for user "{user}" in vhost'
        f' "{session.vhost}" ...'
    )
    _find_user(session, user)
    body = {"exchange": exchange, "write": write, "read": read}
    session.client.put("topic-permissions", session.vhost, user, body=body)


@ctl(
    "clear_topic_permissions",
    "Remove topic permissions of a user.",
    argument("user"),
    argument("exchange", required=False),
)
def clear_topic_permissions(session: Session, user: str, exchange: str | None) -> None:
    at = "" if exchange is None else f'on "{exchange}" '
    session.say(f'Clearing topic permissions {at}for user "{user}" in vhost "{session.vhost}" ...')
    _find_user(session, user)
    client = session.client
    found = client.find("topic-permissions", session.vhost, user) or []
    if not found:
        return
    client.delete("topic-permissions", session.vhost, user)
    for each in found:
        if exchange is not None and each["exchange"] != exchange:
            client.put("topic-permissions", session.vhost, user, body=each)


def _find_user(session: Session, name: str) -> dict[str, Any]:
    """A user; a command ends if there is none."""
    found: dict[str, Any] | None = session.client.find("users", name)
    if found is None:
        fail(f'User "{name}" does not exist', exit_codes.NO_USER)
    return found


# --- limits -------------------------------------------------------------------------------------


def _limits(text: str) -> dict[str, int]:
    try:
        return msgspec.json.decode(text, type=dict[str, int])
    except msgspec.MsgspecError as error:
        fail(f"the limits are no JSON object of whole numbers: {error}", exit_codes.WRONG_USE)


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


@ctl(
    "set_user_limits",
    "Set limits of a user.",
    argument("user"),
    argument("definition"),
    not_there=NO_USER,
)
def set_user_limits(session: Session, user: str, definition: str) -> None:
    session.say(f'Setting user limits to "{definition}" for user "{user}" ...')
    for limit, most in _limits(definition).items():
        session.client.put("user-limits", user, limit, body={"value": most})


@ctl(
    "clear_user_limits",
    "Remove a limit of a user, or `all`.",
    argument("user"),
    argument("limit"),
    not_there=NO_USER,
)
def clear_user_limits(session: Session, user: str, limit: str) -> None:
    session.say(f'Clearing "{limit}" limit for user "{user}" ...')
    for limits in session.client.get("user-limits", user):
        for each in limits["value"]:
            if limit in (each, "all"):
                session.client.delete("user-limits", user, each)

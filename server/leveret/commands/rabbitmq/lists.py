"""The commands that list objects (rabbitmqctl(8)), and limits, which are listed alone."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import click

from leveret.commands.rabbitmq import exit_codes
from leveret.commands.rabbitmq.session import Session, argument, ctl, fail


class Listing(NamedTuple):
    """A command that lists objects."""

    path: str
    banner: str
    """What is printed first; {} is the virtual host."""
    columns: tuple[str, ...]
    """Those that are printed if none are named."""
    others: str = ""
    """More that may be named. Values that Leveret does not have are empty."""
    options: tuple[Callable[[Any], Any], ...] = ()
    """Options without an effect: there is one broker."""


POLICY_COLUMNS: Final = ("vhost", "name", "pattern", "apply-to", "definition", "priority")

LISTINGS: Final = {
    "list_users": Listing("users", "Listing users ...", ("user", "tags")),
    "list_vhosts": Listing(
        "vhosts",
        "Listing vhosts ...",
        ("name",),
        "tracing description tags default_queue_type metadata protected_from_deletion"
        " cluster_state",
    ),
    "list_permissions": Listing(
        "vhosts/{}/permissions",
        'Listing permissions for vhost "{}" ...',
        ("user", "configure", "write", "read"),
    ),
    "list_topic_permissions": Listing(
        "vhosts/{}/topic-permissions",
        'Listing topic permissions for vhost "{}" ...',
        ("user", "exchange", "write", "read"),
    ),
    "list_policies": Listing("policies/{}", 'Listing policies for vhost "{}" ...', POLICY_COLUMNS),
    "list_operator_policies": Listing(
        "operator-policies/{}",
        'Listing operator policy overrides for vhost "{}" ...',
        POLICY_COLUMNS,
    ),
    "list_parameters": Listing(
        "parameters",
        'Listing runtime parameters for vhost "{}" ...',
        ("component", "name", "value"),
    ),
    "list_global_parameters": Listing(
        "global-parameters", "Listing global runtime parameters ...", ("name", "value")
    ),
    "list_queues": Listing(
        "queues/{}",
        "Timeout: {timeout} seconds ...\nListing queues for vhost {} ...",
        ("name", "messages"),
        "durable auto_delete arguments policy operator_policy effective_policy_definition pid"
        " owner_pid exclusive exclusive_consumer_pid exclusive_consumer_tag messages_ready"
        " messages_unacknowledged messages_ready_ram messages_unacknowledged_ram messages_ram"
        " messages_persistent message_bytes message_bytes_ready message_bytes_unacknowledged"
        " message_bytes_ram message_bytes_persistent head_message_timestamp disk_reads disk_writes"
        " consumers consumer_utilisation consumer_capacity memory slave_pids"
        " synchronised_slave_pids mirror_pids synchronised_mirror_pids state type leader members"
        " online vhost node",
        tuple(click.option(f"--{name}", is_flag=True) for name in ("online", "offline", "local")),
    ),
    "list_exchanges": Listing(
        "exchanges/{}",
        "Listing exchanges for vhost {} ...",
        ("name", "type"),
        "durable auto_delete internal arguments policy vhost",
    ),
    "list_bindings": Listing(
        "bindings/{}",
        "Listing bindings for vhost {}...",
        (
            "source_name",
            "source_kind",
            "destination_name",
            "destination_kind",
            "routing_key",
            "arguments",
        ),
        "vhost",
    ),
    "list_connections": Listing(
        "connections",
        "Listing connections ...",
        ("user", "peer_host", "peer_port", "state"),
        "pid name port host ssl ssl_protocol ssl_key_exchange ssl_cipher ssl_hash peer_cert_subject"
        " peer_cert_issuer peer_cert_validity channels protocol auth_mechanism vhost timeout"
        " frame_max channel_max client_properties recv_oct recv_cnt send_oct send_cnt send_pend"
        " connected_at user_provided_name node",
    ),
    "list_channels": Listing(
        "channels",
        "Listing channels ...",
        ("pid", "user", "consumer_count", "messages_unacknowledged"),
        "connection name number vhost transactional confirm messages_uncommitted acks_uncommitted"
        " messages_unconfirmed prefetch_count global_prefetch_count state node",
    ),
    "list_consumers": Listing(
        "consumers/{}",
        "Listing consumers in vhost {} ...",
        (
            "queue_name",
            "channel_pid",
            "consumer_tag",
            "ack_required",
            "prefetch_count",
            "active",
            "arguments",
        ),
        "pid exclusive activity_status",
    ),
}

STREAMED: Final = (
    "list_queues",
    "list_exchanges",
    "list_bindings",
    "list_connections",
    "list_channels",
    "list_consumers",
)
"""Lists of which rabbitmqctl prints nothing if they are empty; of others it prints a line."""


def _add_listing(name: str, listing: Listing) -> None:
    allowed = {*listing.columns, *listing.others.split()}

    @ctl(
        name,
        "List them, with the columns named.",
        argument("columns", nargs=-1),
        *listing.options,
    )
    def run(session: Session, columns: tuple[str, ...], **_: bool) -> None:
        named = tuple(each for column in columns for each in column.split(",") if each)
        wrong = [each for each in named if each not in allowed]
        if wrong:
            fail(f"Info key(s) {','.join(wrong)} are not supported", exit_codes.WRONG_USE)
        session.say(
            listing.banner.replace("{timeout}", str(session.timeout_s)).replace("{}", session.vhost)
        )
        segments = [session.vhost if each == "{}" else each for each in listing.path.split("/")]
        rows = session.client.get(*segments)
        if name == "list_users":
            rows = [{"user": each["name"], "tags": each["tags"]} for each in rows]
        elif name == "list_parameters":
            rows = [each for each in rows if each["vhost"] == session.vhost]
        _print(session, rows, named or listing.columns, streamed=name in STREAMED)


for _name, _listing in LISTINGS.items():
    _add_listing(_name, _listing)


def _print(
    session: Session,
    rows: list[dict[str, Any]],
    columns: tuple[str, ...],
    *,
    streamed: bool = False,
    headers: bool = True,
) -> None:
    if not rows and not streamed and session.prints_text():
        click.echo()
        return
    session.rows(rows, columns, headers=headers)


@ctl(
    "list_unresponsive_queues",
    "List queues that hang: there are none.",
    argument("columns", nargs=-1),
    click.option("--local", is_flag=True),
    click.option("--all", "everywhere", is_flag=True),
)
def list_unresponsive_queues(
    session: Session, columns: tuple[str, ...], local: bool, everywhere: bool
) -> None:
    session.say(f"Listing unresponsive queues for vhost {session.vhost} ...")
    session.client.get("overview")
    session.rows([], columns or ("name",))


@ctl(
    "list_user_permissions",
    "List the permissions of a user.",
    argument("user"),
    not_there=exit_codes.NO_USER,
)
def list_user_permissions(session: Session, user: str) -> None:
    session.say(f'Listing permissions for user "{user}" ...')
    _print(
        session,
        session.client.get("users", user, "permissions"),
        ("vhost", "configure", "write", "read"),
    )


@ctl(
    "list_user_topic_permissions",
    "List the topic permissions of a user.",
    argument("user"),
    not_there=exit_codes.NO_USER,
)
def list_user_topic_permissions(session: Session, user: str) -> None:
    session.say(f'Listing topic permissions for user "{user}" ...')
    _print(
        session,
        session.client.get("users", user, "topic-permissions"),
        ("vhost", "exchange", "write", "read"),
    )


@ctl(
    "list_vhost_limits",
    "List the limits of a virtual host.",
    click.option("--global", "everywhere", is_flag=True, help="Of all virtual hosts."),
)
def list_vhost_limits(session: Session, everywhere: bool) -> None:
    if everywhere:
        session.say("Listing limits for all vhosts ...")
    else:
        session.say(f'Listing limits for vhost "{session.vhost}" ...')
    _limits(session, "vhost", None if everywhere else session.vhost)


@ctl(
    "list_user_limits",
    "List the limits of a user, or of all.",
    click.option("--user", default="guest", show_default=True),
    click.option("--global", "everywhere", is_flag=True, help="Of all users."),
    not_there=exit_codes.NO_USER,
)
def list_user_limits(session: Session, user: str, everywhere: bool) -> None:
    if everywhere:
        session.say("Listing limits for all users ...")
    else:
        session.say(f'Listing limits for user "{user}" ...')
    _limits(session, "user", None if everywhere else user)


def _limits(session: Session, kind: str, name: str | None) -> None:
    """Print limits: of all with a line of headers, of one alone."""
    client = session.client
    found = client.get(f"{kind}-limits") if name is None else client.get(f"{kind}-limits", name)
    rows = [{kind: each[kind], "limits": each["value"]} for each in found]
    columns = (kind, "limits") if name is None else ("limits",)
    _print(session, rows, columns, headers=name is None)

"""The form of a definitions file, which is RabbitMQ's (RabbitMQ: Definition Export and Import)."""

from typing import Any

import msgspec

from leveret.engine.access.passwords import SHA256
from leveret.engine.administration.values import check_value
from leveret.engine.lifecycle.policy_keys import type_name
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.values.arguments import Arguments

Tags = str | list[str]


class UserEntry(msgspec.Struct):
    """A user, with one of: a hash, a password, the variable or the file that has the password."""

    name: str
    tags: Tags = ""
    password_hash: str | None = None
    hashing_algorithm: str = SHA256
    password: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    limits: dict[str, int] | list[Any] | None = None


class VhostMetadata(msgspec.Struct):
    """What newer versions write of a virtual host beside its name."""

    description: str | None = None
    tags: Tags | None = None
    default_queue_type: str | None = None


class VhostEntry(msgspec.Struct):
    """A virtual host."""

    name: str
    description: str | None = None
    tags: Tags | None = None
    default_queue_type: str | None = None
    metadata: VhostMetadata = msgspec.field(default_factory=VhostMetadata)
    protected_from_deletion: bool | None = None
    store: int | None = None
    """Of a cluster, in which to create it; it has no meaning for one that exists, or without a
    cluster."""


class PermissionEntry(msgspec.Struct):
    """A permission."""

    user: str
    vhost: str
    configure: str
    write: str
    read: str


class TopicPermissionEntry(msgspec.Struct):
    """A topic permission."""

    user: str
    vhost: str
    exchange: str
    write: str
    read: str


class PolicyEntry(msgspec.Struct, rename={"apply_to": "apply-to"}):
    """A policy; also the value of an operator policy, which is among the parameters."""

    pattern: str
    definition: dict[str, Any]
    vhost: str = ""
    name: str = ""
    priority: int = 0
    apply_to: str = "all"


class ParameterEntry(msgspec.Struct):
    """A parameter."""

    component: str
    name: str
    value: Any
    vhost: str = ""


class GlobalParameterEntry(msgspec.Struct):
    """A parameter of the whole broker."""

    name: str
    value: Any


class QueueEntry(msgspec.Struct):
    """A queue."""

    name: str
    vhost: str = ""
    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, Any] = {}


class ExchangeEntry(msgspec.Struct):
    """An exchange."""

    name: str
    vhost: str = ""
    type: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] = {}


class BindingEntry(msgspec.Struct):
    """A binding."""

    source: str
    destination: str
    vhost: str = ""
    destination_type: str = "queue"
    routing_key: str = ""
    arguments: dict[str, Any] = {}


class DefinitionsFile(msgspec.Struct):
    """The whole file. Unknown keys are ignored: every version writes others of its own."""

    users: list[UserEntry] = []
    vhosts: list[VhostEntry] = []
    permissions: list[PermissionEntry] = []
    topic_permissions: list[TopicPermissionEntry] = []
    parameters: list[ParameterEntry] = []
    global_parameters: list[GlobalParameterEntry] = []
    policies: list[PolicyEntry] = []
    queues: list[QueueEntry] = []
    exchanges: list[ExchangeEntry] = []
    bindings: list[BindingEntry] = []


def argument_table(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments from JSON, as far as they can be those of a client.

    :raises Refused: if they cannot.
    """
    check_value("arguments", arguments)
    return arguments


def typed_arguments(arguments: dict[str, Any]) -> Arguments:
    """Arguments from JSON with the types that a client would send them with.

    :raises Refused: as `argument_table`.
    """
    table = argument_table(arguments)
    return Arguments(table, {name: type_name(value) for name, value in table.items()})


def declaration(entry: ExchangeEntry) -> ExchangeDeclaration:
    """What a client would declare an exchange with.

    :raises Refused: as `argument_table`.
    """
    return ExchangeDeclaration(
        entry.type,
        entry.name,
        durable=entry.durable,
        auto_delete=entry.auto_delete,
        internal=entry.internal,
        arguments=argument_table(entry.arguments),
    )

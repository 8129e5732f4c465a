"""The form of a definitions file, which is RabbitMQ's (RabbitMQ: Definition Export and Import)."""

from typing import Any, Final

import msgspec

from leveret.engine.access.passwords import SHA256
from leveret.engine.administration.operator import Refused
from leveret.engine.lifecycle.policy_keys import type_name
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.values.arguments import Arguments

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
"""The integers that a field table can have (RabbitMQ: AMQP 0-9-1 Errata, section 3)."""

DEPTH_MAX: Final = 32
"""Tables and arrays in each other in the arguments of an entry."""

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

    :raises Refused: if an integer is too large, or they are too deep.
    """
    _check_value(arguments, 0)
    return arguments


def _check_value(value: Any, depth: int) -> None:
    if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise Refused(f"arguments: the integer {value} has more than 64 bits")
    if not isinstance(value, dict | list):
        return
    if depth == DEPTH_MAX:
        raise Refused(f"arguments: more than {DEPTH_MAX} tables and arrays in each other")
    for each in value.values() if isinstance(value, dict) else value:
        _check_value(each, depth + 1)


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

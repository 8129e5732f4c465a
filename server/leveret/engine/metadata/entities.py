"""The entities of the metadata, one class a kind. Each is its own record in the log.

An entity is replaced as a whole by another with the same key. Names of fields follow RabbitMQ's
definitions file (RabbitMQ: Definition Export and Import) where it has them. A default never
changes: it is what an absent field of a record means.
"""

import secrets
from typing import Any, Final

import msgspec

KIND: Final = "kind"
"""The key of an entity's kind in its record."""

SESSION_KEY_BYTES: Final = 32

Key = tuple[str, ...]
"""What an entity is found by, among those of its kind."""


class Entity(msgspec.Struct, frozen=True, tag_field=KIND, omit_defaults=True):
    """The base of all kinds."""

    @property
    def key(self) -> Key:
        """What the entity is found by."""
        raise NotImplementedError


class VirtualHostEntity(Entity, frozen=True, tag="virtual_host"):
    """What operators set of a virtual host (RabbitMQ: Virtual Hosts)."""

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    default_queue_type: str = ""
    """The `x-queue-type` of queues that are declared without one; empty for none."""
    protected_from_deletion: bool = False
    limits: dict[str, int] = {}
    """`max-connections` and `max-queues`; one that is missing or negative is no limit."""
    store: int = -1
    """The store of the cluster that carries it, given when it is created; negative: the one that
    its name leads to."""
    uid: str = ""
    """Of a cluster: random, and another one for the next virtual host of the name, so that it does
    not inherit what is in the store of the one before."""

    @property
    def key(self) -> Key:
        return (self.name,)


class User(Entity, frozen=True, tag="user"):
    """A user (RabbitMQ: Access Control)."""

    name: str
    password_hash: str = ""
    """As in RabbitMQ's definitions: base64 of salt and digest. No password matches an empty one."""
    hashing_algorithm: str = "rabbit_password_hashing_sha256"
    tags: tuple[str, ...] = ()
    limits: dict[str, int] = {}
    """`max-connections` and `max-channels`; one that is missing or negative is no limit."""

    @property
    def key(self) -> Key:
        return (self.name,)


class Permission(Entity, frozen=True, tag="permission"):
    """What a user may do in a virtual host: three regular expressions for names of exchanges and
    queues. An empty one matches no name."""

    user: str
    vhost: str
    configure: str
    write: str
    read: str

    @property
    def key(self) -> Key:
        return (self.user, self.vhost)


class TopicPermission(Entity, frozen=True, tag="topic_permission"):
    """Which routing keys a user may publish to a topic exchange with, and bind to it."""

    user: str
    vhost: str
    exchange: str
    write: str
    read: str

    @property
    def key(self) -> Key:
        return (self.user, self.vhost, self.exchange)


class Policy(Entity, frozen=True, tag="policy"):
    """A policy (RabbitMQ: Policies)."""

    vhost: str
    name: str
    pattern: str
    """A regular expression for names of queues or exchanges."""
    definition: dict[str, Any]
    apply_to: str = "all"
    priority: int = 0

    @property
    def key(self) -> Key:
        return (self.vhost, self.name)


class OperatorPolicy(Policy, frozen=True, tag="operator_policy"):
    """A policy that bounds what users set."""


class Parameter(Entity, frozen=True, tag="parameter"):
    """A parameter of a component in a virtual host (RabbitMQ: Runtime Parameters)."""

    vhost: str
    component: str
    name: str
    value: Any

    @property
    def key(self) -> Key:
        return (self.vhost, self.component, self.name)


class GlobalParameter(Entity, frozen=True, tag="global_parameter"):
    """A parameter of the whole broker."""

    name: str
    value: Any

    @property
    def key(self) -> Key:
        return (self.name,)


class ImportedFile(Entity, frozen=True, tag="imported_file"):
    """The definitions file that the last start with one has imported. There is one at most."""

    path: str
    digest: str
    """SHA-256 of its contents, in hexadecimal."""

    @property
    def key(self) -> Key:
        return ()


class ImportedObjects(Entity, frozen=True, tag="imported_objects"):
    """What a definitions file has for a virtual host of a cluster, until its owner has declared
    it."""

    vhost: str
    digest: str
    """Of the file."""
    objects: dict[str, Any]
    """Exchanges, queues and bindings, as in the file."""

    @property
    def key(self) -> Key:
        return (self.vhost, self.digest)


class SessionKey(Entity, frozen=True, tag="session_key"):
    """Of a cluster: the key that signs sessions of the management page. There is one at most."""

    session_key: str
    """Random, in hexadecimal."""

    @property
    def key(self) -> Key:
        return ()

    @classmethod
    def random(cls) -> "SessionKey":
        """A key that has signed nothing yet."""
        return cls(secrets.token_hex(SESSION_KEY_BYTES))


class EndedSession(Entity, frozen=True, tag="ended_session"):
    """Of a cluster: a session of the management page whose user has logged out."""

    session: str
    until: int
    """Milliseconds since the epoch: when it would have ended anyway."""

    @property
    def key(self) -> Key:
        return (self.session,)


class EntityDeleted(msgspec.Struct, frozen=True, tag_field=KIND, tag="entity_deleted"):
    """The record of an entity that was deleted."""

    entity: str
    """Its kind."""
    key: Key


OfVhost = Permission | TopicPermission | Policy | Parameter | ImportedObjects

IN_A_VHOST: Final[tuple[type[OfVhost], ...]] = (
    Permission,
    TopicPermission,
    Policy,
    OperatorPolicy,
    Parameter,
    ImportedObjects,
)
"""The kinds that are deleted with their virtual host."""

OF_A_USER: Final[tuple[type[Permission | TopicPermission], ...]] = (Permission, TopicPermission)
"""The kinds that are deleted with their user."""

ENTITY_KINDS: Final[dict[str, type[Entity]]] = {
    str(each.__struct_config__.tag): each
    for each in (
        VirtualHostEntity,
        User,
        Permission,
        TopicPermission,
        Policy,
        OperatorPolicy,
        Parameter,
        GlobalParameter,
        ImportedFile,
        ImportedObjects,
        SessionKey,
        EndedSession,
    )
}
"""The kinds by name, in an order in which a checkpoint can be restored."""


def kind_of(entity: type[Entity]) -> str:
    """The name of a kind."""
    return str(entity.__struct_config__.tag)

"""Definitions: the records of the log that say what was declared, bound, deleted or remembered.

Each kind is one record class with named fields. A record is written as a msgpack map: `kind`, and
each field that differs from its default. FORMAT.md of the storage has the rules by which kinds and
fields may be added, and all kinds of all format versions; this file is the same in Python.

The records have plain values: names, numbers and tables. `engine/lifecycle/records.py` makes them
of exchanges, queues and bindings; `engine/restore.py` restores virtual hosts from them. What
belongs to the whole broker is a record of its own (`engine/metadata/entities.py`).
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from leveret.engine.metadata.entities import ENTITY_KINDS, Entity, EntityDeleted
from leveret.engine.persistence.field_values import from_extension, to_plain
from leveret_storage.errors import Damaged, UnknownFormat, not_known
from leveret_storage.format.entries import StoredDefinition

KIND: Final = "kind"
"""The key of a record's kind in its map."""

IGNORABLE_PREFIX: Final = "_"
"""Begins the name of a field that a program which does not know it may ignore."""


JournalNumber = Annotated[int, msgspec.Meta(ge=0, lt=2**31 - 512)]
"""The number of a journal: the store has 31 bits for it, and a queue has up to 256 journals."""


class Definition(msgspec.Struct, frozen=True, tag_field=KIND, omit_defaults=True):
    """The base of all kinds. A default never changes: it is what an absent field means."""

    vhost: str


class VirtualHostCreated(Definition, frozen=True, tag="virtual_host_created"):
    """A virtual host was created, or the wall clock was set. One that any other definition names
    exists without it, too."""

    clock_behind: int = 0
    """Milliseconds that the times of all definitions and messages are behind the wall clock,
    because that was set while they were written; negative if it was set back."""
    uid: str = ""
    """Of the virtual host in the metadata of a cluster: in another one of the same name nothing of
    it is left."""


class ExchangeDeclared(Definition, frozen=True, tag="exchange_declared"):
    """A durable exchange was declared."""

    name: str
    type: str
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] = {}


class ExchangeDeleted(Definition, frozen=True, tag="exchange_deleted"):
    """A durable exchange was deleted, with all its bindings."""

    name: str


class QueueDeclared(Definition, frozen=True, tag="queue_declared"):
    """A durable queue was declared."""

    name: str
    number: JournalNumber
    """The number of its journal in the store. That of priority P is `number` + P."""
    auto_delete: bool = False
    arguments: dict[str, Any] = {}
    argument_types: dict[str, str] = {}
    """The AMQP type of each argument, as error texts name it."""
    declared_by: str = ""
    """The name of the connection that declared it, for operators."""
    declared_at: int = 0
    """Milliseconds since 1970."""


class QueueArgumentsChanged(Definition, frozen=True, tag="queue_arguments_changed"):
    """A durable queue was redeclared with other arguments, which replace all it had."""

    name: str
    arguments: dict[str, Any] = {}
    argument_types: dict[str, str] = {}


class QueuePauseChanged(Definition, frozen=True, tag="queue_pause_changed"):
    """A durable queue was paused or resumed. One that was just declared is not paused."""

    name: str
    paused: bool = False


class QueueDeleted(Definition, frozen=True, tag="queue_deleted"):
    """A durable queue was deleted, with all its bindings."""

    name: str


class BindingDefinition(Definition, frozen=True):
    """What the kinds of a binding between durable ends have in common."""

    source: str
    destination: str
    destination_is_exchange: bool = False
    routing_key: str = ""
    arguments: dict[str, Any] = {}


class Bound(BindingDefinition, frozen=True, tag="bound"):
    """A binding between durable ends was made."""


class Unbound(BindingDefinition, frozen=True, tag="unbound"):
    """A binding between durable ends was removed, and not because one of its ends was deleted."""


class DelayedStoreCreated(Definition, frozen=True, tag="delayed_store_created"):
    """The delayed store of a durable delayed exchange was created."""

    exchange: str
    number: JournalNumber
    """The number of the journal of the memtables."""
    sorted_runs_number: JournalNumber
    """The number of the journal of the sorted runs."""
    sorted_runs: list[int] = []
    """The positions in that journal at which sorted runs begin."""


class SortedRunBegun(Definition, frozen=True, tag="sorted_run_begun"):
    """One more sorted run begins in the journal of a delayed exchange's sorted runs."""

    exchange: str
    first: int
    """The position of its first message."""


class KeysSeen(Definition, frozen=True, tag="keys_seen"):
    """A queue or an exchange with deduplication has seen keys, in this order."""

    name: str
    by_exchange: bool = False
    keys: list[tuple[bytes, int]] = []
    """Each key, and when it expires, in milliseconds since 1970; 0 is never."""


class MessageReturned(Definition, frozen=True, tag="message_returned"):
    """How often a message was requeued; it replaces the earlier record of the same message."""

    queue: str
    position: int
    acquired: int = 0
    """For any reason."""
    failed: int = 0
    """Because it was rejected, or its channel or connection ended."""
    retry_at: int = 0
    """When it may be delivered again, in milliseconds since 1970; 0 is at once."""


Record = Definition | Entity | EntityDeleted
"""What a definition in the log may be."""

DEFINITIONS: Final[tuple[type[Record], ...]] = (
    *ENTITY_KINDS.values(),
    EntityDeleted,
    VirtualHostCreated,
    ExchangeDeclared,
    ExchangeDeleted,
    QueueDeclared,
    QueueArgumentsChanged,
    QueuePauseChanged,
    QueueDeleted,
    Bound,
    Unbound,
    DelayedStoreCreated,
    SortedRunBegun,
    KeysSeen,
    MessageReturned,
)

KINDS: Final = {str(each.__struct_config__.tag): each for each in DEFINITIONS}
"""The kinds by name."""

_FIELDS: Final = {kind: {KIND, *each.__struct_fields__} for kind, each in KINDS.items()}

_BINDING_VERSION_1: Final = (
    "source",
    "destination_is_exchange",
    "destination",
    "routing_key",
    "arguments",
)

_VERSION_1: Final[dict[str, tuple[type[Definition], tuple[str, ...]]]] = {
    "exchange": (ExchangeDeclared, ("name", "type", "auto_delete", "internal", "arguments")),
    "exchange gone": (ExchangeDeleted, ("name",)),
    "queue": (
        QueueDeclared,
        (
            "name",
            "number",
            "auto_delete",
            "arguments",
            "argument_types",
            "declared_by",
            "declared_at",
        ),
    ),
    "queue changed": (QueueArgumentsChanged, ("name", "arguments", "argument_types")),
    "queue gone": (QueueDeleted, ("name",)),
    "bind": (Bound, _BINDING_VERSION_1),
    "unbind": (Unbound, _BINDING_VERSION_1),
    "delays": (
        DelayedStoreCreated,
        ("exchange", "number", "sorted_runs_number", "sorted_runs"),
    ),
    "strand": (SortedRunBegun, ("exchange", "first")),
    "seen": (KeysSeen, ("by_exchange", "name", "keys")),
    "returned": (MessageReturned, ("queue", "position", "acquired", "failed", "retry_at")),
}
"""The kinds of version 1, which is an array: kind, virtual host, and these fields in order."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(ext_hook=from_extension)
_NATIVE_TYPES: Final = (bytes, bytearray, datetime, Decimal)


def encode(record: Record) -> bytes:
    """A record in the current version."""
    if not getattr(record, "arguments", None):
        try:
            return _ENCODER.encode(record)
        except UnicodeEncodeError:
            # A name that is not UTF-8 has to be written as an extension.
            pass
    return _ENCODER.encode(to_plain(msgspec.to_builtins(record, builtin_types=_NATIVE_TYPES)))


def decode(stored: StoredDefinition) -> Record:
    """The record that a definition is, in whatever version it was written.

    :raises UnknownFormat: if a newer program wrote it, naming blob and offset.
    :raises Damaged: if it is no definition, naming the same.
    """
    try:
        return _DECODERS[stored.version](stored.data)
    except UnknownFormat as error:
        raise error.at(stored.blob, stored.offset) from None
    except msgspec.MsgspecError as error:
        raise Damaged(
            f"{stored.blob}: offset {stored.offset}: a definition that cannot be read: {error}"
        ) from None


def _decode_version_1(data: bytes) -> Record:
    items = _DECODER.decode(data)
    if not isinstance(items, list) or len(items) < 2:
        raise msgspec.ValidationError("no array of a kind, a virtual host and more")
    kind, vhost, *values = items
    if not isinstance(kind, str) or kind not in _VERSION_1:
        raise UnknownFormat(not_known(f"a definition of kind {kind!r}"))
    record, fields = _VERSION_1[kind]
    if len(values) != len(fields):
        raise msgspec.ValidationError(f"{len(values)} values for {len(fields)} of kind {kind!r}")
    named = dict(zip(fields, values, strict=True))
    return msgspec.convert({KIND: record.__struct_config__.tag, "vhost": vhost, **named}, record)


def _decode_version_2(data: bytes) -> Record:
    named = _DECODER.decode(data)
    if not isinstance(named, dict):
        raise msgspec.ValidationError("no map")
    kind = named.get(KIND)
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnknownFormat(not_known(f"a definition of kind {kind!r}"))
    for name in named.keys() - _FIELDS[kind]:
        if not str(name).startswith(IGNORABLE_PREFIX):
            raise UnknownFormat(not_known(f"a definition of kind {kind!r} with a field {name!r}"))
    return msgspec.convert(named, KINDS[kind])


_DECODERS: Final[dict[int, Callable[[bytes], Record]]] = {
    1: _decode_version_1,
    2: _decode_version_2,
    3: _decode_version_2,
}

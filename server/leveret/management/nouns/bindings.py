"""A binding as RabbitMQ shows it."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote_plus, unquote_plus

import msgspec

from leveret.engine.routing.exchanges.base import Binding, Exchange
from leveret.engine.values.json_values import to_json
from leveret.management.columns import Column, Columns

PROPERTIES_KEY_SEPARATOR: Final = "~"


class BindingRow(NamedTuple):
    """A binding, or that of a queue to the default exchange."""

    vhost: str
    source: str
    destination: str
    destination_type: Literal["queue", "exchange"]
    routing_key: str
    arguments: Any
    properties_key: str


def binding_row(vhost: str, binding: Binding) -> BindingRow:
    """The row of a binding."""
    return BindingRow(
        vhost,
        to_json(binding.source.name),
        to_json(binding.destination.name),
        "exchange" if isinstance(binding.destination, Exchange) else "queue",
        to_json(binding.routing_key),
        to_json(binding.arguments),
        properties_key(binding.routing_key, binding.arguments),
    )


def default_binding_row(vhost: str, queue: str) -> BindingRow:
    """The row of the binding of a queue to the default exchange."""
    name = to_json(queue)
    return BindingRow(vhost, "", name, "queue", name, {}, _quoted(name))


def properties_key(routing_key: str, arguments: Mapping[str, Any]) -> str:
    """What tells the bindings between two ends apart in a path: the routing key, and a hash of the
    arguments."""
    key = _quoted(to_json(routing_key))
    if not arguments:
        return key or PROPERTIES_KEY_SEPARATOR
    return f"{key}{PROPERTIES_KEY_SEPARATOR}{_digest(arguments)}"


def has_properties_key(binding: Binding, key: str) -> bool:
    """Whether a key of a path means a binding. Its routing key may be quoted, or as it is."""
    routing_key, _, digest = key.partition(PROPERTIES_KEY_SEPARATOR)
    expected = _digest(binding.arguments) if binding.arguments else ""
    return digest == expected and to_json(binding.routing_key) in (
        routing_key,
        unquote_plus(routing_key),
    )


def _digest(arguments: Mapping[str, Any]) -> str:
    encoded = msgspec.json.encode(to_json(arguments), order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]


def _quoted(routing_key: str) -> str:
    return quote_plus(routing_key, safe="").replace(PROPERTIES_KEY_SEPARATOR, "%7E")


BINDING: Final[Columns[BindingRow]] = Columns(
    "Binding",
    Column("source", str, lambda row: row.source, "Exchange; empty for the default exchange"),
    Column("vhost", str, lambda row: row.vhost),
    Column("destination", str, lambda row: row.destination),
    Column("destination_type", str, lambda row: row.destination_type, "`queue` or `exchange`"),
    Column("routing_key", str, lambda row: row.routing_key),
    Column("arguments", dict[str, Any], lambda row: row.arguments),
    Column(
        "properties_key",
        str,
        lambda row: row.properties_key,
        "What tells the bindings between two ends apart in a path",
    ),
)

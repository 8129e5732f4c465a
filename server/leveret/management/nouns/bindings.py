"""A binding as RabbitMQ shows it."""

import hashlib
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

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
        properties_key(binding),
    )


def default_binding_row(vhost: str, queue: str) -> BindingRow:
    """The row of the binding of a queue to the default exchange."""
    name = to_json(queue)
    return BindingRow(vhost, "", name, "queue", name, {}, quote(name, safe=""))


def properties_key(binding: Binding) -> str:
    """What tells the bindings between two ends apart in a path: the routing key, and a hash of the
    arguments."""
    key = quote(to_json(binding.routing_key), safe="")
    if not binding.arguments:
        return key or PROPERTIES_KEY_SEPARATOR
    arguments = msgspec.json.encode(to_json(binding.arguments), order="deterministic")
    digest = hashlib.sha256(arguments).hexdigest()[:16]
    return f"{key}{PROPERTIES_KEY_SEPARATOR}{digest}"


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
